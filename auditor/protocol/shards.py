"""Challenge shards as one stream of tokens."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from auditor.errors import SubmissionError

MAGIC, VERSION, HEADER_BYTES = 20240520, 1, 1024
VAL_PATTERN = "fineweb_val_*.bin"

Tokens = npt.NDArray[np.uint16]


def read_stream(path: Path, limit: int | None = None) -> Tokens:
    """Return the first tokens of a shard, or of all validation shards of a folder.

    `limit` counts predicted tokens, one less than what is returned. SubmissionError names the shard
    and what was expected.
    """
    shards = sorted(path.glob(VAL_PATTERN)) if path.is_dir() else [path]
    if not shards:
        raise SubmissionError(f"{path}: expected at least one {VAL_PATTERN}, found none")
    wanted = None if limit is None else limit + 1
    pieces: list[Tokens] = []
    for shard in shards:
        missing = None if wanted is None else wanted - sum(map(len, pieces))
        if missing is None or missing > 0:
            pieces.append(_read_shard(shard)[:missing])
    tokens_T = np.concatenate(pieces)
    if len(tokens_T) < (wanted or 2):
        raise SubmissionError(f"{path}: expected {wanted or 2:,} tokens, found {len(tokens_T):,}")
    return tokens_T


def _read_shard(path: Path) -> Tokens:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SubmissionError(f"{path}: cannot be read ({error.strerror})") from error
    header = np.frombuffer(raw[:12], dtype="<i4") if len(raw) >= HEADER_BYTES else np.zeros(3)
    magic, version, count = (int(word) for word in header)
    if (magic, version) != (MAGIC, VERSION):
        raise SubmissionError(
            f"{path}: expected a shard with magic number {MAGIC} and version {VERSION}, found "
            f"{magic} and {version}"
        )
    if len(raw) != HEADER_BYTES + 2 * count:
        raise SubmissionError(
            f"{path}: expected {HEADER_BYTES + 2 * count:,} bytes for its {count:,} tokens, found "
            f"{len(raw):,}"
        )
    return np.frombuffer(raw, dtype="<u2", offset=HEADER_BYTES)
