"""What is asked, for scripts: rules and dated rulesets."""

import textwrap
from typing import Any

from fastapi import APIRouter, Depends

from api.routes.dependencies import reader
from auditor.rules import RULES
from auditor.rulesets import DEFAULT, RULESETS

router = APIRouter(prefix="/v1", tags=["rules"], dependencies=[Depends(reader)])


@router.get("/rules")
def read_rules() -> list[dict[str, Any]]:
    """Every rule, in the order of a report, with its documentation."""
    return [
        {
            "id": rule.id,
            "title": rule.title,
            "authority": rule.authority,
            "needs": [kind.__name__ for kind in rule.needs],
            "matters": rule.matters,
            "mend": rule.mend,
            "documentation": textwrap.dedent(rule.documentation).strip(),
        }
        for rule in RULES
    ]


@router.get("/rulesets")
def read_rulesets() -> list[dict[str, Any]]:
    """Every ruleset that an audit may be judged by."""
    return [
        {"name": ruleset.name, "default": ruleset is DEFAULT, "rules": list(ruleset.rules)}
        for ruleset in RULESETS.values()
    ]
