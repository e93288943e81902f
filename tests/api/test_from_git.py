"""Folders out of git repositories: those that the operator allows, and nothing else."""

import http.server
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest
from fastapi import HTTPException
from fastapi.testclient import TestClient
from httpx2 import Response
from pydantic import ValidationError

from api import git_source
from api.app import Service
from api.settings import Settings
from auditor.audit import audit
from auditor.errors import SubmissionError
from auditor.report.json_v1 import verdict_to_json
from auditor.run.sandbox import BACKENDS
from auditor.submission import Submission
from tests.api.archives import RECORD
from tests.api.conftest import connect, ended
from tests.api.test_errors import assert_problem
from tests.auditor.repositories import Repository

FOLDER = "records/track_10min_16mb/mine"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    made = Repository(tmp_path_factory.mktemp("git") / "allowed" / "golf")
    made.commit({f"{FOLDER}/{name}": data for name, data in RECORD.items()})
    made.commit({"huge.bin": os.urandom(3 * 2**20)})
    link = made.path / FOLDER / "passwd"
    link.symlink_to("/etc/passwd")
    made.git("checkout", "-q", "-b", "linked")
    made.commit()
    made.git("checkout", "-q", "main")
    made.git("update-server-info")
    return made


@pytest.fixture(scope="module")
def client(
    tmp_path_factory: pytest.TempPathFactory,
    make_database: Callable[[], str],
    repository: Repository,
) -> Iterator[TestClient]:
    settings = Settings(
        data=tmp_path_factory.mktemp("service") / "data",
        database=make_database(),
        git_prefixes=f"file://{repository.path.parent},https://git.example/golf/",
        git_seconds=20,
        poll_seconds=0.02,
    )
    with Service(settings) as service, connect(service) as connected:
        yield connected


def ask(client: TestClient, git: str, ref: str = "main", **more: Any) -> Response:
    wish = {"git": git, "ref": ref, "folder": FOLDER, "run": False} | more
    return client.post("/v1/audits", json=wish)


def where(repository: Repository) -> str:
    return f"file://{repository.path}"


def test_an_allowed_repository_is_fetched_and_its_folder_judged(
    client: TestClient, repository: Repository
) -> None:
    answer = ask(client, where(repository), batch="of-git", priority="low")
    assert answer.status_code == 202, answer.text
    told = ended(client, answer.headers["location"])
    assert told["state"] == "finished"
    sha = repository.git("rev-parse", "main")
    assert told["source"] == f"{where(repository)}@{sha}:{FOLDER}"
    verdict = client.get(told["links"]["verdict"]).json()
    assert verdict["submission"]["folder"] == "mine"
    # The same commit by another name of it is the same question.
    assert ask(client, where(repository), ref="refs/heads/main").status_code == 200
    assert not list((client.app.state.jobs.scratch).glob("git-*"))  # type: ignore[attr-defined]


def test_the_verdict_is_that_of_the_folder_itself(
    client: TestClient, repository: Repository
) -> None:
    told = ended(client, ask(client, where(repository), again=True).headers["location"])
    document = client.get(told["links"]["verdict"]).json()
    here = verdict_to_json(audit(Submission.from_git(repository.path, "main", FOLDER)))
    assert document["digest"] == here["digest"]


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example.evil/golf/x",
        "https://git.example/golfer/x",
        "https://git.example/other",
        "http://git.example/golf/x",
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:8000/v1/audits",
        "file:///etc",
    ],
)
def test_an_address_that_nobody_allowed_is_not_asked(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setattr(git_source, "_run", _nothing_may_run)
    assert "does not allow" in assert_problem(ask(client, url), 403, "forbidden")


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example/golf/../other/x",
        "https://git.example/golf/%2e%2e/x",
        "https://user:secret@git.example/golf/x",
        "https://git.example@evil.example/golf/x",
        "https://git.example/golf/x?y",
        "https://git.example/golf/x y",
        "https://git.example:0/golf/x",
        "https://[::1/golf/",
        "ext::sh -c id",
        "ssh://git.example/golf/x",
        "git.example:golf/x",
        "--upload-pack=id",
    ],
)
def test_an_odd_address_is_refused(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setattr(git_source, "_run", _nothing_may_run)
    assert_problem(ask(client, url), 422, "invalid")


def _nothing_may_run(*_: object) -> str:
    raise AssertionError("git was started")


@pytest.mark.parametrize(
    "ref", ["-x", "--upload-pack=id", "a..b", "a:b", "+a", "a.lock", "a b", ""]
)
def test_an_odd_ref_is_refused(client: TestClient, repository: Repository, ref: str) -> None:
    assert_problem(ask(client, where(repository), ref=ref), 422, "invalid")


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"ref": "gone"}, "git fetch failed"),
        ({"folder": "records/nothing"}, "records/nothing"),
        ({"ref": "linked"}, "passwd"),
        ({"folder": "../../etc"}, ""),
    ],
)
def test_what_is_not_there_is_said(
    client: TestClient, repository: Repository, more: dict[str, str], named: str
) -> None:
    answer = ask(client, where(repository), **more)
    assert named in assert_problem(answer, 422, "submission")


