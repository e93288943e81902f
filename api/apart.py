"""An audit in a process of its own, seen from the worker: progress comes back, a stop goes in."""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from auditor.errors import AuditorError, SubmissionError, ToolError

LOOK_SECONDS = 0.1
"""How often a stop is looked for."""
GRACE_SECONDS = 5.0
"""What a stopped process gets for ending its sandbox before it is killed."""

NICENESS = 3
"""Of an audit's processes: one of the service gets twice the share of each."""


class Stopped(Exception):  # noqa: N818 - an answer ("nobody wants it any more"), not a fault
    """The audit was stopped from outside: cancelled, or taken over."""


class CrashError(AuditorError):
    """The auditor has a fault; trying again would find it again."""


def audit_apart(
    order: dict[str, Any],
    *,
    module: str,
    scratch: Path,
    seconds: float,
    stop: threading.Event,
    progress: Callable[[str, float], None],
) -> dict[str, Any]:
    """Carry out an order of `api.child`; returns the verdict's document.

    Raises SubmissionError, ToolError and CrashError as the child says, Stopped after a stop.
    """
    deadline = time.monotonic() + seconds
    with _started(module, scratch) as process:
        assert process.stdin
        assert process.stdout
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()
        for line in _lines(process.stdout.fileno(), stop, deadline, seconds):
            answer = json.loads(line)
            if "document" in answer:
                document: dict[str, Any] = answer["document"]
                return document
            if "kind" in answer:
                kinds = {"submission": SubmissionError, "tool": ToolError}
                raise kinds.get(answer["kind"], CrashError)(answer["message"])
            progress(answer["doing"], answer["done"])
        code = process.wait()
        raise ToolError(f"the process of the audit ended without an answer (exit code {code})")


@contextlib.contextmanager
def _started(module: str, scratch: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The child, which is gone after the block whatever happened in it."""
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(scratch)},
            start_new_session=True,
        )
    except OSError as error:
        raise ToolError(f"a process for the audit could not be started: {error}") from error
    _give_way(process.pid)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def _give_way(pid: int) -> None:
    """Answers of the service on the same machine come first; an audit has minutes."""
    # From here and not in the child: half of a short audit is the child's imports.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, NICENESS)
        # Linux weighs sessions before processes, and the child has a session of its own.
        Path(f"/proc/{pid}/autogroup").write_text(str(NICENESS))


def _lines(pipe: int, stop: threading.Event, deadline: float, seconds: float) -> Iterator[bytes]:
    """Whole lines from the pipe until it closes; a stop or the deadline ends the wait."""
    left = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if stop.is_set():
                raise Stopped
            if time.monotonic() > deadline:
                raise ToolError(f"the audit did not end within {seconds:g} s")
            if not selector.select(LOOK_SECONDS):
                continue
            chunk = os.read(pipe, 2**20)
            if not chunk:
                return
            *whole, left = (left + chunk).split(b"\n")
            yield from whole
