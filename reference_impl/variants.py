"""The table of systems: each record as it was published, and its compliant twin."""

from dataclasses import dataclass

from reference_impl.adapt_first import evaluate_adapt_first
from reference_impl.errors import SettingsError
from reference_impl.ngram.carried import carried_mixer
from reference_impl.ngram.exact import ExactMixer, GatedExactMixer
from reference_impl.ngram.hashed import GatedHashedMixer, HashedMixer
from reference_impl.ngram.held_out import HeldOutCounts
from reference_impl.ngram.oracle import Oracle
from reference_impl.record import System
from reference_impl.score_first import evaluate_score_first

AS_PUBLISHED, COMPLIANT = "as_published", "compliant"


@dataclass(frozen=True, slots=True)
class Variant:
    """One system, what a reader must know about it, and which rules an audit finds it to break."""

    record: str
    name: str
    system: System
    blurb: str
    fails: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Return the record's title."""
        return f"Reference implementation of #{self.record.removeprefix('pr')} ({self.name})"


_TABLE = (
    Variant(
        "pr779",
        AS_PUBLISHED,
        System(HashedMixer, evaluate_score_first),
        "N-gram mixer of #779 as published. The hashed ratio is read at the true target alone and "
        "does not sum to one over the vocabulary, so val_bpb is not a code length. "
        "Not a valid score.",
        ("full-distribution", "context-only-keys"),
    ),
    Variant(
        "pr779",
        COMPLIANT,
        System(ExactMixer, evaluate_score_first),
        "Exact, context-only n-gram cache, interpolated down to uniform and mixed over the whole "
        "vocabulary with the neural distribution, then score-first test-time training.",
    ),
    Variant(
        "pr940",
        AS_PUBLISHED,
        System(HashedMixer, evaluate_adapt_first),
        "#940 as published. The model learns from the whole validation stream before any of it is "
        "charged, the hashed ratio does not sum to one over the vocabulary, and the end of the "
        "stream is charged more than once. Not a valid score.",
        ("strict-prefix", "score-before-update", "single-pass", "context-only-keys"),
    ),
    Variant(
        "pr940",
        COMPLIANT,
        System(ExactMixer, evaluate_score_first),
        "The settings of #940 in an honest order: each chunk is charged before the model learns "
        "from it, with an exact, context-only n-gram cache that is mixed over the whole vocabulary "
        "and grows window by window.",
    ),
    Variant(
        "pr834",
        AS_PUBLISHED,
        System(GatedHashedMixer, evaluate_score_first, Oracle),
        "#834 as published. The gate learns from counts in which each training token finds itself, "
        "and the hashed ratios that it weighs do not sum to one over the vocabulary. "
        "Not a valid score.",
        ("full-distribution", "context-only-keys"),
    ),
    Variant(
        "pr834",
        COMPLIANT,
        System(GatedExactMixer, evaluate_score_first, HeldOutCounts),
        "The gate of #834 over whole distributions: an exact, context-only n-gram cache that "
        "starts empty, weighed by a gate that learned from held-out counts.",
    ),
    Variant(
        "pr924",
        AS_PUBLISHED,
        System(GatedHashedMixer, evaluate_score_first, Oracle, carried_mixer),
        "#924 as published. Evaluation starts with the hashed counts of all training tokens, which "
        "no artifact holds, and their ratios do not sum to one over the vocabulary. "
        "Not a valid score.",
        ("full-distribution", "context-only-keys"),
    ),
    Variant(
        "pr924",
        COMPLIANT,
        System(GatedExactMixer, evaluate_score_first, HeldOutCounts),
        "The gate of #924 over whole distributions up to 16-grams: an exact, context-only n-gram "
        "cache that starts empty, weighed by a gate that learned from held-out counts.",
    ),
)
VARIANTS = {(variant.record, variant.name): variant for variant in _TABLE}
RECORDS = tuple(dict.fromkeys(variant.record for variant in _TABLE))
NAMES = (AS_PUBLISHED, COMPLIANT)


def variants(record: str, name: str) -> list[Variant]:
    """Return the record's variant of that name, or both."""
    return [variant(record, each) for each in (NAMES if name == "both" else (name,))]


def variant(record: str, name: str) -> Variant:
    """Return the one variant of that name."""
    if name not in NAMES:
        raise SettingsError(f"unknown variant {name!r}, expected one of {', '.join(NAMES)}, both")
    if record not in RECORDS:
        raise SettingsError(f"unknown record {record!r}, expected one of {', '.join(RECORDS)}")
    return VARIANTS[record, name]
