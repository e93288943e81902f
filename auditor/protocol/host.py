"""Runs a task on a system in a sandbox: what goes in, and what comes out again.

The folder of the submission, the tokenizer and the task's own files are all that the system finds.
A decoding task has no stream among them, and an answering task gets its tokens one by one.
"""

import json
import math
import os
import shutil
import stat
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

from auditor.errors import CannotMeasure, SubmissionError
from auditor.run.sandbox import Finished, Limits, execute
from auditor.run.scratch import scratch
from auditor.submission import Submission

MAX_RESULT_BYTES = 2**30
SYSTEM_FILE = "system.py"
STREAMED = {"progress", "commitment", "distribution", "decoded", "checkpoint"}
"""Kinds of message that are passed on and not kept."""
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Where systems run and what they may use."""

    sandbox: str = "bubblewrap"
    seconds: float = 3600.0
    bytes: int = 6 * 2**30
    tokenizer: Path | None = None
    """Sentencepiece model, for systems that weigh tokens by their bytes."""
    local_rank: int = 0
    """Which of this machine's accelerators the system may take, where the sandbox has any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoDistribution:
    """The system gave something that no text can be coded with."""

    position: int
    total: float | None
    """What the probabilities sum to; None when that is no number, or the shape is wrong."""
    why: str


@dataclass(frozen=True, slots=True)
class Driven:
    """What a task came to."""

    messages: tuple[dict[str, Any], ...]
    """In order, but for those that were passed on only."""
    result: bytes | None
    """The task's file, if it has one."""
    broken: NoDistribution | None

    def message(self, kind: str) -> dict[str, Any]:
        """Return the one message of a kind."""
        for message in self.messages:
            if message["kind"] == kind:
                return message
        raise CannotMeasure(f"the system ended without saying {kind!r}")


def drive(
    submission: Submission,
    task: Mapping[str, Any],
    room: Room,
    *,
    files: Mapping[str, bytes],
    result: str | None,
    on_message: Callable[[dict[str, Any]], None],
    on_state: Callable[[bytes], None] | None = None,
    requests: int = DEVNULL,
) -> Driven:
    """Run one task to its end; CannotMeasure says how it ended when there is no result.

    `files` are laid beside the submission's folder; `requests` is a descriptor for its input.
    `on_state` gets each state that the task leaves on its way; it must not raise.
    """
    if SYSTEM_FILE not in submission.files:
        raise SubmissionError(
            f"{submission.name}: expected a {SYSTEM_FILE} with a function `load` "
            "(docs/protocol.md), found none"
        )
    messages: list[dict[str, Any]] = []

    with scratch() as root:

        def note(line: bytes) -> None:
            message = _parsed(line)
            if message is None:
                return
            if message["kind"] not in STREAMED:
                messages.append(message)
            if message["kind"] == "checkpoint" and on_state is not None:
                with suppress(CannotMeasure):  # without a state there is nothing to keep
                    on_state(_read_result(root, "state"))
            on_message(message)

        environment = _lay_out(root, submission, task, room, files)
        finished = execute(
            [sys.executable, "-m", "child"],
            workspace=root,
            folder="record",
            environment=environment,
            limits=Limits(seconds=room.seconds, bytes=room.bytes),
            backend=room.sandbox,
            on_event=note,
            stdin=requests,
        )
        broken = _broken(messages, int(task["positions"]))
        if broken is None and (finished.timed_out or finished.returncode):
            raise CannotMeasure(_how_it_ended(finished, room))
        data = None if result is None or broken else _read_result(root, result)
    return Driven(tuple(messages), data, broken)


def _lay_out(
    root: Path,
    submission: Submission,
    task: Mapping[str, Any],
    room: Room,
    files: Mapping[str, bytes],
) -> dict[str, str]:
    for name in ("record", "tools", "out"):
        (root / name).mkdir()
    submission.write_to(root / "record")
    shutil.copytree(Path(__file__).parent / "child", root / "tools" / "child")
    (root / "task.json").write_text(json.dumps(dict(task)))
    for name, data in files.items():
        (root / name).write_bytes(data)
    if room.tokenizer is not None:
        try:
            shutil.copyfile(room.tokenizer, root / "tokenizer.model")
        except OSError as error:
            raise SubmissionError(
                f"{room.tokenizer}: expected a tokenizer, but {error.strerror}"
            ) from error
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": "/tmp",
        "TMPDIR": "/tmp",
        "LANG": "C.UTF-8",
        "TOKENIZER_PATH": "{workspace}/tokenizer.model",
        "LOCAL_RANK": str(room.local_rank),
        # Equal tables need equal sums, so one thread and no order that changes.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": "{workspace}/tools",
    }


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Return a message; what is none is dropped, since the system may write there too."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) and isinstance(message.get("kind"), str) else None


def _broken(messages: list[dict[str, Any]], positions: int) -> NoDistribution | None:
    for message in messages:
        if message["kind"] == "no-distribution":
            try:
                total, position = float(message["total"]), int(message["position"])
                if not 0 <= position < positions:
                    raise ValueError(f"expected a position below {positions:,}")
                return NoDistribution(
                    position=position,
                    total=total if math.isfinite(total) else None,
                    why=str(message["why"])[:300],
                )
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise CannotMeasure(f"the system's process sent nonsense: {error!r}") from error
    return None


def _read_result(root: Path, name: str) -> bytes:
    """Read a file of the sandbox; a link in its place would lead out of it, and is refused."""
    try:
        out = os.open(root / "out", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=out)
        finally:
            os.close(out)
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode) or about.st_size > MAX_RESULT_BYTES:
                raise CannotMeasure(
                    f"expected a file of at most {MAX_RESULT_BYTES:,} bytes as result, found "
                    f"{about.st_size:,}"
                )
            return file.read()
    except OSError as error:
        raise CannotMeasure(f"the system left no result ({error.strerror})") from error


def _how_it_ended(finished: Finished, room: Room) -> str:
    if finished.timed_out:
        return f"the system expected to end within {room.seconds:.0f} s still ran then"
    if finished.exceeded is not None:
        return f"the system's process {finished.exceeded}"
    last = [line for line in finished.output.splitlines() if line.strip()][-1:]
    why = f": {last[0].strip()[:300]}" if last else ""
    return f"the system's process expected to end with status 0 gave {finished.returncode}{why}"
