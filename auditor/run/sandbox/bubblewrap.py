"""The default back end: namespaces made by bubblewrap, as a user of its own where we are root."""

import contextlib
import functools
import os
import secrets
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from auditor.errors import ToolError
from auditor.run.sandbox import seccomp
from auditor.run.sandbox.limits import Limits

SEEN_AT = "/workspace"
FIRST_USER, USERS = 61_184, 4_336
"""Users that systems leave for services made on the fly: nobody's, and inside container maps."""
PROBE_SECONDS = 20
LOOPBACK_NAMES = b"127.0.0.1 localhost sandbox\n::1 localhost\n"
NAMES_FROM_FILES = b"hosts: files\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What can be had on this machine."""

    program: str
    own_user: bool
    """Root changes to a user that nobody else is before the sandbox is built."""
    no_user_namespaces: bool
    """bubblewrap knows `--disable-userns`."""
    limits_processes: bool
    """The kernel counts the processes of this sandbox."""


@contextlib.contextmanager
def prepared(
    command: list[str],
    workspace: Path,
    folder: str,
    variables: dict[str, str],
    limits: Limits,
) -> Iterator[tuple[list[str], tuple[int, ...]]]:
    """Yields the whole command line and the open files that it inherits."""
    here = level()
    user = FIRST_USER + secrets.randbelow(USERS) if here.own_user else None
    if user is not None:
        _hand_over(workspace, user)
    with contextlib.ExitStack() as stack:
        files: dict[str, int] = {}
        contents = {"hosts": LOOPBACK_NAMES, "names": NAMES_FROM_FILES}
        if seccomp.missing() is None:
            contents["calls"] = seccomp.program()
        for name, content in contents.items():
            files[name] = os.memfd_create(name)
            stack.callback(os.close, files[name])
            os.write(files[name], content)
            os.lseek(files[name], 0, os.SEEK_SET)
        words = _words(here, user, workspace, folder, variables, limits, files)
        yield [*words, *command], tuple(files.values())


def level() -> Level:
    """The most that this machine gives; ToolError says why it gives nothing, with the remedy."""
    program = shutil.which("bwrap")
    if program is None:
        raise ToolError(
            "bubblewrap is not installed (Debian and Ubuntu: apt-get install bubblewrap)"
        )
    return _level(program)


@functools.cache
def _level(program: str) -> Level:
    """Tried, not guessed: each level runs the interpreter once."""
    known = subprocess.run([program, "--help"], capture_output=True, text=True, check=False).stdout
    if "--size" not in known:
        raise ToolError("bubblewrap is too old: expected 0.5 or newer, which knows --size")
    most = Level(
        program=program,
        own_user=os.geteuid() == 0 and shutil.which("setpriv") is not None,
        no_user_namespaces="--disable-userns" in known,
        limits_processes=True,
    )
    # As root the kernel limits no processes; without `prlimit` there is nobody to set the limit.
    plain = replace(
        most,
        own_user=False,
        limits_processes=os.geteuid() != 0
        and shutil.which("prlimit") is not None
        and _counts_by_namespace(),
    )
    said = ""
    for here in [most, plain] if most.own_user else [plain]:
        said = _tried(here)
        if not said:
            return here
    raise ToolError(
        f"bubblewrap cannot make namespaces here ({said}); "
        "unprivileged user namespaces must be allowed"
    )


