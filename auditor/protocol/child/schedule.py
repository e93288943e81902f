"""Which positions are charged with which input, the same for encoder, decoder and replay."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """Input from token `start` on; the positions from `first` to `stop` are charged."""

    start: int
    first: int
    stop: int


def windows(positions: int, window_tokens: int, stride: int) -> Iterator[Window]:
    """Yield windows that charge every position once, in order.

    The first charges all that it covers, each other one its last `stride` positions, except that
    the last one starts as late as it can and charges what is left.
    """
    if not 1 <= stride <= window_tokens:
        raise ValueError(f"the stride must be 1 to {window_tokens} positions, got {stride}")
    charged = min(window_tokens, positions)
    yield Window(0, 0, charged)
    while charged < positions:
        stop = min(charged + stride, positions)
        yield Window(stop - window_tokens, charged, stop)
        charged = stop
