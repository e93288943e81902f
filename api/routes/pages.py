"""The front page, and the sign of life."""

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import select, text

from api import search
from api.access import NOBODY
from api.metrics import Metrics
from api.routes.dependencies import IdentifiedDep, SessionDep, SettingsDep, StoreDep, reader
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
def read_health() -> dict[str, str]:
    """Says that this process answers; what it needs is /readyz's business."""
    return {"status": "ok", "version": __version__}


@router.get("/readyz")
def read_readiness(session: SessionDep, store: StoreDep) -> dict[str, str]:
    """Says that requests can be served: the database can be read and the disk written to."""
    session.execute(text("SELECT 1 FROM alembic_version"))
    store.blobs.check()
    return {"status": "ready", "version": __version__}


@router.get("/metrics", dependencies=[Depends(reader)])
def read_metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    metrics: Metrics = request.app.state.metrics
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)
