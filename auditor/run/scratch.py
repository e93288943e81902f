"""Scratch folders that do not outlive their process, however it ends.

Who makes one holds a lock on it; the kernel lets go of the lock when the process is gone, also by
SIGKILL. Each new folder is made after those that nobody holds any more have been removed.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX, LOCK, ROOM = "strict-prefix-", "lock", "room"


@contextmanager
def scratch() -> Iterator[Path]:
    """Make an empty folder, and remove it at the end with all that was put there."""
    _remove_abandoned(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        with (folder / LOCK).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / ROOM).mkdir(mode=0o700)
            yield folder / ROOM
    finally:
        _remove(folder)


def _remove_abandoned(temporary: Path) -> None:
    """Remove the folders of processes that are gone; others' and younger ones stay.

    A folder without lock or room belongs to somebody who is just making it.
    """
    for folder in temporary.glob(f"{PREFIX}*"):
        try:
            about = folder.lstat()
            if about.st_uid != os.geteuid() or folder.is_symlink():
                continue
            descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            continue
        with os.fdopen(descriptor, "rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue  # its owner is at work
            if (folder / ROOM).is_dir():
                _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder, also where what ran there took its own rights away."""
    for place, names, _ in os.walk(folder):
        for name in names:
            with suppress(OSError):
                if not os.path.islink(path := os.path.join(place, name)):
                    os.chmod(path, 0o700)
    shutil.rmtree(folder, ignore_errors=True)
