"""Who asks: API keys, sessions of browsers, scopes, and how much one may ask for.

On a loopback address and without `hosts` the service is open: whoever reaches it is its owner.
Everywhere else every request needs a key, or a session that was opened with one.
"""

import hashlib
import hmac
import ipaddress
import math
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from api.settings import Settings

PREFIX = "sp"
"""First part of a key, by which people and scanners of leaked secrets know what it is."""
SESSION_COOKIE = "strict_prefix_session"
ANONYMOUS = "anonymous"
LOCAL_NAMES = ("127.0.0.1", "localhost", "::1")


class Scope(StrEnum):
    """What a key may be used for."""

    SUBMIT = "submit"
    """Hand in, cancel what one handed in, appeal."""
    REVIEW = "review"
    """Cancel anything, re-judge, answer appeals, write notes."""
    ADMIN = "admin"
    """All of it, and read the log of who did what."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks, and what they may."""

    id: str
    """Of the key; `local` on an open service, `anonymous` for who showed no key."""
    scopes: frozenset[str]
    requests_per_minute: int | None = None
    audits_per_day: int | None = None
    by_session: bool = False
    """Asked with a cookie, which a browser also sends for pages of others."""

    def may(self, scope: Scope) -> bool:
        """Whether the scope is among theirs; admin has all."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


LOCAL = Actor("local", frozenset(Scope))
NOBODY = Actor(ANONYMOUS, frozenset())


@dataclass(frozen=True, slots=True)
class Secret:
    """A new key: the text that is shown once, and what is kept of it."""

    id: str
    text: str
    sha256: str


def new_key() -> Secret:
    """A key of 256 random bits: nothing that a slow hash would have to protect from guessing."""
    key_id = secrets.token_hex(6)
    text = f"{PREFIX}_{key_id}_{secrets.token_urlsafe(32)}"
    return Secret(key_id, text, digest(text))


def key_id_of(text: str) -> str | None:
    """The id inside a key; None when the text is no key."""
    parts = text.split("_", 2)
    return parts[1] if len(parts) == 3 and parts[0] == PREFIX and parts[1] else None


def digest(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def same(secret: str, kept: str) -> bool:
    """Whether a secret is the one that was kept; takes as long when it is not."""
    return hmac.compare_digest(digest(secret), kept)


def form_token(cookie: str) -> str:
    """The token of forms on pages for this cookie: another site can make up neither of the two."""
    return hashlib.sha256(b"form:" + cookie.encode()).hexdigest()


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_open(settings: Settings) -> bool:
    """Whether nobody needs a key: this machine's own users alone can ask."""
    return is_loopback(settings.host) and not settings.host_names


def known_hosts(settings: Settings) -> frozenset[str] | None:
    """The names that requests may be addressed to; None when any may.

    Without this, a page of another site could have its own name point at 127.0.0.1, and would then
    be read and sent as the service's own.
    """
    if not is_open(settings) and not settings.host_names:
        return None
    return frozenset((*settings.host_names, *LOCAL_NAMES))


def host_name(header: str) -> str:
    """The name in a Host header, without its port."""
    if header.startswith("["):
        return header[1:].split("]", 1)[0]
    return header.rsplit(":", 1)[0].lower()


class Rates:
    """Requests a minute for each key, or each address without one; in this process alone."""

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def wait(self, who: Iterable[str], per_minute: int) -> int:
        """0 when one more request may pass, else the seconds until one may."""
        item = RateLimitItemPerMinute(per_minute)
        if self._limiter.hit(item, *who):
            return 0
        free = self._limiter.get_window_stats(item, *who).reset_time
        return max(1, math.ceil(free - time.time()))
