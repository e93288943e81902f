"""What every request passes before its route: limits, its turn, and headers of its answer."""

import asyncio
import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import TooLarge
from api.web import REQUEST_ID, SAFE_HEADERS

FORM_BYTES = 64 * 2**10
"""What a form may add around the archive: boundaries, names, the other fields."""
_GIVEN_ID = re.compile(r"[\w-]{1,64}")


class LimitBody:
    """Refuses a large body before it is read, or as soon as it has become too large.

    FastAPI's own `max_body_size` answers in plain text, whatever the error handlers say.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        """Guard this application."""
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what is received; the error is raised where the body is read, and handled there."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stated = Headers(scope=scope).get("content-length", "")
        received = 0

        async def counted() -> Message:
            nonlocal received
            if stated.isdecimal() and int(stated) > self._limit:
                raise TooLarge(int(stated), self._limit - FORM_BYTES, exact=True)
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit:
                raise TooLarge(received, self._limit - FORM_BYTES, exact=False)
            return message

        await self._app(scope, counted, send)


class TakeTurns:
    """Lets so many requests at a time use the database; the others wait and hold nothing.

    A request passes through several threads on its way. Without turns, those that hold a connection
    wait for a thread, while the threads wait for connections: nobody gets any further. A turn
    begins when the body has arrived, so that slow clients take none, and ends with the answer.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        """Guard this application."""
        self._app = app
        self._turns = asyncio.Semaphore(most)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a turn and give it back, whatever happens in between."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        mine = False

        async def take() -> None:
            nonlocal mine
            if not mine:
                await self._turns.acquire()
                mine = True

        def give_back() -> None:
            nonlocal mine
            if mine:
                self._turns.release()
                mine = False

        async def received() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                await take()
            return message

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                give_back()
            await send(message)

        try:
            if scope["method"] in ("GET", "HEAD", "OPTIONS"):
                await take()
                await self._app(scope, receive, sent)
            else:
                await self._app(scope, received, sent)
        finally:
            give_back()


class AddHeaders:
    """Names the request, and sets what keeps a browser from doing more than showing a page."""

    def __init__(self, app: ASGIApp) -> None:
        """Guard this application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add to every response what it does not say itself."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if _GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
        # In place: the handler of a 500 stands outside of this and sees the same dictionary.
        scope.setdefault("state", {})["request_id"] = request_id

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                for name, value in SAFE_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, guarded)
