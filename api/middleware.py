"""What every request passes before its route: the limit of its body, headers of its answer."""

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
