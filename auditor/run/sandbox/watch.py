"""Counts from outside what the kernel does not limit for a whole run, and ends it when it is much.

Disk always, since a file system limits files and not folders; memory and processes where there is
no control group. What it finds it finds a fraction of a second late, so a limit can be passed by
what can be used in that time.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from auditor.run.sandbox.limits import Limits

LOOKS_EVERY_SECONDS = 0.1
SHARE = 10
"""Looking may take a tenth of one core: the next look waits so many times as long as the last."""
REWRITES = 4
"""So many times over the workspace may be written, since scripts write checkpoints again."""


class Watch:
    """Looks at the processes below one process, in a thread, until it is closed."""

    def __init__(
        self,
        root: int,
        workspace: Path,
        limits: Limits,
        end: Callable[[], None],
        *,
        memory: bool,
        processes: bool,
    ) -> None:
        """Call `end` once when a limit is passed; `memory` and `processes` when to count those."""
        self.exceeded: str | None = None
        self._root = root
        self._workspace = workspace
        self._limits = limits
        self._end = end
        self._memory = memory
        self._processes = processes
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        wait = LOOKS_EVERY_SECONDS
        while not self._closed.wait(wait):
            began = time.thread_time()
            self.exceeded = self._look()
            if self.exceeded is not None:
                self._end()
                return
            wait = max(LOOKS_EVERY_SECONDS, SHARE * (time.thread_time() - began))

    def _look(self) -> str | None:
        """The first limit that is passed, in words with both numbers."""
        limits = self._limits
        pids = descendants(self._root)
        if self._processes and len(pids) <= limits.processes:
            tasks = sum(_tasks(pid) for pid in pids)
        else:
            tasks = len(pids)
        if self._processes and tasks > limits.processes:
            return f"expected at most {limits.processes:,} processes and threads, found {tasks:,}"
        if self._memory and (used := memory_bytes(pids, limits.bytes)) > limits.bytes:
            return f"expected at most {limits.bytes:,} bytes of memory in use, found {used:,}"
        size, entries = folder_size(self._workspace, limits.disk_entries)
        if size > limits.disk_bytes:
            return f"expected at most {limits.disk_bytes:,} bytes on disk, found {size:,}"
        if (written := _written_bytes(pids)) > REWRITES * limits.disk_bytes:
            return (
                f"expected at most {REWRITES * limits.disk_bytes:,} bytes written to disk, "
                f"found {written:,}"
            )
        entries = max(entries, _temporary_entries(pids))
        if entries > limits.disk_entries:
            return f"expected at most {limits.disk_entries:,} files, found {entries:,}"
        return None


def descendants(root: int) -> list[int]:
    """A process and everything below it, itself first; who lost its parent is below init."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                # The command's name is in brackets and may hold anything; the parent is after it.
                stat = Path("/proc", name, "stat").read_bytes()
                children.setdefault(int(stat.rpartition(b")")[2].split()[1]), []).append(int(name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def memory_bytes(pids: list[int], limit: int) -> int:
    """Memory in use: counted quickly, and exactly only where the quick count passes the limit.

    The quick count takes shared pages once for each process, so it is never too small.
    """
    quick = sum(_status_bytes(pid, "status", b"VmRSS:") for pid in pids)
    if quick <= limit:
        return quick
    exact = 0
    for pid in pids:
        exact += _status_bytes(pid, "smaps_rollup", b"Pss:")
        if exact > limit:
            break
    return exact


def folder_size(folder: Path, most: int) -> tuple[int, int]:
    """Bytes on disk and entries below a folder; links are not followed, counting ends at `most`."""
    size, entries, open_folders = 0, 0, [os.fspath(folder)]
    while open_folders:
        # What vanishes while it is looked at is no longer there to be counted.
        with contextlib.suppress(OSError), os.scandir(open_folders.pop()) as found:
            for entry in found:
                entries += 1
                if entries > most:
                    return size, entries
                with contextlib.suppress(OSError):
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        open_folders.append(entry.path)
    return size, entries


def _tasks(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}/task").st_nlink - 2
    except OSError:
        return 0


def _status_bytes(pid: int, file: str, key: bytes) -> int:
    """A line in kB of a file about a process; 0 when it is gone or not ours to see."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/{file}").read_bytes().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    return 0


def _written_bytes(pids: list[int]) -> int:
    """What the processes and their ended children sent to disk, files without a name included."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError):
            facts = dict(
                line.split(b": ") for line in Path(f"/proc/{pid}/io").read_bytes().splitlines()
            )
            total += int(facts[b"write_bytes"]) - int(facts[b"cancelled_write_bytes"])
    return total


def _temporary_entries(pids: list[int]) -> int:
    """Files in the run's own /tmp and /dev/shm, which cost memory even when they are empty."""
    for pid in reversed(pids[1:]):
        with contextlib.suppress(OSError):
            # Before its mounts are made, or without any, a process sees ours.
            if os.stat(f"/proc/{pid}/root/tmp").st_dev != os.stat("/tmp").st_dev:
                rooms = [os.statvfs(f"/proc/{pid}/root{room}") for room in ("/tmp", "/dev/shm")]
                return max(room.f_files - room.f_ffree for room in rooms)
    return 0
