"""Placeholder, replaced by the next commit."""

from auditor.evidence import Evidence, StreamBytes
from auditor.rulesets import Ruleset
from auditor.verdict import Judgement, Rule, inconclusive


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """Nobody looks yet."""
    return inconclusive(evidence.why_not(StreamBytes))


RULE = Rule(
    id="byte-denominator",
    title="",
    authority="official",
    needs=(StreamBytes,),
    check=check,
    documentation=__doc__ or "",
)
