"""Which positions are charged with which input, the same for encoder, decoder and replay."""

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Window:
    """Input from token `start` on; the positions from `first` to `stop` are charged."""

    start: int
    first: int
    stop: int


def windows(
    positions: int, window_tokens: int, stride: int, documents: Sequence[int] = (0,)
) -> Iterator[Window]:
    """Yield windows that charge every position once, in order.

    The first charges all that it covers, each other one its last `stride` positions, except that
    the last one starts as late as it can and charges what is left. With several `documents`, the
    places of their first tokens from 0 on, each has windows of its own: the token that begins the
    next one is charged in it, and no input reaches back beyond it.
    """
    if not 1 <= stride <= window_tokens:
        raise ValueError(f"the stride must be 1 to {window_tokens} positions, got {stride}")
    for begins, ends in zip(documents, [*documents[1:], positions], strict=True):
        charged = min(begins + window_tokens, ends)
        yield Window(begins, begins, charged)
        while charged < ends:
            stop = min(charged + stride, ends)
            yield Window(stop - window_tokens, charged, stop)
            charged = stop


def document_starts(tokens_T: npt.NDArray[np.integer], boundary: int) -> list[int]:
    """Return where documents begin: at the stream's first token and at each boundary token."""
    inputs_T = tokens_T[:-1]  # the last token is charged and never an input
    return [0, *(np.flatnonzero(inputs_T[1:] == boundary) + 1).tolist()]


@dataclass(frozen=True, slots=True, order=True)
class Stretch:
    """Whole windows that follow each other; they charge the positions from `first` to `stop`."""

    first: int
    stop: int


def stretches(
    positions: int, window_tokens: int, stride: int, *, tokens: int, count: int, seed: bytes
) -> list[Stretch]:
    """Return some of the stretches that a stream consists of, in order.

    Each charges `tokens` positions, rounded up to whole windows. Which ones follows from the seed
    alone: fewer are the first of more, so that a count cannot be chosen for what it draws.
    """
    if not (tokens > 0 < count and 1 <= stride <= window_tokens):
        raise ValueError(f"no stretches of {tokens} tokens with strides of {stride}")
    total = 1 + max(0, -(-(positions - window_tokens) // stride))
    each = -(-tokens // stride)

    def place(index: int) -> bytes:
        return hashlib.sha256(seed + index.to_bytes(8, "big")).digest()

    def begins(window: int) -> int:
        return min(window_tokens + (window - 1) * stride, positions) if window else 0

    drawn = heapq.nsmallest(count, range(-(-total // each)), key=place)
    return sorted(Stretch(begins(i * each), begins(min((i + 1) * each, total))) for i in drawn)
