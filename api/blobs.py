"""Archives in files named by the SHA-256 of their bytes; a name never stands for half a file."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from api.checked import read_checked
from api.object_blobs import ObjectBlobs
from api.settings import Settings

STALE_SECONDS = 3600
"""No write of an archive takes as long; what is older was interrupted."""
CHUNK_BYTES = 2**20


class Blobs:
    """One folder of archives; several processes may share it."""

    def __init__(self, folder: Path) -> None:
        """Use this folder, and clear what an interrupted write left there."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".incoming-*"):
            # Another process may be writing one just now.
            with contextlib.suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > STALE_SECONDS:
                    left.unlink()

    def put(self, data: BinaryIO, sha256: str) -> None:
        """Keep the bytes of this file, whose digest it is."""
        target = self.path(sha256)
        if target.exists():
            return
        target.parent.mkdir(exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".incoming-", dir=self._folder)
        try:
            with os.fdopen(handle, "wb") as file:
                data.seek(0)
                shutil.copyfileobj(data, file, CHUNK_BYTES)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def get(self, sha256: str) -> bytes:
        """The bytes of this name; ToolError when the disk has others or none."""
        return read_checked(self.path(sha256), sha256)

    @contextlib.contextmanager
    def lent(self, sha256: str, scratch: Path) -> Iterator[Path]:
        """The archive as a file, while it is needed."""
        yield self.path(sha256)

    def drop(self, sha256: str) -> None:
        """Delete an archive; one that is not there is none to delete."""
        self.path(sha256).unlink(missing_ok=True)

    def check(self) -> None:
        """Write and delete a small file; OSError when the disk refuses."""
        with tempfile.TemporaryFile(dir=self._folder) as file:
            file.write(b"x")
            file.flush()

    def path(self, sha256: str) -> Path:
        """Where the bytes of this name are."""
        return self._folder / sha256[:2] / sha256


AnyBlobs = Blobs | ObjectBlobs


def blobs_of(settings: Settings) -> AnyBlobs:
    """Where the settings keep archives."""
    if settings.blobs:
        return ObjectBlobs(settings.blobs)
    return Blobs(settings.data / "blobs")
