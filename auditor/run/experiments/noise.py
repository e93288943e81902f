"""On a stream whose code length is known, and on the same stream with its end drawn anew.

The first run gives the noise bound, of tokens or of bytes, the byte count and the timeline; the
second, whether earlier charges moved.
"""

import hashlib
import itertools
import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from auditor.errors import CannotMeasure
from auditor.evidence import NoiseBound, OtherSources, PrefixSensitivity, StreamBytes
from auditor.run import exercised
from auditor.run.execution import Bench, Run
from auditor.run.experiments.bars import Bar, Bars
from auditor.run.streams import Stream, changed_from, spelled, uniform
from auditor.run.timeline import build_timeline, plain_label
from auditor.run.vocabulary import VOCAB_SIZE
from auditor.run.workspace import NOISE_TOKENS, TRAIN_TOKENS, UNTRAINED, Inputs
from auditor.submission import Submission

STAKES = (0.01, 0.03, 0.1, 0.3)
"""Shares of the capital that are bet. What is kept back bounds the loss where the network knows
less than the source, so that a mechanism which fires at a few positions is seen all the same."""
CURVE_POINTS = 60
FIRST = ("uniform", "spelled")
"""Sources of the first run: of tokens, and of bytes."""
BYTES = "bytes"
"""What the bound on bits per byte is called among the sources."""


def noise_inputs(
    validation: Stream | None = None,
    train: Stream | None = None,
    ask: Mapping[str, object] | None = None,
) -> Inputs:
    """Streams, uniform noise unless given, and training so gentle that nothing is learnt."""
    return Inputs(
        validation=validation or uniform(VOCAB_SIZE, NOISE_TOKENS, "validation"),
        train=train or uniform(VOCAB_SIZE, TRAIN_TOKENS, "training"),
        settings=UNTRAINED,
        ask=ask or {},
    )


def known_source(bench: Bench, logs: Mapping[str, str], bar: Bar) -> tuple[Run, list[object]]:
    """Run on noise; the run and everything that it shows."""
    base = bench.run(_noise(bench), bar)
    facts = [
        build_timeline(base.record, base.stage, base.charged, base.aligner),
        noise_bound(base),
        exercised.compare(logs, base.output, bench.claimed),
    ]
    return base, facts


def _noise(bench: Bench) -> Inputs:
    """Uniform, but where bytes are charged of pieces whose bytes cost what the pieces do."""
    inputs = noise_inputs()
    if bench.claimed.by_bytes:
        inputs = noise_inputs(
            spelled(NOISE_TOKENS, "validation/spelled"), spelled(TRAIN_TOKENS, "training/spelled")
        )
    return replace(inputs, ranks=bench.plan.ranks or 1)


def changed_end(bench: Bench, base: Run, bars: Bars) -> PrefixSensitivity:
    """Run with a position and all after it changed; twice unchanged when something moved."""
    position = _site_of_change(bench.submission, len(base.stream.tokens))
    changed = changed_from(base.stream, position, VOCAB_SIZE, "changed")
    other = bench.run(replace(_noise(bench), validation=changed), bars("with the end changed"))
    moved, largest_nats, compared = _moves(base, other, position)
    repeated: int | None = None
    if len(moved):
        # Only now does it matter whether two equal runs are equal.
        repeated = len(_moves(base, bench.run(_noise(bench), bars("again unchanged")), position)[0])
    return PrefixSensitivity(
        position=position,
        compared=compared,
        moved=len(moved),
        largest_nats=largest_nats,
        first_moved=int(moved[0]) if len(moved) else None,
        repeat_moved=repeated,
        stretches=_stretches(base, other, position),
    )


def _stretches(base: Run, other: Run, position: int) -> tuple[tuple[int, float, float, float], ...]:
    """Losses of both runs, averaged over short stretches that end at `position` and elsewhere."""
    before, after = base.nats_by_position(), other.nats_by_position()
    ends = {round(end) for end in np.linspace(0, len(before), CURVE_POINTS + 1)} | {0, position}
    stretches = []
    for start, stop in itertools.pairwise(sorted(ends)):
        both = ~np.isnan(before[start:stop]) & ~np.isnan(after[start:stop])
        if both.any():
            one, two = before[start:stop][both], after[start:stop][both]
            means = round(float(one.mean()), 6), round(float(two.mean()), 6)
            stretches.append((stop, *means, float(np.abs(one - two).max())))
    return tuple(stretches)


