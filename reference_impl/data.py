"""Challenge shards in and out, the validation stream, and the training stream."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reference_impl.errors import DataError

MAGIC = 20240520
VERSION = 1
HEADER_WORDS = 256
HEADER_BYTES = 4 * HEADER_WORDS
TRAIN_PATTERN = "fineweb_train_*.bin"
VAL_PATTERN = "fineweb_val_*.bin"

Tokens = npt.NDArray[np.int64]


def read_shard(path: Path, vocab_size: int) -> Tokens:
    """Return the tokens of one shard after checking its header, its length and its ids."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if len(raw) < HEADER_BYTES:
        raise DataError(f"{path} must have a header of {HEADER_BYTES} bytes, got {len(raw)}")
    magic, version, count = (int(word) for word in np.frombuffer(raw, dtype="<i4", count=3))
    if magic != MAGIC:
        raise DataError(f"{path} must start with the magic number {MAGIC}, got {magic}")
    if version != VERSION:
        raise DataError(f"{path} must have version {VERSION}, got {version}")
    if len(raw) != HEADER_BYTES + 2 * count:
        raise DataError(
            f"{path} must have {HEADER_BYTES + 2 * count} bytes for its {count} tokens, "
            f"got {len(raw)}"
        )
    tokens_T = np.frombuffer(raw, dtype="<u2", offset=HEADER_BYTES).astype(np.int64)
    if count and int(tokens_T.max()) >= vocab_size:
        raise DataError(
            f"{path} must hold token ids below the vocabulary size {vocab_size}, "
            f"got {int(tokens_T.max())}"
        )
    return tokens_T


def write_shard(path: Path, tokens: Sequence[int] | Tokens) -> None:
    """Write tokens with the challenge's header."""
    tokens_T = np.asarray(tokens, dtype=np.int64)
    if len(tokens_T) and not 0 <= int(tokens_T.min()) <= int(tokens_T.max()) < 2**16:
        raise DataError(
            f"{path} can hold token ids from 0 to 65535, got {int(tokens_T.min())} to "
            f"{int(tokens_T.max())}"
        )
    header = np.zeros(HEADER_WORDS, dtype="<i4")
    header[:3] = MAGIC, VERSION, len(tokens_T)
    path.write_bytes(header.tobytes() + tokens_T.astype("<u2").tobytes())


def find_shards(folder: Path, pattern: str) -> list[Path]:
    """Return the shards in name order, at least one."""
    shards = sorted(folder.glob(pattern))
    if not shards:
        raise DataError(f"{folder} must hold at least one {pattern}, got none")
    return shards


def validation_tokens(
    folder: Path, vocab_size: int, *, window_tokens: int, limit: int = 0
) -> Tokens:
    """Return the validation stream: whole windows, and the one token that the last one predicts."""
    shards = find_shards(folder, VAL_PATTERN)
    stream_T = np.concatenate([read_shard(shard, vocab_size) for shard in shards])
    if limit:
        stream_T = stream_T[:limit]
    usable = (len(stream_T) - 1) // window_tokens * window_tokens
    if usable <= 0:
        raise DataError(
            f"{folder / VAL_PATTERN} must hold at least {window_tokens + 1} tokens, one window "
            f"and its last target, got {len(stream_T)}"
        )
    return stream_T[: usable + 1]


class TrainingStream:
    """Training shards read in name order, without shuffling, over and over."""

    def __init__(self, folder: Path, vocab_size: int) -> None:
        """Open the first shard."""
        self.shards = find_shards(folder, TRAIN_PATTERN)
        self._vocab_size = vocab_size
        self._next_shard = 0
        self._position = 0
        self._tokens_T = np.empty(0, dtype=np.int64)
        self._advance()

    def take(self, count: int) -> Tokens:
        """Return the next tokens of the stream."""
        pieces = []
        while count > 0:
            piece_T = self._tokens_T[self._position : self._position + count]
            pieces.append(piece_T)
            self._position += len(piece_T)
            count -= len(piece_T)
            if count > 0:
                self._advance()
        return np.concatenate(pieces)

    @property
    def place(self) -> tuple[int, int]:
        """The shard being read and the token in it that comes next."""
        return (self._next_shard - 1) % len(self.shards), self._position

    def seek(self, place: tuple[int, int]) -> None:
        """Go on from a place that the stream was at before."""
        shard, position = place
        if not 0 <= shard < len(self.shards):
            raise DataError(
                f"{self.shards[0].parent / TRAIN_PATTERN} must match more than {shard} shards to "
                f"go on from, got {len(self.shards)}"
            )
        self._tokens_T = read_shard(self.shards[shard], self._vocab_size)
        if not 0 <= position <= len(self._tokens_T):
            raise DataError(
                f"{self.shards[shard]} must hold at least {position} tokens to go on from, got "
                f"{len(self._tokens_T)}"
            )
        self._next_shard, self._position = (shard + 1) % len(self.shards), position

    def _advance(self) -> None:
        for _ in self.shards:
            self._tokens_T = read_shard(self.shards[self._next_shard], self._vocab_size)
            self._next_shard = (self._next_shard + 1) % len(self.shards)
            self._position = 0
            if len(self._tokens_T):
                return
        raise DataError(f"{self.shards[0].parent / TRAIN_PATTERN} must hold tokens, got 0")
