"""From a system's answer to a table that a range coder can use, or to what is wrong with it."""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SUM_TOLERANCE = 1e-4
"""Rounding of a 32-bit softmax over some thousand tokens stays two digits below."""
TOTAL = 1 << 24
"""Shares of a table; a power of two, so that each share is exact in floating point."""


class NotADistribution(Exception):  # noqa: N818 - what was measured, not a fault
    """A row that nothing can be coded with; carries the position and what it sums to."""

    def __init__(self, position: int, total: float, message: str) -> None:
        """Keep the figures for the report."""
        super().__init__(message)
        self.position, self.total = position, total


def shaped(answer: Any, position: int, last: int, vocab_size: int) -> Floats:
    """Return what a system answered as rows, one a position from `position` on."""
    log_probs: Floats = np.asarray(answer, dtype=np.float64)
    if log_probs.shape != (last, vocab_size):
        raise NotADistribution(
            position,
            float("nan"),
            f"predict must return the shape {(last, vocab_size)}, got {log_probs.shape}",
        )
    return log_probs


def checked(answer: Any, position: int, last: int, vocab_size: int) -> Floats:
    """Return probabilities, one row a position from `position` on; refuse what is none."""
    log_probs = shaped(answer, position, last, vocab_size)
    with np.errstate(over="ignore", invalid="ignore"):
        probs_TV = np.exp(log_probs)
        sums_T = probs_TV.sum(axis=1)
        wrong = np.flatnonzero(~(np.abs(sums_T - 1) <= SUM_TOLERANCE))
    if len(wrong):
        row = int(wrong[0])
        raise NotADistribution(
            position + row,
            float(sums_T[row]),
            f"the probabilities at position {position + row} must sum to 1, got {sums_T[row]:.6f}",
        )
    probabilities: Floats = probs_TV / sums_T[:, None]
    return probabilities


def table(probs_V: Floats) -> Floats:
    """Return the row in whole shares of 2^24, none of them zero, exactly representable."""
    shares_V = 1 + np.floor(probs_V * (TOTAL - len(probs_V))).astype(np.int64)
    shares_V[np.argmax(probs_V)] += TOTAL - shares_V.sum()
    exact: Floats = shares_V / TOTAL
    return exact
