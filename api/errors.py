"""Every error in one shape: RFC 9457 problem details, or a page for people with a browser."""

import errno
import logging
import math
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from api.object_blobs import StorageAwayError
from api.store import OtherRequest, OverQuota
from api.web import REQUEST_ID, SAFE_HEADERS, page, wants_page
from auditor.errors import SubmissionError

log = logging.getLogger(__name__)

TITLES = {
    "bad-request": "The request cannot be understood",
    "unauthorized": "A key is needed",
    "forbidden": "This is not allowed",
    "not-found": "Not found",
    "method-not-allowed": "Not possible at this address",
    "too-large": "The upload is too large",
    "invalid": "The request lacks something",
    "submission": "The submission cannot be read",
    "ended": "It has ended already",
    "too-many": "Too many requests",
    "wrong-host": "Another service was asked for",
    "other-request": "The Idempotency-Key belongs to another request",
    "internal": "The service could not do its work",
    "database": "The database cannot be reached",
    "disk": "The service's disk is full",
    "storage": "The storage of archives cannot be reached",
    "http": "The request was refused",
}
"""Kind of a problem, which scripts may rely on as the last part of `type` -> its title."""
KINDS = {
    400: "bad-request",
    401: "unauthorized",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    413: "too-large",
    409: "ended",
    421: "wrong-host",
    422: "invalid",
    429: "too-many",
    500: "internal",
}


class StartError(Exception):
    """The service cannot start; the message is one sentence for whoever started it."""


class TooLarge(HTTPException):
    """More was sent than is taken."""

    def __init__(self, size: int, limit: int, *, exact: bool) -> None:
        """Name both numbers; `exact` is false when there would have been more to come."""
        at_least = "" if exact else "at least "
        super().__init__(413, f"the upload has {at_least}{size:,} bytes, the limit is {limit:,}")


class Unauthorized(HTTPException):
    """Nobody known has asked."""

    def __init__(self, detail: str) -> None:
        """Say what kind of key is wanted."""
        super().__init__(401, detail, {"WWW-Authenticate": "Bearer"})


def too_many(detail: str, wait_seconds: float) -> HTTPException:
    """The 429 that says when to come back."""
    return HTTPException(429, detail, {"Retry-After": str(max(1, math.ceil(wait_seconds)))})


def not_found(noun: str, key: str) -> HTTPException:
    """The 404 of a noun and the key it was looked for by."""
    return HTTPException(404, f"no {noun} has the id {key[:64]!r}")


def install(app: FastAPI) -> None:
    """Let the application answer all errors in this shape."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(SubmissionError, _submission)
    app.add_exception_handler(OverQuota, _quota)
    app.add_exception_handler(OtherRequest, _other)
    app.add_exception_handler(OperationalError, _database)
    app.add_exception_handler(OSError, _disk)
    app.add_exception_handler(StorageAwayError, _storage)
    app.add_exception_handler(Exception, _internal)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = error.detail
    if error.status_code == 404 and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = "nothing is at this address"
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        detail = f"{request.method} is not possible at this address; it takes {allowed}"
    return _answer(request, error.status_code, detail, headers=dict(error.headers or {}))


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    fields = [
        {"field": ".".join(str(part) for part in one["loc"][1:]), "message": str(one["msg"])}
        for one in error.errors()
    ]
    detail = "; ".join(f"{field['field']}: {field['message']}" for field in fields)
    return _answer(request, 422, detail, errors=fields)


def _submission(request: Request, error: Exception) -> Response:
    return _answer(request, 422, str(error), kind="submission")


def _quota(request: Request, error: Exception) -> Response:
    assert isinstance(error, OverQuota)
    detail = f"{error.had:,} audits in 24 hours, the limit of this key is {error.limit:,}"
    return _http(request, too_many(detail, error.wait_seconds))


def _other(request: Request, error: Exception) -> Response:
    detail = f"it was used for audit {error}, of another archive or with other options"
    return _answer(request, 422, detail, kind="other-request")


def _database(request: Request, error: Exception) -> Response:
    log.error("%s: %s", _named(request), str(error).splitlines()[0])
    detail = "nothing was changed by this request; try again in a moment"
    return _answer(request, 503, detail, kind="database", headers={"Retry-After": "5"})


def _disk(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return _internal(request, error)
    log.error("%s: %r", _named(request), error)
    return _answer(request, 507, "nothing of this request was kept", kind="disk")


def _storage(request: Request, error: Exception) -> Response:
    log.error("%s: %s", _named(request), error)
    detail = "nothing was changed by this request; try again in a moment"
    return _answer(request, 503, detail, kind="storage", headers={"Retry-After": "5"})


def _internal(request: Request, error: Exception) -> Response:
    """The cause is for the log alone: it may name what is not the visitor's business."""
    log.error("%s: %r", _named(request), error)
    return _answer(
        request, 500, "nothing is wrong with the request; the log of the service has the reason"
    )


def _named(request: Request) -> str:
    """A request as the log names it; the query may hold what is not for a log."""
    return f"{request.state.request_id} {request.method} {request.url.path}"


def _answer(
    request: Request,
    status: int,
    detail: str,
    *,
    kind: str | None = None,
    headers: dict[str, str] | None = None,
    **more: Any,
) -> Response:
    kind = kind or KINDS.get(status, "http")
    request_id = request.state.request_id
    problem = {
        "type": f"urn:strict-prefix:problem:{kind}",
        "title": TITLES[kind],
        "status": status,
        "detail": detail,
        "request_id": request_id,
        **more,
    }
    # Set here too: the handler of a 500 stands outside of the middleware that sets them.
    known = {REQUEST_ID: request_id, "Vary": "Accept"}
    headers = {**SAFE_HEADERS, **known, **(headers or {})}
    if wants_page(request):
        return page(request, "problem.html.j2", status=status, headers=headers, problem=problem)
    return JSONResponse(problem, status, headers, media_type="application/problem+json")
