"""Placeholder, replaced by the next commit."""

from auditor.evidence import Evidence, DataFlow
from auditor.rulesets import Ruleset
from auditor.verdict import Judgement, Rule, inconclusive


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """Nobody looks yet."""
    return inconclusive(evidence.why_not(DataFlow))


RULE = Rule(
    id="context-only-keys",
    title="",
    authority="official",
    needs=(DataFlow,),
    check=check,
    documentation=__doc__ or "",
)
