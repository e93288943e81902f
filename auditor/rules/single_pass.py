"""Every position is charged exactly once (C4).

A second charge, made after the state has seen the token, is not a prediction; choosing between two
charges is choosing with the answer at hand.

Judged by counting, in the stage that printed the score, how often each position was charged. The
charges must add up to the printed score, all of them or the last of each position alone, or nobody
knows what was counted. A position that was charged, then learnt from or taken into a cache, and
then charged again fails the rule; where only the last charge of each is in the score, which may
stand after weights were thrown away, it fails when a source or a changed end shows that they were
not. Windows that overlap at the end of the stream charge some tokens
twice without that; it gives them too much weight in the mean and nothing away, organisers have
accepted such records, and the result is INCONCLUSIVE with the count.

Where nothing ran, the source shows one case of it: the minimum of two losses of the same tokens,
taken on the way to the claimed score.

Violates: #573, which scores several times and keeps the smaller loss. Innocent: #549, which
trains several epochs on chunks that were scored once.

How it can be wrong: state that is neither an optimiser's nor a counter's is not seen as an update.
The tokens dropped at the end of the stream (less than one window) are not charged at all; how much
may be missing is the business of full coverage, not of this rule.
"""

from auditor.evidence import (
    Evidence,
    LearningOrder,
    NoiseBound,
    OnTheWay,
    PrefixSensitivity,
    Timeline,
)
from auditor.rules.measured import beats_noise, effect_of_the_future, ran_through, unreadable
from auditor.rules.read_order import beside_a_run, lines_on_the_way
from auditor.rulesets import Ruleset
from auditor.verdict import (
    Finding,
    Judgement,
    Location,
    Rule,
    Strength,
    failed,
    inconclusive,
)


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """FAIL when a position was charged more than once, or had the smaller of two charges."""
    order = evidence.get(LearningOrder)
    read = lines_on_the_way(order, order.chosen if order else (), _smaller)
    return beside_a_run(_ran(evidence, ruleset), read)


def _smaller(one: OnTheWay) -> str:
    return (
        f"line {one.line} takes the smaller of two losses ({one.text}) for the score that line "
        f"{one.report_line} prints; which is smaller, only the answer tells"
    )


def _ran(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    timeline = evidence.get(Timeline)
    if timeline is None:
        return inconclusive(evidence.why_not(Timeline))
    why = None if timeline.uncounted else unreadable(timeline)
    if why is not None:
        return inconclusive(why)
    counted = f"{timeline.charged_positions:,} of {timeline.tokens - 1:,} positions charged"
    if not timeline.charged_again:
        return ran_through(evidence, Strength.RAN, f"{counted}, each once")
    place = next(event for event in timeline.events if event.kind == "charge")
    times = timeline.charged_positions + timeline.charged_again
    finding = Finding(
        f"{timeline.charged_positions:,} positions were charged {times:,} times; "
        f"{timeline.again_after_update:,} of the second charges came after an update had seen "
        "the token",
        Location(file=place.file, line=place.line, position=timeline.first_again),
        {"again": timeline.charged_again, "after_update": timeline.again_after_update},
    )
    if not timeline.again_after_update:
        return inconclusive(
            f"{counted}, {timeline.charged_again:,} of them again with nothing learnt in between",
            [finding],
        )
    noise = evidence.get(NoiseBound)
    shown = effect_of_the_future(evidence) or (noise is not None and beats_noise(noise, ruleset))
    if timeline.uncounted and not shown:
        return inconclusive(
            f"{counted}; only the last charge of each is in the score, and what was learnt before "
            "it may have been thrown away",
            [finding],
        )
    return failed(Strength.RAN, [finding], counted)


RULE = Rule(
    id="single-pass",
    title="Every position is charged exactly once",
    authority="official",
    needs=(Timeline, PrefixSensitivity, NoiseBound, LearningOrder),
    check=check,
    matters="A second charge, or a choice between two, is made with the answer at hand.",
    mend="Charge every position exactly once, from left to right, and keep the first charge.",
    documentation=__doc__ or "",
)
