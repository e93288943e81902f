"""On a stream whose code length is known, and on the same stream with its end drawn anew.

The first run gives the noise bound, the byte count and the timeline; the second, whether earlier
charges moved.
"""

import hashlib
import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from auditor.evidence import NoiseBound, PrefixSensitivity, StreamBytes
from auditor.run import exercised
from auditor.run.execution import Bench, Run
from auditor.run.streams import Stream, changed_from, uniform
from auditor.run.timeline import build_timeline
from auditor.run.vocabulary import VOCAB_SIZE
from auditor.run.workspace import STREAM_TOKENS, TRAIN_TOKENS, UNTRAINED, Inputs
from auditor.submission import Submission

Bar = Callable[[float], None]
"""Called with the fraction of one execution that is done."""


def _inputs(validation: Stream | None = None) -> Inputs:
    """A validation stream, uniform noise unless given, and training shards of noise."""
    return Inputs(
        validation=validation or uniform(VOCAB_SIZE, STREAM_TOKENS, "validation"),
        train=uniform(VOCAB_SIZE, TRAIN_TOKENS, "training"),
        settings=UNTRAINED,
    )


def known_source(bench: Bench, logs: Mapping[str, str], bar: Bar) -> tuple[Run, list[object]]:
    """Run on uniform noise; the run and everything that it shows."""
    base = bench.run(_inputs(), bar)
    return base, [
        build_timeline(base.record, base.stage, base.charged, base.aligner),
        noise_bound(base),
        _stream_bytes(base),
        exercised.compare(logs, base.output),
    ]


def changed_end(bench: Bench, base: Run, bar: Bar, again: Bar) -> PrefixSensitivity:
    """Run with a position and all after it changed; twice unchanged when something moved."""
    position = _site_of_change(bench.submission, len(base.stream.tokens))
    changed = changed_from(base.stream, position, VOCAB_SIZE, "changed")
    other = bench.run(_inputs(changed), bar)
    moved, largest_nats, compared = _moves(base, other, position)
    repeated: int | None = None
    if len(moved):
        # Only now does it matter whether two equal runs are equal.
        repeated = len(_moves(base, bench.run(_inputs(), again), position)[0])
    return PrefixSensitivity(
        position=position,
        compared=compared,
        moved=len(moved),
        largest_nats=largest_nats,
        first_moved=int(moved[0]) if len(moved) else None,
        repeat_moved=repeated,
    )


def noise_bound(run: Run) -> NoiseBound:
    """The bound on the printed score or, where positions are charged again, on first charges.

    Second charges are not covered by it; the first charge of every position is.
    """
    positions, first = np.unique(run.charged.position_N, return_index=True)
    count = len(positions)
    charged_nats = run.stage.score.val_loss * count
    if count < len(run.charged.position_N) and len(run.charged.nats_N):
        charged_nats = math.fsum(run.charged.nats_N[first])
    source_nats = math.fsum(run.stream.nats_N[positions])
    slack = None
    if run.earlier:
        slack = run.earlier[-1].score.val_loss - source_nats / count
    return NoiseBound(
        source=run.stream.source,
        vocab_size=VOCAB_SIZE,
        tokens=count,
        source_nats=source_nats,
        charged_nats=charged_nats,
        slack_nats_per_token=slack,
    )


def _stream_bytes(run: Run) -> StreamBytes:
    """Bytes implied by the printed pair of losses, and bytes of what was charged."""
    score, position_N = run.stage.score, run.charged.position_N
    expected = int(run.stream.vocabulary.token_bytes(run.stream.tokens)[position_N].sum())
    implied = len(position_N) * score.val_loss / (math.log(2) * score.val_bpb)
    return StreamBytes(implied=implied, expected=expected)


def _moves(base: Run, other: Run, position: int) -> tuple[NDArray[np.intp], float, int]:
    """Positions before `position` whose charges differ, the largest move, and how many compared."""
    before, after = base.nats_by_position()[:position], other.nats_by_position()[:position]
    both = ~np.isnan(before) & ~np.isnan(after)
    moves = np.abs(before - after)[both]
    moved = np.flatnonzero(both)[moves != 0]
    return moved, float(moves.max(initial=0.0)), int(both.sum())


def _site_of_change(submission: Submission, length: int) -> int:
    """A position in the middle fifth of the stream that follows from the submission's digest."""
    drawn = int(hashlib.sha256(submission.sha256.encode()).hexdigest(), 16)
    fifth = length // 5
    return 2 * fifth + drawn % fifth
