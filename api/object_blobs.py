"""Archives in object storage: S3, or whatever speaks its protocol, such as MinIO or Ceph.

Credentials, region and endpoint are those of the environment (AWS_ACCESS_KEY_ID, AWS_REGION,
AWS_ENDPOINT_URL, AWS_ALLOW_HTTP), as other programs read them too.
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from auditor.errors import ToolError

RETRY_SECONDS = 10


class StorageAwayError(Exception):
    """The object storage cannot be used just now."""


class ObjectBlobs:
    """One prefix of a bucket, used as the folder of `Blobs` is: names are digests of bytes."""

    def __init__(self, url: str) -> None:
        """Use s3://BUCKET/PREFIX; nothing is asked of it before the first archive."""
        # By itself it would try for three minutes, and who hands something in would wait.
        patience = timedelta(seconds=RETRY_SECONDS)
        self._store = S3Store.from_url(
            url, retry_config={"max_retries": 3, "retry_timeout": patience}
        )

    def put(self, data: BinaryIO, sha256: str) -> None:
        """Keep the bytes of this file, whose digest it is; they are there whole or not at all."""
        with _reached():
            if self._has(sha256):
                return
            data.seek(0)
            obstore.put(self._store, _name(sha256), data)

    def get(self, sha256: str) -> bytes:
        """The bytes of this name; ToolError when the storage has others or none."""
        try:
            data = bytes(obstore.get(self._store, _name(sha256)).bytes())
        except FileNotFoundError as error:
            raise ToolError(f"archive {sha256} cannot be read back: it is not there") from error
        except BaseError as error:
            raise ToolError(f"archive {sha256} cannot be read back: {_brief(error)}") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ToolError(f"archive {sha256} was changed in the storage: its digest is another")
        return data

    @contextlib.contextmanager
    def lent(self, sha256: str, scratch: Path) -> Iterator[Path]:
        """A copy of the archive as a file, while it is needed."""
        handle, name = tempfile.mkstemp(prefix="blob-", dir=scratch)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self.get(sha256))
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    def drop(self, sha256: str) -> None:
        """Delete an archive; one that is not there is none to delete."""
        with _reached(), contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, _name(sha256))

    def check(self) -> None:
        """Look into the bucket; StorageAwayError when it cannot be reached."""
        with _reached():
            next(iter(obstore.list(self._store, prefix="00", chunk_size=1)), None)

    def _has(self, sha256: str) -> bool:
        try:
            obstore.head(self._store, _name(sha256))
        except FileNotFoundError:
            return False
        return True


def _name(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}"


@contextlib.contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        raise StorageAwayError(_brief(error)) from error


def _brief(error: Exception) -> str:
    """The first line: the rest may hold the request with what signs it."""
    return str(error).strip().splitlines()[0][:300]
