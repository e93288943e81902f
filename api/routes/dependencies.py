"""What routes ask for, named once."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from sqlalchemy.orm import Session

from api.errors import not_found
from api.jobs import Jobs
from api.settings import Settings
from api.store import Store
from api.tables import AuditRow, VerdictRow


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


def _jobs(request: Request) -> Jobs:
    jobs: Jobs = request.app.state.jobs
    return jobs


SettingsDep = Annotated[Settings, Depends(_settings)]
StoreDep = Annotated[Store, Depends(_store)]
JobsDep = Annotated[Jobs, Depends(_jobs)]


def _session(store: StoreDep) -> Iterator[Session]:
    with store.database.read() as session:
        yield session


SessionDep = Annotated[Session, Depends(_session)]
"""A session for reading; what writes is a method of the store."""


def _audit(audit_id: str, session: SessionDep) -> AuditRow:
    row = session.get(AuditRow, audit_id)
    if row is None:
        raise not_found("audit", audit_id)
    return row


def _verdict(verdict_id: str, session: SessionDep) -> VerdictRow:
    row = session.get(VerdictRow, verdict_id)
    if row is None:
        raise not_found("verdict", verdict_id)
    return row


AuditDep = Annotated[AuditRow, Depends(_audit)]
VerdictDep = Annotated[VerdictRow, Depends(_verdict)]


def same_origin(request: Request) -> None:
    """Refuse a form that another site's page sends with this browser; scripts send no Origin."""
    origin = request.headers.get("origin")
    if origin is not None and origin.split("://")[-1] != request.headers.get("host"):
        raise HTTPException(403, f"a page of {origin[:100]!r} may not ask for this")
