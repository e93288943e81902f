"""A sweep by a service gives the lines of a sweep here, and goes on when it was stopped."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from auditor import client_sweep
from auditor.audit import Plan
from auditor.cli import app
from auditor.client import Client, Wish
from auditor.client_sweep import Batch, batch_name
from auditor.corpus import Bounds, finished_tasks, pull_requests, sweep
from auditor.errors import SubmissionError
from tests.api.test_process import Live
from tests.auditor.inspect.records import honest
from tests.auditor.repositories import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Pull requests with honest, broken, huge and unreadable folders, below a track and not."""
    made = Repository(tmp_path / "repository")
    made.commit({"README.md": "x"})
    changes: dict[int, dict[str, str | bytes]] = {
        3: _in("records/track_10min_16mb/first", honest()),
        5: _in("records/track_non_record_16mb/second", honest(submission_json="{")),
        8: _in("records/loose", honest(train_gpt_py="pass\n"))
        | _in("records/track_10min_16mb/again", honest()),
        9: {"README.md": "no record"},
        11: {"records/track_10min_16mb/empty/README.md": ""},
    }
    for number, files in changes.items():
        made.git("checkout", "-q", "main")
        sha = made.commit(files)
        made.git("update-ref", f"refs/pull/{number}/head", sha)
        made.git("reset", "-q", "--hard", "HEAD~1")
    return made.path


def _in(folder: str, files: dict[str, Any]) -> dict[str, str | bytes]:
    return {f"{folder}/{name}": data for name, data in files.items() if data is not None}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    data = tmp_path_factory.mktemp("sweep") / "data"
    started = Live("api", data, STRICT_PREFIX_POLL_SECONDS="0.1")
    yield started
    started.stop(signal.SIGKILL)


def lines(output: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """By commit and folder, without the time that it took."""
    found = {}
    for text in output.read_text().splitlines():
        line = json.loads(text)
        if line["verdict"] is not None:
            line["verdict"].pop("seconds")
        found[line["sha"], line["folder"]] = line
    assert len(found) == len(output.read_text().splitlines()), "a folder twice"
    return found


def test_the_lines_are_those_of_a_sweep_here(repository: Path, live: Live, tmp_path: Path) -> None:
    here, there = tmp_path / "here.jsonl", tmp_path / "there.jsonl"
    common = ["sweep", "--git-dir", str(repository), "--base", "main", "--output"]
    assert CliRunner().invoke(app, [*common, str(here)]).exit_code == 0
    command = [*common, str(there), "--server", f"http://127.0.0.1:{live.port}"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert lines(there) == lines(here)
    assert len(lines(here)) == 5
    assert any(line["verdict"] for line in lines(here).values())
    batch = live.client.get(f"/v1/batches/{batch_name(repository, there)}").json()
    assert batch["ended"]
    # Again: all lines are there, so nothing is asked for.
    before = there.read_text()
    assert CliRunner().invoke(app, command).exit_code == 0
    assert there.read_text() == before


class StoppedError(Exception):
    pass


def test_a_stopped_sweep_goes_on_and_audits_nothing_twice(
    repository: Path, live: Live, tmp_path: Path
) -> None:
    output = tmp_path / "there.jsonl"
    tasks = list(pull_requests(repository, "main"))
    batch = Batch(name="mine", wish=Wish(run=False))

    def stop_after_two(done: int, total: int, doing: str) -> None:
        if done == 2:
            raise StoppedError

    with Client(f"http://127.0.0.1:{live.port}") as client:
        with pytest.raises(StoppedError):
            client_sweep.sweep(client, repository, tasks, output, batch, stop_after_two)
        # As a kill in the middle of a line would leave it.
        with output.open("a") as file:
            file.write('{"ref": "refs/pu')
        seen = []
        client_sweep.sweep(client, repository, tasks, output, batch, lambda *now: seen.append(now))
    assert seen[0][:2] == (2, 5)
    assert seen[-1][:2] == (5, 5)
    assert finished_tasks(output) == {(task.sha, task.folder) for task in tasks}
    audits = live.client.get("/v1/audits?batch=mine&limit=200").json()["items"]
    assert len(audits) <= len(tasks)
    sweep(repository, tasks, tmp_path / "here.jsonl", Bounds(plan=Plan()), lambda *_: None)
    assert lines(output) == lines(tmp_path / "here.jsonl")


def test_what_cannot_be_handed_in_is_the_folders_own_error(
    repository: Path, live: Live, tmp_path: Path
) -> None:
    """A link in the folder: an archive of the rest would be another submission."""
    made = Repository(repository)
    link = repository / "records" / "track_10min_16mb" / "linked"
    made.write(_in("records/track_10min_16mb/linked", honest()))
    (link / "passwd").symlink_to("/etc/passwd")
    sha = made.commit()
    subprocess.run(["git", "-C", repository, "update-ref", "refs/pull/20/head", sha], check=True)
    made.git("reset", "-q", "--hard", "HEAD~1")
    tasks = [task for task in pull_requests(repository, "main") if task.pr == 20]
    output = tmp_path / "there.jsonl"
    with Client(f"http://127.0.0.1:{live.port}") as client:
        batch = Batch(name="linked", wish=Wish(run=False))
        client_sweep.sweep(client, repository, tasks, output, batch, lambda *_: None)
    (line,) = lines(output).values()
    assert line["verdict"] is None
    assert line["error"]["kind"] == SubmissionError.__name__
    assert "passwd" in line["error"]["message"]


def test_a_service_that_is_not_there_is_one_sentence(repository: Path, tmp_path: Path) -> None:
    command = ["sweep", "--git-dir", str(repository), "--base", "main"]
    output = ["--output", str(tmp_path / "x.jsonl"), "--server", "http://127.0.0.1:9"]
    done = CliRunner().invoke(app, [*command, *output])
    assert done.exit_code == 2
    assert "does not answer" in done.stderr
