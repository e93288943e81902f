"""An audit as it goes on: server-sent events, which a lost connection does not lose."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Response
from fastapi.sse import EventSourceResponse, format_sse_event
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from api.routes.audits import status_of
from api.routes.dependencies import AuditDep, ReaderDep, SettingsDep, StoreDep
from api.store import Store

MOST_STREAMS = 200
"""At the same time in one process; each looks into the database again and again."""
STREAM_SECONDS = 600.0
"""Then the connection ends, and who still follows comes again."""
QUIET_SECONDS = 15.0
"""A comment at least this often, so that nothing between the two takes the connection for dead."""
RETRY_MILLISECONDS = 1_000

router = APIRouter(prefix="/v1/audits", tags=["audits"])
log = logging.getLogger(__name__)
_places = threading.BoundedSemaphore(MOST_STREAMS)


@router.get(
    "/{audit_id}/events",
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "An event for every change."},
        204: {"description": "It has ended, and its last event was seen."},
    },
)
def follow_audit(
    actor: ReaderDep,
    row: AuditDep,
    store: StoreDep,
    settings: SettingsDep,
    last_event_id: Annotated[str | None, Header(max_length=20)] = None,
) -> Response:
    """The audit at every change until it has ended, each time whole: `data` is what GET answers.

    Who comes again with the Last-Event-ID is told what is newer, and nothing twice.
    """
    seen = int(last_event_id) if last_event_id and last_event_id.isdecimal() else 0
    version, ended = store.version(row.id)
    if ended and seen >= version:
        # What EventSource takes for "do not come again".
        return Response(status_code=204)
    if not _places.acquire(blocking=False):
        wait = {"Retry-After": "5"}
        raise HTTPException(503, f"{MOST_STREAMS} are being told already, which is most", wait)
    told = _told(store, row.id, seen, settings.poll_seconds)
    return EventSourceResponse(told, headers={"Cache-Control": "no-store"})


async def _told(store: Store, audit_id: str, seen: int, every: float) -> AsyncIterator[bytes]:
    """The events in their form on the wire."""
    began = spoke = time.monotonic()
    try:
        yield f"retry: {RETRY_MILLISECONDS}\n\n".encode()
        ended = False
        while not ended and time.monotonic() - began < STREAM_SECONDS:
            version, ended = await run_in_threadpool(store.version, audit_id)
            if version > seen:
                status = await run_in_threadpool(status_of, store, audit_id)
                seen = version
                yield format_sse_event(
                    data_str=status.model_dump_json(), event=status.state, id=str(version)
                )
                spoke = time.monotonic()
            elif time.monotonic() - spoke > QUIET_SECONDS:
                yield format_sse_event(comment="still here")
                spoke = time.monotonic()
            if not ended:
                await asyncio.sleep(every)
    except SQLAlchemyError as error:
        # Who follows comes again by themselves, and misses nothing.
        log.warning("events of audit %s: %s", audit_id, str(error).splitlines()[0])
    finally:
        _places.release()
