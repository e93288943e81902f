"""What several rules ask of a run, asked once; no rule itself."""

from dataclasses import dataclass

import numpy as np

from auditor.evidence import (
    Evidence,
    Exercised,
    NoiseBound,
    PrefixSensitivity,
    Timeline,
    TimelineEvent,
)
from auditor.rulesets import Ruleset
from auditor.verdict import Finding, Judgement, Location, Strength, failed, inconclusive, passed

SHOWN = 5
"""Findings that a rule lists; its reason has the count."""


def beats_noise(noise: NoiseBound, ruleset: Ruleset) -> bool:
    """Whether the score lies under the source by more than chance and rounding can explain.

    Ville's inequality: a valid submission is `noise_nats` under the source with probability 1e-9.
    The gain a token must exceed rounding too. The same holds of bets on the charges.
    """
    return (
        noise.best_nats >= ruleset.noise_nats
        and noise.best_nats / noise.tokens >= ruleset.noise_nats_per_token
    )


def nearly_beats_noise(noise: NoiseBound, ruleset: Ruleset) -> bool:
    """Under the source by more than chance, but so little a token that rounding could do it."""
    return noise.best_nats >= ruleset.noise_nats and not beats_noise(noise, ruleset)


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


def ran_through(
    evidence: Evidence, strength: Strength, reason: str, *, bytes_too: bool = False
) -> Judgement:
    """PASS, unless the run left out a mechanism that the submission's own logs show.

    `bytes_too` says that what was measured holds of a score on bytes as well.
    """
    exercised = evidence.get(Exercised)
    if exercised is not None and exercised.by_bytes is not None and not bytes_too:
        return inconclusive(
            f"{reason}; but that is the network: what is claimed, {exercised.by_bytes}, is charged "
            "by bytes, which are not seen one by one"
        )
    if exercised is not None and not exercised.stages:
        return inconclusive(
            f"{reason}; but no log ends in a score, so which stage has to run is not known"
        )
    if exercised is not None and exercised.missing:
        return inconclusive(
            f"{reason}; but the run did not get to everything that the logs show: "
            + ", ".join(exercised.missing)
        )
    return passed(strength, reason)


def unreadable(timeline: Timeline) -> str | None:
    """Why a timeline says nothing about the score; None when it accounts for all of it."""
    if timeline.uncounted:
        return (
            f"{timeline.uncounted:,} charges came before the last of their position, and are not "
            "in the score: see single-pass"
        )
    if timeline.reconciled:
        return None
    return (
        f"the charges seen do not add up to the printed score: {timeline.charged_nats:,.4f} of "
        f"{timeline.printed_nats:,.4f} nats in {timeline.stage}"
    )


@dataclass(frozen=True, slots=True)
class Early:
    """An update that touches positions before their charge."""

    event: TimelineEvent
    uncharged: int
    """How many of its positions had not been charged."""
    sure: bool
    """Whether other positions were charged between the update and the charge of its own.

    Else the charge may have been fixed before the update, and only added up after it.
    """


def before_their_charge(timeline: Timeline, kind: str) -> list[Early]:
    """Updates of a kind that touch uncharged positions; position 0 is given, never charged."""
    charged = np.zeros(timeline.tokens, dtype=bool)
    charged[0] = True
    charges = [event for event in timeline.events if event.kind == "charge"]
    behind = 0
    early = []
    for event in timeline.events:
        if event.kind == "charge":
            charged[event.start : event.stop] = True
            behind += 1
        elif event.kind == kind:
            unknown = np.flatnonzero(~charged[event.start : event.stop]) + event.start
            if len(unknown):
                after = charges[behind] if behind < len(charges) else None
                covers = after is not None and (
                    after.start <= unknown[0] and unknown[-1] < after.stop
                )
                early.append(Early(event, len(unknown), sure=not covers))
    return early


def judge_early(
    evidence: Evidence, timeline: Timeline, kind: str, *, does: str, other: str
) -> Judgement | None:
    """What early updates of a kind amount to; None when there are none.

    `does` says what such an update does ("an optimiser step learnt from"); `other` is the kind of
    update that may explain the same effect.
    """
    early = before_their_charge(timeline, kind)
    if not early:
        return None
    findings = [
        Finding(
            f"{does} positions {one.event.start:,} to {one.event.stop - 1:,}, "
            f"{one.uncharged:,} of which had not been charged",
            Location(file=one.event.file, line=one.event.line, position=one.event.start),
            {"start": one.event.start, "stop": one.event.stop, "uncharged": one.uncharged},
        )
        for one in early[:SHOWN]
    ]
    total = f"{len(early):,} times {does} uncharged positions"
    effect = effect_of_the_future(evidence)
    if effect is None:
        return inconclusive(f"{total}, but no effect on a charge was seen", findings)
    explained = any(one.sure for one in before_their_charge(timeline, other))
    if explained and not any(one.sure for one in early):
        return inconclusive(f"{total}; {effect}, which a {other} explains as well", findings)
    return failed(Strength.RAN, findings, f"{total}, and {effect}")
