"""Archives read back: here alone, because an audit's process needs no more of the service."""

import hashlib
from pathlib import Path

from auditor.errors import ToolError


def read_checked(path: Path, sha256: str) -> bytes:
    """The bytes of a file whose digest is known; ToolError when the disk has others or none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ToolError(f"archive {sha256} cannot be read back: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ToolError(f"archive {sha256} was changed on disk: its digest is another now")
    return data
