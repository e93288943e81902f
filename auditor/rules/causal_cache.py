"""Placeholder, replaced by the next commit."""

from auditor.evidence import Evidence, Timeline
from auditor.rulesets import Ruleset
from auditor.verdict import Judgement, Rule, inconclusive


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """Nobody looks yet."""
    return inconclusive(evidence.why_not(Timeline))


RULE = Rule(
    id="causal-cache",
    title="",
    authority="official",
    needs=(Timeline,),
    check=check,
    documentation=__doc__ or "",
)
