"""Control groups: memory and processes of a whole run counted by the kernel, where we may make one.

Version 2 needs a folder that passes on both controllers and that we may write to; version 1 the
folders of both. Where there is none, `watch` counts from outside.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from auditor.run.sandbox.limits import Limits

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class Group:
    """The control groups of one execution; empty where none can be made."""

    folders: dict[str, Path] = field(default_factory=dict)
    """By controller, `memory` and `pids`."""
    members: tuple[int, ...] = ()
    """Open files that a process joins by writing to."""

    def join(self) -> None:
        """Enter; runs in the child, before it is the submission's."""
        for descriptor in self.members:
            os.write(descriptor, b"0")

    def memory_kills(self) -> int:
        """How often the kernel ended a process of it for want of memory."""
        folder = self.folders.get("memory")
        if folder is None:
            return 0
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError, ValueError):
                for line in (folder / name).read_text().splitlines():
                    key, _, value = line.partition(" ")
                    if key == "oom_kill":
                        return int(value)
        return 0


@contextlib.contextmanager
def group(limits: Limits, root: Path = ROOT, membership: Path = MEMBERSHIP) -> Iterator[Group]:
    """Make the groups of one execution, and on the way out end whatever is still in them."""
    name = f"strict-prefix-{secrets.token_hex(8)}"
    folders: dict[str, Path] = {}
    members: list[int] = []
    try:
        for controller, parent in parents(root, membership).items():
            with contextlib.suppress(OSError):
                folder = parent / name
                folder.mkdir(exist_ok=True)
                _limit(folder, controller, limits)
                if folder not in folders.values():
                    members.append(os.open(folder / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))
                folders[controller] = folder
        yield Group(folders, tuple(members))
    finally:
        for descriptor in members:
            os.close(descriptor)
        for folder in set(folders.values()):
            _remove(folder)


def parents(root: Path = ROOT, membership: Path = MEMBERSHIP) -> dict[str, Path]:
    """Where groups can be made, by controller: below our own group, so that its limits hold too."""
    found: dict[str, Path] = {}
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, own = rest.partition(":")
        if controllers:
            for name in {"memory", "pids"}.intersection(controllers.split(",")):
                folder = root / name / own.lstrip("/")
                if os.access(folder, os.W_OK):
                    found[name] = folder
        else:
            folder = root / own.lstrip("/")
            # A group with processes of its own passes nothing on; one above it may.
            while folder != root.parent and not _passes_on(folder):
                folder = folder.parent
            if folder != root.parent:
                found.setdefault("memory", folder)
                found.setdefault("pids", folder)
    return found


def _passes_on(folder: Path) -> bool:
    """Whether groups below a version 2 group get both controllers, and we may make one."""
    try:
        passed = (folder / "cgroup.subtree_control").read_text().split()
    except OSError:
        return False
    writable = os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK)
    return {"memory", "pids"} <= set(passed) and writable


def _limit(folder: Path, controller: str, limits: Limits) -> None:
    """Write the limits; names of version 2 first. OSError when there is neither."""
    if controller == "pids":
        _write(folder / "pids.max", limits.processes)
    elif (folder / "memory.max").exists():
        _write(folder / "memory.max", limits.bytes)
        with contextlib.suppress(OSError):
            _write(folder / "memory.swap.max", 0)
            _write(folder / "memory.oom.group", 1)
    else:
        _write(folder / "memory.limit_in_bytes", limits.bytes)
        with contextlib.suppress(OSError):
            _write(folder / "memory.memsw.limit_in_bytes", limits.bytes)


def _write(file: Path, value: int) -> None:
    with open(file, "r+b", buffering=0) as control:
        control.write(str(value).encode())


def _remove(folder: Path) -> None:
    """End what is left in a group, and remove it."""
    for _ in range(50):
        with contextlib.suppress(OSError, ValueError):
            for pid in (folder / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(int(pid), 9)
        try:
            folder.rmdir()
            return
        except OSError:
            time.sleep(0.02)
