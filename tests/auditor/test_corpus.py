"""A sweep over a small repository of pull requests."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auditor import corpus
from auditor.audit import Plan
from auditor.corpus import Bounds, Task, audit_folders, audit_task, labelled, pull_requests, sweep
from auditor.errors import SubmissionError
from auditor.run.sandbox import missing
from tests.auditor.inspect.records import honest
from tests.auditor.test_cli import auditor
from tests.systems import record

BOUNDS = Bounds(plan=Plan())


def git(path: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(path), "-c", "user.name=a", "-c", "user.email=a@b", *words],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def commit(path: Path, **folders: dict[str, str | bytes | None]) -> str:
    for folder, files in folders.items():
        for name, data in files.items():
            file = path / "records" / folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data.encode() if isinstance(data, str) else data or b"")
    git(path, "add", "-A")
    git(path, "commit", "-qm", "x")
    return git(path, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Pull request 7 adds two folders, 12 changes the one of main, 9 has no record."""
    path = tmp_path / "repository"
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    commit(path, old=honest())
    for number, folders in (
        (12, {"old": honest(train_gpt_py="pass\n")}),
        (7, {"first": honest(), "second": honest(submission_json="{")}),
        (9, {}),
    ):
        git(path, "checkout", "-q", "main")
        (path / f"note{number}").write_text("x")
        sha = commit(path, **folders)
        git(path, "update-ref", f"refs/pull/{number}/head", sha)
        git(path, "reset", "-q", "--hard", "HEAD~1")
    return path


def lines(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.read_text().splitlines()]


def swept(repository: Path, output: Path, tasks: list[Task]) -> list[tuple[int, int]]:
    seen: list[tuple[int, int]] = []
    sweep(repository, tasks, output, BOUNDS, lambda done, total: seen.append((done, total)))
    return seen


def test_each_folder_that_a_pull_request_changes_is_a_task(repository):
    found = [(t.pr, t.ref, t.folder) for t in pull_requests(repository, "main")]
    assert found == [
        (7, "refs/pull/7/head", "records/first"),
        (7, "refs/pull/7/head", "records/second"),
        (12, "refs/pull/12/head", "records/old"),
    ]


def test_a_folder_inherited_from_another_pull_request_is_not_a_task_again(repository):
    git(repository, "checkout", "-q", "-b", "later", "refs/pull/7/head")
    sha = commit(repository, third=honest(), second=honest())
    git(repository, "update-ref", "refs/pull/20/head", sha)
    found = [(task.pr, task.folder) for task in pull_requests(repository, "main")]
    assert (7, "records/second") in found
    assert [folder for pr, folder in found if pr == 20] == ["records/second", "records/third"]


