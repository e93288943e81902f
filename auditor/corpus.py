"""A whole repository of pull requests: which folders they change, and a line for each audit.

A sweep writes a line of JSON as soon as a folder is done, and one that was killed goes on where it
stopped. A folder takes at most its seconds and its memory; a process that dies on one ends that
folder with an error, and no other. Submissions' own code runs in the sandbox, where it is to run.
"""

import gc
import json
import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.errors import AuditorError, SubmissionError
from auditor.gate import changes_of
from auditor.git_trees import Trees
from auditor.submission import git

if TYPE_CHECKING:
    from auditor.audit import Plan
    from auditor.audit import Progress as Doing

PULL_REQUESTS = "refs/pull/*/head"
MAX_TOGETHER = 8
"""Folders that one process reads before their lines are written."""
WORKER_BYTES = 2 * 2**30
"""Address space of one process; reading a folder takes a tenth of it."""
Progress = Callable[[int, int], None]
"""Called with folders done and folders known."""


@dataclass(frozen=True, slots=True)
class Task:
    """One record folder at one commit."""

    ref: str
    pr: int | None
    sha: str
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one sweep may use."""

    jobs: int = 1
    seconds: float = 60.0
    """Of reading one folder."""
    plan: "Plan"

    @property
    def folder_seconds(self) -> float:
        """After which a folder is given up: experiments keep to a budget, the last may pass it."""
        running = self.plan.budget_seconds + 2 * self.plan.run_seconds if self.plan.run else 0.0
        return self.seconds + running


def pull_requests(repository: Path, base: str, pattern: str = PULL_REQUESTS) -> Iterator[Task]:
    """Yield the record folders that each ref changes against its merge base with `base`.

    A folder that an earlier pull request has with the same files is inherited and belongs to it.
    """
    listing = git(repository, "for-each-ref", "--format=%(objectname) %(refname)", pattern)
    rows = [row.split(" ", 1) for row in listing.decode().splitlines()]
    if not rows:
        raise SubmissionError(f"{repository}: expected refs like {pattern}, found none")
    rows.sort(key=lambda row: (_number(row[1]) or 0, row[1]))
    known: set[tuple[str, str | None]] = set()
    found = changes_of(repository, base, (sha for sha, _ in rows))
    for (sha, ref), (_, changes) in zip(rows, found, strict=True):
        if isinstance(changes, SubmissionError):
            continue  # a ref without a common history adds nothing
        for change in changes:
            if not change.deleted and (change.folder, change.tree) not in known:
                known.add((change.folder, change.tree))
                yield Task(ref, _number(ref), sha, change.folder)


def labelled(path: Path) -> list[Task]:
    """Return the folders that a labels file speaks of, each at the commit that was judged."""
    try:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        judged = [(row.get("reviewed_sha") or row["head_sha"], row) for row in rows]
        return [
            Task(sha, row.get("pr"), sha, row["folder"]) for sha, row in judged if row.get("folder")
        ]
    except OSError as error:
        raise SubmissionError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, AttributeError) as error:
        raise SubmissionError(f"{path}: expected a label a line, but {error!r}") from error


def sweep(
    repository: Path, tasks: Sequence[Task], output: Path, bounds: Bounds, progress: Progress
) -> None:
    """Audit every task that the output does not hold yet, and append a line for each."""
    done = finished_tasks(output)
    waiting = [task for task in tasks if (task.sha, task.folder) not in done]
    total, behind = len(tasks), len(tasks) - len(waiting)
    progress(behind, total)
    with output.open("a", encoding="utf-8") as lines:
        for line in audit_folders(repository, waiting, bounds):
            lines.write(json.dumps(line) + "\n")
            lines.flush()
            behind += 1
            progress(behind, total)


def finished_tasks(output: Path) -> set[tuple[str, str]]:
    """Return what the output holds; half a line at its end is cut off."""
    if not output.exists():
        return set()
    text = output.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) < len(text):
        output.write_bytes(whole)
    try:
        rows = [json.loads(line) for line in whole.splitlines()]
        return {(row["sha"], row["folder"]) for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise SubmissionError(f"{output}: expected lines of a sweep, but {error!r}") from error


def audit_folders(repository: Path, tasks: list[Task], bounds: Bounds) -> Iterator[dict[str, Any]]:
    """Yield a line for each task, in the order they end, from processes of their own."""
    groups = [[task] for task in tasks] if bounds.plan.run else _together(repository, tasks)
    waiting = groups[::-1]
    while waiting:
        running: dict[Future[list[dict[str, Any]]], list[Task]] = {}
        with _pool(bounds.jobs, bounds.plan) as pool:
            while waiting or running:
                while waiting and len(running) < bounds.jobs:
                    group = waiting.pop()
                    future = pool.submit(_each, audit_task, str(repository), group, bounds)
                    running[future] = group
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                try:
                    for future in ended:
                        yield from future.result()
                        del running[future]
                except BrokenProcessPool:
                    break
        # Which of them killed its process is found out by giving each one of its own.
        for task in chain.from_iterable(running.values()):
            with _pool(1, bounds.plan) as alone:
                try:
                    yield alone.submit(audit_task, str(repository), task, bounds).result()
                except BrokenProcessPool:
                    yield line_of(task, error=("died", "the process that read it was killed"))


def _together(repository: Path, tasks: list[Task]) -> list[list[Task]]:
    """Tasks in groups with the same training script, which is then read and followed once.

    A quarter of the folders of the challenge share theirs with another one.
    """
    groups: dict[str, list[list[Task]]] = {}
    with Trees(repository) as trees:
        for number, task in enumerate(tasks):
            try:
                script = trees.at(task.sha, f"{task.folder}/train_gpt.py")
            except SubmissionError:
                script = None  # what is missing is said when the folder is read
            same = groups.setdefault(script.id if script else str(number), [])
            if not same or len(same[-1]) == MAX_TOGETHER:
                same.append([])
            same[-1].append(task)
    return list(chain.from_iterable(groups.values()))


def _each(
    audited: Callable[[str, Task, Bounds], dict[str, Any]],
    repository: str,
    tasks: list[Task],
    bounds: Bounds,
) -> list[dict[str, Any]]:
    return [audited(repository, task, bounds) for task in tasks]


def _pool(jobs: int, plan: "Plan") -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(
        jobs, mp_context=context, initializer=_begin_worker, initargs=(plan.run,)
    )


def _begin_worker(runs: bool) -> None:
    """Bound the memory of this process, and end it with the one that started it."""
    # A folder leaves little garbage in cycles; looking for it at every turn takes a fifth of it.
    gc.set_threshold(200_000, 20, 20)
    if not runs:  # a sandbox would inherit it, and has a limit of its own
        resource.setrlimit(resource.RLIMIT_AS, (WORKER_BYTES, WORKER_BYTES))
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


class _TooLong(BaseException):
    """The folder's time is up; no handler of errors on the way may take it for one of its own."""


