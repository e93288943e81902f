"""Placeholder, replaced by the next commit."""

from auditor.evidence import Evidence, NoiseBound
from auditor.rulesets import Ruleset
from auditor.verdict import Judgement, Rule, inconclusive


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """Nobody looks yet."""
    return inconclusive(evidence.why_not(NoiseBound))


RULE = Rule(
    id="full-distribution",
    title="",
    authority="official",
    needs=(NoiseBound,),
    check=check,
    documentation=__doc__ or "",
)
