"""A bitstream file: one line of JSON that names all it belongs to by digest, then coded words.

Its last digest is that of the line itself, so that a changed byte is known by what it is part of.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from auditor.errors import SubmissionError
from auditor.submission import Submission

MAX_HEADER_BYTES = 1 << 20


def sealed(header: Mapping[str, Any], words: bytes) -> dict[str, Any]:
    """Return a header with the size and the digest of the words, and its own digest."""
    named = {**header, "words_bytes": len(words), "words_sha256": digest(words)}
    return {**named, "header_sha256": digest(line_of(named))}


def read(bitstream: bytes, *formats: str) -> tuple[dict[str, Any], bytes]:
    """Return header and words of a file, after checking both against their digests."""
    line, newline, words = bitstream.partition(b"\n")
    try:
        if not newline or len(line) > MAX_HEADER_BYTES:
            raise ValueError("it has no first line of JSON")
        header = json.loads(line)
        stated = {name: value for name, value in header.items() if name != "header_sha256"}
        if header["format"] not in formats:
            raise ValueError(f"it is {header['format']!r}")
        if digest(line_of(stated)) != header["header_sha256"] or line_of(header) != line + b"\n":
            raise ValueError("its header has been changed")
        size = header.get("words_bytes", len(words))  # the first files of v1 do not say
        if len(words) < size:
            raise ValueError(
                f"it is cut off: expected {size:,} bytes of words, found {len(words):,}"
            )
        if digest(words) != header["words_sha256"]:
            raise ValueError(
                f"its words have been changed: expected {header['words_sha256'][:12]}..., got "
                f"{digest(words)[:12]}... ({len(words):,} bytes)"
            )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SubmissionError(
            f"the bitstream: expected {' or '.join(formats)}, but {error}"
        ) from error
    return header, words


def check_files(submission: Submission, files: Mapping[str, str]) -> None:
    """Refuse a submission that is not the one that encoded."""
    own = submission.digests
    for path in sorted(own.keys() | files.keys()):
        if own.get(path) != files.get(path):
            wanted, got = files.get(path, "no such file"), own.get(path, "no such file")
            raise SubmissionError(
                f"{path}: expected the file that the text was encoded with ({wanted[:12]}), found "
                f"{got[:12]}"
            )


def line_of(header: Mapping[str, Any]) -> bytes:
    """Return a header as it stands in the file."""
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def digest(data: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