def audit_task(
    repository: str,
    task: Task,
    bounds: Bounds,
    progress: "Doing" = lambda doing, done: None,
) -> dict[str, Any]:
    """Audit one folder in this process; whatever goes wrong is the folder's error."""
    from auditor.audit import audit
    from auditor.report.json_v1 import verdict_to_json
    from auditor.submission import Submission

    def too_long(*_: object) -> None:
        raise _TooLong

    signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, bounds.folder_seconds)
    try:
        submission = Submission.from_git(Path(repository), task.sha, task.folder)
        verdict = audit(submission, bounds.plan, progress)
        return line_of(task, verdict=verdict_to_json(verdict))
    except _TooLong:
        return line_of(task, error=("too-long", f"not done within {bounds.folder_seconds:g} s"))
    except AuditorError as error:
        return line_of(task, error=(type(error).__name__, str(error)))
    except (MemoryError, RecursionError) as error:
        return line_of(task, error=("too-large", type(error).__name__))
    except Exception as error:  # noqa: BLE001 - a fault of ours is this folder's line, not the end
        return line_of(task, error=("crash", repr(error)[:500]))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def line_of(
    task: Task, verdict: dict[str, Any] | None = None, error: tuple[str, str] | None = None
) -> dict[str, Any]:
    """A line of a sweep: one of verdict and error is there."""
    kind_and_message = None if error is None else {"kind": error[0], "message": error[1]}
    return {**asdict(task), "verdict": verdict, "error": kind_and_message}


def _number(ref: str) -> int | None:
    """Return the number of a pull request's ref."""
    return next((int(part) for part in ref.split("/") if part.isdecimal()), None)
