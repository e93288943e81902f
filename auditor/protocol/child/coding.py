"""Range coding of a stream with the distributions of a system, and back.

The system is asked the same questions in the same order both times, so that equal programs on
equal machines give equal tables.
"""

from collections.abc import Callable
from typing import Any

import constriction
import numpy as np
import numpy.typing as npt

from .distributions import table
from .walks import Tokens, one_by_one

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
        coder.encode(token, _model(probs_V))
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
        model = _model(probs_V)
        try:
            known_T[position + 1] = coder.decode(model)
        except AssertionError:
            return known_T[: position + 1]
        progress(position + 1)
    return known_T


def _model(probs_V: npt.NDArray[np.float64]) -> Any:
    # perfect=False: the other way is a thousand times slower, and the shares are exact already.
    return constriction.stream.model.Categorical(table(probs_V), perfect=False)
