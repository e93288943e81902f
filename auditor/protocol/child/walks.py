"""Ways to lead a system through a stream; none of them shows it a token before its charge.

The exception is `fast`, which hands over whole windows as an ordinary evaluation does. What it
gives is a claim, which the other walks are held against.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from .distributions import Floats, checked
from .schedule import windows

Tokens = npt.NDArray[np.int64]


def fast(system: Any, tokens_T: Tokens) -> Iterator[Floats]:
    """Yield the nats of each window's targets."""
    system.update(tokens_T[:1], 0)
    for window in windows(len(tokens_T) - 1, system.window_tokens, system.stride):
        charged = window.stop - window.first
        answer = system.predict(tokens_T[window.start : window.stop], window.start, charged)
        targets_T = tokens_T[window.first + 1 : window.stop + 1]
        probs_TV = checked(answer, window.first, charged, system.vocab_size)
        yield -np.log(probs_TV[np.arange(charged), targets_T])
        system.update(targets_T, window.first + 1)


def one_by_one(system: Any, known_T: Tokens, positions: int) -> Iterator[tuple[int, Floats]]:
    """Yield each position with the distribution there.

    The caller writes the token into known_T[position + 1] before it asks for the next one.
    """
    system.update(known_T[:1], 0)
    for window in windows(positions, system.window_tokens, system.stride):
        for position in range(window.first, window.stop):
            answer = system.predict(known_T[window.start : position + 1], window.start, 1)
            yield position, checked(answer, position, 1, system.vocab_size)[0]
        system.update(known_T[window.first + 1 : window.stop + 1], window.first + 1)
