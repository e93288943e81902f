"""Range coding of a stream with the distributions of a system, and back.

The system is asked the same questions in the same order both times, so that equal programs on
equal machines give equal tables.
"""

from collections.abc import Callable, Iterator
from typing import Any

import constriction
import numpy as np
import numpy.typing as npt

from .distributions import table
from .schedule import Stretch, Window, windows
from .walks import Tokens, inside, one_by_one

Words = npt.NDArray[np.uint32]
Progress = Callable[[int], None]


def encode(system: Any, tokens_T: Tokens, progress: Progress) -> tuple[Words, float]:
    """Return the bits of all tokens but the first, and the nats that they cost without rounding."""
    coder = constriction.stream.queue.RangeEncoder()
    ideal_nats = 0.0
    known_T = np.zeros(len(tokens_T), dtype=np.int64)
    known_T[0] = tokens_T[0]
    for position, probs_V in one_by_one(system, known_T, len(tokens_T) - 1):
        token = int(tokens_T[position + 1])
        known_T[position + 1] = token
        coder.encode(token, model_of(probs_V))
        ideal_nats -= float(np.log(probs_V[token])) if probs_V[token] > 0 else -np.inf
        progress(position + 1)
    return coder.get_compressed(), ideal_nats


def decode(system: Any, words: Words, first: int, positions: int, progress: Progress) -> Tokens:
    """Return the tokens that the bits stand for; each is known to the system only once decoded.

    Fewer come back where the bits cannot have been made with these distributions: the coder says so
    for some of them, and decodes others to something else.
    """
    coder = constriction.stream.queue.RangeDecoder(words)
    known_T = np.zeros(positions + 1, dtype=np.int64)
    known_T[0] = first
    for position, probs_V in one_by_one(system, known_T, positions):
        model = model_of(probs_V)
        try:
            known_T[position + 1] = coder.decode(model)
        except AssertionError:
            return known_T[: position + 1]
        progress(position + 1)
    return known_T


def encode_stretches(
    system: Any, tokens_T: Tokens, stretches: list[Stretch], progress: Progress
) -> Iterator[tuple[Stretch, Words, float]]:
    """Yield the bits of each stretch, and the nats that they cost without rounding.

    What lies between is revealed and not coded.
    """
    waiting = iter(stretches)
    stretch = next(waiting)
    coder, ideal_nats = constriction.stream.queue.RangeEncoder(), 0.0
    positions = len(tokens_T) - 1
    system.update(tokens_T[:1], 0)
    for window in windows(positions, int(system.window_tokens), int(system.stride)):
        if stretch.first <= window.first:
            for position, probs_V in inside(system, tokens_T, window):
                token = int(tokens_T[position + 1])
                coder.encode(token, model_of(probs_V))
                ideal_nats -= float(np.log(probs_V[token])) if probs_V[token] > 0 else -np.inf
        if window.stop == stretch.stop:
            yield stretch, coder.get_compressed(), ideal_nats
            coder, ideal_nats = constriction.stream.queue.RangeEncoder(), 0.0
            following = next(waiting, None)
            if following is None:
                return  # nothing after the last stretch needs to be known
            stretch = following
        system.update(tokens_T[window.first + 1 : window.stop + 1], window.first + 1)
        progress(window.stop)


class StretchDecoder:
    """Decodes a stretch window by window, with what is revealed before each."""

    def __init__(self, words: Words) -> None:
        """Begin a stretch with its words."""
        self._coder = constriction.stream.queue.RangeDecoder(words)

    def decode(self, system: Any, tokens_L: Tokens, window: Window) -> list[int]:
        """Return the targets of a window whose input up to its first charge is given."""
        known_T = np.zeros(window.stop + 1, dtype=np.int64)
        known_T[window.start : window.first + 1] = tokens_L
        decoded: list[int] = []
        for position, probs_V in inside(system, known_T, window):
            try:
                known_T[position + 1] = self._coder.decode(model_of(probs_V))
            except AssertionError:
                break  # these words cannot have been made with this distribution
            decoded.append(int(known_T[position + 1]))
        return decoded


def model_of(probs_V: npt.NDArray[np.float64]) -> Any:
    """Return what the coder takes for a distribution."""
    # perfect=False: the other way is a thousand times slower, and the shares are exact already.
    return constriction.stream.model.Categorical(table(probs_V), perfect=False)
