"""Where archives are, how long they are kept, and that verdicts outlive them."""

import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from api.__main__ import main
from api.app import Service
from api.blobs import AnyBlobs, Blobs
from api.object_blobs import ObjectBlobs, StorageAwayError
from api.retention import retain
from api.settings import Settings
from auditor.errors import ToolError
from tests.api.archives import RECORD, as_zip
from tests.api.conftest import connect, ended, upload
from tests.api.test_errors import assert_problem
from tests.api.test_process import Live

pytest.importorskip("moto", reason="moto, a server that speaks S3, is not installed (extra `dev`)")
BUCKET = "archives"


class S3:
    """A real server of the protocol, in a process of its own."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-p", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._make_bucket()

    def _make_bucket(self) -> None:
        import httpx2

        deadline = time.monotonic() + 60
        while True:
            try:
                made = httpx2.put(f"http://127.0.0.1:{self.port}/{BUCKET}")
                assert made.status_code == 200, made.text
                return
            except httpx2.TransportError:
                assert time.monotonic() < deadline, "the S3 server did not start"
                time.sleep(0.2)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    started = S3()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in started.environment.items():
            patch.setenv(name, value)
        yield started
    started.stop()


@pytest.fixture(params=["folder", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> AnyBlobs:
    if request.param == "folder":
        return Blobs(tmp_path / "blobs")
    request.getfixturevalue("s3")
    return ObjectBlobs(f"s3://{BUCKET}/{tmp_path.name}")


def put(blobs: AnyBlobs, data: bytes) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    blobs.put(io.BytesIO(data), sha256)
    return sha256


@pytest.mark.parametrize("size", [0, 1, 12_000_000])
def test_bytes_come_back_as_they_were(blobs: AnyBlobs, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    sha256 = put(blobs, data)
    assert put(blobs, data) == sha256
    blobs.check()
    assert blobs.get(sha256) == data
    with blobs.lent(sha256, tmp_path) as path:
        assert path.read_bytes() == data
    assert not list(tmp_path.glob("blob-*"))
    blobs.drop(sha256)
    blobs.drop(sha256)
    with pytest.raises(ToolError, match=sha256):
        blobs.get(sha256)


def test_bytes_that_were_changed_in_the_storage_are_noticed(s3: S3) -> None:
    import obstore

    kept = ObjectBlobs(f"s3://{BUCKET}/changed")
    sha256 = put(kept, b"as they were")
    obstore.put(kept._store, f"{sha256[:2]}/{sha256}", b"as they are")
    with pytest.raises(ToolError, match="digest is another"):
        kept.get(sha256)


def test_a_storage_that_cannot_be_used_is_said_in_a_line(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = ObjectBlobs("s3://no-such-bucket/x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for blobs in (gone, ObjectBlobs(f"s3://{BUCKET}/x")):
        for ask in (lambda: put(blobs, b"x"), blobs.check):  # noqa: B023 - asked at once
            with pytest.raises(StorageAwayError) as away:
                ask()
            assert "\n" not in str(away.value)
            assert len(str(away.value)) <= 300


def test_the_service_keeps_archives_in_s3_and_judges_them_there(
    s3: S3, tmp_path: Path, make_database: Callable[[], str]
) -> None:
    settings = Settings(
        data=tmp_path, database=make_database(), blobs=f"s3://{BUCKET}/live", poll_seconds=0.02
    )
    with Service(settings) as service, connect(service) as client:
        told = ended(client, upload(client).headers["location"])
        assert told["state"] == "finished", told
        sha256 = told["submission"]["archive_sha256"]
        assert service.store.blobs.get(sha256) == as_zip()
        assert not (tmp_path / "blobs").exists()
        assert client.get("/readyz").status_code == 200
        service.store.blobs = ObjectBlobs("s3://no-such-bucket/x")
        answer = upload(client, as_zip(RECORD | {"other": b"1"}))
        assert_problem(answer, 503, "storage")
        assert_problem(client.get("/readyz"), 503, "storage")
        assert answer.headers["retry-after"] == "5"
        assert client.get("/v1/audits?state=queued").json()["items"] == []


def age_all(service: Service, days: float) -> None:
    """As if everything there is had happened so long ago."""
    then = (datetime.now(UTC) - timedelta(days=days)).replace(tzinfo=None)
    with service.database.write() as session:
        session.execute(text("UPDATE submissions SET received = :then"), {"then": then})
        session.execute(text("UPDATE audits SET created = :then"), {"then": then})
        ended = "UPDATE audits SET finished = :then WHERE finished IS NOT NULL"
        session.execute(text(ended), {"then": then})


def dropped(service: Service, days: float, *, dry: bool = False) -> int:
    before = datetime.now(UTC) - timedelta(days=days)
    return retain(service.database, service.store.blobs, before, dry=dry)[0]


def test_old_archives_go_and_their_verdicts_stay(client: TestClient, service: Service) -> None:
    archive = as_zip(RECORD | {"to be": b"dropped"})
    told = ended(client, upload(client, archive).headers["location"])
    sha256 = told["submission"]["archive_sha256"]
    before = client.get(told["links"]["verdict"]).content
    assert dropped(service, 30) == 0
    age_all(service, 31)
    assert dropped(service, 30, dry=True) >= 1
    assert service.store.blobs.get(sha256) == archive
    assert dropped(service, 30) >= 1
    assert dropped(service, 30) == 0
    with pytest.raises(ToolError):
        service.store.blobs.get(sha256)
    assert client.get(told["links"]["verdict"]).content == before
    actions = client.get(f"/v1/actions?subject={sha256}").json()["items"]
    assert [(each["actor"], each["verb"]) for each in actions] == [("command", "archive dropped")]
    # It cannot be judged again, which is said before anything is queued.
    verdict = told["verdict"]["id"]
    asked = client.post("/v1/rejudges", data={"reason": "x", "verdicts": verdict})
    assert "was dropped" in assert_problem(asked, 409, "ended")
    # Who hands it in again brings it back.
    again = ended(client, upload(client, archive).headers["location"])
    assert again["state"] == "finished"
    assert service.store.blobs.get(sha256) == archive
    asked = client.post("/v1/rejudges", data={"reason": "x", "verdicts": verdict})
    assert asked.status_code == 202
    client.post(f"/v1/rejudges/{asked.json()['id']}/cancel")


def test_an_archive_that_something_depends_on_is_kept(
    client: TestClient, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    appealed = ended(client, upload(client, as_zip(RECORD | {"a": b"1"})).headers["location"])
    judged = ended(client, upload(client, as_zip(RECORD | {"a": b"2"})).headers["location"])
    verdict = appealed["verdict"]["id"]
    rule = client.get(f"/v1/verdicts/{verdict}").json()["results"][0]["rule"]
    appeal = {"rule": rule, "text": "no"}
    made = client.post(f"/v1/verdicts/{verdict}/appeals", data=appeal).json()[0]
    asked = {"reason": "x", "verdicts": judged["verdict"]["id"]}
    rejudge = client.post("/v1/rejudges", data=asked).json()
    ended(client, f"/v1/audits/{rejudge['differences'][0]['audit']}")
    monkeypatch.setenv("ODD", f"hold:{tmp_path / 'gate'}")
    running = upload(client, as_zip(RECORD | {"a": b"3"})).headers["location"]
    age_all(service, 31)
    dropped(service, 30)

    def kept(told: dict[str, dict[str, str]]) -> bool:
        try:
            return bool(service.store.blobs.get(told["submission"]["archive_sha256"]))
        except ToolError:
            return False

    assert [kept(each) for each in (appealed, judged, client.get(running).json())] == [True] * 3
    (tmp_path / "gate").touch()
    last = ended(client, running)
    answer = {"decision": "rejected", "answer": "yes"}
    client.post(f"/v1/appeals/{made['id']}/answer", data=answer)
    client.post(f"/v1/rejudges/{rejudge['id']}/cancel")
    age_all(service, 31)
    assert dropped(service, 30) == 3
    assert [kept(each) for each in (appealed, judged, last)] == [False] * 3


def test_an_upload_at_the_same_time_brings_the_archive_back(service: Service) -> None:
    """The row is locked while the archive goes: who comes then finds it gone, and writes it."""
    client = connect(service)
    archive = as_zip(RECORD | {"race": b"1"})
    ended(client, upload(client, archive).headers["location"])
    age_all(service, 31)
    real = service.store.blobs.put
    calls = []

    def drop_in_between(data: io.BytesIO, sha256: str) -> None:
        real(data, sha256)
        calls.append(sha256)
        if len(calls) == 1:
            assert dropped(service, 30) >= 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service.store.blobs, "put", drop_in_between)
        told = ended(client, upload(client, archive).headers["location"])
    assert told["state"] == "finished", told
    assert service.store.blobs.get(calls[0]) == archive


def test_the_command_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    live = Live("api", tmp_path)
    where = live.upload(as_zip())
    live.wait(where, "state", "finished")
    # Beside the running service, as a timer would do it.
    command = ["retain", "--data", str(tmp_path), "--older-than"]
    assert main([*command, "1d"]) == 0
    assert "dropped: 0 archives" in capsys.readouterr().out
    assert main([*command, "0h", "--dry-run"]) == 0
    assert "would go: 1 archives" in capsys.readouterr().out
    assert main([*command, "0h"]) == 0
    assert "dropped: 1 archives" in capsys.readouterr().out
    verdict = live.client.get(live.client.get(where).json()["links"]["verdict"])
    assert json.loads(verdict.text)["schema"]
    live.stop(signal.SIGTERM)
    for odd in ("", "x", "-1d", "1w", "99999999d"):
        with pytest.raises(SystemExit) as wrong:
            main([*command, odd])
        assert wrong.value.code == 2
