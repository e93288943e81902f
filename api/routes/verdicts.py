"""Verdicts: what was said, in every form, and what people added to it."""

import json
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import select

from api import search
from api.routes.dependencies import (
    After,
    DrawnDep,
    Limit,
    RequestIdDep,
    ReviewDep,
    ReviewerDep,
    SessionDep,
    SettingsDep,
    StoreDep,
    SubmitterDep,
    VerdictDep,
    next_page,
    reader,
)
from api.schemas import Appeal, Note, VerdictEntry, VerdictPage
from api.search import Wanted
from api.tables import AppealRow, NoteRow, SummaryRow
from api.web import known_by, wants_page
from api.web.badge import badge
from auditor import __version__
from auditor.attest import attest
from auditor.keys import private_key
from auditor.report.entries import Report
from auditor.report.html import render_html
from auditor.report.junit import render_junit
from auditor.report.markdown import render_markdown
from auditor.report.sarif import render_sarif
from auditor.rulesets import DEFAULT

router = APIRouter(prefix="/v1/verdicts", tags=["verdicts"], dependencies=[Depends(reader)])

Outcome = Literal["pass", "fail", "inconclusive"]
Document = dict[str, Any]
Text = Annotated[str, Form(min_length=1, max_length=20_000)]


class Format(StrEnum):
    """The forms of a verdict."""

    JSON = "json"
    HTML = "html"
    SARIF = "sarif"
    JUNIT = "junit"
    MARKDOWN = "markdown"
    DSSE = "dsse"


def _report(document: Document) -> Report:
    return Report.of_verdicts([document])


def _sarif(document: Document) -> str:
    return json.dumps(render_sarif(_report(document)), ensure_ascii=False)


RENDERERS: dict[Format, tuple[str, Callable[[Document], str]]] = {
    Format.HTML: ("text/html", lambda document: render_html([document])),
    Format.SARIF: ("application/sarif+json", _sarif),
    Format.JUNIT: (
        "application/xml",
        lambda document: render_junit(Report.of_verdicts([document])),
    ),
    Format.MARKDOWN: (
        "text/markdown",
        lambda document: render_markdown(Report.of_verdicts([document])),
    ),
}


@router.get("", response_model=VerdictPage)
def list_verdicts(
    request: Request,
    session: SessionDep,
    outcome: Annotated[Outcome | None, Query()] = None,
    ruleset: Annotated[str | None, Query(max_length=64)] = None,
    rule: Annotated[str | None, Query(max_length=64, description="Id of a rule.")] = None,
    rule_outcome: Annotated[
        Literal["pass", "fail", "inconclusive", "not-applicable"], Query(description="Of `rule`.")
    ] = "fail",
    submission: Annotated[str | None, Query(max_length=64, description="Digest.")] = None,
    q: Annotated[str | None, Query(max_length=200, description="Part of a name.")] = None,
    superseded: Annotated[
        bool, Query(description="Also what counts no longer, or not yet.")
    ] = False,
    limit: Limit = 50,
    after: After = None,
) -> VerdictPage:
    """Verdicts, the newest first."""
    wanted = Wanted(
        outcome=outcome,
        ruleset=ruleset,
        rule=rule,
        rule_outcome=rule_outcome,
        submission=submission,
        text=q,
        current=not superseded,
    )
    found, following = search.verdicts(session, wanted, limit, after)
    items = [VerdictEntry.of(*each) for each in found]
    return VerdictPage(items=items, next=next_page(request, following))


@router.get("/ranking", response_model=VerdictPage)
def list_ranking(
    request: Request,
    session: SessionDep,
    ruleset: Annotated[str, Query(max_length=64)] = DEFAULT.name,
    limit: Limit = 50,
    after: After = None,
) -> VerdictPage:
    """One verdict for each submission that claims a score, the lowest claim first."""
    found, following = search.ranking(session, ruleset, limit, after)
    items = [VerdictEntry.of(*each) for each in found]
    return VerdictPage(items=items, next=next_page(request, following))


