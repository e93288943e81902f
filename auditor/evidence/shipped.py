"""What reading the shipped files says: source, logs, claims."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFiles:
    """Which of the files that a record folder must have are there, and which cannot be read."""

    entry: str | None
    """The training script."""
    readme: str | None
    submission_json: str | None
    logs: tuple[str, ...]
    problems: tuple[str, ...]
    """One sentence each: what is there but cannot be read."""
    scripts: tuple[str, ...] = ()
    """Python files at the top that may be the training script under another name."""
    unread: Mapping[str, str] = field(default_factory=dict)
    """Files that are in the folder but could not be had -> why."""
    track: str = "record"
    """`record`, or `non-record` where the folder's path or submission.json says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedBytes:
    """Sizes of what the folder ships: code that can run, and model blobs."""

    code: Mapping[str, int]
    """Path -> bytes of every file that can hold counted code."""
    models: Mapping[str, int]
    """Path -> bytes of every file that looks like a compressed model."""
    entry: str | None
    packed: Mapping[str, int] = field(default_factory=dict)
    """Path -> bytes of compressed copies of scripts."""

    @property
    def code_bytes(self) -> int:
        """Bytes of all code, helpers included."""
        return sum(self.code.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreLine:
    """A line of a log that states a score."""

    line: int
    label: str
    """What stands before val_loss, such as `final_int6_ttt_exact`."""
    val_loss: float | None
    """Nats per token."""
    val_bpb: float
    """Bits per byte of source text."""
    exact: bool
    """True when printed with at least seven decimals."""
    decimals: int = 4
    """Decimals of the number of the line that is printed with fewest."""
    eval_seconds: float | None = None
    """How long the stage took, where the line says so."""
    stated_bytes: int | None = None
    """Bytes that the line says it divided by."""

    @property
    def during_training(self) -> bool:
        """Whether it is a validation between two steps of training."""
        return self.label.startswith("step:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Quantisation looked at data after the clock of training had stopped."""

    line: int
    seconds: float | None
    """None where the log does not say how long it took."""
    training: bool
    """Whether the log says that it was training data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What a log says of time, hardware and counters."""

    gpus: tuple[str, ...] = ()
    """Names of the accelerators that its table lists."""
    steps: int | None = None
    stop_ms: int | None = None
    """Clock of training when the time limit stopped it."""
    stop_line: int | None = None
    calibrations: tuple[Calibration, ...] = ()
    total_eval_seconds: float | None = None
    total_eval_line: int | None = None
    train_shards: int | None = None
    gates: Mapping[str, int] = field(default_factory=dict)
    """Counters of an n-gram expert that looks at the kind of the token being predicted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLog:
    """The numbers of one run log."""

    file: str
    seed: int | None
    tokens: int | None
    """Tokens of the validation stream that the log says it loaded."""
    scores: tuple[ScoreLine, ...]
    code_bytes: int | None
    model_bytes: int | None
    """Compressed model, as the log says."""
    total_bytes: int | None
    facts: RunFacts = field(default_factory=RunFacts)
    settings: Mapping[str, str] = field(default_factory=dict)
    """The block of settings that the run printed when it started."""

    @property
    def final(self) -> ScoreLine | None:
        """The last score of the run; the exact form where the log prints both."""
        stages = [score for score in self.scores if not score.during_training] or self.scores
        if not stages:
            return None
        exact = [score for score in stages if score.exact]
        last = stages[-1]
        if last.exact or not exact or exact[-1].line < last.line - 1:
            return last
        return exact[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedNumbers:
    """All run logs of the submission."""

    logs: tuple[RunLog, ...]

    def near(self, claimed_bpb: float | None) -> tuple[RunLog, ...]:
        """Logs that end near a claimed score; without one, all that end in a score.

        Seeds of one claim lie within 0.02 of it; an ablation shows nothing of the claimed run.
        Where none does, but the claim is the mean of all, they are the claimed runs.
        """
        ended = tuple(log for log in self.logs if log.final is not None)
        if claimed_bpb is None or not ended:
            return ended
        scores = [log.final.val_bpb for log in ended if log.final is not None]
        near = tuple(
            log for log, bpb in zip(ended, scores, strict=True) if abs(bpb - claimed_bpb) < 0.02
        )
        mean = sum(scores) / len(scores)
        return near if near or abs(mean - claimed_bpb) > 0.001 else ended


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedNumbers:
    """What submission.json says of itself."""

    file: str
    val_bpb: float | None
    """The headline score."""
    seed_val_bpb: Mapping[str, float]
    """Seed -> its score."""
    seed_bytes: Mapping[str, int]
    """Seed -> its artifact bytes."""
    bytes_total: int | None
    seeds: tuple[str, ...] = ()
    """Every seed that it names, with a score or without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalScores:
    """The final scores of the claimed runs of a record, one a seed."""

    file: str | None
    """One of the logs."""
    val_bpb: tuple[float, ...]
    nats_per_bpb: float | None
    """Nats a token of one bit per byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorRecord:
    """The record that this one says it beats."""

    name: str
    scores: FinalScores


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRead:
    """A table read whose index is made from the token being predicted."""

    file: str
    line: int
    text: str
    function: str
    key_line: int
    """Where the index is made."""
    key_text: str
    reached: bool | None
    """Whether the entry point gets there under the effective configuration; None when unknown."""
    why: str
    """How that was decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFlow:
    """Where the token being predicted flows, as read in the source."""

    files: tuple[str, ...]
    """Sources that were read."""
    unread: tuple[str, ...]
    """Sources that could not be read, each with the reason."""
    target_reads: tuple[TargetRead, ...]
    table_reads: int
    """Table reads that were looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyUse:
    """Validation tokens of the claimed score that something had taken in before their charge."""

    kind: str
    """`step` of an optimiser, `table` written at an index made of tokens, or `data` of a file."""
    file: str
    line: int
    text: str
    charge_file: str
    charge_line: int
    """Where the tokens meet what had learnt from them."""
    charge_text: str
    report_line: int
    """Where the score is printed."""
    sure: bool
    """Whether the tokens are the same beyond doubt, and the print is that of the claimed score."""
    doubts: tuple[str, ...]
    """Settings on which it hangs that could not be decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnTheWay:
    """A line that something of the claimed score came through."""

    file: str
    line: int
    text: str
    report_line: int
    doubts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """A mixture of two probabilities of the true token that the claimed score came through."""

    kind: str
    """`weighed` by its own loss; done where a count is `known` alone; of one that is `spelled`."""
    file: str
    line: int
    text: str
    report_line: int
    doubts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedLearning:
    """What was learnt from validation tokens and then written into the artifact."""

    kind: str
    file: str
    line: int
    text: str
    saved_file: str
    saved_line: int
    saved_text: str
    scored: bool
    """Whether the claimed score is, beyond doubt, that of something that had learnt it."""
    doubts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteTable:
    """A table of bytes a token, followed on sample tokens."""

    file: str
    line: int
    """Where the loop begins that fills it."""
    text: str
    counted: Mapping[str, int]
    """Piece -> bytes that are counted for it, its leading space included."""
    expected: Mapping[str, int]
    """Piece -> bytes of the text that it stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedBytes:
    """A quotient that takes the same number of bytes for every token."""

    file: str
    line: int
    text: str
    bytes_per_token: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteTables:
    """All such tables of the program."""

    tables: tuple[ByteTable, ...]
    fixed: tuple[FixedBytes, ...] = ()
    """Quotients by a constant, of a program that counts no bytes anywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLine:
    """A line of a shipped source."""

    file: str
    line: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftGates:
    """Gates that mix a position with the one before."""

    masked: tuple[SourceLine, ...]
    """In a function that speaks of where a document begins."""
    open: tuple[SourceLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardAliases:
    """Commands of a README that put validation shards in the place of training shards."""

    folder: str
    """Name of the folder that the run lines train from; empty where they name none."""
    lines: tuple[SourceLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationData:
    """Calls by which a script calibrates its quantisation on data."""

    training: tuple[SourceLine, ...]
    """They are given training data."""
    other: tuple[SourceLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeighedGate:
    """A helper's function that gives its answer or none by the kind of the token being predicted.

    What it gives is weighed by settings; one of zero takes it out of the score.
    """

    file: str
    line: int
    text: str
    function: str
    weights: tuple[str, ...]
    """Settings that its answer is weighed by."""
    thresholds: tuple[str, ...]
    """Settings that a share has to reach; none reaches more than one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetGates:
    """Conditions of compiled helpers that ask for the kind of the token being predicted."""

    lines: tuple[SourceLine, ...]
    weighed: tuple[WeighedGate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningOrder:
    """In which order the program learns from validation tokens and charges them, as read."""

    files: tuple[str, ...]
    unread: tuple[str, ...]
    """Sources that could not be read, each with the reason."""
    headline: str | None
    """How the print of the claimed score was found; None when it is a guess."""
    early: tuple[EarlyUse, ...]
    chosen: tuple[OnTheWay, ...]
    """Where the smaller of two losses is taken."""
    rooted: tuple[OnTheWay, ...]
    """Where the root of a token's probability is taken for the probability of each of its bytes."""
    mixed: tuple[Mixed, ...]
    """Where probabilities of the true token are mixed as those of no distribution can be."""
    covered: tuple[OnTheWay, ...]
    """Where the loss is set to nothing because a file that was read has the token."""
    tables: tuple[OnTheWay, ...]
    """Where a table is filled from training tokens that the score reads with no file between."""
    saved: tuple[SavedLearning, ...]
