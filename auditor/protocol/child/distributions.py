"""From a system's answer to charges, or to a table that a range coder can use.

An answer may be an array of any library that follows the array API standard, or a torch tensor, on
any device with 64-bit floats. What a whole window is charged is worked out there: of the axis of
the vocabulary only single rows, which are to be coded, come to the host. T positions, V vocabulary.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SUM_TOLERANCE = 1e-4
"""Rounding of a 32-bit softmax over some thousand tokens stays two digits below."""
TOTAL = 1 << 24
"""Shares of a table; a power of two, so that each share is exact in floating point."""
BLOCK_VALUES = 1 << 24
"""Probabilities that are held at once in 64 bits."""


class NotADistribution(Exception):  # noqa: N818 - what was measured, not a fault
    """A row that nothing can be coded with; carries the position and what it sums to."""

    def __init__(self, position: int, total: float, message: str) -> None:
        """Keep the figures for the report."""
        super().__init__(message)
        self.position, self.total = position, total


def shaped(answer: Any, position: int, last: int, vocab_size: int) -> Any:
    """Return what a system answered as rows, one a position from `position` on, where they are."""
    if not hasattr(answer, "shape"):
        answer = np.asarray(answer, dtype=np.float64)
    if tuple(answer.shape) != (last, vocab_size):
        raise NotADistribution(
            position,
            float("nan"),
            f"predict must return the shape {(last, vocab_size)}, got {tuple(answer.shape)}",
        )
    return answer


def checked(answer: Any, position: int, last: int, vocab_size: int) -> Floats:
    """Return probabilities on the host, one row a position; refuse what is none."""
    log_probs_TV = _on_host(_in_64_bits(shaped(answer, position, last, vocab_size)))
    with np.errstate(over="ignore", invalid="ignore"):
        probs_TV = np.exp(log_probs_TV)
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
    rows, step = len(targets_T), max(1, BLOCK_VALUES // vocab_size)
    blocks = [slice(first, min(first + step, rows)) for first in range(0, rows, step)]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        if not is_summed:
            picked = [_picked(log_probs_TV[block, :], targets_T[block]) for block in blocks]
            nats_T: Floats = -np.concatenate(picked)
            _check_nats(nats_T, position)
            return nats_T, np.empty(0)
        pairs = [_summed(log_probs_TV[block, :], targets_T[block]) for block in blocks]
        chances_T, sums_T = (np.concatenate(part) for part in zip(*pairs, strict=True))
        _check_sums(sums_T, position)
        return -np.log(chances_T / sums_T), sums_T


def _summed(rows: Any, targets_T: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return the probability of each target and the sum of each row, both before division."""
    probs = _namespace(rows).exp(_in_64_bits(rows))
    return _picked(probs, targets_T), _on_host(_namespace(probs).sum(probs, axis=1))


def _picked(rows: Any, targets_T: npt.NDArray[np.int64]) -> Floats:
    """Return one value of each row."""
    import array_api_compat

    xp = _namespace(rows)
    places = xp.asarray(targets_T[:, None], device=array_api_compat.device(rows))
    return _on_host(_in_64_bits(xp.take_along_axis(rows, places, axis=1)[:, 0]))


def _in_64_bits(array: Any) -> Any:
    xp = _namespace(array)
    return xp.astype(array, xp.float64, copy=False)


def _on_host(array: Any) -> Floats:
    """Copy to the host, whatever device the array is on."""
    if hasattr(array, "detach"):  # torch, which gives nothing away that has a gradient
        array = array.detach().cpu()
    if not isinstance(array, np.ndarray):
        array = np.from_dlpack(array, device="cpu", copy=True)
    floats: Floats = array
    return floats


def _namespace(array: Any) -> Any:
    # Imported here, since the host imports this file for its figures alone.
    import array_api_compat

    return array_api_compat.array_namespace(array)


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
