"""What a system must offer so that an auditor can drive it.

A record folder takes part by shipping `system.py` with a function `load`, which the auditor calls
in a sandbox, in that folder. Nothing is imported from here: what has these attributes is a System.

    def load(positions: int) -> System

`positions` is how many tokens will be predicted; schedules over the stream may depend on it.
Tokens have absolute places: token 0 is given, token p + 1 is predicted at position p.
"""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int64]
LogProbs = Any
"""An array of floats, wherever it is."""


class System(Protocol):
    """A predictor that learns from what it has been charged for, and from nothing else."""

    vocab_size: int
    """Tokens are 0 to vocab_size - 1."""
    window_tokens: int
    """Longest input of `predict`."""
    stride: int
    """Positions charged in each window after the first, at most window_tokens."""

    def predict(self, tokens_L: Tokens, start: int, last: int) -> LogProbs:
        """Return natural logarithms, shape (last, vocab_size), of what follows the last tokens.

        An array of numpy or of any library of the array API standard, or a torch tensor, on any
        device with 64-bit floats and in any precision; it stays there but for the figures needed.
        Row -1 is the distribution of the token after tokens_L[-1]. `start` is the place of
        tokens_L[0]. It may use these tokens, what `update` has revealed, and the files of the
        folder. Every row must sum to one in probabilities. Calling it changes nothing.
        """
        ...

    def update(self, tokens_T: Tokens, start: int) -> None:
        """Learn, if at all, from tokens that have been charged; they follow the ones before.

        The first call reveals token 0 alone; each later one the targets of a window.
        """
        ...


class Resumable(System, Protocol):
    """A system whose evaluation goes on where it was ended; this half is optional."""

    def snapshot(self) -> bytes:
        """Return all that `update` has changed, in a form of the system's own.

        Nobody else reads it: it is handed to `restore` in another process, of the same folder and
        for the same stream. Calling it changes nothing.
        """
        ...

    def restore(self, state: bytes) -> None:
        """Become the system that the snapshot was taken of: every later charge is the same."""
        ...
