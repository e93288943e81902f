"""Exact counts of the training text that teach a compliant gate; nothing of them is evaluated.

The oracle of the published records knows each training token's own n-gram, which no token of the
validation stream will find. Here a token's own occurrence is taken out of the counts before they
are asked, so that the gate learns what n-grams of seen text are worth for text that is unseen. The
counts stay as they are while the model trains: a run that is resumed fills them again.

Of a long corpus only the first tokens are counted. Those after them lose a count that is another's,
and the gate trusts rare contexts a little less than it could.

Shapes: B sequences, T positions (all of them in a row where B is not named), N orders from 2 up,
V vocabulary.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from reference_impl.config import Settings
from reference_impl.data import TRAIN_PATTERN, find_shards, read_shard
from reference_impl.mixture.gate import MIN_COUNT, Lookup
from reference_impl.ngram.exact import DISCOUNT, MAX_ROWS, ExactCache

MAX_TOKENS = 1_000_000

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class HeldOutCounts:
    """A teacher of the gate that looks at a training token as if it had not counted it."""

    def __init__(self, settings: Settings) -> None:
        """Start empty."""
        self._folder = Path(settings.data_path)
        self.cache = ExactCache(settings.vocab_size, settings.ngram_max_order)

    def prefill(self) -> int:
        """Count the tokens that training reads first, and return how many they are."""
        for shard in find_shards(self._folder, TRAIN_PATTERN):
            room = MAX_TOKENS - self.cache.total
            if room:
                self.cache.update(read_shard(shard, self.cache.vocab_size)[:room])
        return self.cache.total

    def look_up(self, inputs_BT: Ints, targets_BT: Ints) -> Lookup:
        """Return each order's interpolated probability of the targets."""
        ids, targets_T = self.cache.row_ids(inputs_BT), targets_BT.reshape(-1)
        prob_TN = np.empty((len(targets_T), len(ids)))
        valid_TN = np.empty(prob_TN.shape, dtype=np.bool_)
        for first in range(0, len(targets_T), MAX_ROWS):
            rows = slice(first, first + MAX_ROWS)
            some = [ids_T[rows] for ids_T in ids]
            prob_TN[rows], valid_TN[rows] = self._rows(some, targets_T[rows])
        shape = (*targets_BT.shape, len(ids))
        return Lookup(
            torch.from_numpy(prob_TN.reshape(shape)), torch.from_numpy(valid_TN.reshape(shape))
        )

    def _rows(self, ids: list[Ints], targets_T: Ints) -> tuple[Floats, npt.NDArray[np.bool_]]:
        prob_T = self._unigram()[targets_T]
        prob_TN = np.empty((len(targets_T), len(ids)))
        valid_TN = np.empty(prob_TN.shape, dtype=np.bool_)
        for length, ids_T in enumerate(ids, start=1):
            start, stop, total_T = self.cache.ranges(ids_T, length)
            row, token, count = self.cache.followers(start, stop, length)
            count_T = np.zeros(len(targets_T), dtype=np.int64)
            is_target = token == targets_T[row]
            count_T[row[is_target]] = count[is_target]
            prob_T = _without_own(prob_T, count_T, total_T, stop - start)
            prob_TN[:, length - 1] = prob_T
            # One less for every context, so that it does not tell whether the target was counted.
            valid_TN[:, length - 1] = total_T - 1 >= MIN_COUNT
        return prob_TN, valid_TN

    def _unigram(self) -> Floats:
        """Return the share of each token in a text that has it once less."""
        V = self.cache.vocab_size
        start, stop, total = self.cache.ranges(np.zeros(1, dtype=np.int64), 0)
        _, token, count = self.cache.followers(start, stop, 0)
        count_V = np.zeros(V, dtype=np.int64)
        count_V[token] = count
        return _without_own(np.full(V, 1 / V), count_V, total, stop - start)


def _without_own(shorter_T: Floats, count_T: Ints, total_T: Ints, kinds_T: Ints) -> Floats:
    """Interpolate as the cache does, after one occurrence of each counted target is taken out."""
    total_T = total_T - (count_T > 0)
    kinds_T = kinds_T - (count_T == 1)
    own_T = np.maximum(count_T - 1 - DISCOUNT, 0)
    mixed_T = (own_T + DISCOUNT * kinds_T * shorter_T) / np.maximum(total_T, 1)
    return np.where(total_T > 0, mixed_T, shorter_T)
