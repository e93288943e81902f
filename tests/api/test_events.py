import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

import auditor.client
from api.app import Service
from api.db import CONNECTIONS
from auditor.client import Audit, Client, ServerError, Wish, pack
from auditor.errors import SubmissionError, ToolError
from tests.api.archives import RECORD, as_zip
from tests.api.conftest import accept, upload, wait_for
from tests.api.test_process import Live


def told(client: TestClient, where: str, last: str | None = None) -> list[tuple[str, Any]]:
    """The events of one connection until it ends: id and data."""
    headers = {} if last is None else {"last-event-id": last}
    found, now = [], {}
    with client.stream("GET", f"{where}/events", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if line:
                now[name] = value
            elif "data" in now:
                found.append((now["id"], json.loads(now["data"])))
                assert now["event"] == found[-1][1]["state"]
                now = {}
    return found


def test_the_events_lead_from_the_queue_to_the_verdict(client: TestClient) -> None:
    where = upload(client).headers["location"]
    events = told(client, where)
    numbers = [int(number) for number, _ in events]
    assert numbers == sorted(set(numbers))
    assert events[-1][1]["state"] == "finished"
    assert events[-1][1] == client.get(where).json()
    assert all(event["state"] in ("queued", "running") for _, event in events[:-1])


def test_who_comes_again_misses_nothing_and_hears_nothing_twice(
    client: TestClient, service: Service
) -> None:
    where = upload(client).headers["location"]
    events = told(client, where)
    again = told(client, where, last="1")
    assert again
    assert all(int(number) > 1 for number, _ in again)
    assert again[-1] == events[-1]
    done = client.get(f"{where}/events", headers={"last-event-id": events[-1][0]})
    assert (done.status_code, done.content) == (204, b"")
    # What is no id of ours is as none.
    assert told(client, where, last="nonsense")[-1] == events[-1]


def test_every_change_is_an_event(client: TestClient, service: Service) -> None:
    audit_id = accept(service.store)
    versions = [service.store.version(audit_id)[0]]
    service.store.start(audit_id, 3)
    versions.append(service.store.version(audit_id)[0])
    service.store.progress(audit_id, "working", 0.5)
    versions.append(service.store.version(audit_id)[0])
    service.store.cancel(audit_id, "local")
    assert service.store.version(audit_id) == (4, True)
    assert versions == [1, 2, 3]
    (event,) = told(client, f"/v1/audits/{audit_id}", last="3")
    assert event[1]["state"] == "cancelled"
    assert client.get("/v1/audits/nothing/events").status_code == 404


def test_too_many_listeners_are_asked_to_come_later(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def acquire(self, *, blocking: bool) -> bool:
            return False

    where = upload(client).headers["location"]
    monkeypatch.setattr("api.routes.events._places", Full())
    answer = client.get(f"{where}/events")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    started = Live("api", tmp_path_factory.mktemp("live") / "data")
    yield started
    started.stop(signal.SIGKILL)


def test_listeners_hold_nothing_that_others_need(tmp_path: Path) -> None:
    live = Live("api", tmp_path / "data", STRICT_PREFIX_WORKERS="0")
    where = live.upload()
    with ExitStack() as open_streams:
        for _ in range(CONNECTIONS + 8):
            client = open_streams.enter_context(httpx2.Client(timeout=20))
            address = f"http://127.0.0.1:{live.port}{where}/events"
            stream = open_streams.enter_context(client.stream("GET", address))
            assert stream.status_code == 200
        assert live.client.get(where, timeout=20).json()["state"] == "queued"
    live.stop(signal.SIGKILL)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    folder = tmp_path / "record"
    folder.mkdir()
    for name, data in RECORD.items():
        (folder / name).write_bytes(data)
    return folder


class TestClientOfOurs:
    def test_hands_in_follows_and_reads(self, live: Live, record: Path) -> None:
        with Client(f"http://127.0.0.1:{live.port}") as client:
            seen: list[Audit] = []
            audit = client.submit(*pack(str(record)), Wish(run=False))
            assert client.audit(audit.id).id == audit.id
            document = client.verdict(client.wait(audit.id, seen.append))
            assert document["submission"]["folder"] == "record"
            assert seen[-1].state == "finished"
            # The same folder packs to the same bytes, and so to the verdict there is.
            assert client.submit(*pack(str(record)), Wish(run=False)).id == audit.id
            assert client.submit(*pack(str(record)), Wish(run=False, again=True)).id != audit.id

    def test_says_what_the_service_refused(self, live: Live) -> None:
        with Client(f"http://127.0.0.1:{live.port}") as client:
            with pytest.raises(ServerError, match="expected one of 2026-") as refused:
                client.submit(as_zip(), "x.zip", Wish(ruleset="1999-01-01"))
            assert (refused.value.status, refused.value.kind) == (422, "invalid")
            with pytest.raises(ServerError, match="'nothing'"):
                list(client.events("nothing"))
        with (
            Client(f"http://127.0.0.1:{live.port}", key="sp_no_key") as client,
            pytest.raises(ServerError, match="not known") as unknown,
        ):
            client.audit("x")
        assert unknown.value.status == 401

    def test_gives_up_on_who_does_not_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(auditor.client, "WAIT_SECONDS", 0.001)
        with Client("http://127.0.0.1:1") as client:
            with pytest.raises(ServerError, match="does not answer"):
                client.audit("x")
            with pytest.raises(ServerError, match="does not answer"):
                list(client.events("x"))

    def test_an_audit_without_a_verdict_is_an_error(self, live: Live) -> None:
        with Client(f"http://127.0.0.1:{live.port}") as client:
            audit = client.submit(as_zip(), "cancelled.zip", Wish(run=False))
            wait_for(lambda: client.audit(audit.id), lambda now: now.ended)
            finished = client.audit(audit.id)
            with pytest.raises(ServerError, match="has ended"):
                client.cancel(audit.id)
        nothing = auditor.client.Audit("x", "cancelled", "", 0.0, 0, None, None, None)
        with pytest.raises(ToolError, match="cancelled"):
            Client("http://127.0.0.1:1").verdict(nothing)
        assert finished.verdict_id

    def test_packs_the_same_files_to_the_same_bytes(self, record: Path, tmp_path: Path) -> None:
        first = pack(str(record))
        (record / "README.md").touch()
        (record / ".git").mkdir()
        (record / ".git" / "config").write_text("private")
        assert pack(str(record)) == first
        archive = tmp_path / "same.zip"
        archive.write_bytes(first[0])
        assert pack(str(archive)) == (first[0], "same.zip")
        archive.write_bytes(b"nothing")
        with pytest.raises(SubmissionError):
            pack(str(archive))
