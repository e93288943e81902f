import json
import signal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from auditor.cli import app
from tests.api.archives import RECORD
from tests.api.test_process import Live
from tests.auditor.repositories import Repository


@pytest.fixture
def record(tmp_path: Path) -> Path:
    folder = tmp_path / "record"
    folder.mkdir()
    for name, data in RECORD.items():
        (folder / name).write_bytes(data)
    return folder


def test_prints_the_verdict_and_exits_as_audit_does(record: Path, tmp_path: Path) -> None:
    here = CliRunner().invoke(app, ["audit", str(record), "--format", "json"])
    live = Live("api", tmp_path / "data")
    try:
        server = ["--server", f"http://127.0.0.1:{live.port}"]
        command = ["submit", str(record), "--no-run", *server]
        there = CliRunner().invoke(app, [*command, "--wait", "--format", "json"])
        assert there.exit_code == here.exit_code
        assert json.loads(there.stdout)["digest"] == json.loads(here.stdout)["digest"]
        queued = CliRunner().invoke(app, command)
        assert queued.exit_code == 0
        assert queued.stdout.strip() in queued.stderr
        wrong = tmp_path / "key"
        wrong.write_text("sp_wrong_key")
        refused = CliRunner().invoke(app, [*command, "--key-file", str(wrong)])
        assert refused.exit_code == 2
        assert "not known, or was revoked" in refused.stderr
        assert "sp_wrong_key" not in refused.stderr
    finally:
        live.stop(signal.SIGKILL)


def test_a_folder_in_a_repository_that_the_service_allows_is_fetched_by_it(tmp_path: Path) -> None:
    made = Repository(tmp_path / "allowed" / "golf")
    made.commit({f"records/mine/{name}": data for name, data in RECORD.items()})
    allowed = f"file://{made.path.parent}"
    live = Live("api", tmp_path / "data", STRICT_PREFIX_GIT_PREFIXES=allowed)
    try:
        server = ["--server", f"http://127.0.0.1:{live.port}", "--no-run"]
        command = ["submit", f"file://{made.path}@main:records/mine", *server]
        fetched = CliRunner().invoke(app, [*command, "--wait", "--format", "json"])
        here = ["audit", f"{made.path}@main:records/mine", "--format", "json"]
        read = CliRunner().invoke(app, here)
        assert json.loads(fetched.stdout)["digest"] == json.loads(read.stdout)["digest"]
        elsewhere = ["submit", f"file://{tmp_path}/other@main:records/mine", *server]
        refused = CliRunner().invoke(app, elsewhere)
        assert refused.exit_code == 2
        assert "allow" in refused.stderr
    finally:
        live.stop(signal.SIGKILL)


def test_what_cannot_be_read_is_not_sent(tmp_path: Path) -> None:
    gone = CliRunner().invoke(app, ["submit", str(tmp_path / "nothing")])
    assert gone.exit_code == 2
    assert "no such folder or archive" in gone.stderr
