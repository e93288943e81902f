"""Where the code of a submission runs.

Stops: reading outside the interpreter and the workspace, writing outside the workspace, every
network, outliving the auditor, more wall-clock time, address space or file size than allowed,
and output without end. Root on the outside is no capability on the inside.

Does not stop: exhausting processes (no per-slot user yet), kernel bugs, and a submission that
knows the recorder and forges its events; that is why a run that does not reconcile with the
printed score is no evidence.

`none` keeps only the limits; it exists for machines where no user namespace can be made, has to be
asked for, and is written into the verdict.
"""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from auditor.errors import ToolError

MAX_OUTPUT_BYTES = 4 * 2**20
"""Of the script's own output this much is kept, from the end; the rest is read and dropped."""
MAX_EVENT_BYTES = 256 * 2**20
MAX_FILE_BYTES = 2 * 2**30
EVENTS_VARIABLE = "STRICT_PREFIX_EVENTS_FD"
BACKENDS = ("bubblewrap", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one execution may use."""

    seconds: float
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How an execution ended."""

    returncode: int
    timed_out: bool
    seconds: float
    output: str
    """The end of what it printed."""
    events: tuple[bytes, ...]
    """Lines that the recorder sent."""
    events_cut: bool
    """True when it sent more than the limit and the rest was dropped."""


def missing(backend: str) -> str | None:
    """Why this backend cannot be used here, with the remedy; None when it can."""
    if backend == "none":
        return None
    if backend not in BACKENDS:
        return f"unknown sandbox {backend!r}; expected one of {', '.join(BACKENDS)}"
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return "bubblewrap is not installed (Debian and Ubuntu: apt-get install bubblewrap)"
    probe = subprocess.run(
        [bwrap, "--unshare-all", "--ro-bind", "/", "/", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    if probe.returncode:
        return (
            f"bubblewrap cannot make namespaces here ({probe.stderr.strip() or 'no message'}); "
            "unprivileged user namespaces must be allowed"
        )
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
    stdin: int = subprocess.DEVNULL,
) -> Finished:
    """Run a command with `workspace/folder` as its directory; nothing of it survives the return.

    `{workspace}` inside the command and the environment stands for the path that the code sees.
    """
    reason = missing(backend)
    if reason is not None:
        raise ToolError(f"no sandbox: {reason}")
    seen_at = "/workspace" if backend == "bubblewrap" else str(workspace)
    words = [word.replace("{workspace}", seen_at) for word in command]
    variables = {k: v.replace("{workspace}", seen_at) for k, v in environment.items()}
    read_end, write_end = os.pipe()
    variables[EVENTS_VARIABLE] = str(write_end)
    if backend == "bubblewrap":
        words = [*_bubblewrap(workspace, folder, variables), *words]
    started = time.monotonic()
    try:
        process = subprocess.Popen(
            words,
            cwd=workspace / folder,
            env=variables,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(write_end,),
            start_new_session=True,
            preexec_fn=lambda: _set_limits(limits),
        )
    except OSError as error:
        os.close(read_end)
        raise ToolError(f"the sandbox could not be started: {error}") from error
    finally:
        os.close(write_end)
    assert process.stdout is not None
    output = _Tail(process.stdout)
    events = _Events(os.fdopen(read_end, "rb"), on_event)
    with _killing(process):
        try:
            process.wait(timeout=limits.seconds)
            timed_out = False
        except subprocess.TimeoutExpired:
            timed_out = True
    output.join()
    events.join()
    return Finished(
        returncode=process.returncode,
        timed_out=timed_out,
        seconds=time.monotonic() - started,
        output=output.text(),
        events=tuple(events.lines),
        events_cut=events.cut,
    )


def _set_limits(limits: Limits) -> None:
    """Runs in the child before the sandbox starts; what is lowered here cannot be raised again."""
    resource.setrlimit(resource.RLIMIT_AS, (limits.bytes, limits.bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    seconds = int(limits.seconds * (os.cpu_count() or 1)) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))


@contextlib.contextmanager
def _killing(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End the whole process group on the way out, whatever happened."""
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _bubblewrap(workspace: Path, folder: str, variables: dict[str, str]) -> list[str]:
    """The command line that builds the sandbox; arguments are applied in order."""
    words = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    words += ["--hostname", "sandbox", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    for path in _interpreter_paths():
        words += ["--ro-bind", path, path]
    for name in ("/bin", "/sbin", "/lib", "/lib64"):
        if os.path.islink(name):
            words += ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name):
            words += ["--ro-bind", name, name]
    words += ["--bind", str(workspace), "/workspace", "--chdir", f"/workspace/{folder}"]
    words += ["--remount-ro", "/", "--clearenv"]
    for name, value in variables.items():
        words += ["--setenv", name, value]
    return [*words, "--"]


def _interpreter_paths() -> list[str]:
    """Folders that Python needs: the system's, its own installation and its virtual environment."""
    wanted = {"/usr", sys.prefix, sys.base_prefix, sysconfig.get_paths()["stdlib"]}
    for loader in ("/etc/ld.so.cache", "/etc/localtime"):
        if os.path.exists(loader):
            wanted.add(loader)
    return sorted(wanted)


class _Tail:
    """Reads a pipe to its end in a thread and keeps the last bytes."""

    def __init__(self, pipe: IO[bytes]) -> None:
        """Start reading."""
        self._pipe = pipe
        self._kept = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while chunk := self._pipe.read1(65_536):  # type: ignore[attr-defined]  # a BufferedReader
            self._kept += chunk
            if len(self._kept) > 2 * MAX_OUTPUT_BYTES:
                del self._kept[:-MAX_OUTPUT_BYTES]

    def join(self) -> None:
        """Wait for the end of the pipe; a descendant that kept it open is not waited for."""
        self._thread.join(timeout=5)
        if not self._thread.is_alive():
            self._pipe.close()

    def text(self) -> str:
        """What was kept, as text."""
        return bytes(self._kept[-MAX_OUTPUT_BYTES:]).decode("utf-8", errors="replace")


class _Events:
    """Reads the recorder's lines in a thread, up to a limit."""

    def __init__(self, pipe: IO[bytes], on_event: Callable[[bytes], None]) -> None:
        """Start reading."""
        self._pipe = pipe
        self._on_event = on_event
        self.lines: list[bytes] = []
        self.cut = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        size = 0
        while line := self._pipe.readline(MAX_EVENT_BYTES):
            size += len(line)
            if size > MAX_EVENT_BYTES:
                self.cut = True
                continue
            self.lines.append(line)
            self._on_event(line)

    def join(self) -> None:
        """Wait for the end of the pipe."""
        self._thread.join(timeout=30)
        if not self._thread.is_alive():
            self._pipe.close()
