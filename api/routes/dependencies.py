"""What routes ask for, named once: who asks, and what about."""

import hmac
from collections.abc import Awaitable, Callable, Iterator
from typing import Annotated

from fastapi import Depends, HTTPException, Query, Request
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from api.access import (
    LOCAL,
    NOBODY,
    SESSION_COOKIE,
    Actor,
    Rates,
    Scope,
    form_token,
    host_name,
    is_open,
    known_hosts,
)
from api.errors import Unauthorized, not_found, too_many
from api.jobs import Jobs
from api.keys import Keys
from api.review import Review
from api.search import MOST
from api.settings import Settings
from api.store import Store
from api.tables import AuditRow, VerdictRow
from api.web.drawn import Drawn


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


async def _jobs(request: Request) -> Jobs:
    jobs: Jobs = request.app.state.jobs
    return jobs


async def _drawn(request: Request) -> Drawn:
    drawn: Drawn = request.app.state.drawn
    return drawn


async def _keys(request: Request) -> Keys:
    keys: Keys = request.app.state.keys
    return keys


# What only looks at the request is a coroutine: a plain function would be sent to another thread,
# which costs more than all that it does.
SettingsDep = Annotated[Settings, Depends(_settings)]
StoreDep = Annotated[Store, Depends(_store)]
JobsDep = Annotated[Jobs, Depends(_jobs)]
DrawnDep = Annotated[Drawn, Depends(_drawn)]
KeysDep = Annotated[Keys, Depends(_keys)]
Limit = Annotated[int, Query(ge=1, le=MOST, description="Entries of one page.")]
After = Annotated[
    str | None, Query(max_length=200, description="Cursor of `next` of the page before.")
]


def next_page(request: Request, cursor: str | None) -> str | None:
    """The address of the page that follows this one."""
    if cursor is None:
        return None
    return f"{request.url.path}?{request.url.include_query_params(after=cursor).query}"


SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


async def right_host(request: Request, settings: SettingsDep) -> None:
    """Refuse what is addressed to a name that is not ours."""
    hosts = known_hosts(settings)
    name = host_name(request.headers.get("host", ""))
    if hosts is not None and name not in hosts:
        raise HTTPException(
            421, f"no service of the name {name[:100]!r} is here; STRICT_PREFIX_HOSTS adds names"
        )


async def identified(request: Request, settings: SettingsDep, keys: KeysDep) -> Actor:
    """Who asks, by their key or their session; a wrong key is refused, not ignored."""
    actor = await _identified(request, settings, keys)
    request.state.actor = actor
    rates: Rates = request.app.state.rates
    if actor is not LOCAL:
        address = request.client.host if request.client else ""
        who = (actor.id,) if actor is not NOBODY else (actor.id, address)
        wait = rates.wait(who, actor.requests_per_minute or settings.requests_per_minute)
        if wait:
            raise too_many("too many requests in a minute", wait)
    return actor


async def _identified(request: Request, settings: Settings, keys: Keys) -> Actor:
    shown = request.headers.get("authorization")
    if shown is not None:
        kind, _, text = shown.partition(" ")
        bearer = kind.lower() == "bearer"
        holder = await run_in_threadpool(keys.holder, text.strip()) if bearer else None
        if holder is None:
            raise Unauthorized("this key is not known, or was revoked")
        return holder
    cookie = request.cookies.get(SESSION_COOKIE)
    if cookie is not None and (visitor := await run_in_threadpool(keys.visitor, cookie)):
        return visitor
    return LOCAL if is_open(settings) else NOBODY


IdentifiedDep = Annotated[Actor, Depends(identified)]


async def _sent_token(request: Request) -> str:
    """The token that a form brought along."""
    if request.method in SAFE_METHODS:
        return ""
    value = (await request.form(max_files=1, max_fields=8)).get("form_token")
    return value if isinstance(value, str) else ""


async def own_page(request: Request, sent: Annotated[str, Depends(_sent_token)]) -> None:
    """Refuse a form that another site's page sends with this browser.

    A browser says where a form comes from, and sends cookies along; what brings neither, or a key,
    is a program, which no other site can make send anything.
    """
    from_browser = {"origin", "cookie", "sec-fetch-site"}.intersection(request.headers.keys())
    if (
        request.method in SAFE_METHODS
        or not from_browser
        or request.headers.get("authorization") is not None
    ):
        return
    origin = request.headers.get("origin")
    if origin is not None and origin.split("://")[-1] != request.headers.get("host"):
        raise HTTPException(403, f"a page of {origin[:100]!r} may not ask for this")
    cookie = request.cookies.get(SESSION_COOKIE)
    if cookie is None or not hmac.compare_digest(form_token(cookie), sent):
        raise HTTPException(403, "the form is not of a page of this service; load the page again")


async def reader(actor: IdentifiedDep, settings: SettingsDep) -> Actor:
    """Who may read: anybody with a key, or everybody where verdicts are public."""
    if actor is NOBODY and not settings.public_reads:
        raise Unauthorized("reading needs a key: send it as `Authorization: Bearer KEY`")
    return actor


def _with(scope: Scope) -> Callable[[Actor], Awaitable[Actor]]:
    async def allowed(actor: IdentifiedDep) -> Actor:
        if actor is NOBODY:
            raise Unauthorized(f"this needs a key with the scope {scope}")
        if not actor.may(scope):
            raise HTTPException(403, f"this needs a key with the scope {scope}")
        return actor

    return allowed


ReaderDep = Annotated[Actor, Depends(reader)]
SubmitterDep = Annotated[Actor, Depends(_with(Scope.SUBMIT))]
ReviewerDep = Annotated[Actor, Depends(_with(Scope.REVIEW))]
AdminDep = Annotated[Actor, Depends(_with(Scope.ADMIN))]


async def request_id(request: Request) -> str:
    """The id that the answer and the log have of this request."""
    made: str = request.state.request_id
    return made


RequestIdDep = Annotated[str, Depends(request_id)]


async def _review(store: StoreDep) -> Review:
    return Review(store)


ReviewDep = Annotated[Review, Depends(_review)]


def _session(store: StoreDep) -> Iterator[Session]:
    with store.database.read() as session:
        yield session


SessionDep = Annotated[Session, Depends(_session, scope="function")]
"""A session for reading; what writes is a method of the store. It ends before the answer is sent:
who reads slowly, or follows events for minutes, holds no connection."""


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
