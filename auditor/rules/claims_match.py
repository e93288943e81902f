"""Placeholder, replaced by the next commit."""

from auditor.evidence import Evidence, ClaimedNumbers
from auditor.rulesets import Ruleset
from auditor.verdict import Judgement, Rule, inconclusive


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """Nobody looks yet."""
    return inconclusive(evidence.why_not(ClaimedNumbers))


RULE = Rule(
    id="claims-match",
    title="",
    authority="official",
    needs=(ClaimedNumbers,),
    check=check,
    documentation=__doc__ or "",
)
