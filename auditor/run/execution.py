"""One execution of the script, and what is understood of it."""

import math
import os
import stat
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from auditor.errors import CannotMeasure
from auditor.evidence import PrintedScore
from auditor.run.align import Aligner
from auditor.run.claimed import Claimed
from auditor.run.record import ReadBack, Record, read_record
from auditor.run.rooms import Rooms
from auditor.run.sandbox import Finished, Limits, execute
from auditor.run.scratch import scratch
from auditor.run.streams import Stream
from auditor.run.timeline import Charges, Stage, charges, plain_label, stages
from auditor.run.workspace import KEPT, NOISE_TOKENS, VALIDATION_SHARD, Inputs, lay_out
from auditor.submission import Submission

if TYPE_CHECKING:
    from auditor.audit import Plan

EXPECTED_STAGES = 2
"""A record usually evaluates plainly, then with its mechanism; only used to estimate progress."""
ROUNDING_NATS = 1e-6
"""A token, of charges that are added up in another order or precision than the script's."""
MAX_ARTIFACT_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that the run wrote and read back."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """One execution that came to its end, with or without a score."""

    record: Record
    artifacts: tuple[Artifact, ...]
    overrides: tuple[str, ...]
    output: str
    """The end of what the script printed."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Run:
    """One execution up to its score, understood."""

    stream: Stream
    record: Record
    aligner: Aligner
    stage: Stage
    """The last one: the one that printed the score."""
    earlier: tuple[Stage, ...]
    charged: Charges
    artifacts: tuple[Artifact, ...]
    overrides: tuple[str, ...]
    output: str
    seconds: float
    ranks: int

    @property
    def knows_charges(self) -> bool:
        """Whether recorded values are the charges one by one: they give the printed score."""
        return self.charged.add_up(self.stage.score, ROUNDING_NATS)

    def nats_by_position(self) -> NDArray[np.float64]:
        """Nats charged at each position of the stream, added up; NaN where nothing was charged.

        Raises CannotMeasure when the charges could not be told apart.
        """
        if not self.knows_charges:
            raise CannotMeasure(
                f"{self.stage.score.label}: no recorded values stand for the charges one by one"
            )
        nats = np.zeros(self.aligner.length)
        np.add.at(nats, self.charged.position_N, self.charged.nats_N)
        charged = np.zeros(self.aligner.length, dtype=bool)
        charged[self.charged.position_N] = True
        nats[~charged] = np.nan
        return nats


