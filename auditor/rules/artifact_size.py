"""Placeholder, replaced by the next commit."""

from auditor.evidence import Evidence, ShippedBytes
from auditor.rulesets import Ruleset
from auditor.verdict import Judgement, Rule, inconclusive


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """Nobody looks yet."""
    return inconclusive(evidence.why_not(ShippedBytes))


RULE = Rule(
    id="artifact-size",
    title="",
    authority="official",
    needs=(ShippedBytes,),
    check=check,
    documentation=__doc__ or "",
)
