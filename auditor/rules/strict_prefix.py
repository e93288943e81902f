"""Placeholder, replaced by the next commit."""

from auditor.evidence import Evidence, PrefixSensitivity
from auditor.rulesets import Ruleset
from auditor.verdict import Judgement, Rule, inconclusive


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """Nobody looks yet."""
    return inconclusive(evidence.why_not(PrefixSensitivity))


RULE = Rule(
    id="strict-prefix",
    title="",
    authority="official",
    needs=(PrefixSensitivity,),
    check=check,
    documentation=__doc__ or "",
)
