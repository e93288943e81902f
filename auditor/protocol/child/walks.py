"""A system is led through a stream, and is shown no token before its charge."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from .distributions import Floats, checked
from .schedule import Window, windows

Tokens = npt.NDArray[np.int64]


def one_by_one(system: Any, known_T: Tokens, positions: int) -> Iterator[tuple[int, Floats]]:
    """Yield each position with the distribution there.

    The caller writes the token into known_T[position + 1] before it asks for the next one.
    """
    system.update(known_T[:1], 0)
    for window in windows(positions, system.window_tokens, system.stride):
        yield from inside(system, known_T, window)
        system.update(known_T[window.first + 1 : window.stop + 1], window.first + 1)


def inside(system: Any, known_T: Tokens, window: Window) -> Iterator[tuple[int, Floats]]:
    """Yield each position of one window, as `one_by_one` does."""
    for position in range(window.first, window.stop):
        answer = system.predict(known_T[window.start : position + 1], window.start, 1)
        yield position, checked(answer, position, 1, system.vocab_size)[0]
