"""Command, gate and service are one engine: the same input, the same digest."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import rfc8785
from fastapi.testclient import TestClient

from tests.api.conftest import upload, verdict_of
from tests.auditor.repositories import ENVIRONMENT, Repository
from tests.systems import record

FOLDER = "records/track_non_record_16mb/2026-05-02_Small"


def answered(*words: object) -> Any:
    """What the command prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "auditor", *map(str, words), "--format", "json"],
        capture_output=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
    )
    return json.loads(done.stdout)


def test_command_gate_and_service_give_one_digest(client: TestClient, tmp_path: Path) -> None:
    """The track is known by the path alone, so a form that loses the path has another digest."""
    repository = Repository(tmp_path / "it")
    repository.commit({"README.md": "x"})
    repository.branch()
    repository.commit({f"{FOLDER}/{p}": f.data for p, f in record("unnormalised").files.items()})
    words = ("archive", "--format=zip", "topic", FOLDER)
    archive = subprocess.run(
        ["git", "-C", str(repository.path), *words],
        check=True,
        capture_output=True,
        env=ENVIRONMENT,
    ).stdout
    (tmp_path / "record.zip").write_bytes(archive)
    (one,) = answered("gate", "--base", "main", "--head", "topic", "--repo", repository.path)[
        "records"
    ]
    documents = {
        "folder": answered("audit", repository.path / FOLDER),
        "archive": answered("audit", tmp_path / "record.zip"),
        "git": answered("audit", f"{repository.path}@topic:{FOLDER}"),
        "gate": one["verdict"],
        "service": verdict_of(client, upload(client, archive).headers["location"]),
    }
    digests = {name: document["digest"] for name, document in documents.items()}
    assert len(set(digests.values())) == 1, digests
    for document in documents.values():
        assert document["evidence"]["PackageFiles"]["track"] == "non-record"
        document |= {"seconds": 0}
        document["submission"]["folder"] = ""
    assert len({rfc8785.dumps(document) for document in documents.values()}) == 1
