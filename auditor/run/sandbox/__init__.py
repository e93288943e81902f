"""Where the code of a submission runs.

Stops: reading outside the interpreter and the workspace, writing outside the workspace, every
network but a loopback of its own, outliving the auditor, more wall-clock time, memory, processes,
open files or disk than allowed, the system calls that break out of namespaces, and output without
end. Root on the outside is no capability on the inside. docs/sandbox.md has the table for each back
end, and what each does not stop.

Does not stop: kernel bugs, and a submission that knows the recorder and forges its events; that is
why a run that does not reconcile with the printed score is no evidence.

`none` keeps only the limits; it exists for machines where no sandbox can be made, has to be asked
for, and is written into the verdict.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from auditor.errors import ToolError
from auditor.run.sandbox import bubblewrap, docker
from auditor.run.sandbox.groups import Group, group
from auditor.run.sandbox.limits import (
    MAX_EVENT_BYTES,
    MAX_OUTPUT_BYTES,
    Finished,
    Limits,
    set_limits,
)
from auditor.run.sandbox.pipes import Events, Tail
from auditor.run.sandbox.watch import Watch

__all__ = [
    "BACKENDS",
    "MAX_EVENT_BYTES",
    "MAX_OUTPUT_BYTES",
    "Finished",
    "Limits",
    "execute",
    "missing",
]

BACKENDS = ("bubblewrap", "docker", "none")
EVENTS_VARIABLE = "STRICT_PREFIX_EVENTS_FD"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arranged:
    """A command line, and how to start it."""

    words: list[str]
    inherited: tuple[int, ...] = ()
    own_user: bool = False
    """It changes its user, so that the kernel can count that user's processes."""
    limits_processes: bool = False
    is_local: bool = True
    """What is started is the code itself, and not the client of an engine."""


def missing(backend: str) -> str | None:
    """Why this backend cannot be used here, with the remedy; None when it can."""
    try:
        if backend == "bubblewrap":
            bubblewrap.level()
        elif backend == "docker":
            docker.runtime()
        elif backend not in BACKENDS:
            return f"unknown sandbox {backend!r}; expected one of {', '.join(BACKENDS)}"
    except ToolError as reason:
        return str(reason)
    return None


def execute(
    command: list[str],
    *,
    workspace: Path,
    folder: str,
    environment: dict[str, str],
    limits: Limits,
    backend: str,
    on_event: Callable[[bytes], None],
    on_start: Callable[[Callable[[], None]], None] | None = None,
    stdin: int = subprocess.DEVNULL,
) -> Finished:
    """Run a command with `workspace/folder` as its directory; nothing of it survives the return.

    `{workspace}` inside the command and the environment stands for the path that the code sees.
    `on_start` is given what ends the run early, from any thread.
    """
    reason = missing(backend)
    if reason is not None:
        raise ToolError(f"no sandbox: {reason}")
    seen_at = str(workspace) if backend == "none" else bubblewrap.SEEN_AT
    words = [word.replace("{workspace}", seen_at) for word in command]
    variables = {k: v.replace("{workspace}", seen_at) for k, v in environment.items()}
    started = time.monotonic()
    read_end, write_end = os.pipe()
    variables[EVENTS_VARIABLE] = str(docker.EVENTS if backend == "docker" else write_end)
    with contextlib.ExitStack() as stack:
        try:
            arranged = stack.enter_context(
                _arranged(backend, words, workspace, folder, variables, limits)
            )
            mine = stack.enter_context(group(limits)) if arranged.is_local else Group()
            process = _start(
                arranged, workspace / folder, variables, limits, mine, stdin, write_end
            )
        except (OSError, subprocess.SubprocessError) as error:
            os.close(read_end)
            raise ToolError(f"the sandbox could not be started: {error}") from error
        finally:
            os.close(write_end)

        def end() -> None:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)

        if on_start is not None:
            on_start(end)
        events = Events(os.fdopen(read_end, "rb"), on_event, end)
        return _followed(process, events, end, arranged, workspace, limits, mine, started)


@contextlib.contextmanager
def _arranged(
    backend: str,
    words: list[str],
    workspace: Path,
    folder: str,
    variables: dict[str, str],
    limits: Limits,
) -> Iterator[_Arranged]:
    if backend == "bubblewrap":
        here = bubblewrap.level()
        with bubblewrap.prepared(words, workspace, folder, variables, limits) as (built, files):
            yield _Arranged(
                words=built,
                inherited=files,
                own_user=here.own_user,
                limits_processes=here.limits_processes,
            )
    elif backend == "docker":
        with docker.prepared(words, workspace, folder, variables, limits) as built:
            yield _Arranged(words=built, is_local=False)
    else:
        yield _Arranged(words=words)


def _start(
    arranged: _Arranged,
    folder: Path,
    variables: dict[str, str],
    limits: Limits,
    mine: Group,
    stdin: int,
    events: int,
) -> "subprocess.Popen[bytes]":
    """Start it in a session of its own; what it prints comes from a pipe, events go to `events`."""

    def in_the_child() -> None:
        mine.join()
        set_limits(limits, processes=arranged.own_user)

    if not arranged.is_local:
        return subprocess.Popen(
            arranged.words,
            stdin=stdin,
            stdout=events,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    return subprocess.Popen(
        arranged.words,
        cwd=folder,
        env=variables,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(events, *arranged.inherited),
        start_new_session=True,
        preexec_fn=in_the_child,
    )


def _followed(
    process: "subprocess.Popen[bytes]",
    events: Events,
    end: Callable[[], None],
    arranged: _Arranged,
    workspace: Path,
    limits: Limits,
    mine: Group,
    started: float,
) -> Finished:
    """Read what it says until it ends, or is ended."""

    printed = process.stdout or process.stderr
    assert printed is not None
    output = Tail(printed)
    watch = Watch(
        process.pid,
        workspace,
        limits,
        end,
        memory=arranged.is_local and "memory" not in mine.folders,
        processes=arranged.is_local and not (arranged.limits_processes or "pids" in mine.folders),
    )
    timed_out = False
    try:
        process.wait(timeout=limits.seconds)
    except subprocess.TimeoutExpired:
        timed_out = True
    finally:
        # The whole group, whatever happened: the first process may be gone and others not.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        watch.close()
    output.join()
    events.join()
    return Finished(
        returncode=process.returncode,
        timed_out=timed_out,
        seconds=time.monotonic() - started,
        output=output.text(),
        events=tuple(events.lines),
        events_cut=events.cut,
        exceeded=_exceeded(events, watch, mine, limits),
    )


def _exceeded(events: Events, watch: Watch, mine: Group, limits: Limits) -> str | None:
    """The limit that was met, besides time, in words."""
    if events.cut:
        return f"expected at most {MAX_EVENT_BYTES:,} bytes of events, got more"
    if watch.exceeded is not None:
        return watch.exceeded
    if killed := mine.memory_kills():
        return (
            f"expected at most {limits.bytes:,} bytes of memory for all its processes together, "
            f"needed more: the kernel ended {killed:,}"
        )
    return None
