"""The front page, and the sign of life."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import select, text

from api import search
from api.access import NOBODY
from api.routes.dependencies import IdentifiedDep, SessionDep, SettingsDep
from api.search import Wanted
from api.tables import AuditRow, State
from api.web import page
from auditor import __version__

router = APIRouter()

LATEST = 20
"""Verdicts on the front page."""


@router.get("/", include_in_schema=False)
def read_home(
    request: Request, actor: IdentifiedDep, session: SessionDep, settings: SettingsDep
) -> Response:
    """The upload form, what is in progress, and the latest verdicts."""
    if actor is NOBODY and not settings.public_reads:
        return RedirectResponse("/sign-in", 303)
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
        verdicts=search.verdicts(session, Wanted(), LATEST, None)[0],
        working=working,
        max_upload_bytes=settings.max_upload_bytes,
    )


@router.get("/healthz")
def read_health(session: SessionDep) -> dict[str, str]:
    """Says that the service answers and its database can be read."""
    session.execute(text("SELECT 1"))
    return {"status": "ok", "version": __version__}
