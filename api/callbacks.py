"""Telling an address that an audit has ended, and no address that is not the world's.

The receiver gets `{"audit": ID, "state": ...}` at least once, and reads the audit itself: what
comes over an address that anybody may know is a hint, not a word of the service.
"""

import contextlib
import http.client
import ipaddress
import json
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from fastapi import HTTPException
from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError

from api.db import Database
from api.settings import Settings
from api.tables import UNENDED, AuditRow, CallbackRow

MOST_TRIES = 8
FIRST_WAIT_SECONDS = 10.0
"""After the first try that did not succeed; doubles each time."""
TIMEOUT_SECONDS = 5.0
LOOK_SECONDS = 2.0
AT_ONCE = 20
HIDDEN = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16")))
"""IPv6 in which a gateway finds an IPv4 address."""

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to call."""

    secure: bool
    host: str
    port: int
    path: str


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """This address is not called."""


def address_of(url: str) -> Address:
    """Read an address; a 422 says what an address must look like."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise HTTPException(422, f"callback: not an address: {error}") from error
    if parts.scheme not in ("https", "http") or not parts.hostname or "@" in parts.netloc:
        raise HTTPException(422, "callback: expected https://HOST/PATH without a name or password")
    if not url.isascii() or any(character <= " " for character in url):
        raise HTTPException(422, "callback: expected an address of plain ASCII without spaces")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Address(parts.scheme == "https", parts.hostname, port, path)


def allowed(ip: Ip, networks: Sequence[Network] = ()) -> bool:
    """Whether an address is the world's, or in a network that the operator allows."""
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return allowed(ip.ipv4_mapped, networks)
        if ip.teredo is not None or any(ip in network for network in HIDDEN):
            return False
    if any(ip.version == network.version and ip in network for network in networks):
        return True
    return ip.is_global and not ip.is_multicast


def networks_of(settings: Settings) -> tuple[Network, ...]:
    """The private networks that may be called."""
    named = settings.callback_networks.split(",")
    return tuple(ipaddress.ip_network(name.strip()) for name in named if name.strip())


def call(address: Address, body: dict[str, Any], networks: Sequence[Network] = ()) -> int:
    """POST to an address; returns the status. Nothing is redirected, and no answer is read.

    The name is looked up once, all that it stands for is checked, and the connection goes to what
    was checked: a name that answers differently the next time gains nothing.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Refused(f"{address.host} cannot be looked up") from error
    ips = [ipaddress.ip_address(str(each[4][0]).split("%")[0]) for each in found]
    wrong = next((ip for ip in ips if not allowed(ip, networks)), None)
    if wrong is not None or not ips:
        raise Refused(f"{address.host} is {wrong}, which is not called")
    raw = socket.create_connection((str(ips[0]), address.port), TIMEOUT_SECONDS)
    with contextlib.closing(raw):
        if address.secure:
            context = ssl.create_default_context()
            raw = context.wrap_socket(raw, server_hostname=address.host)
        connection = http.client.HTTPConnection(address.host, address.port)
        connection.sock = raw
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "strict-prefix"}
        connection.request("POST", address.path, data, headers)
        return connection.getresponse().status


class Callbacks:
    """Tells the addresses of ended audits, in a thread of its own."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        tell: Callable[[Address, dict[str, Any], Sequence[Network]], int] = call,
    ) -> None:
        """Remember what to work with; `open` starts working."""
        self._database = database
        self._networks = networks_of(settings)
        self._tell = tell
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def open(self) -> None:
        """Start."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the address that is being told."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(2 * TIMEOUT_SECONDS)

    def _run(self) -> None:
        while not self._closing.wait(LOOK_SECONDS):
            try:
                self.look()
            except SQLAlchemyError as error:
                log.warning("callbacks wait: %s", str(error).splitlines()[0])
            except Exception:
                log.exception("callbacks stumbled")

    def look(self) -> int:
        """Tell what is due; returns how many addresses were tried."""
        now = datetime.now(UTC)
        with self._database.read() as session:
            query = (
                select(CallbackRow, AuditRow.state)
                .join(AuditRow, AuditRow.id == CallbackRow.audit_id)
                .where(CallbackRow.due <= now, AuditRow.state.not_in(UNENDED))
                .order_by(CallbackRow.due)
            )
            due = [(row, state) for row, state in session.execute(query.limit(AT_ONCE))]
        tried = 0
        for row, state in due:
            if not self._closing.is_set() and self._claim(row):
                self._settle(row, *self._try(row, state))
                tried += 1
        return tried

    def _claim(self, row: CallbackRow) -> bool:
        """Take the try before making it; False when another process has."""
        wait = FIRST_WAIT_SECONDS * 2**row.tries
        with self._database.write() as session:
            claimed = session.scalar(
                update(CallbackRow)
                .where(CallbackRow.audit_id == row.audit_id, CallbackRow.tries == row.tries)
                .where(CallbackRow.due.is_not(None))
                .values(tries=row.tries + 1, due=datetime.now(UTC) + timedelta(seconds=wait))
                .returning(CallbackRow.audit_id)
            )
        return claimed is not None

    def _try(self, row: CallbackRow, state: str) -> tuple[bool, str]:
        """Whether there is nothing more to do, and how it went."""
        body = {"audit": row.audit_id, "state": state, "url": f"/v1/audits/{row.audit_id}"}
        try:
            status = self._tell(address_of(row.url), body, self._networks)
        except Refused as error:
            return True, str(error)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return False, f"no answer: {type(error).__name__}"
        return 200 <= status < 300, f"HTTP {status}"

    def _settle(self, row: CallbackRow, ended: bool, said: str) -> None:
        over = ended or row.tries + 1 >= MOST_TRIES
        values: dict[str, Any] = {"said": said} | ({"due": None} if over else {})
        with self._database.write() as session:
            session.execute(
                update(CallbackRow).where(CallbackRow.audit_id == row.audit_id).values(values)
            )
        log.info("callback of audit %s: %s", row.audit_id, said)
