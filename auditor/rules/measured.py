"""What several rules ask of a run, asked once; no rule itself."""

import numpy as np

from auditor.evidence import Evidence, NoiseBound, PrefixSensitivity, Timeline, TimelineEvent
from auditor.rulesets import Ruleset


def beats_noise(noise: NoiseBound, ruleset: Ruleset) -> bool:
    """Whether the score lies under the source by more than chance and rounding can explain.

    Ville's inequality: a valid submission is `noise_nats` under the source with probability 1e-9.
    The gain a token must exceed rounding too.
    """
    return (
        noise.ln_e >= ruleset.noise_nats
        and noise.ln_e / noise.tokens >= ruleset.noise_nats_per_token
    )


def nearly_beats_noise(noise: NoiseBound, ruleset: Ruleset) -> bool:
    """Under the source by more than chance, but so little a token that rounding could do it."""
    return noise.ln_e >= ruleset.noise_nats and not beats_noise(noise, ruleset)


def effect_of_the_future(evidence: Evidence) -> str | None:
    """What shows that using a token before its charge changed the score; None when nothing does.

    An update that touches tokens too early can be harmless: a warm-up whose weights are thrown
    away, a cache that is never read, a charge that was fixed before the update and added up after
    it. Only one that moves charges is a violation.
    """
    prefix = evidence.get(PrefixSensitivity)
    if prefix is None or not future_moved_charges(prefix):
        return None
    return f"{prefix.moved:,} charges before position {prefix.position:,} moved with later tokens"


def future_moved_charges(prefix: PrefixSensitivity) -> bool:
    """Whether earlier charges moved with later tokens, and not just from run to run."""
    return prefix.moved > 0 and prefix.repeat_moved == 0


def unreadable(timeline: Timeline) -> str | None:
    """Why a timeline says nothing about the score; None when it accounts for all of it."""
    if timeline.reconciled:
        return None
    return (
        f"the charges seen do not add up to the printed score: {timeline.charged_nats:,.4f} of "
        f"{timeline.printed_nats:,.4f} nats in {timeline.stage}"
    )


def before_their_charge(timeline: Timeline, kind: str) -> list[tuple[TimelineEvent, int]]:
    """Events of a kind that touch uncharged positions, with how many of them they touch.

    Position 0 is never charged: it is given.
    """
    charged = np.zeros(timeline.tokens, dtype=bool)
    charged[0] = True
    early = []
    for event in timeline.events:
        if event.kind == "charge":
            charged[event.start : event.stop] = True
        elif event.kind == kind:
            unknown = int((~charged[event.start : event.stop]).sum())
            if unknown:
                early.append((event, unknown))
    return early
