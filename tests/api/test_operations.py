"""What operators and other programs lean on: readiness, figures, batches, callbacks."""

import asyncio
import http.server
import ipaddress
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import HTTPException
from fastapi.testclient import TestClient
from sqlalchemy import text

from api import callbacks
from api.app import Service, create_app
from api.callbacks import Address, Callbacks, Refused, address_of, allowed, call
from api.db import CONNECTIONS
from tests.api.archives import RECORD, as_zip
from tests.api.conftest import accept, ended
from tests.api.test_errors import assert_problem

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


def hand_in(client: TestClient, number: int, **fields: str) -> str:
    files = {"archive": ("record.zip", as_zip(RECORD | {"number": str(number).encode()}))}
    answer = client.post("/v1/audits", files=files, data={"run": "false", "again": "1", **fields})
    assert answer.status_code == 202, answer.text
    return str(answer.headers["location"])


def test_readiness_is_the_database_and_the_disk(
    client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert client.get("/healthz").json()["status"] == "ok"
    assert client.get("/readyz").json()["status"] == "ready"
    monkeypatch.setattr(service.store.blobs, "_folder", tmp_path / "gone")
    assert client.get("/readyz").status_code == 500
    assert client.get("/healthz").status_code == 200


def test_figures_count_what_was_asked_and_what_is(client: TestClient) -> None:
    ended(client, hand_in(client, 1))
    client.get("/v1/audits/nothing")
    said = client.get("/metrics").text
    assert 'strict_prefix_audits{state="finished"}' in said
    assert 'strict_prefix_audits{state="queued"} 0.0' in said
    assert "strict_prefix_processes 1.0" in said
    route = 'route="/v1/audits/{audit_id}",status="404"'
    assert f'strict_prefix_requests_total{{method="GET",{route}}} 1.0' in said
    # An id in a label would make a line for every audit there ever was.
    assert "nothing" not in said


def test_a_batch_says_how_far_it_is(client: TestClient) -> None:
    for number in range(3):
        ended(client, hand_in(client, number, batch="backlog.1"))
    ended(client, hand_in(client, 9))
    told = client.get("/v1/batches/backlog.1").json()
    assert (told["states"], told["ended"]) == ({"finished": 3}, True)
    assert sum(told["outcomes"].values()) == 3
    listed = client.get(told["links"]["audits"]).json()["items"]
    assert len(listed) == 3
    assert_problem(client.get("/v1/batches/none"), 404, "not-found")
    files = {"archive": ("record.zip", as_zip())}
    odd = client.post("/v1/audits", files=files, data={"batch": "a/b"})
    assert_problem(odd, 422, "invalid")


def test_many_readers_and_listeners_at_once_do_not_block_each_other(
    client: TestClient, service: Service
) -> None:
    """Each holds a connection for a moment only, however many there are."""
    status = ended(client, hand_in(client, 11))
    page = status["links"]["page"]

    async def ask() -> list[int]:
        transport = httpx2.ASGITransport(app=create_app(service))
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", timeout=20
        ) as many:
            asked = [many.get(page) for _ in range(4 * CONNECTIONS)]
            return [answer.status_code for answer in await asyncio.gather(*asked)]

    assert set(asyncio.run(ask())) == {200}


