"""Placeholder, replaced by the next commit."""

from auditor.evidence import Evidence, PackageFiles
from auditor.rulesets import Ruleset
from auditor.verdict import Judgement, Rule, inconclusive


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """Nobody looks yet."""
    return inconclusive(evidence.why_not(PackageFiles))


RULE = Rule(
    id="packaging",
    title="",
    authority="official",
    needs=(PackageFiles,),
    check=check,
    documentation=__doc__ or "",
)