def test_a_killed_sweep_leaves_no_process(repository, tmp_path):
    """Of a killed parent nobody else would end the workers."""
    code = "import sys, tests.auditor.test_corpus as here; here.sweep_that_waits(*sys.argv[1:])"
    marker = tmp_path / "worker"
    command = [sys.executable, "-c", code, str(repository), str(marker)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as parent:
        until(marker.exists)
        parent.kill()
    worker = int(marker.read_text())
    until(lambda: not running(worker))


def sweep_that_waits(repository: str, marker: str) -> None:
    corpus.audit_task = waits  # type: ignore[assignment]  # pickled by its name
    tasks = list(pull_requests(Path(repository), "main"))
    tasks[0] = replace(tasks[0], folder=marker)
    sweep(Path(repository), tasks, Path(marker + ".jsonl"), BOUNDS, lambda *_: None)


def waits(repository: str, task: Task, bounds: Bounds) -> dict[str, object]:
    started = Path(task.folder + ".part")
    started.write_text(str(os.getpid()))
    started.rename(task.folder)
    time.sleep(600)
    return {}


def until(holds: Callable[[], bool]) -> None:
    for _ in range(600):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError("waited for a minute")


def running(process: int) -> bool:
    """Whether it is there and no zombie that nobody has waited for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_killed_sweep_goes_on_and_mends_half_a_line(repository, tmp_path):
    output, tasks = tmp_path / "out.jsonl", list(pull_requests(repository, "main"))
    assert swept(repository, output, tasks[:2])[-1] == (2, 2)
    whole = output.read_bytes()
    output.write_bytes(whole[:-40])
    assert swept(repository, output, tasks) == [(1, 3), (2, 3), (3, 3)]
    assert [line["folder"] for line in lines(output)] == [task.folder for task in tasks]
    assert swept(repository, output, tasks) == [(3, 3)]
    first, second, _ = lines(output)
    assert list(first) == ["ref", "pr", "sha", "folder", "verdict", "error"]
    assert first["error"] is None
    for line, outcome in ((first, "inconclusive"), (second, "fail")):
        assert isinstance(line["verdict"], dict)
        assert line["verdict"]["outcome"] == outcome


def test_a_file_of_something_else_is_not_continued(repository, tmp_path):
    output = tmp_path / "out.jsonl"
    output.write_text("{}\n")
    with pytest.raises(SubmissionError, match="expected lines of a sweep, but KeyError"):
        swept(repository, output, [])


def test_what_cannot_be_audited_is_the_folders_own_error(repository, tmp_path, monkeypatch):
    good, _, other = pull_requests(repository, "main")
    absent = Task("x", 1, good.sha, "records/absent")
    assert audit_task(str(repository), absent, BOUNDS)["error"]["kind"] == "SubmissionError"
    with monkeypatch.context() as patch:
        patch.setattr("auditor.submission.Submission.from_git", lambda *_: time.sleep(60))
        hurried = replace(BOUNDS, seconds=0.01)
        assert audit_task(str(repository), good, hurried)["error"] == {
            "kind": "too-long",
            "message": "not done within 0.01 s",
        }
    monkeypatch.setattr("auditor.audit.inspect", lambda submission: 1 / 0)
    assert audit_task(str(repository), other, BOUNDS)["error"]["kind"] == "crash"


def test_a_folder_that_kills_its_process_ends_alone(repository, tmp_path, monkeypatch):
    """Too little memory for Python itself: every process dies, and each folder has its line."""
    output, tasks = tmp_path / "out.jsonl", list(pull_requests(repository, "main"))
    monkeypatch.setattr(corpus, "audit_task", dies_on_the_second)
    swept(repository, output, tasks)
    kinds = {str(line["folder"]): line["error"] for line in lines(output)}
    assert kinds["records/second"] == {
        "kind": "died",
        "message": "the process that read it was killed",
    }
    assert [kinds["records/first"], kinds["records/old"]] == [None, None]


def dies_on_the_second(repository: str, task: Task, bounds: Bounds) -> dict[str, object]:
    if task.folder.endswith("second"):
        os._exit(9)
    return audit_task(repository, task, bounds)


def test_folders_with_one_script_are_read_together_and_as_if_alone(repository, tmp_path):
    tasks = list(pull_requests(repository, "main"))
    assert sorted(map(len, corpus._together(repository, tasks * 9))) == [1, 2, 8, 8, 8]
    absent = Task("x", 1, tasks[0].sha, "records/absent")
    assert corpus._together(repository, [absent, absent]) == [[absent], [absent]]
    together = [line["verdict"]["digest"] for line in audit_folders(repository, tasks, BOUNDS)]
    alone = [audit_task(str(repository), task, BOUNDS)["verdict"]["digest"] for task in tasks]
    assert sorted(together) == sorted(alone)


def test_labels_name_folders_at_the_commit_that_was_judged(repository, tmp_path):
    rows = [
        {"pr": 1, "head_sha": "a", "folder": "records/x"},
        {"pr": 2, "head_sha": "a", "reviewed_sha": "b", "folder": "records/y"},
        {"pr": 3, "head_sha": "a", "folder": None},
    ]
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [(t.pr, t.sha, t.folder) for t in labelled(path)] == [
        (1, "a", "records/x"),
        (2, "b", "records/y"),
    ]
    path.write_text("[]\n")
    with pytest.raises(SubmissionError, match="expected a label a line"):
        labelled(path)


def test_the_command_writes_the_lines(repository, tmp_path):
    output = tmp_path / "out.jsonl"
    done = auditor("sweep", "--git-dir", repository, "--base", "main", "--output", output)
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 record folders" in done.stdout
    assert len(lines(output)) == 3
    done = auditor("sweep", "--git-dir", tmp_path, "--output", tmp_path / "x")
    assert done.returncode == 2
    assert "git for-each-ref failed" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(
    missing("bubblewrap") is not None, reason=f"no sandbox here: {missing('bubblewrap')}"
)
def test_a_sweep_that_runs_proves_and_says_which_did_not_run(repository, tmp_path):
    git(repository, "checkout", "-q", "main")
    twins = {name: record(name) for name in ("unnormalised", "dies")}
    folders: dict[str, dict[str, str | bytes | None]] = {
        name: {path: file.data for path, file in twin.files.items()} for name, twin in twins.items()
    }
    git(repository, "update-ref", "refs/pull/20/head", commit(repository, **folders))
    git(repository, "reset", "-q", "--hard", "HEAD~1")
    output = tmp_path / "out.jsonl"
    words = ["sweep", "--git-dir", repository, "--base", "main", "--refs", "refs/pull/20/head"]
    done = auditor(*words, "--output", output, "--run", "--budget", "0", "--jobs", "2")
    assert (done.returncode, done.stderr) == (0, "")
    verdicts = {Path(line["folder"]).name: line["verdict"] for line in lines(output)}
    results = {one["rule"]: one for one in verdicts["unnormalised"]["results"]}
    proved = results["full-distribution"]
    assert (proved["outcome"], proved["strength"]) == ("fail", "proved")
    assert "RuntimeError: no device" in verdicts["dies"]["trouble"]
