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
    _check_sums(sums_T, position)
    probabilities: Floats = probs_TV / sums_T[:, None]
    return probabilities


def charges(
    answer: Any, position: int, targets_T: npt.NDArray[np.int64], vocab_size: int, is_summed: bool
) -> tuple[Floats, Floats]:
    """Return the nats of each target, and what each row sums to.

    Rows that are not summed are charged as they are given, and the second array is empty.
    """
    log_probs_TV = shaped(answer, position, len(targets_T), vocab_size)
    rows_T = np.arange(len(targets_T))
    if not is_summed:
        nats_T: Floats = -log_probs_TV[rows_T, targets_T]
        _check_nats(nats_T, position)
        return nats_T, np.empty(0)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        probs_TV = np.exp(log_probs_TV)
        sums_T = probs_TV.sum(axis=1)
        _check_sums(sums_T, position)
        return -np.log(probs_TV[rows_T, targets_T] / sums_T), sums_T


def _check_sums(sums_T: Floats, position: int) -> None:
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero(~(np.abs(sums_T - 1) <= SUM_TOLERANCE))
    if len(wrong):
        row = int(wrong[0])
        raise NotADistribution(
            position + row,
            float(sums_T[row]),
            f"the probabilities at position {position + row} must sum to 1, got {sums_T[row]:.6f}",
        )


def _check_nats(nats_T: Floats, position: int) -> None:
    """Refuse a probability that is above one or no number, where no row is added up."""
    wrong = np.flatnonzero(~(nats_T >= -SUM_TOLERANCE))
    if len(wrong):
        row = int(wrong[0])
        with np.errstate(over="ignore"):
            chance = float(np.exp(-nats_T[row]))
        raise NotADistribution(
            position + row,
            chance,
            f"a probability at position {position + row} must be at most 1, got {chance:.6f}",
        )


def table(probs_V: Floats) -> Floats:
    """Return the row in whole shares of 2^24, none of them zero, exactly representable."""
    shares_V = 1 + np.floor(probs_V * (TOTAL - len(probs_V))).astype(np.int64)
    shares_V[np.argmax(probs_V)] += TOTAL - shares_V.sum()
    exact: Floats = shares_V / TOTAL
    return exact