@router.get(
    "/{verdict_id}",
    response_model=dict[str, Any],
    responses={200: {"content": {kind: {} for kind, _ in RENDERERS.values()}}},
)
def read_verdict(
    request: Request,
    row: VerdictDep,
    settings: SettingsDep,
    drawn: DrawnDep,
    form: Annotated[Format | None, Query(alias="format")] = None,
) -> Response:
    """The verdict v1 document byte for byte as it was stored, or in another form.

    Without `format` a browser gets the report and everything else the document.
    """
    wanted = form or (Format.HTML if wants_page(request) else Format.JSON)
    # A document never changes; its other forms may, when a release draws them better.
    form_tag = "" if wanted is Format.JSON else f"-{wanted}-{__version__}"
    headers = {"ETag": f'"{row.digest}{form_tag}"', "Cache-Control": "no-cache", "Vary": "Accept"}
    if known_by(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    if wanted is Format.JSON:
        return Response(row.document, headers=headers, media_type="application/json")
    if wanted is Format.DSSE:
        key = None if settings.signing_key is None else private_key(settings.signing_key)
        # With another key its bytes are others, so nothing may be kept.
        headers = {"Cache-Control": "no-store"}
        return Response(
            attest(json.loads(row.document), key), headers=headers, media_type="application/json"
        )
    kind, render = RENDERERS[wanted]
    body = drawn.body((row.id, wanted), lambda: render(json.loads(row.document)))
    return Response(body, headers=headers, media_type=kind)


@router.get("/{verdict_id}/badge.svg", response_class=Response)
def read_badge(row: VerdictDep, session: SessionDep) -> Response:
    """The verdict as a small picture, for a README."""
    summary = session.get_one(SummaryRow, row.id)
    headers = {
        "Cache-Control": "no-cache",
        "ETag": f'"{row.digest}-badge-{__version__}"',
        # The one thing that pages of others are meant to show.
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    drawn = badge(row.outcome, summary.claimed_bpb)
    return Response(drawn, headers=headers, media_type="image/svg+xml")


@router.get("/{verdict_id}/appeals", response_model=list[Appeal])
def list_appeals(row: VerdictDep, session: SessionDep) -> list[Appeal]:
    """What people said against it, the oldest first."""
    query = select(AppealRow).where(AppealRow.verdict_id == row.id)
    found = session.scalars(query.order_by(AppealRow.created, AppealRow.id))
    return [Appeal.of(each) for each in found]


@router.post("/{verdict_id}/appeals", status_code=201, response_model=list[Appeal])
def create_appeal(
    request: Request,
    actor: SubmitterDep,
    row: VerdictDep,
    store: StoreDep,
    review: ReviewDep,
    request_id: RequestIdDep,
    rule: Annotated[str, Form(max_length=64, description="Id of the rule.")],
    text: Text,
    evidence: Annotated[str, Form(max_length=20_000, description="Text and links.")] = "",
) -> Response | list[Appeal]:
    """Say that a finding is wrong, and why; a reviewer answers."""
    review.appeal(row.id, rule, text, evidence, actor, request_id)
    if wants_page(request):
        return RedirectResponse(f"/verdicts/{row.id}#appeals", 303)
    # A session of its own: the one of the request began before this was written.
    with store.database.read() as session:
        return list_appeals(row, session)


@router.get("/{verdict_id}/notes", response_model=list[Note])
def list_notes(row: VerdictDep, session: SessionDep) -> list[Note]:
    """What reviewers wrote beside it, the oldest first."""
    query = select(NoteRow).where(NoteRow.verdict_id == row.id)
    return [Note.of(each) for each in session.scalars(query.order_by(NoteRow.id))]


@router.post("/{verdict_id}/notes", status_code=201, response_model=list[Note])
def create_note(
    request: Request,
    actor: ReviewerDep,
    row: VerdictDep,
    store: StoreDep,
    review: ReviewDep,
    request_id: RequestIdDep,
    text: Text,
) -> Response | list[Note]:
    """Write beside a verdict; it stays as it was written."""
    review.annotate(row.id, text, actor, request_id)
    if wants_page(request):
        return RedirectResponse(f"/verdicts/{row.id}#notes", 303)
    # A session of its own: the one of the request began before this was written.
    with store.database.read() as session:
        return list_notes(row, session)
