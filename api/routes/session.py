"""Signing in with a browser: a key once, then a cookie."""

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from api.access import SESSION_COOKIE
from api.errors import Unauthorized
from api.routes.dependencies import IdentifiedDep, KeysDep, RequestIdDep, SettingsDep
from api.web import keep_cookie, page

router = APIRouter(include_in_schema=False)


@router.get("/sign-in")
def read_sign_in(request: Request, actor: IdentifiedDep) -> Response:
    """The form for a key."""
    return page(request, "sign_in.html.j2", headers={"Cache-Control": "no-store"})


@router.post("/sign-in")
def sign_in(
    request: Request,
    actor: IdentifiedDep,
    keys: KeysDep,
    settings: SettingsDep,
    request_id: RequestIdDep,
    key: Annotated[str, Form(max_length=200)],
) -> Response:
    """Open a session for the holder of a key."""
    holder = keys.holder(key.strip())
    if holder is None:
        raise Unauthorized("this key is not known, or was revoked")
    answer = RedirectResponse("/", 303)
    cookie = keys.sign_in(holder.id, request_id)
    keep_cookie(request, answer, cookie, settings.session_seconds)
    return answer


@router.post("/sign-out")
def sign_out(request: Request, keys: KeysDep) -> Response:
    """End the session of this browser."""
    keys.sign_out(request.cookies.get(SESSION_COOKIE, ""))
    answer = RedirectResponse("/", 303)
    answer.delete_cookie(SESSION_COOKIE)
    return answer
