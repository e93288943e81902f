"""Pages for people: one look, no scripts, nothing loaded from elsewhere."""

import hashlib
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from api.access import NOBODY, SESSION_COOKIE, Actor, form_token
from auditor.report.words import NAMES, clean, place

REQUEST_ID = "X-Request-ID"
SAFE_HEADERS = {
    # Text of submissions is shown on these pages: even if some got past the escaping, it could
    # run nothing, load nothing and send nothing away.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Frame-Options": "DENY",
}


_TOKEN = secrets.token_hex(32).encode()
"""Stands in a drawn page where the browser's form token belongs: nobody can have written it."""


def page(
    request: Request,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> Response:
    """A template of this folder as a response; its forms carry the token of this browser."""
    text = draw(template, getattr(request.state, "actor", NOBODY), values)
    return _sent(request, text.encode(), status, headers)


def draw(template: str, actor: Actor, values: Mapping[str, Any]) -> str:
    """The text of a page for everybody who may do the same; `tagged` makes it one browser's."""
    return _ENVIRONMENT.get_template(template).render(
        values, form_token=_TOKEN.decode(), actor=actor
    )


def tagged(request: Request, body: bytes) -> Response:
    """A drawn page, or 304 for the browser that has it; people add to it, so it asks each time."""
    answer = _sent(request, body, 200, {"Cache-Control": "private, no-cache"})
    tag = f'"{hashlib.sha256(answer.body).hexdigest()}"'
    if known_by(request, tag):
        headers = {"Cache-Control": "private, no-cache", "ETag": tag}
        return Response(status_code=304, headers=headers)
    answer.headers["ETag"] = tag
    return answer


def known_by(request: Request, tag: str) -> bool:
    """Whether the client says that it has the body of this tag."""
    known = request.headers.get("if-none-match", "")
    return tag in (each.strip().removeprefix("W/") for each in known.split(","))


def _sent(
    request: Request, body: bytes, status: int, headers: Mapping[str, str] | None
) -> HTMLResponse:
    """The page with this browser's form token, and a cookie; without a form it needs neither."""
    if _TOKEN not in body:
        return HTMLResponse(body, status, headers)
    cookie = request.cookies.get(SESSION_COOKIE)
    known = cookie or secrets.token_urlsafe(32)
    answer = HTMLResponse(body.replace(_TOKEN, form_token(known).encode()), status, headers)
    if cookie is None:
        keep_cookie(request, answer, known)
    return answer


def keep_cookie(request: Request, answer: Response, value: str, seconds: int | None = None) -> None:
    """Let the browser send this with every request of our own pages, and show it to no script."""
    secure = request.url.scheme == "https"
    answer.set_cookie(
        SESSION_COOKIE, value, seconds, httponly=True, samesite="strict", secure=secure
    )


def wants_page(request: Request) -> bool:
    """Whether the client would rather have HTML than JSON, as browsers say and scripts do not."""
    accepted = request.headers.get("accept", "")
    return _quality(accepted, "text/html") > _quality(accepted, "application/json")


def _quality(accepted: str, wanted: str) -> float:
    """How much an Accept header likes a media type: the most specific range decides."""
    ranges = {"*/*": 0, f"{wanted.split('/')[0]}/*": 1, wanted: 2}
    best, quality = -1, 0.0
    for entry in accepted.split(","):
        kind, *parameters = (part.strip().lower() for part in entry.split(";"))
        if ranges.get(kind, -1) > best:
            best = ranges[kind]
            named = dict(p.split("=", 1) for p in parameters if "=" in p)
            try:
                quality = float(named.get("q", "1"))
            except ValueError:
                quality = 0.0
    return quality


def _moment(when: datetime | None) -> str:
    """A time that nobody can mistake for their own zone."""
    return "" if when is None else when.strftime("%Y-%m-%d %H:%M:%S UTC")


def _bpb(value: float | None) -> str:
    """A score, or a dash that says there is none."""
    return "-" if value is None else f"{value:.4f}"


def _lines(text: str) -> str:
    """What somebody wrote, line by line harmless."""
    return "\n".join(clean(line, 2_000) for line in text.splitlines()[:500])


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("api", "web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(clean=clean, moment=_moment, place=place, bpb=_bpb, lines=_lines)
    environment.globals["names"] = NAMES
    return environment


_ENVIRONMENT = _environment()
