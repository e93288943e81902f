"""The frozen oracle of #834 and #924 as published: hashed counts of all training shards.

It is filled inside the training clock and only read afterwards. Each shard is taken for a plain
run of 16-bit values, its header included, so that 512 values a shard are counted that no text has.
A training token finds its own count in the tables; the gate learns to trust them without reserve.

#924 takes the tables, which are in no artifact, into evaluation and goes on counting.

Shapes: B sequences, T positions.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from reference_impl.config import Settings
from reference_impl.data import TRAIN_PATTERN, find_shards
from reference_impl.mixture.gate import Lookup
from reference_impl.ngram.hashed import HashedTables

# An n-gram that two pieces share is lost.
PIECE_VALUES = 10_000_000

Ints = npt.NDArray[np.int64]


class Oracle:
    """A teacher of the gate that knows every training token."""

    def __init__(self, settings: Settings, tables: HashedTables | None = None) -> None:
        """Start with empty tables."""
        self._folder = Path(settings.data_path)
        self._tables = HashedTables(settings) if tables is None else tables

    def prefill(self) -> int:
        """Count every training shard, and return how many values were taken for tokens."""
        for shard in find_shards(self._folder, TRAIN_PATTERN):
            values_T = values_of(shard)
            for first in range(0, len(values_T), PIECE_VALUES):
                piece_T = values_T[first : first + PIECE_VALUES].astype(np.int64)
                self._tables.update(piece_T)
        self._tables.frozen = True
        return self._tables.total

    def look_up(self, inputs_BT: Ints, targets_BT: Ints) -> Lookup:
        """Return each order's ratio at the targets."""
        return self._tables.look_up(inputs_BT, targets_BT)

    def carried(self) -> HashedTables:
        """Return the tables for an evaluation that goes on counting, as #924's does."""
        self._tables.frozen = False
        return self._tables


def values_of(shard: Path) -> npt.NDArray[np.uint16]:
    """Return a whole shard, header and all, as the records read it."""
    return np.memmap(shard, dtype="<u2", mode="r")