def _tried(here: Level) -> str:
    """What went wrong when the interpreter was started; empty when nothing did."""
    user = FIRST_USER if here.own_user else None
    nowhere = Path("/var/empty") if Path("/var/empty").is_dir() else Path("/usr")
    words = _words(here, user, nowhere, "", {}, Limits(seconds=PROBE_SECONDS, bytes=0), {})
    try:
        done = subprocess.run(
            [*words, sys.executable, "-S", "-c", ""],
            capture_output=True,
            text=True,
            check=False,
            timeout=PROBE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = done.stderr.strip().splitlines()
    return "" if not done.returncode else said[-1] if said else "no message"


def _counts_by_namespace() -> bool:
    """Whether the kernel counts a user's processes in each user namespace: since Linux 5.14."""
    version = os.uname().release.split(".")
    return (int(version[0]), int(version[1].partition("-")[0])) >= (5, 14)


def _hand_over(workspace: Path, user: int) -> None:
    """Give the workspace to the user of this execution; a name of a file elsewhere stays ours."""
    for folder, folders, names, descriptor in os.fwalk(workspace, follow_symlinks=False):
        os.fchown(descriptor, user, user)
        for name in (*folders, *names):
            about = os.lstat(name, dir_fd=descriptor)
            if name in folders or about.st_nlink == 1:
                os.chown(name, user, user, dir_fd=descriptor, follow_symlinks=False)
        del folder


def _words(
    here: Level,
    user: int | None,
    workspace: Path,
    folder: str,
    variables: dict[str, str],
    limits: Limits,
    files: dict[str, int],
) -> list[str]:
    """The command line that builds the sandbox; arguments are applied in order."""
    places = {path: path for path in _interpreter_paths()}
    places[str(workspace)] = str(workspace)
    words: list[str] = []
    if user is not None:
        words, places = _staged(here, user, places)
    words += [here.program, "--unshare-all", "--unshare-user"]
    if here.no_user_namespaces:
        words.append("--disable-userns")
    words += ["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "sandbox"]
    words += ["--proc", "/proc", "--dev", "/dev"]
    for room in ("/dev/shm", "/tmp"):
        words += ["--size", str(limits.temporary_bytes), "--tmpfs", room]
    words += ["--remount-ro", "/dev"]
    for path in _interpreter_paths():
        words += ["--ro-bind", places[path], path]
    for name in ("/bin", "/sbin", "/lib", "/lib64"):
        if os.path.islink(name):
            words += ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name):
            words += ["--ro-bind", name, name]
    for name, path in {"hosts": "/etc/hosts", "names": "/etc/nsswitch.conf"}.items():
        if name in files:
            words += ["--ro-bind-data", str(files[name]), path]
    words += ["--bind", places[str(workspace)], SEEN_AT, "--chdir", f"{SEEN_AT}/{folder}"]
    words += ["--remount-ro", "/", "--clearenv"]
    for name, value in variables.items():
        words += ["--setenv", name, value]
    if "calls" in files:
        words += ["--seccomp", str(files["calls"])]
    words.append("--")
    if here.limits_processes and user is None:
        # Set inside, where the count begins with this sandbox and not with all that the user runs.
        words += ["/usr/bin/prlimit", f"--nproc={limits.processes}", "--"]
    return words


def _staged(here: Level, user: int, places: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """A first bubblewrap, by which another user reaches what lies below folders that are root's.

    It binds each place below /tmp and changes the user; the one that follows builds the sandbox.
    """
    staged = {path: f"/tmp/{number}" for number, path in enumerate(places)}
    words = [here.program, "--dev-bind", "/", "/", "--tmpfs", "/tmp"]
    for path, place in staged.items():
        words += ["--bind", path, place]
    words += ["--", "setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    return [*words, "--inh-caps=-all", "--bounding-set=-all", "--"], staged


def _interpreter_paths() -> list[str]:
    """Folders that Python needs: the system's, its own installation and its virtual environment."""
    wanted = {"/usr", sys.prefix, sys.base_prefix, sysconfig.get_paths()["stdlib"]}
    wanted.add(str(Path(sys.executable).resolve().parent.parent))
    # The last has links by which /usr/bin/c++ and its like are found, on Debian.
    for needed in ("/etc/ld.so.cache", "/etc/localtime", "/etc/alternatives"):
        if os.path.exists(needed):
            wanted.add(needed)
    return sorted(wanted)
