"""Which positions are charged with which context.

Position p of the stream is charged for predicting token p + 1.
"""

from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True, slots=True)
class Window:
    """A span of input, of which the positions from first to stop are charged."""

    start: int
    first: int
    stop: int


def sliding_windows(positions: int, length: int, stride: int) -> list[Window]:
    """Return windows that charge every position once; the first charges all it covers."""
    starts = list(range(0, positions - length + 1, stride))
    if starts[-1] != positions - length:
        starts.append(positions - length)
    windows = []
    charged = 0
    for start in starts:
        windows.append(Window(start, charged, start + length))
        charged = start + length
    return windows


def chunks_of(windows: list[Window], chunk_tokens: int) -> list[list[Window]]:
    """Group windows by the chunk in which their first charged position lies."""
    return [list(group) for _, group in groupby(windows, lambda w: w.first // chunk_tokens)]