def noise_bound(run: Run) -> NoiseBound:
    """The bound on the printed score or, where positions are charged again, on first charges.

    Second charges are not covered by it; the first charge of every position is. Where single
    charges are not known, all of them together stand for the first ones: none is less than nothing.
    """
    positions, first = np.unique(run.charged.position_N, return_index=True)
    count = len(positions)
    charged_nats = run.stage.score.val_loss * len(run.charged.position_N)
    source_nats = math.fsum(run.stream.nats_N[positions])
    hedged = None
    curve: tuple[tuple[int, float], ...] = ()
    if run.knows_charges:
        first_nats_N, source_nats_N = run.charged.nats_N[first], run.stream.nats_N[positions]
        curve = _curve(source_nats_N - first_nats_N)
        if np.ptp(source_nats_N) == 0:  # else one charge at a wrong position could win
            hedged = hedged_nats(source_nats_N - first_nats_N)
        if count < len(run.charged.position_N):
            charged_nats = math.fsum(first_nats_N)
    slack = None
    if run.earlier:
        slack = run.earlier[-1].score.val_loss - source_nats / count
    return NoiseBound(
        source=run.stream.source,
        vocab_size=VOCAB_SIZE,
        tokens=count,
        source_nats=source_nats,
        charged_nats=charged_nats,
        hedged_nats=hedged,
        curve=curve,
        slack_nats_per_token=slack,
    )


def on_bytes(run: Run, labels: frozenset[str]) -> OtherSources:
    """The bound on printed bits per byte, on a stream whose bytes cost what its tokens do.

    Each token is three bytes, its space included. Raises CannotMeasure when no such line came.
    """
    said = [line for line in run.record.bpb_lines if plain_label(line.label) in labels]
    if not said:
        raise CannotMeasure(f"expected a line {', '.join(sorted(labels))} with bits per byte")
    count = len(np.unique(run.charged.position_N))
    source_nats = count * float(run.stream.nats_N[-1])
    spelt = len(run.stream.vocabulary.pieces[int(run.stream.tokens[-1])])
    bound = NoiseBound(
        source=BYTES,
        vocab_size=VOCAB_SIZE,
        tokens=count,
        source_nats=source_nats,
        charged_nats=said[-1].val_bpb * math.log(2) * count * spelt,
        hedged_nats=None,
        curve=(),
        slack_nats_per_token=run.stage.score.val_loss - source_nats / count,
    )
    return OtherSources(bounds=(bound,), failed=())


def hedged_nats(gain_N: NDArray[np.float64]) -> float:
    """Nats won by betting a share of the capital on each charge, averaged over STAKES.

    For a stake s the capital is the product of 1 - s + s p(x)/q(x), a non-negative supermartingale
    like that of the whole score. `gain_N` holds ln p(x)/q(x), in order.
    """
    won_S = [np.logaddexp(math.log1p(-s), math.log(s) + gain_N).sum() for s in STAKES]
    return float(np.logaddexp.reduce(won_S)) - math.log(len(STAKES))


def _curve(gain_N: NDArray[np.float64]) -> tuple[tuple[int, float], ...]:
    """What was won so far, at a few places that are equally far apart."""
    ends = np.unique(np.linspace(0, len(gain_N), CURVE_POINTS + 1).astype(int)[1:])
    sums = gain_N.cumsum()
    return tuple((int(end), round(float(sums[end - 1]), 3)) for end in ends if end)


def stream_bytes(run: Run) -> StreamBytes:
    """Bytes implied by the printed pair of losses, and bytes of what was charged.

    Raises CannotMeasure when tokens were looked up several times and the charges do not say which
    of these count.
    """
    score, position_N = run.stage.score, run.charged.position_N
    again = len(position_N) - len(np.unique(position_N))
    if again and not run.charged.add_up(score):
        raise CannotMeasure(
            f"the bytes of {again:,} tokens were looked up again, and no charges give the score"
        )
    expected = int(run.stream.vocabulary.token_bytes(run.stream.tokens)[position_N].sum())
    implied = len(position_N) * score.val_loss / (math.log(2) * score.val_bpb)
    half = 0.5 * 10.0**-score.decimals
    rounding = implied * (half / score.val_loss + half / score.val_bpb)
    return StreamBytes(implied=implied, expected=expected, rounding=rounding)


def _moves(base: Run, other: Run, position: int) -> tuple[NDArray[np.intp], float, int]:
    """Positions before `position` whose charges differ, the largest move, and how many compared.

    Of several ranks only what was charged before any changed token was: they may learn from what
    another has charged.
    """
    before, after = base.nats_by_position()[:position], other.nats_by_position()[:position]
    both = ~np.isnan(before) & ~np.isnan(after)
    if base.ranks > 1:
        charged = base.charged
        changed = charged.order_N[charged.position_N >= position].min(initial=np.iinfo(int).max)
        late = charged.position_N[charged.order_N >= changed]
        both[late[late < position]] = False
    moves = np.abs(before - after)[both]
    moved = np.flatnonzero(both)[moves != 0]
    return moved, float(moves.max(initial=0.0)), int(both.sum())


def _site_of_change(submission: Submission, length: int) -> int:
    """A position in the middle fifth of the stream that follows from the submission's digest."""
    drawn = int(hashlib.sha256(submission.sha256.encode()).hexdigest(), 16)
    fifth = length // 5
    return 2 * fifth + drawn % fifth
