"""What was seen while the submission ran."""

from collections.abc import Mapping
from dataclasses import dataclass


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
    """Printed val_loss times the charges that are in it."""
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
    uncounted: int = 0
    """Of the charges, those that the printed score leaves out: it has the last of each position."""

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
    """What the submission charges for them; where it charges again, the first time or, where single
    charges are not known, all times together."""
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
