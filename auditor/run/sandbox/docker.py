"""A container as sandbox, with gVisor's runtime when the engine has it.

An image of ours is used (docker/sandbox.Dockerfile), not the caller's interpreter. Events leave as
the container's standard output, and what the script prints as its standard error: that needs no
file that both sides open, so it works under gVisor too.
"""

import contextlib
import functools
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from auditor.errors import ToolError
from auditor.run.sandbox.limits import Limits

SEEN_AT = "/workspace"
IMAGE = "strict-prefix-sandbox"
IMAGE_VARIABLE = "STRICT_PREFIX_SANDBOX_IMAGE"
RUNTIME_VARIABLE = "STRICT_PREFIX_SANDBOX_RUNTIME"
"""Another runtime than gVisor's where the engine has that, such as `runc`."""
NOBODY = 65_534
EVENTS = 3
ENGINE_SECONDS = 30
ARRANGE = f'exec {EVENTS}>&1 1>&2; exec "$@"'


def image() -> str:
    """The image that submissions run in."""
    return os.environ.get(IMAGE_VARIABLE, IMAGE)


def runtime() -> str | None:
    """The runtime to ask for: gVisor's where there is one; ToolError when nothing can be run."""
    program = shutil.which("docker")
    if program is None:
        raise ToolError(
            "Docker is not installed (Debian and Ubuntu: apt-get install docker.io; "
            "gVisor beside it: apt-get install runsc)"
        )
    told = _ask(program, "info", "--format", "{{json .Runtimes}}")
    try:
        runtimes = json.loads(told)
    except ValueError as error:
        raise ToolError(f"the Docker engine named no runtimes ({told[:200]!r})") from error
    try:
        _ask(program, "image", "inspect", "--format", "{{.Id}}", image())
    except ToolError as error:
        build = f"docker build -f docker/sandbox.Dockerfile -t {image()} ."
        raise ToolError(f"no image {image()} ({build}): {error}") from error
    asked = os.environ.get(RUNTIME_VARIABLE) or ("runsc" if "runsc" in (runtimes or ()) else None)
    _try(program, image(), asked)
    return asked


@functools.cache
def _try(program: str, image: str, runtime: str | None) -> None:
    """Start a container that does nothing; ToolError when it does not."""
    words = ["run", "--rm", "--pull", "never", "--network", "none"]
    if runtime is not None:
        words += ["--runtime", runtime]
    _ask(program, *words, "--entrypoint", "/bin/sh", image, "-c", "exit 0")


def _ask(program: str, *words: str) -> str:
    try:
        done = subprocess.run(
            [program, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=ENGINE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolError(f"the Docker engine did not answer ({error})") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise ToolError(f"the Docker engine refused ({said[-1] if said else 'no message'})")
    return done.stdout.strip()


@contextlib.contextmanager
def prepared(
    command: list[str],
    workspace: Path,
    folder: str,
    variables: dict[str, str],
    limits: Limits,
) -> Iterator[list[str]]:
    """Yields the command line; on the way out the container is removed, whatever it does."""
    name = f"strict-prefix-{secrets.token_hex(8)}"
    if os.geteuid() == 0:
        _hand_over(workspace)
    words = command_line(command, workspace, folder, variables, limits, name, runtime())
    try:
        yield words
    finally:
        # Ending the client ends nothing: the container belongs to the engine.
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                ["docker", "rm", "--force", name],
                capture_output=True,
                check=False,
                timeout=ENGINE_SECONDS,
            )


def _hand_over(workspace: Path) -> None:
    for folder, folders, names in os.walk(workspace):
        for path in (folder, *(os.path.join(folder, name) for name in (*folders, *names))):
            if os.path.isdir(path) or os.lstat(path).st_nlink == 1:
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def command_line(
    command: list[str],
    workspace: Path,
    folder: str,
    variables: dict[str, str],
    limits: Limits,
    name: str,
    runtime: str | None,
) -> list[str]:
    """Everything that the engine is asked for, in its own words."""
    user = f"{NOBODY}:{NOBODY}" if os.geteuid() == 0 else f"{os.geteuid()}:{os.getegid()}"
    cpu_seconds = int(limits.seconds * (os.cpu_count() or 1)) + 1
    words = ["docker", "run", "--rm", "--interactive", "--pull", "never", "--name", name]
    if runtime is not None:
        words += ["--runtime", runtime]
    words += ["--network", "none", "--hostname", "sandbox", "--ipc", "private", "--read-only"]
    words += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", user]
    words += ["--memory", str(limits.bytes), "--memory-swap", str(limits.bytes)]
    words += ["--pids-limit", str(limits.processes), "--shm-size", str(limits.temporary_bytes)]
    # Executable, because compilers of the libraries load from there what they made.
    words += ["--tmpfs", f"/tmp:rw,exec,nosuid,nodev,mode=1777,size={limits.temporary_bytes}"]
    for limit, value in {
        "nofile": limits.open_files,
        "fsize": limits.file_bytes,
        "core": 0,
        "cpu": cpu_seconds,
    }.items():
        words += ["--ulimit", f"{limit}={value}:{value}"]
    # The engine would keep all output on disk.
    words += ["--log-driver", "none"]
    words += ["--mount", f"type=bind,source={workspace},target={SEEN_AT}"]
    words += ["--workdir", f"{SEEN_AT}/{folder}".rstrip("/")]
    for variable, content in variables.items():
        words += ["--env", f"{variable}={content}"]
    # The image has an interpreter of its own.
    inside = ["python3" if word == sys.executable else word for word in command]
    return [*words, "--entrypoint", "/bin/sh", image(), "-c", ARRANGE, "sh", *inside]
