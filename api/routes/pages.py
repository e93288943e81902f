"""The front page, and the sign of life."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import select, text
from sqlalchemy.orm import joinedload

from api.access import NOBODY
from api.routes.dependencies import IdentifiedDep, SessionDep, SettingsDep
from api.tables import AuditRow, State, VerdictRow
from api.web import page
from auditor import __version__

router = APIRouter()

LATEST = 20
"""Verdicts on the front page."""


@router.get("/", include_in_schema=False)
def read_home(
    request: Request, actor: IdentifiedDep, session: SessionDep, settings: SettingsDep
) -> Response:
    """The upload form and the latest verdicts."""
    if actor is NOBODY and not settings.public_reads:
        return RedirectResponse("/sign-in", 303)
    query = select(VerdictRow).options(joinedload(VerdictRow.audit))
    verdicts = session.scalars(query.order_by(VerdictRow.created.desc()).limit(LATEST)).all()
    working = session.scalars(
        select(AuditRow)
        .where(AuditRow.state.in_((State.QUEUED, State.RUNNING)))
        .order_by(AuditRow.created)
        .limit(LATEST)
    ).all()
    return page(
        request,
        "home.html.j2",
        headers={"Cache-Control": "no-store"},
        verdicts=verdicts,
        working=working,
        max_upload_bytes=settings.max_upload_bytes,
    )


@router.get("/healthz")
def read_health(session: SessionDep) -> dict[str, str]:
    """Says that the service answers and its database can be read."""
    session.execute(text("SELECT 1"))
    return {"status": "ok", "version": __version__}