@pytest.mark.parametrize("body", ['{"git": 1}', "[]", "{", '{"git": "x", "reff": "y"}'])
def test_a_body_that_is_no_wish_is_refused(client: TestClient, body: str) -> None:
    answer = client.post(
        "/v1/audits", content=body, headers={"content-type": "application/json; charset=utf-8"}
    )
    assert_problem(answer, 422, "invalid")


def test_without_allowed_prefixes_there_is_nothing_to_fetch(tmp_path: Path) -> None:
    for url in ("https://github.com/openai/parameter-golf", "file:///etc/passwd"):
        with pytest.raises(HTTPException) as refused:
            git_source.check_address(url, Settings(data=tmp_path))
        assert refused.value.status_code == 403


class Server(http.server.SimpleHTTPRequestHandler):
    """A repository as files, and traps."""

    asked: list[str]
    hold: threading.Event

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/away"):
            self.send_response(302)
            self.send_header("Location", self.path.replace("/away", "/allowed"))
            self.end_headers()
        elif self.path.startswith("/slow"):
            self.hold.wait(30)
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(repository: Repository) -> Iterator[tuple[type[Server], int]]:
    kind: type[Server] = type("Asked", (Server,), {"asked": [], "hold": threading.Event()})
    handler = partial(kind, directory=str(repository.path.parent.parent))
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield kind, running.server_port
    kind.hold.set()
    running.shutdown()
    thread.join()
    running.server_close()


def fetched(tmp_path: Path, url: str, prefix: str, **more: Any) -> git_source.Fetched:
    settings = Settings(data=tmp_path, git_prefixes=prefix, **more)
    return git_source.fetch(url, "main", FOLDER, settings, tmp_path)


def test_a_redirect_is_not_followed(tmp_path: Path, server: tuple[type[Server], int]) -> None:
    kind, port = server
    url = f"http://127.0.0.1:{port}"
    with pytest.raises(SubmissionError, match="git fetch failed"):
        fetched(tmp_path, f"{url}/away/golf/.git", f"{url}/away/")
    assert kind.asked
    assert not [path for path in kind.asked if path.startswith("/allowed")]


def test_who_answers_too_slowly_is_left_with_all_processes(
    tmp_path: Path, server: tuple[type[Server], int]
) -> None:
    url = f"http://127.0.0.1:{server[1]}"
    began = time.monotonic()
    with pytest.raises(SubmissionError, match="did not end within 1 s"):
        fetched(tmp_path, f"{url}/slow/x", f"{url}/slow/", git_seconds=1.0)
    assert time.monotonic() - began < 15
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert f"{url}/slow/x" not in listing.stdout
    assert not list(tmp_path.glob("git-*"))


def test_a_repository_that_is_too_large_is_given_up(tmp_path: Path, repository: Repository) -> None:
    prefix = f"file://{repository.path.parent}"
    assert fetched(tmp_path, where(repository), prefix).sha
    with pytest.raises(SubmissionError, match="git fetch failed"):
        fetched(tmp_path, where(repository), prefix, max_upload_bytes=2**20)
    assert not list(tmp_path.glob("git-*"))


def test_nothing_of_the_machine_or_the_repository_is_executed(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hooks, helpers and templates that either side has stay where they are."""
    mark = tmp_path / "mark"
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {mark}\n")
    trap.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    lines = [
        "[core]", f"\thooksPath = {home}", f"\tfsmonitor = {trap}", f"\tsshCommand = {trap}",
        "[credential]", f"\thelper = {trap}", "[uploadpack]", f"\tpackObjectsHook = {trap}",
    ]  # fmt: skip
    (home / ".gitconfig").write_text("\n".join(lines))
    monkeypatch.setenv("HOME", str(home))
    for hook in ("post-checkout", "reference-transaction", "post-update"):
        (home / hook).symlink_to(trap)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(trap))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", f"'core.hooksPath={home}'")
    assert fetched(tmp_path, where(repository), f"file://{repository.path.parent}").sha
    assert not mark.exists()


def test_too_many_at_once_are_asked_to_come_again(
    client: TestClient, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_source, "_places", threading.BoundedSemaphore(1))
    with git_source._places:
        answer = ask(client, where(repository))
    assert_problem(answer, 429, "too-many")
    assert answer.headers["retry-after"] == "10"


@pytest.mark.parametrize("prefix", ["https://", "https://host", "file:///", "ssh://host/x", "x"])
def test_a_prefix_without_a_host_is_no_setting(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(ValidationError):
        Settings(data=tmp_path, git_prefixes=prefix)


def test_the_description_has_both_bodies(client: TestClient) -> None:
    described = client.get("/openapi.json").json()["paths"]["/v1/audits"]["post"]
    content = described["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "application/json"}
    assert set(content["application/json"]["schema"]["required"]) == {"git", "ref", "folder"}


def test_the_service_takes_every_sandbox_that_the_command_has() -> None:
    field = Settings.model_fields["sandbox"]
    assert get_args(field.annotation) == BACKENDS
