"""The two variants of a record: as it was published, and its compliant twin."""

from dataclasses import dataclass

from reference_impl.errors import SettingsError
from reference_impl.ngram.exact import ExactMixer
from reference_impl.ngram.hashed import HashedMixer
from reference_impl.record import MixerOf


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to mix n-grams in, and what a reader must know about it."""

    name: str
    mixer_of: MixerOf
    module: str  # of the mixer, below reference_impl
    mixer_name: str
    blurb: str


AS_PUBLISHED = Variant(
    "as_published",
    HashedMixer,
    "ngram/hashed.py",
    "HashedMixer",
    "N-gram mixer of #779 as published. The hashed ratio is read at the true target alone and "
    "does not sum to one over the vocabulary, so val_bpb is not a code length. Not a valid score.",
)
COMPLIANT = Variant(
    "compliant",
    ExactMixer,
    "ngram/exact.py",
    "ExactMixer",
    "Exact, context-only n-gram cache, interpolated down to uniform and mixed over the whole "
    "vocabulary with the neural distribution, then score-first test-time training.",
)
VARIANTS = {variant.name: variant for variant in (AS_PUBLISHED, COMPLIANT)}


def variants(name: str) -> list[Variant]:
    """Return the variant of that name, or both."""
    if name == "both":
        return list(VARIANTS.values())
    if name not in VARIANTS:
        raise SettingsError(
            f"unknown variant {name!r}, expected one of {', '.join(VARIANTS)}, both"
        )
    return [VARIANTS[name]]


def variant(name: str) -> Variant:
    """Return the one variant of that name."""
    if name not in VARIANTS:
        raise SettingsError(f"unknown variant {name!r}, expected one of {', '.join(VARIANTS)}")
    return VARIANTS[name]
