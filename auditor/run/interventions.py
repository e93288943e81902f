"""Experiments on the submission's own code; each returns facts, and rules judge them.

`run_on_noise` executes the script twice in the sandbox: on a validation stream whose every token
costs ln V nats, and on the same stream with a position and all after it drawn anew. The first run
gives the noise bound, the byte count and the timeline; the second, whether earlier charges moved.
"""

import hashlib
import math
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from auditor.errors import CannotMeasure, ToolError
from auditor.evidence import (
    ClaimedNumbers,
    Evidence,
    LoggedNumbers,
    NoiseBound,
    PrefixSensitivity,
    RunLog,
    StreamBytes,
)
from auditor.run import exercised
from auditor.run.align import Aligner
from auditor.run.record import Record, read_record
from auditor.run.sandbox import Finished, Limits, execute, missing
from auditor.run.streams import Stream, changed_from, uniform
from auditor.run.timeline import (
    Charges,
    Stage,
    build_timeline,
    charges,
    plain_label,
    stages,
)
from auditor.run.workspace import (
    STREAM_TOKENS,
    TRAIN_TOKENS,
    VOCAB_SIZE,
    lay_out,
    token_bytes,
)
from auditor.submission import Submission

if TYPE_CHECKING:
    from auditor.audit import Plan, Progress

NEAR_BPB = 0.05
"""Seeds of one claim lie closer together; an ablation of such a mechanism does not."""
EXPECTED_STAGES = 2
"""A record usually evaluates plainly, then with its mechanism; only used to estimate progress."""


@dataclass(frozen=True, slots=True)
class Run:
    """One execution, understood."""

    stream: Stream
    record: Record
    aligner: Aligner
    stage: Stage
    """The last one: the one that printed the score."""
    earlier: tuple[Stage, ...]
    charged: Charges
    overrides: tuple[str, ...]
    output: str
    """The end of what the script printed."""


def run_on_noise(
    submission: Submission,
    plan: "Plan",
    evidence: Evidence,
    progress: "Progress",
    launch: Mapping[str, str],
) -> tuple[str, ...]:
    """Add what both runs show to the evidence; returns every override that was applied.

    `launch` is the environment that the submission says it was started with. Raises ToolError when
    there is no sandbox, CannotMeasure when the script gives no score.
    """
    reason = missing(plan.sandbox)
    if reason is not None:
        raise ToolError(f"--run needs a sandbox: {reason}")
    if submission.entry is None:
        raise CannotMeasure("expected a training script train_gpt.py to run, found none")
    noise = uniform(VOCAB_SIZE, STREAM_TOKENS, "validation")
    claimed = _claimed_stages(evidence)
    base = _run(
        submission, noise, plan, launch, claimed, _part(progress, "running on noise", 0.02, 0.5)
    )
    evidence.add(
        build_timeline(base.record, base.stage, base.charged, base.aligner),
        _noise_bound(base),
        _stream_bytes(base),
        exercised.compare(_log_texts(submission, evidence), base.output),
    )
    position = _site_of_change(submission)
    changed = changed_from(noise, position, VOCAB_SIZE, "changed")

    def again(stream: Stream, doing: str, start: float, stop: float) -> Run:
        part = _part(progress, doing, start, stop)
        return _run(submission, stream, plan, launch, claimed, part)

    try:
        other = again(changed, "running with the end changed", 0.5, 0.98)
        moved, largest_nats, compared = _moves(base, other, position)
        repeated: int | None = None
        if len(moved):
            # Only now does it matter whether two equal runs are equal.
            same = again(noise, "running again unchanged", 0.6, 0.98)
            repeated = len(_moves(base, same, position)[0])
        evidence.add(
            PrefixSensitivity(
                position=position,
                compared=compared,
                moved=len(moved),
                largest_nats=largest_nats,
                first_moved=int(moved[0]) if len(moved) else None,
                repeat_moved=repeated,
            )
        )
    except CannotMeasure as why:
        evidence.cannot(f"the second run gave no evidence: {why}", PrefixSensitivity)
    return (f"sandbox={plan.sandbox}", f"stream={noise.source}", *base.overrides)


def _part(progress: "Progress", doing: str, start: float, stop: float) -> Callable[[float], None]:
    return lambda done: progress(doing, start + (stop - start) * done)


def _log_texts(submission: Submission, evidence: Evidence) -> dict[str, str]:
    """The run logs of the claim, by name."""
    return {log.file: submission.files[log.file].text for log in _claimed_logs(evidence)}


def _claimed_logs(evidence: Evidence) -> list[RunLog]:
    """Logs that end near the claimed score; an ablation beside them shows other mechanisms."""
    logged, claims = evidence.get(LoggedNumbers), evidence.get(ClaimedNumbers)
    logs = list(logged.logs) if logged else []
    score = claims.val_bpb if claims else None
    if score is None:
        return logs
    near = [log for log in logs if log.final and abs(log.final.val_bpb - score) < NEAR_BPB]
    return near or logs


