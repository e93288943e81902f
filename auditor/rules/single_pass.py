"""Every position is charged exactly once (C4).

A second charge, made after the state has seen the token, is not a prediction; choosing between two
charges is choosing with the answer at hand.

Judged by counting, in the stage that printed the score, how often each position was charged. The
charges must add up to the printed score, or nobody knows what was counted.

How it can be wrong: the tokens dropped at the end of the stream (less than one window) are not
charged at all; how much may be missing is the business of full coverage, not of this rule.
"""

from auditor.evidence import Evidence, Timeline
from auditor.rules.measured import unreadable
from auditor.rulesets import Ruleset
from auditor.verdict import (
    Finding,
    Judgement,
    Location,
    Rule,
    Strength,
    failed,
    inconclusive,
    passed,
)


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """FAIL when a position was charged more than once."""
    timeline = evidence.get(Timeline)
    if timeline is None:
        return inconclusive(evidence.why_not(Timeline))
    why = unreadable(timeline)
    if why is not None:
        return inconclusive(why)
    counted = f"{timeline.charged_positions:,} of {timeline.tokens - 1:,} positions charged"
    if not timeline.charged_again:
        return passed(Strength.RAN, f"{counted}, each once")
    place = next(event for event in timeline.events if event.kind == "charge")
    return failed(
        Strength.RAN,
        [
            Finding(
                f"{timeline.charged_positions:,} positions were charged "
                f"{timeline.charged_positions + timeline.charged_again:,} times",
                Location(file=place.file, line=place.line, position=timeline.first_again),
                {"again": timeline.charged_again},
            )
        ],
        counted,
    )


RULE = Rule(
    id="single-pass",
    title="Every position is charged exactly once",
    authority="official",
    needs=(Timeline,),
    check=check,
    documentation=__doc__ or "",
)
