"""Pages to read: the leaderboard, lists, rules; and those on which reviewers decide."""

import json
import textwrap

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse
from sqlalchemy import select

from api import search
from api.errors import not_found
from api.routes.dependencies import After, ReviewDep, ReviewerDep, SessionDep, next_page, reader
from api.routes.review import rejudge_of
from api.search import Wanted
from api.tables import AppealRow, RejudgeRow, VerdictRow
from api.web import page
from auditor.audit import ENGINE
from auditor.report.html import render_html
from auditor.rules import RULES
from auditor.rulesets import DEFAULT, RULESETS

ENTRIES = 50
"""Of one page."""
FRESH = {"Cache-Control": "no-store"}

router = APIRouter(include_in_schema=False, dependencies=[Depends(reader)])


@router.get("/leaderboard")
def read_leaderboard(
    request: Request, session: SessionDep, after: After = None, place: int = Query(0, ge=0)
) -> Response:
    """Claimed and verified scores."""
    found, following = search.ranking(session, DEFAULT.name, ENTRIES, after)
    more = next_page(request, following)
    return page(
        request,
        "leaderboard.html.j2",
        headers=FRESH,
        verdicts=found,
        numbered=place,
        ruleset=DEFAULT.name,
        following=more and f"/leaderboard?after={following}&place={place + len(found)}",
    )


@router.get("/verdicts")
def read_verdicts(
    request: Request,
    session: SessionDep,
    q: str = Query("", max_length=200),
    outcome: str = Query("", max_length=20),
    rule: str = Query("", max_length=64),
    after: After = None,
) -> Response:
    """Verdicts, with a form to search them."""
    wanted = Wanted(text=q or None, outcome=outcome or None, rule=rule or None)
    found, following = search.verdicts(session, wanted, ENTRIES, after)
    return page(
        request,
        "verdicts.html.j2",
        headers=FRESH,
        verdicts=found,
        wanted=wanted,
        rules=RULES,
        following=next_page(request, following),
    )


@router.get("/compare")
def read_comparison(
    session: SessionDep, a: str = Query(max_length=64), b: str = Query(max_length=64)
) -> Response:
    """Two verdicts side by side."""
    documents = []
    for verdict_id in (a, b):
        row = session.get(VerdictRow, verdict_id.strip())
        if row is None:
            raise not_found("verdict", verdict_id)
        documents.append(json.loads(row.document))
    return HTMLResponse(render_html(documents), headers={"Cache-Control": "no-cache"})


@router.get("/rules")
def read_rules_page(request: Request) -> Response:
    """What is asked."""
    return page(request, "rules.html.j2", rules=RULES)


@router.get("/rules/{rule_id}")
def read_rule_page(request: Request, rule_id: str) -> Response:
    """One rule: its motive, how it is judged, how it can be wrong."""
    for rule in RULES:
        if rule.id == rule_id:
            text = textwrap.dedent(rule.documentation).strip()
            return page(request, "rule.html.j2", rule=rule, documentation=text)
    raise not_found("rule", rule_id)


@router.get("/appeals")
def read_appeals(
    request: Request, actor: ReviewerDep, session: SessionDep, after: After = None
) -> Response:
    """What waits for an answer."""
    query = select(AppealRow).where(AppealRow.state == "open")
    rows, following = search.oldest_first(session, query, ENTRIES, after)
    more = next_page(request, following)
    return page(request, "appeals.html.j2", headers=FRESH, appeals=rows, following=more)


@router.get("/rejudges")
def read_rejudges(request: Request, actor: ReviewerDep, session: SessionDep) -> Response:
    """The form for a new set, and the latest ones."""
    newest = select(RejudgeRow).order_by(RejudgeRow.created.desc()).limit(ENTRIES)
    return page(
        request,
        "rejudges.html.j2",
        headers=FRESH,
        sets=session.scalars(newest).all(),
        rules=RULES,
        rulesets=list(RULESETS),
        default=DEFAULT.name,
        engine=ENGINE,
    )


@router.get("/rejudges/{rejudge_id}")
def read_rejudge_page(
    request: Request, rejudge_id: str, session: SessionDep, review: ReviewDep
) -> Response:
    """A set: before and after, and what to do about it."""
    told = rejudge_of(session, review, rejudge_id)
    return page(request, "rejudge.html.j2", headers=FRESH, set=told)