@dataclass(frozen=True, slots=True)
class Bench:
    """A submission that can be executed again and again under one plan."""

    submission: Submission
    plan: "Plan"
    launch: Mapping[str, str]
    """The environment that the submission says it was started with."""
    claimed: Claimed = field(default_factory=Claimed)
    """The lines that its own logs show the claim in."""
    printed: list[PrintedScore] = field(default_factory=list)
    """The claimed line of every run so far that printed it."""
    rooms: Rooms = field(default_factory=lambda: Rooms(1))

    def run(self, inputs: Inputs, progress: Callable[[float], None]) -> Run:
        """Execute up to the score; CannotMeasure says how it ended when it printed none."""
        ended = self.execute(inputs, progress)
        run: Run | None = None
        try:
            run = self._understood(ended, inputs)
        finally:
            self._note(ended.record, inputs.validation, run)
        return run

    def _note(self, record: Record, stream: Stream, run: Run | None) -> None:
        """Keep what was printed as the claimed score, whether or not its charges were seen."""
        said = [
            s
            for s in record.scores
            if plain_label(s.label) in self.claimed.stages and not s.is_step
        ]
        score = run.stage.score if run else said[-1] if said else None
        if score is None or plain_label(score.label) not in self.claimed.stages:
            return
        source_nats = stream.nats_per_token
        self.printed.append(
            PrintedScore(
                source=stream.source,
                label=score.label,
                val_loss=score.val_loss,
                val_bpb=score.val_bpb,
                decimals=score.decimals,
                source_nats=None if math.isnan(source_nats) else source_nats,
                opened=VALIDATION_SHARD in record.opened,
                charged_nats=run.charged.means if run else {},
            )
        )

    def _understood(self, ended: Ended, inputs: Inputs) -> Run:
        """The stages of a run up to the claimed one, and what was charged in that."""
        found = stages(ended.record)
        if not found:
            raise CannotMeasure(
                f"{self.submission.entry}: expected a line such as `final_exact val_loss:N.N "
                "val_bpb:N.N` after scored tokens, found none"
            )
        found = _up_to_claimed(found, self.claimed.stages, self.submission.entry or "")
        aligner = Aligner(inputs.validation.tokens)
        return Run(
            stream=inputs.validation,
            record=ended.record,
            aligner=aligner,
            stage=found[-1],
            earlier=tuple(found[:-1]),
            charged=charges(ended.record, found[-1], aligner),
            artifacts=ended.artifacts,
            overrides=ended.overrides,
            output=ended.output,
            seconds=ended.seconds,
            ranks=inputs.ranks,
        )

    def execute(self, inputs: Inputs, progress: Callable[[float], None]) -> Ended:
        """Execute to the end, once there is room; CannotMeasure when it does not get there.

        `progress` is called with 1 at the end, however it ended, and before it with less.
        """
        script = self.submission.entry or ""
        with self.rooms.one() as begun, scratch() as root:
            progress(0.0)
            started = time.monotonic()
            workspace = lay_out(root, self.submission, inputs, self.launch)
            seen = _Seen(progress)
            finished = execute(
                [sys.executable, "-m", "recorder", script],
                workspace=workspace.root,
                folder=workspace.folder,
                environment=workspace.environment,
                limits=Limits(seconds=self.plan.run_seconds, bytes=self.plan.run_bytes),
                backend=self.plan.sandbox,
                on_event=seen.event,
                on_start=begun,
            )
            progress(1.0)
            why = how_it_ended(script, finished, self.plan.run_seconds)
            if why is not None:
                raise CannotMeasure(why)
            record = read_record(finished.events)
            artifacts = tuple(_kept(workspace.root / KEPT, each) for each in record.read_back)
        read = [f"{k}={v}" for k, v in workspace.settings.items() if k in record.asked]
        stand_ins = (f"stand-in: {name}" for name in record.stand_ins)
        return Ended(
            record,
            artifacts,
            (*read, *record.scaled, *stand_ins),
            finished.output,
            time.monotonic() - started,
        )


def _kept(folder: Path, one: ReadBack) -> Artifact:
    """The copy that the recorder kept; the submission may have put something else there."""
    try:
        handle = os.open(folder / f"{one.index}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OSError("no regular file")
            content = file.read(MAX_ARTIFACT_BYTES + 1)
    except OSError as error:
        raise CannotMeasure(f"{one.name}: what was read back could not be kept: {error}") from error
    if len(content) > MAX_ARTIFACT_BYTES:
        raise CannotMeasure(
            f"{one.name}: expected at most {MAX_ARTIFACT_BYTES:,} bytes to be read back, got more"
        )
    return Artifact(one.name, content)


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
            self._progress(min(self._bytes / 6 / (EXPECTED_STAGES * NOISE_TOKENS), 0.99))


def how_it_ended(script: str, finished: Finished, seconds: float) -> str | None:
    """One sentence for a run that did not come to its end; None when it did."""
    if finished.timed_out:
        return f"{script}: expected an end within {seconds:.0f} s, still ran then"
    if finished.exceeded is not None:
        return f"{script}: {finished.exceeded}"
    if finished.returncode:
        last = [line for line in finished.output.splitlines() if line.strip()][-1:]
        why = f": {last[0].strip()[:300]}" if last else ""
        return f"{script}: expected exit status 0, got {finished.returncode}{why}"
    return None
