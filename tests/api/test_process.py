import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import create_engine, text

from api.__main__ import main
from api.blobs import Blobs
from api.db import Database
from api.settings import Settings
from api.store import Store
from auditor.run.sandbox import missing
from tests.api.archives import RECORD, as_zip
from tests.api.conftest import PATIENCE_SECONDS, accept, wait_for


class Live:
    """A service in a process of its own, as a user starts it."""

    def __init__(self, module: str, data: Path, **environment: str) -> None:
        self.command = [sys.executable, "-m", module, "--port", "0", "--data", str(data)]
        self.process = subprocess.Popen(
            self.command,
            env={
                **os.environ,
                "STRICT_PREFIX_POLL_SECONDS": "0.02",
                "STRICT_PREFIX_SHUTDOWN_SECONDS": "1",
                "STRICT_PREFIX_LEASE_SECONDS": "1",
                **environment,
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr
        for line in self.process.stderr:
            if found := re.search(r"http://127\.0\.0\.1:(\d+) serves", line):
                break
        else:
            raise AssertionError("the service did not start")
        self.port = int(found[1])
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}")
        # Somebody must read on, or the log fills the pipe and the service stands still.
        self._reader = threading.Thread(target=self.process.stderr.read)
        self._reader.start()

    def upload(self, archive: bytes | None = None, *, run: bool = False) -> str:
        files = {"archive": ("record.zip", archive or as_zip())}
        answer = self.client.post(
            "/v1/audits", files=files, data={"run": str(run), "again": "true"}
        )
        assert answer.status_code == 202
        where: str = answer.headers["location"]
        return where

    def wait(self, where: str, key: str, *values: str) -> dict[str, Any]:
        return wait_for(
            lambda: self.client.get(where).raise_for_status().json(),
            lambda status: (status | status["progress"])[key] in values,
        )

    def stop(self, number: signal.Signals) -> int:
        self.client.close()
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE_SECONDS)
        self._reader.join()
        assert self.process.stderr
        self.process.stderr.close()
        return code


Start = Callable[..., Live]


@pytest.fixture
def url(make_database: Callable[[], str]) -> str:
    return make_database()


@pytest.fixture
def start(tmp_path: Path, url: str) -> Iterator[Start]:
    started: list[Live] = []

    def begin(module: str = "api", **environment: str) -> Live:
        environment.setdefault("STRICT_PREFIX_DATABASE", url)
        started.append(Live(module, tmp_path / "data", **environment))
        return started[-1]

    yield begin
    for live in started:
        if live.process.returncode is None:
            live.stop(signal.SIGKILL)


def rows(url: str, data: Path, query: str) -> list[tuple[Any, ...]]:
    engine = create_engine(url or f"sqlite:///{data / 'strict-prefix.sqlite'}")
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(text(query))]
    engine.dispose()
    return found


def test_a_verdict_survives_a_restart(start: Start) -> None:
    live = start()
    status = live.wait(live.upload(), "state", "finished")
    before = live.client.get(status["links"]["verdict"]).content
    assert live.stop(signal.SIGTERM) == 0
    again = start()
    assert again.client.get(status["links"]["self"]).json() == status
    assert again.client.get(status["links"]["verdict"]).content == before


def test_killed_jobs_are_taken_up_and_end_with_one_verdict_each(
    start: Start, url: str, tmp_path: Path
) -> None:
    live = start("tests.api.gated_service", ODD=f"hold:{tmp_path / 'gate'}")
    running, waiting = live.upload(), live.upload()
    status = live.wait(running, "state", "running")
    wait_for(
        lambda: live.client.get(running).json()["progress"],
        lambda progress: progress == {"done": 0.5, "doing": "waiting at the gate"},
    )
    assert live.client.get(waiting).json()["state"] == "queued"
    assert live.stop(signal.SIGKILL) == -signal.SIGKILL
    data = tmp_path / "data"
    assert rows(url, data, "SELECT state, doing FROM audits ORDER BY created") == [
        ("running", "waiting at the gate"),
        ("queued", "waiting"),
    ]
    again = start()
    for where in (running, waiting):
        again.wait(where, "state", "finished")
    assert again.client.get(running).json()["started"] > status["started"]
    assert rows(url, data, "SELECT attempts FROM audits ORDER BY created") == [(2,), (1,)]
    assert rows(url, data, "SELECT count(*), count(DISTINCT audit_id) FROM verdicts") == [(2, 2)]