class Heard(http.server.BaseHTTPRequestHandler):
    heard: list[dict[str, Any]]
    status: int

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.heard.append(json.loads(body))
        self.send_response(self.status)
        self.send_header("Location", "http://127.0.0.1/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[tuple[type[Heard], int]]:
    kind = type("Receiver", (Heard,), {"heard": [], "status": 200})
    server = http.server.HTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield kind, server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def last_try(service: Service, audit_id: str) -> tuple[int, object, str]:
    with service.database.read() as session:
        query = text("SELECT tries, due, said FROM callbacks WHERE audit_id = :id")
        row = session.execute(query, {"id": audit_id}).one()
    return row.tries, row.due, row.said


def teller(service: Service, networks: str) -> Callbacks:
    return Callbacks(
        service.database, service.settings.model_copy(update={"callback_networks": networks})
    )


def told_audit(service: Service, url: str) -> str:
    audit_id = accept(service.store)
    with service.database.write() as session:
        query = "INSERT INTO callbacks VALUES (:id, :url, 0, '2026-01-01 00:00:00', NULL)"
        session.execute(text(query), {"id": audit_id, "url": url})
    return audit_id


def test_an_address_is_told_once_when_an_audit_has_ended(
    service: Service, receiver: tuple[type[Heard], int]
) -> None:
    kind, port = receiver
    service.callbacks.close()
    audit_id = told_audit(service, f"http://127.0.0.1:{port}/hook?x=1")
    mine = teller(service, "127.0.0.0/8")
    assert mine.look() == 0
    service.store.cancel(audit_id, "local")
    assert mine.look() == 1
    assert mine.look() == 0
    told = {"audit": audit_id, "state": "cancelled", "url": f"/v1/audits/{audit_id}"}
    assert kind.heard == [told]
    assert last_try(service, audit_id) == (1, None, "HTTP 200")


def test_an_address_that_does_not_answer_is_tried_again_later_and_not_for_ever(
    service: Service, receiver: tuple[type[Heard], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, port = receiver
    kind.status = 302
    service.callbacks.close()
    audit_id = told_audit(service, f"http://127.0.0.1:{port}/hook")
    service.store.cancel(audit_id, "local")
    mine = teller(service, "127.0.0.0/8")
    assert mine.look() == 1
    tries, due, said = last_try(service, audit_id)
    assert (tries, said, due is None) == (1, "HTTP 302", False)
    assert mine.look() == 0
    monkeypatch.setattr(callbacks, "FIRST_WAIT_SECONDS", -1.0)
    with service.database.write() as session:
        session.execute(text("UPDATE callbacks SET due = '2026-01-01 00:00:00'"))
    while mine.look():
        pass
    assert last_try(service, audit_id) == (callbacks.MOST_TRIES, None, "HTTP 302")
    assert len(kind.heard) == callbacks.MOST_TRIES


def test_an_address_of_ours_is_never_called(
    service: Service, receiver: tuple[type[Heard], int]
) -> None:
    kind, port = receiver
    service.callbacks.close()
    audit_id = told_audit(service, f"http://localhost:{port}/hook")
    service.store.cancel(audit_id, "local")
    assert teller(service, "").look() == 1
    tries, due, said = last_try(service, audit_id)
    assert (tries, due) == (1, None)
    assert "is not called" in said
    assert kind.heard == []


def test_a_name_that_changes_its_address_gains_nothing(
    receiver: tuple[type[Heard], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, port = receiver
    answers = iter(["93.184.216.34", "127.0.0.1"])
    asked = []

    def lookup(host: str, *_: object, **__: object) -> list[tuple[Any, ...]]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    went = []

    def connect(where: tuple[str, int], *_: object) -> socket.socket:
        went.append(where)
        raise OSError("as far as this test goes")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(OSError, match="as far"):
        call(Address(False, "rebinds.example", port, "/"), {})
    assert went == [("93.184.216.34", port)]
    with pytest.raises(Refused, match=r"127\.0\.0\.1"):
        call(Address(False, "rebinds.example", port, "/"), {})
    assert kind.heard == []


@pytest.mark.parametrize(
    "ip",
    [
        "127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "0.0.0.0",
        "100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001::1",
    ],
)  # fmt: skip
def test_private_addresses_in_all_their_forms_are_refused(ip: str) -> None:
    assert not allowed(ipaddress.ip_address(ip))


def test_public_addresses_and_those_that_the_operator_names_are_allowed() -> None:
    for ip in ("93.184.216.34", "2606:4700::1111", "::ffff:93.184.216.34"):
        assert allowed(ipaddress.ip_address(ip))
    assert allowed(ipaddress.ip_address("127.0.0.1"), LOOPBACK)
    assert allowed(ipaddress.ip_address("::ffff:127.0.0.1"), LOOPBACK)
    assert not allowed(ipaddress.ip_address("10.0.0.1"), LOOPBACK)


@pytest.mark.parametrize(
    "url",
    ["", "x", "ftp://a/b", "file:///etc/passwd", "https://", "http://u:p@h/", "http://a b/",
     "http://h:99999/", "http://[::1/", "http://h/\r\nX: y", "https://\u00e9.example/"],
)  # fmt: skip
def test_an_odd_address_is_refused_when_it_is_handed_in(client: TestClient, url: str) -> None:
    with pytest.raises(HTTPException):
        address_of(url)
    files = {"archive": ("record.zip", as_zip())}
    answer = client.post("/v1/audits", files=files, data={"callback": url})
    if url:
        assert "callback" in assert_problem(answer, 422, "invalid")
