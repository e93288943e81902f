"""A sweep by a service: the same folders, the same lines, on every machine that works for it.

Folders are handed in as one batch, some ahead of the workers, and a line is written as soon as an
audit has ended. What was handed in is known by a key made of the batch and the commit: a sweep that
was stopped goes on where it was, and no folder is audited twice.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.client import Audit, Client, ServerError, Wish, pack
from auditor.corpus import Task, finished_tasks, line_of
from auditor.errors import SubmissionError

AHEAD = 100
"""Audits that are handed in and have not ended: enough for many workers, little to wait for."""
LOOK_SECONDS = 1.0
KINDS = {"submission": "SubmissionError", "tool": "ToolError"}
"""What a local sweep calls the trouble that the service names so."""

Line = dict[str, Any]
Progress = Callable[[int, int, str], None]
"""Called with folders done, folders known, and what is going on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a sweep asks of the service."""

    name: str
    wish: Wish


def batch_name(repository: Path, output: Path) -> str:
    """The same for the same sweep, so that one that was stopped goes on."""
    whole = f"{repository.resolve()}\0{output.resolve()}"
    return f"sweep-{hashlib.sha256(whole.encode()).hexdigest()[:16]}"


def sweep(
    client: Client,
    repository: Path,
    tasks: Sequence[Task],
    output: Path,
    batch: Batch,
    progress: Progress,
) -> None:
    """Have every task audited that the output does not hold yet, and append a line for each."""
    done = finished_tasks(output)
    waiting = [task for task in tasks if (task.sha, task.folder) not in done]
    total, behind = len(tasks), len(tasks) - len(waiting)
    progress(behind, total, "handing in")
    with output.open("a", encoding="utf-8") as lines:
        for line, doing in _lines(client, repository, waiting, batch):
            if line is not None:
                lines.write(json.dumps(line) + "\n")
                lines.flush()
                behind += 1
            progress(behind, total, doing)


def _lines(
    client: Client, repository: Path, tasks: Sequence[Task], batch: Batch
) -> Iterator[tuple[Line | None, str]]:
    """A line for each task in the order they end, and signs of life in between."""
    waiting = list(reversed(tasks))
    handed_in: dict[str, Task] = {}
    while waiting or handed_in:
        while waiting and len(handed_in) < AHEAD:
            task = waiting.pop()
            try:
                audit = _hand_in(client, repository, task, batch)
            except SubmissionError as error:
                yield line_of(task, error=(type(error).__name__, str(error))), "handing in"
                continue
            if audit.ended:
                yield _ended(client, task, audit), "handing in"
            else:
                handed_in[audit.id] = task
                yield None, f"handed in {len(handed_in)}"
        unended, running = client.unended(batch.name)
        ended = [each for each in map(client.audit, set(handed_in) - unended) if each.ended]
        for audit in ended:
            yield _ended(client, handed_in.pop(audit.id), audit), f"{running} at work"
        if not ended:
            yield None, f"{running} at work, {len(handed_in) - running} wait"
            time.sleep(LOOK_SECONDS)


def _hand_in(client: Client, repository: Path, task: Task, batch: Batch) -> Audit:
    """Once, however often the sweep is begun; SubmissionError for what no audit could read."""
    archive, name = pack(f"{repository}@{task.sha}:{task.folder}")
    whole = json.dumps([batch.name, task.sha, task.folder, batch.wish.fields()], sort_keys=True)
    key = hashlib.sha256(whole.encode()).hexdigest()
    try:
        return client.submit(archive, name, batch.wish, batch=batch.name, idempotency_key=key)
    except ServerError as error:
        if error.kind != "submission":
            raise
        raise SubmissionError(str(error)) from error


def _ended(client: Client, task: Task, audit: Audit) -> Line:
    if audit.verdict_id is not None:
        return line_of(task, verdict=client.verdict(audit))
    if audit.problem is None:
        return line_of(task, error=(audit.state, f"audit {audit.id} was {audit.state}"))
    kind, _, message = audit.problem.partition(": ")
    return line_of(task, error=(KINDS.get(kind, kind), message))
