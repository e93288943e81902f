import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.app import Service
from api.settings import Settings
from tests.api.archives import as_zip
from tests.api.conftest import accept, connect, ended, upload

SCRIPTS = Path("docker").absolute()
pytestmark = pytest.mark.slow


def run(script: str, folder: Path, data: Path, database: str) -> subprocess.CompletedProcess[str]:
    variables = {"STRICT_PREFIX_DATA": str(data), "STRICT_PREFIX_DATABASE": database}
    command = [str(SCRIPTS / script), str(folder)]
    return subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )


def test_what_was_copied_while_running_is_served_elsewhere(
    tmp_path: Path, make_database: Callable[[], str]
) -> None:
    first, second = make_database(), make_database()
    if first and not shutil.which("pg_dump"):
        pytest.skip("pg_dump is not installed (Debian and Ubuntu: postgresql-client)")
    copy = tmp_path / "copy"

    def settings(name: str, database: str) -> Settings:
        return Settings(data=tmp_path / name, database=database, poll_seconds=0.02)

    with Service(settings("one", first)) as service, connect(service) as client:
        status = ended(client, upload(client).headers["location"])
        verdict = client.get(status["links"]["verdict"]).content
        unended = accept(service.store)
        done = run("backup.sh", copy, tmp_path / "one", first)
        assert done.returncode == 0, done.stderr
        assert run("backup.sh", copy, tmp_path / "one", first).returncode != 0
    done = run("restore.sh", copy, tmp_path / "two", second)
    assert done.returncode == 0, done.stderr
    assert run("restore.sh", copy, tmp_path / "two", second).returncode == 2
    with Service(settings("two", second)) as service, connect(service) as client:
        again: dict[str, Any] = client.get(status["links"]["self"]).json()
        assert again == status
        assert client.get(status["links"]["verdict"]).content == verdict
        assert service.store.blobs.get(status["submission"]["archive_sha256"]) == as_zip()
        # What waited then is audited now.
        assert ended(client, f"/v1/audits/{unended}")["state"] == "finished"


def test_a_damaged_copy_is_not_restored(tmp_path: Path) -> None:
    with Service(Settings(data=tmp_path / "one")):
        assert run("backup.sh", tmp_path / "copy", tmp_path / "one", "").returncode == 0
    with (tmp_path / "copy" / "blobs.tar").open("ab") as file:
        file.write(b"!")
    assert run("restore.sh", tmp_path / "copy", tmp_path / "two", "").returncode != 0
    assert not (tmp_path / "two").exists()
