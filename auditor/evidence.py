"""Every kind of evidence: frozen facts that probes measured and rules judge."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from auditor.errors import ToolError

E = TypeVar("E")


# --- read from the shipped files ---------------------------------------------------------------


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


# --- seen while the submission ran -------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEvent:
    """One thing that happened during the scored stage, and the positions that it touched."""

    kind: str
    """`charge`, `cache-write` or `optimizer-step`."""
    order: int
    """Index among all events of the run."""
    start: int
    """First position touched."""
    stop: int
    """One past the last position touched."""
    file: str | None = None
    line: int | None = None
    """Where the submission's code stood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Charges, cache writes and optimiser steps, in order, of the stage that printed the score."""

    stage: str
    """Label of the score line."""
    tokens: int
    """Length of the validation stream."""
    events: tuple[TimelineEvent, ...]
    charged_nats: float
    """Sum of the charges that were recorded."""
    printed_nats: float
    """Printed val_loss times the positions charged."""
    charged_positions: int
    """Positions charged at least once."""
    charged_again: int
    """Charges beyond the first of their position."""
    first_again: int | None
    """First position charged more than once."""
    again_after_update: int
    """Charges beyond the first that came after an update had touched their position."""
    entries_before: int
    """Entries in the caches before the first write of the stage."""
    unplaced: int
    """Writes and steps during the stage whose tokens could not be found in the stream."""

    @property
    def reconciled(self) -> bool:
        """Whether the recorded charges add up to the printed score (printed to 8 decimals)."""
        if not self.charged_positions:
            return False
        return abs(self.charged_nats - self.printed_nats) / self.charged_positions < 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseBound:
    """The printed score on a stream whose code length is known, because we drew it."""

    source: str
    vocab_size: int
    tokens: int
    """Positions charged."""
    source_nats: float
    """Code length of those positions under the source that drew them."""
    charged_nats: float
    """What the submission charges for them; where it charges again, the first time."""
    hedged_nats: float | None
    """Nats won against the source by betting small shares on each charge; None when the charges are
    not known one by one, or the tokens do not all cost the same. P(won >= a) <= exp(-a) for a valid
    submission, as for `ln_e`."""
    curve: tuple[tuple[int, float], ...]
    """Tokens charged, and nats by which the score so far beats the source; empty when the charges
    are not known one by one."""
    slack_nats_per_token: float | None
    """How far above the source its score before adaptation was; None when it prints none."""

    @property
    def ln_e(self) -> float:
        """Nats by which the submission beat the source: P(ln E >= a) <= exp(-a) for a valid one."""
        return self.source_nats - self.charged_nats

    @property
    def best_nats(self) -> float:
        """The larger of both proofs."""
        return self.ln_e if self.hedged_nats is None else max(self.ln_e, self.hedged_nats)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherSources:
    """The same bound on sources that repeat: contexts, stretches, words."""

    bounds: tuple[NoiseBound, ...]
    """Up to the first that is beaten."""
    failed: tuple[str, ...]
    """Sources on which the run gave no score, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixSensitivity:
    """What happened to earlier charges when a position and all after it were changed."""

    position: int
    """First position that was changed."""
    compared: int
    """Positions before it whose charges were compared."""
    moved: int
    """How many of them moved."""
    largest_nats: float
    """Largest move."""
    first_moved: int | None
    repeat_moved: int | None
    """How many moved between two runs on the same stream; None when that was not needed."""
    stretches: tuple[tuple[int, float, float, float], ...] = ()
    """Stretches of the stream by where they end: mean loss before and after the change, and the
    largest move."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exercised:
    """Which mechanisms the submission's own logs speak of, and which the run left out."""

    mechanisms: tuple[str, ...]
    """Words of the logs' lines, such as `ttt` or `ngram`."""
    missing: tuple[str, ...]
    """Those of which the run printed nothing, each with the place in a log."""
    by_bytes: str | None = None
    """The claimed line, where it is bits per byte and no mean of charges of tokens."""
    stages: tuple[str, ...] = ()
    """What the claimed stage is called in the logs, without numbers; the run's score is of one of
    them. Empty where no log ends in a score, so that nobody knows what has to run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedScore:
    """The claimed line of one run, and what the recorder saw being added up before it."""

    source: str
    """Of the validation stream; streams of different sources share nothing."""
    label: str
    val_loss: float
    val_bpb: float
    decimals: int
    """Of the printed loss."""
    source_nats: float | None
    """A token, of the whole stream under its source; None where that is not known."""
    opened: bool
    """Whether the script opened the validation shard."""
    charged_nats: Mapping[str, float]
    """Place in the code -> mean of the values, one a token charged, that were added up there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedScores:
    """What was printed as the claimed score, run for run."""

    runs: tuple[PrintedScore, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamBytes:
    """The byte count that the printed score implies on our stream, and the true one."""

    implied: float
    """tokens * val_loss / (ln 2 * val_bpb)."""
    expected: int
    """Bytes of the text that the charged tokens spell."""
    rounding: float = 0.0
    """How far the printed decimals let `implied` be off, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactTransplant:
    """The score of a run that was handed another run's artifact; all else in it is its own.

    The two runs differ in their training shards, which share nothing.
    """

    files: tuple[str, ...]
    """Names of the files that were handed over: written by a run, and read back by it."""
    bytes: int
    score_nats: float
    """A token, printed by the run that made the artifact."""
    transplanted_nats: float
    """Printed by the run that was handed it."""
    repeat_nats: float | None
    """The first run again; None when that was not needed."""
    other_nats: float | None
    """The other run with its own artifact; None when that was not needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationSwap:
    """What became of the artifact when the validation shards held other text."""

    files: tuple[str, ...]
    """Names of the files that a run writes and reads back."""
    bytes: int
    differ: tuple[str, ...]
    """Those that came out different."""
    repeat_differ: tuple[str, ...] | None
    """Those that differ between two equal runs; None when that was not needed."""
    score_nats: float
    """A token, printed by the run whose artifact saw the true validation shards."""
    swapped_nats: float | None
    """Printed for the same shards by the same program with the other artifact; None when that was
    not needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KraftSum:
    """The charges that one position would have for the tokens that could stand there."""

    position: int
    total: float
    """Sum of exp(-charge) over the tokens that were tried; at most one for a distribution."""
    least: float
    """The same sum if rounding to bfloat16 had made every charge too small."""
    largest: float
    answered: int
    """Tokens for which a charge was seen."""
    vocab_size: int
    charged_nats: float | None
    """For the true token, in the run itself."""
    doubt: str | None
    """Why the sum means nothing; None when both checks hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KraftSums:
    """Kraft sums at several positions of real text."""

    sums: tuple[KraftSum, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTrip:
    """A text that came back from bits, decoded by the record's own system without the text."""

    tokens_sha256: str
    """Of the text, as 16-bit tokens."""
    positions: int
    """Tokens that were coded, all but the first."""
    text_bytes: int
    """Bytes of the text that they stand for."""
    folder_bytes: int
    """Everything that the decoder's folder holds."""
    bits: int | None
    """Of the coded tokens; None where nothing can be coded."""
    ideal_bits: float | None
    """Minus log2 of the system's probabilities, as its process reports it; None where that is no
    number, since a token had no chance at all."""
    refused_position: int | None
    """Where the system gave no distribution; None where all came back."""
    refused_total: float | None
    """What its probabilities sum to there, where that is a number."""
    refused_why: str | None

    @property
    def bits_per_byte(self) -> float | None:
        """Return the score that the bits are."""
        return None if self.bits is None else self.bits / self.text_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindReplay:
    """Windows that the record's own system charged again, without the tokens after each position.

    Sums of nats are None where a token had no chance at all; in differences it costs 1,000 nats.
    """

    tokens_sha256: str
    """Of the text, as 16-bit tokens."""
    text_bytes: int | None
    """Bytes of the text that all tokens but the first stand for, where that is known."""
    folder_bytes: int
    """Everything that the folder holds in which the system charged."""
    positions: int
    """Positions of the whole text."""
    windows: int
    """Windows of the whole text."""
    replayed_windows: int
    replayed: int
    """Positions in the replayed windows."""
    fast_nats: float | None
    """What the fast pass, which gets whole windows, charged for the whole text."""
    fast_there_nats: float | None
    """What it charged for the replayed positions."""
    blind_nats: float | None
    """What the replay charged for them; a code length, whatever the fast pass did."""
    blind_error_nats: float | None
    """Standard error of the replay's mean charge, as an estimate for the whole text."""
    gained_nats: float
    """By how much the fast pass charged less than the replay, over the replayed positions."""
    root_square_nats: float
    """Root of the sum of the squares of these differences."""
    worst_nats: float
    """Largest difference between a charge of the fast pass and one of a replay."""
    worst_position: int
    tolerance_nats: float
    """Charges that differ by no more are the same."""
    differing: int
    """Positions whose charges differ by more."""
    repeated: int
    """Of these, those that were replayed once more, largest differences first."""
    unrepeated: int
    """Positions whose charge was another one when the same pass was made again."""
    noise_nats: float
    """Largest difference between two charges that the future cannot have made different."""
    miss_hundredth: float
    """Probability that no window was drawn of a leak that is in one of a hundred."""
    miss_tenth: float
    """Of a leak that is in one of ten."""
    miss_position: float
    """Of a leak at every thousandth position."""
    nonce: str
    """What the draw was made with, after the charges were in, in hexadecimal."""

    @property
    def fast_bits_per_byte(self) -> float | None:
        """Return the score that the fast pass claims."""
        if self.fast_nats is None or not self.text_bytes:
            return None
        return self.fast_nats / math.log(2) / self.text_bytes


class Evidence:
    """At most one value of each kind; for an absent kind, the reason why."""

    def __init__(self) -> None:
        """Start with nothing collected."""
        self._kinds: dict[type, Any] = {}
        self._missing: dict[type, str] = {}

    def add(self, *facts: object) -> None:
        """Keep facts; each kind can be measured once."""
        for fact in facts:
            if type(fact) in self._kinds:
                raise ToolError(f"{type(fact).__name__} was collected twice")
            self._kinds[type(fact)] = fact

    def cannot(self, reason: str, *kinds: type) -> None:
        """Remember why these kinds could not be collected."""
        for kind in kinds:
            self._missing[kind] = reason

    def get(self, kind: type[E]) -> E | None:
        """The fact of this kind, or None."""
        found: E | None = self._kinds.get(kind)
        return found

    def why_not(self, kind: type) -> str:
        """Why a kind is absent, as the reason of an INCONCLUSIVE."""
        return self._missing.get(kind, f"no {kind.__name__} was collected")

    def to_json(self) -> dict[str, Any]:
        """Plain values by kind name, with the derived figures that people ask for."""
        facts = {kind.__name__: asdict(fact) for kind, fact in self._kinds.items()}
        noise, others = self.get(NoiseBound), self.get(OtherSources)
        if noise is not None:
            facts["NoiseBound"]["ln_e"] = noise.ln_e
        if others is not None:
            for said, bound in zip(facts["OtherSources"]["bounds"], others.bounds, strict=True):
                said["ln_e"] = bound.ln_e
        facts.update({kind.__name__: {"absent": reason} for kind, reason in self._missing.items()})
        return dict(sorted(facts.items()))