def _run(
    submission: Submission,
    stream: Stream,
    plan: "Plan",
    launch: Mapping[str, str],
    claimed: frozenset[str],
    progress: Callable[[float], None],
) -> Run:
    """Execute the script on a stream; CannotMeasure says how it ended when it printed no score."""
    train = uniform(VOCAB_SIZE, TRAIN_TOKENS, "training")
    script = submission.entry or ""
    progress(0.0)
    with tempfile.TemporaryDirectory(prefix="strict-prefix-") as folder:
        workspace = lay_out(Path(folder), submission, stream, train, launch)
        seen = _Seen(progress)
        finished = execute(
            [sys.executable, "-m", "recorder", script],
            workspace=workspace.root,
            folder=workspace.folder,
            environment=workspace.environment,
            limits=Limits(seconds=plan.run_seconds, bytes=plan.run_bytes),
            backend=plan.sandbox,
            on_event=seen.event,
        )
    record = read_record(finished.events)
    found = stages(record)
    if finished.timed_out or finished.returncode or finished.events_cut or not found:
        raise CannotMeasure(_how_it_ended(script, finished, plan))
    found = _up_to_claimed(found, claimed, script)
    aligner = Aligner(stream.tokens)
    read = [f"{k}={v}" for k, v in workspace.settings.items() if k in record.asked]
    return Run(
        stream=stream,
        record=record,
        aligner=aligner,
        stage=found[-1],
        earlier=tuple(found[:-1]),
        charged=charges(record, found[-1], aligner),
        overrides=(*read, *record.scaled, *(f"stand-in: {name}" for name in record.stand_ins)),
        output=finished.output,
    )


def _claimed_stages(evidence: Evidence) -> frozenset[str]:
    """Plain labels of the scores that the submission's own logs end with."""
    finals = [log.final for log in _claimed_logs(evidence)]
    return frozenset(plain_label(f.label) for f in finals if f and not f.during_training)


def _up_to_claimed(found: list[Stage], claimed: frozenset[str], script: str) -> list[Stage]:
    """The stages up to the last one that the logs end with.

    A script may print more after it, such as the adapted weights scored once more; that is not what
    is claimed, and nothing in it speaks against the claim.
    """
    while found and claimed and plain_label(found[-1].score.label) not in claimed:
        printed = plain_label(found.pop().score.label)
        if not found:
            raise CannotMeasure(
                f"{script}: expected the score that the logs end with "
                f"({', '.join(sorted(claimed))}), the run printed another ({printed}): the scored "
                "stage did not run"
            )
    return found


class _Seen:
    """Estimates how far a run is, from the tokens that it has charged."""

    def __init__(self, progress: Callable[[float], None]) -> None:
        """Report to `progress`."""
        self._progress = progress
        self._bytes = 0

    def event(self, line: bytes) -> None:
        """Count the size of look-up events: about six characters a token."""
        if b'"kind": "look"' in line[:40]:
            self._bytes += len(line)
            self._progress(min(self._bytes / 6 / (EXPECTED_STAGES * STREAM_TOKENS), 0.99))


def _how_it_ended(script: str, finished: Finished, plan: "Plan") -> str:
    """One sentence for a run that gave no evidence."""
    if finished.timed_out:
        return f"{script}: expected an end within {plan.run_seconds:.0f} s, still ran then"
    if finished.exceeded is not None:
        return f"{script}: {finished.exceeded}"
    if finished.returncode:
        last = [line for line in finished.output.splitlines() if line.strip()][-1:]
        why = f": {last[0].strip()[:300]}" if last else ""
        return f"{script}: expected exit status 0, got {finished.returncode}{why}"
    return (
        f"{script}: expected a line such as `final_exact val_loss:N.N val_bpb:N.N` after scored "
        "tokens, found none"
    )


def _noise_bound(run: Run) -> NoiseBound:
    """The bound on the printed score or, where positions are charged again, on first charges.

    Second charges are not covered by it; the first charge of every position is.
    """
    positions, first = np.unique(run.charged.position_N, return_index=True)
    count = len(positions)
    charged_nats = run.stage.score.val_loss * count
    if count < len(run.charged.position_N) and len(run.charged.nats_N):
        charged_nats = math.fsum(run.charged.nats_N[first])
    slack = None
    if run.earlier:
        slack = run.earlier[-1].score.val_loss - run.stream.nats_per_token
    return NoiseBound(
        source=run.stream.source,
        vocab_size=VOCAB_SIZE,
        tokens=count,
        source_nats=count * run.stream.nats_per_token,
        charged_nats=charged_nats,
        slack_nats_per_token=slack,
    )


def _stream_bytes(run: Run) -> StreamBytes:
    """Bytes implied by the printed pair of losses, and bytes of what was charged."""
    score, position_N = run.stage.score, run.charged.position_N
    expected = int(token_bytes(run.stream.tokens)[position_N].sum())
    implied = len(position_N) * score.val_loss / (math.log(2) * score.val_bpb)
    return StreamBytes(implied=implied, expected=expected)


def _moves(base: Run, other: Run, position: int) -> tuple[NDArray[np.intp], float, int]:
    """Positions before `position` whose charges differ, the largest move, and how many compared."""
    for run in (base, other):
        if not len(run.charged.nats_N):
            raise CannotMeasure(
                f"{run.stage.score.label}: no recorded values stand for the charges one by one"
            )
    before, after = (_by_position(run)[:position] for run in (base, other))
    both = ~np.isnan(before) & ~np.isnan(after)
    moves = np.abs(before - after)[both]
    moved = np.flatnonzero(both)[moves != 0]
    return moved, float(moves.max(initial=0.0)), int(both.sum())


def _by_position(run: Run) -> NDArray[np.float64]:
    """Nats charged at each position of the stream; NaN where nothing was charged."""
    nats = np.zeros(run.aligner.length)
    np.add.at(nats, run.charged.position_N, run.charged.nats_N)
    charged = np.zeros(run.aligner.length, dtype=bool)
    charged[run.charged.position_N] = True
    nats[~charged] = np.nan
    return nats


def _site_of_change(submission: Submission) -> int:
    """A position in the middle fifth of the stream that follows from the submission's digest."""
    drawn = int(hashlib.sha256(submission.sha256.encode()).hexdigest(), 16)
    fifth = STREAM_TOKENS // 5
    return 2 * fifth + drawn % fifth
