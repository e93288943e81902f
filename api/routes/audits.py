"""Audits: hand in an archive, watch the job."""

import threading
from pathlib import PurePosixPath
from typing import Annotated, BinaryIO

from fastapi import (
    APIRouter,
    File,
    HTTPException,
    Query,
    Request,
    Response,
    UploadFile,
)
from fastapi.responses import JSONResponse, RedirectResponse
from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session, joinedload

from api import search
from api.access import Scope
from api.errors import TooLarge, not_found
from api.jobs import Jobs
from api.routes.dependencies import (
    After,
    AuditDep,
    JobsDep,
    Limit,
    ReaderDep,
    RequestIdDep,
    SessionDep,
    SettingsDep,
    StoreDep,
    SubmitterDep,
    next_page,
)
from api.routes.wishes import FormWish, GitWish, IdempotencyKey, asked_of, check
from api.schemas import AuditPage, AuditStatus, Batch
from api.store import Asked, Job, Store
from api.tables import UNENDED, AuditRow, State, VerdictRow
from api.web import page, wants_page
from auditor.submission import Submission

router = APIRouter(prefix="/v1/audits", tags=["audits"])
batches = APIRouter(prefix="/v1/batches", tags=["audits"])

MAX_NAME = 200
"""Characters of a file name that are kept, counted from its end where the type stands."""

ALSO_JSON = {
    "requestBody": {"content": {"application/json": {"schema": GitWish.model_json_schema()}}}
}
"""What `from_git` takes at the same address."""

# An archive may unpack to hundreds of megabytes; many at once would take the machine's memory.
_one_at_a_time = threading.Lock()


@router.post("", status_code=202, response_model=AuditStatus, openapi_extra=ALSO_JSON)
def create_audit(
    request: Request,
    actor: SubmitterDep,
    settings: SettingsDep,
    store: StoreDep,
    jobs: JobsDep,
    request_id: RequestIdDep,
    archive: Annotated[
        UploadFile, File(description="A record folder as .zip, .tar, .tar.gz or .tar.zst.")
    ],
    wish: FormWish,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Take an archive and queue its audit.

    The same archive under the same ruleset and engine is answered with the verdict there is, by
    status 200, unless `again` asks for another one; a request that is sent again under its
    Idempotency-Key with the first one's audit. A body of JSON names a folder in a git repository
    instead, at an address that the operator allows.
    """
    check(wish, actor)
    size = archive.size or 0
    if size > settings.max_upload_bytes:
        raise TooLarge(size, settings.max_upload_bytes, exact=True)
    name = PurePosixPath((archive.filename or "").replace("\\", "/")).name[-MAX_NAME:]
    with _one_at_a_time:
        digest = Submission.from_archive(archive.file.read(), name).sha256
    asked = asked_of(
        wish, actor, name=name, digest=digest, key=idempotency_key, request_id=request_id
    )
    audit_id, new = take_in(store, jobs, archive.file, asked)
    return show_new(request, store, audit_id, 202 if new else 200)


def take_in(store: Store, jobs: Jobs, archive: BinaryIO, asked: Asked) -> tuple[str, bool]:
    """Keep an archive and queue its audit: the audit's id, and whether it is new."""
    audit_id, new = store.accept(archive, asked)
    if new:
        try:
            jobs.put(Job(audit_id, asked.run, asked.priority))
        except Exception:
            # Nobody gets to hear of this audit, so it must not stay queued for ever.
            store.error(audit_id, kind="tool", message="it could not be queued")
            raise
    return audit_id, new


@router.get("", response_model=AuditPage)
def list_audits(
    request: Request,
    actor: ReaderDep,
    session: SessionDep,
    state: Annotated[State | None, Query(description="Only those in this state.")] = None,
    batch: Annotated[str | None, Query(max_length=100, description="Only those of it.")] = None,
    limit: Limit = 50,
    after: After = None,
) -> AuditPage:
    """Audits, the newest first."""
    rows, following = search.audits(session, state, batch, limit, after)
    items = [_status(row, session) for row in rows]
    return AuditPage(items=items, next=next_page(request, following))


@batches.get("/{batch}", response_model=Batch)
def read_batch(actor: ReaderDep, session: SessionDep, batch: str) -> Batch:
    """How far the many audits of a batch are."""
    states = session.execute(
        select(AuditRow.state, func.count()).where(AuditRow.batch == batch).group_by(AuditRow.state)
    )
    counts = {row[0]: row[1] for row in states}
    if not counts:
        raise not_found("batch", batch)
    outcomes = session.execute(
        select(VerdictRow.outcome, func.count())
        .join(AuditRow, AuditRow.id == VerdictRow.audit_id)
        .where(AuditRow.batch == batch)
        .group_by(VerdictRow.outcome)
    )
    return Batch(
        name=batch,
        states=counts,
        outcomes={row[0]: row[1] for row in outcomes},
        ended=not any(state in counts for state in UNENDED),
        links={"audits": f"/v1/audits?batch={batch}"},
    )


@router.post("/{audit_id}/cancel", response_model=AuditStatus)
def cancel_audit(
    request: Request,
    actor: SubmitterDep,
    row: AuditDep,
    store: StoreDep,
    jobs: JobsDep,
    request_id: RequestIdDep,
) -> Response:
    """End an audit that waits or runs; what runs of it in the sandbox is ended too."""
    if row.actor != actor.id and not actor.may(Scope.REVIEW):
        raise HTTPException(403, "an audit that somebody else asked for needs the scope review")
    if not store.cancel(row.id, actor.id, request_id):
        raise HTTPException(409, f"audit {row.id} has ended: {row.state}")
    jobs.stop_unwanted()
    return show_new(request, store, row.id, status_code=200)


def show_new(request: Request, store: Store, audit_id: str, status_code: int = 202) -> Response:
    """An audit after a change: its page for a browser, else where it is."""
    where = f"/v1/audits/{audit_id}"
    if wants_page(request):
        return RedirectResponse(where, 303)
    status = status_of(store, audit_id)
    return JSONResponse(status.model_dump(mode="json"), status_code, {"Location": where})


@router.get("/{audit_id}", response_model=AuditStatus)
def read_audit(request: Request, actor: ReaderDep, row: AuditDep, session: SessionDep) -> Response:
    """Where an audit is, and where its verdict is once it is finished."""
    status = _status(row, session)
    headers = {"Cache-Control": "no-store", "Vary": "Accept"}
    if not wants_page(request):
        return JSONResponse(status.model_dump(mode="json"), headers=headers)
    return page(request, "audit.html.j2", headers=headers, audit=status)


def status_of(store: Store, audit_id: str) -> AuditStatus:
    """An audit as it is now."""
    with store.database.read() as session:
        parts = [joinedload(AuditRow.submission), joinedload(AuditRow.verdict)]
        return _status(session.get_one(AuditRow, audit_id, options=parts), session)


def _status(row: AuditRow, session: Session) -> AuditStatus:
    """The row as it is told, with its place in its queue."""
    if row.state != State.QUEUED:
        return AuditStatus.of(row, ahead=0)
    earlier = and_(AuditRow.priority == row.priority, AuditRow.created < row.created)
    waiting = select(func.count()).where(
        AuditRow.state == State.QUEUED,
        AuditRow.run == row.run,
        or_(AuditRow.priority < row.priority, earlier),
    )
    return AuditStatus.of(row, ahead=session.scalar(waiting) or 0)
