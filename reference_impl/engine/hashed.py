"""The hashed tables of the published records at the speed of the memory.

A count lies anywhere in 16 MB, so the time goes into waiting for memory, not into hashing. The
keys of a block are computed before the first is used, and counts are read in loops that do nothing
else: many look-ups are then under way at once. Who asks for the longest full enough order alone is
not charged for the reading of the others.

Shapes: B rows, L tokens in a row, T charged positions at its end, N orders from 2 up, M buckets.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from reference_impl.config import Settings
from reference_impl.engine.kernels import BLOCK, cores, kernel, share
from reference_impl.errors import TrainingError
from reference_impl.mixture.gate import MIN_COUNT, Lookup
from reference_impl.ngram.hashed import RULES, HashedTables

SHARED_TOKENS = 1 << 13
"""From here on a second thread is worth waking."""

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class QuickHashedTables(HashedTables):
    """The same counts and answers as `HashedTables`."""

    def __init__(self, settings: Settings) -> None:
        """Start empty."""
        self.rules = RULES[settings.ngram_hash]
        self.orders = range(2, settings.ngram_max_order + 1)
        self.buckets = settings.ngram_buckets
        self.vocab_size = settings.vocab_size
        self.total = 0
        self.frozen = False
        self._tables_2NM = np.zeros((2, len(self.orders), self.buckets), dtype=np.uint32)
        self._factors = np.array(self.rules.factors, dtype=np.uint32)
        self.context_counts = dict(zip(self.orders, self._tables_2NM[0], strict=True))
        self.full_counts = dict(zip(self.orders, self._tables_2NM[1], strict=True))

    def update(self, tokens_T: Ints, lead: int = 0) -> None:
        """Count the n-grams within these tokens that end after the first `lead` of them."""
        new = len(tokens_T) - lead
        if self.frozen:
            raise TrainingError(f"frozen tables must not count, got {new} tokens")
        self.total += new
        words_T = tokens_T.astype(np.uint32)
        parts = [
            (words_T, max(lead, order - 1), order, self._factors, self._tables_2NM[:, index])
            for index, order in enumerate(self.orders)
        ]
        share(_count, parts, together=new >= SHARED_TOKENS)

    def look_up(self, inputs_BL: Ints, targets_BT: Ints) -> Lookup:
        """Return each order's ratio at the targets, one over V where too little was counted."""
        shape_BTN = (*targets_BT.shape, len(self.orders))
        ratio_BTN = np.full(shape_BTN, 1.0 / self.vocab_size)
        valid_BTN = np.zeros(shape_BTN, dtype=np.bool_)
        self._ask(_every_ratio, inputs_BL, targets_BT, ratio_BTN, valid_BTN)
        return Lookup(torch.from_numpy(ratio_BTN), torch.from_numpy(valid_BTN))

    def backed_off(self, inputs_BL: Ints, targets_BT: Ints) -> tuple[Tensor, Tensor]:
        """Return what `look_up(...).backed_off(1 / V)` does, reading what that needs alone."""
        ratio_BT = np.full(targets_BT.shape, 1.0 / self.vocab_size)
        found_BT = np.zeros(targets_BT.shape, dtype=np.bool_)
        self._ask(_longest_ratio, inputs_BL, targets_BT, ratio_BT, found_BT)
        return torch.from_numpy(ratio_BT), torch.from_numpy(found_BT)

    def _ask(
        self,
        kernel: Callable[..., None],
        inputs_BL: Ints,
        targets_BT: Ints,
        *answers: npt.NDArray[Any],
    ) -> None:
        """Let a kernel write its two answers, cut along rows or positions for the cores."""
        # Zeros in front stand for positions before the window, which no order uses.
        front = self.orders[-1]
        padded_BL = np.pad(inputs_BL.astype(np.uint32), ((0, 0), (front, 0)))
        words_BT = targets_BT.astype(np.uint32)
        B, T = targets_BT.shape
        together = B * T >= SHARED_TOKENS
        pieces = cores() if together else 1
        cuts_B, cuts_T = [0, B], [0, T]
        if B > T:
            cuts_B = [B * piece // pieces for piece in range(pieces + 1)]
        else:
            cuts_T = [T * piece // pieces for piece in range(pieces + 1)]
        fixed = (front, self.rules.positions_left_out, MIN_COUNT, self._factors, self._tables_2NM)
        parts = [
            (padded_BL[rows], words_BT[rows], first, stop, *fixed, *(one[rows] for one in answers))
            for rows in itertools.starmap(slice, itertools.pairwise(cuts_B))
            for first, stop in itertools.pairwise(cuts_T)
        ]
        share(kernel, parts, together=together)


@kernel
def _keys(
    inputs: Words,  # from the oldest token of the first context on
    targets: Words,
    order: int,
    factors: Words,
    mask: int,
    context_keys: Words,
    full_keys: Words,
) -> None:
    """Write the bucket of each context, and of each context with its target."""
    n = len(targets)
    context_keys[:n] = 0
    for k in range(order - 1):
        factor, tokens = factors[k], inputs[k : k + n]
        for j in range(n):
            context_keys[j] ^= tokens[j] * factor
    factor = factors[order - 1]
    for j in range(n):
        full_keys[j] = (context_keys[j] ^ (targets[j] * factor)) & mask
        context_keys[j] &= mask


@kernel
def _count(tokens_T: Words, first: int, order: int, factors: Words, tables_2M: Words) -> None:
    """Count the n-grams of one order that end at `first` or later."""
    contexts, fulls = np.empty(BLOCK, np.uint32), np.empty(BLOCK, np.uint32)
    context_counts, full_counts = tables_2M[0], tables_2M[1]
    mask = len(context_counts) - 1
    for start in range(first, len(tokens_T), BLOCK):
        targets = tokens_T[start : start + BLOCK]
        _keys(tokens_T[start - order + 1 :], targets, order, factors, mask, contexts, fulls)
        for j in range(len(targets)):
            context_counts[contexts[j]] += np.uint32(1)
        for j in range(len(targets)):
            full_counts[fulls[j]] += np.uint32(1)


@kernel
def _longest_ratio(
    inputs_BL: Words,
    targets_BT: Words,
    first: int,
    stop: int,
    front: int,
    left_out: int,
    min_count: int,
    factors: Words,
    tables_2NM: Words,
    ratio_BT: Floats,
    found_BT: Bools,
) -> None:
    """Write the ratio of the longest full enough order, from the longest down."""
    B, T = targets_BT.shape
    N, M = tables_2NM.shape[1:]
    L = inputs_BL.shape[1]
    contexts, fulls = np.empty(BLOCK, np.uint32), np.empty(BLOCK, np.uint32)
    seen, count = np.empty(BLOCK, np.uint32), np.empty(BLOCK, np.uint32)
    full_key, full = np.empty(BLOCK, np.uint32), np.empty(BLOCK, np.uint32)
    order_of, open_ = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)
    for b in range(B):
        for start in range(first, stop, BLOCK):
            targets = targets_BT[b, start : min(start + BLOCK, stop)]
            last = L - T + start  # where the newest token of the first context stands
            n = len(targets)
            still = n
            for j in range(n):
                open_[j] = j
            for index in range(N - 1, -1, -1):
                order, table = index + 2, tables_2NM[0, index]
                oldest = inputs_BL[b, last - order + 2 :]
                _keys(oldest, targets, order, factors, M - 1, contexts, fulls)
                # Loops that only load come first: many loads are under way at once.
                for i in range(still):
                    seen[i] = table[contexts[open_[i]]]
                early = front + order - 2 + left_out - last  # so many begin before the window
                left = 0
                for i in range(still):
                    j = open_[i]
                    count[j] = seen[i] if j >= early else np.uint32(0)
                    full_key[j] = fulls[j]
                    order_of[j] = index
                    open_[left] = j
                    left += count[j] < min_count
                still = left
                if not still:
                    break
            for j in range(n):
                full[j] = tables_2NM[1, order_of[j], full_key[j]]
            for j in range(n):
                if count[j] >= min_count:
                    ratio_BT[b, start + j] = min(full[j], count[j]) / np.float64(count[j])
                    found_BT[b, start + j] = True


@kernel
def _every_ratio(
    inputs_BL: Words,
    targets_BT: Words,
    first: int,
    stop: int,
    front: int,
    left_out: int,
    min_count: int,
    factors: Words,
    tables_2NM: Words,
    ratio_BTN: Floats,
    valid_BTN: Bools,
) -> None:
    """Write the ratio of each order that is full enough."""
    B, T = targets_BT.shape
    N, M = tables_2NM.shape[1:]
    L = inputs_BL.shape[1]
    contexts, fulls = np.empty(BLOCK, np.uint32), np.empty(BLOCK, np.uint32)
    count, full = np.empty(BLOCK, np.uint32), np.empty(BLOCK, np.uint32)
    for b in range(B):
        for start in range(first, stop, BLOCK):
            targets = targets_BT[b, start : min(start + BLOCK, stop)]
            last = L - T + start
            n = len(targets)
            for index in range(N):
                order = index + 2
                context_counts, full_counts = tables_2NM[0, index], tables_2NM[1, index]
                oldest = inputs_BL[b, last - order + 2 :]
                _keys(oldest, targets, order, factors, M - 1, contexts, fulls)
                early = front + order - 2 + left_out - last
                for j in range(n):
                    count[j] = context_counts[contexts[j]]
                for j in range(n):
                    full[j] = full_counts[fulls[j]]
                for j in range(max(early, 0), n):
                    if count[j] >= min_count:
                        ratio = min(full[j], count[j]) / np.float64(count[j])
                        ratio_BTN[b, start + j, index] = ratio
                        valid_BTN[b, start + j, index] = True