@pytest.mark.slow
def test_a_killed_execution_is_begun_again_and_agrees_with_the_command(
    start: Start, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    if reason := missing("bubblewrap"):
        pytest.skip(reason)
    files = RECORD | {"train_gpt.py": Path("tests/systems/train_gpt.py").read_bytes()}
    archive = as_zip(files)
    live = start()
    where = live.upload(archive, run=True)
    live.wait(where, "doing", "running on noise")
    scratch = tmp_path / "data" / "scratch"
    left = set(wait_for(lambda: list(scratch.glob("*/*")), bool))
    assert live.stop(signal.SIGKILL) == -signal.SIGKILL
    again = start()
    verdict = again.wait(where, "state", "finished")["links"]["verdict"]
    there = again.client.get(verdict).content
    (tmp_path / "record.zip").write_bytes(archive)
    command = ["-m", "auditor", "audit", str(tmp_path / "record.zip"), "--run", "--format", "json"]
    here = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, check=False).stdout
    clock = rb'"seconds": [\d.]+\n'
    assert re.sub(clock, b"", there) == re.sub(clock, b"", here)
    assert left.isdisjoint(scratch.glob("*/*"))


@pytest.mark.slow
def test_a_stop_does_not_wait_for_a_long_audit_and_the_limit_of_attempts_holds(
    start: Start, tmp_path: Path
) -> None:
    live = start("tests.api.gated_service", ODD=f"hold:{tmp_path / 'gate'}")
    where = live.upload()
    live.wait(where, "state", "running")
    assert live.stop(signal.SIGTERM) == 0
    again = start(STRICT_PREFIX_ATTEMPTS="1")
    problem = again.wait(where, "state", "errored")["problem"]
    assert problem["kind"] == "interrupted"
    assert "1 attempts, the limit is 1" in problem["message"]


@pytest.mark.slow
def test_an_audit_that_never_reached_the_queue_is_queued_at_the_next_start(
    start: Start, url: str, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    database = Database(url or f"sqlite:///{data / 'strict-prefix.sqlite'}")
    database.migrate()
    store = Store(database, Blobs(data / "blobs"))
    audit_id = accept(store)
    database.close()
    live = start()
    live.wait(f"/v1/audits/{audit_id}", "state", "finished")


def test_too_large_is_answered_while_it_is_being_sent(start: Start) -> None:
    live = start(STRICT_PREFIX_MAX_UPLOAD_BYTES="1000000")
    assert live.client.get("/healthz").json()["status"] == "ok"
    with socket.create_connection(("127.0.0.1", live.port), PATIENCE_SECONDS) as client:
        client.sendall(
            b"POST /v1/audits HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        )
        piece = b'--b\r\nContent-Disposition: form-data; name="archive"; filename="x.zip"\r\n\r\n'
        for _ in range(12):
            client.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            piece = bytes(100_000)
        # Nothing ends the body: the answer comes before it would have been whole.
        answer = ""
        while not answer.endswith("}"):
            answer += client.recv(65536).decode()
    assert answer.startswith("HTTP/1.1 413")
    assert re.search(r"has at least 1,\d{3},\d{3} bytes, the limit is 1,000,000", answer)


def assert_one_sentence(capsys: pytest.CaptureFixture[str], expected: str, *arguments: str) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert re.fullmatch(r"python -m api: .+\n", said), said
    assert expected in said


@pytest.fixture
def signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("signals")
def test_what_is_in_the_way_of_a_start_is_one_sentence(
    start: Start,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # An embedded database has one process; of PostgreSQL's there may be many.
    live = start(STRICT_PREFIX_DATABASE="")
    port, data, other = str(live.port), str(tmp_path / "data"), str(tmp_path / "other")
    assert_one_sentence(capsys, f"port {port}", "--port", port, "--data", other)
    assert_one_sentence(capsys, "another running service", "--port", "0", "--data", data)
    (tmp_path / "file").write_text("")
    file = str(tmp_path / "file")
    assert_one_sentence(capsys, "expected a folder", "--port", "0", "--data", file)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "strict-prefix.sqlite").write_bytes(b"certainly not" * 1000)
    broken = str(tmp_path / "broken")
    assert_one_sentence(capsys, "not a database", "--port", "0", "--data", broken)
    assert_one_sentence(capsys, "port", "--port", "65536", "--data", other)
    monkeypatch.setenv("STRICT_PREFIX_WORKERS", "many")
    assert_one_sentence(capsys, "STRICT_PREFIX_WORKERS", "--data", other)
    assert not (tmp_path / "other").exists()


@pytest.mark.usefixtures("signals")
def test_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for name in Settings.model_fields:
        assert f"STRICT_PREFIX_{name.upper()} " in said
