"""An n-gram cache without collisions that gives a whole distribution.

Contexts are looked up by their tokens alone. What follows a context is read for every token of
the vocabulary, discounted, and interpolated with the next shorter context down to uniform, so each
row sums to one whatever the target turns out to be.

Shapes: T positions, C context tokens (oldest first), V vocabulary, B windows, L tokens in a window.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from reference_impl.config import Settings
from reference_impl.mixture.entropy import MIN_CACHE_TOKENS, adaptive_weight, entropy_nats
from reference_impl.model.gpt import Output

MAX_ORDER = 7
CONTEXT_TOKENS = MAX_ORDER - 1
NO_TOKEN = -1  # stands before the start of the text; no context that reaches there was ever seen
DISCOUNT = 0.75  # mass taken from each distinct continuation and given to the shorter context
MAX_ROWS = 4096  # rows of the vocabulary's width that are held at once

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Level:
    """The n-grams of one length, each known by its first tokens' id and its last token."""

    def __init__(self) -> None:
        """Start empty."""
        self.keys = np.empty(0, dtype=np.int64)  # sorted: id of the first tokens * V + last token
        self.ids = np.empty(0, dtype=np.int64)  # of each key, in order of first sight
        self.counts = np.empty(0, dtype=np.int64)  # by id
        self._running = np.zeros(1, dtype=np.int64)

    def find(self, keys: Ints) -> Ints:
        """Return the id of each key, NO_TOKEN where it was never seen."""
        if not len(self.keys):
            return np.full(keys.shape, NO_TOKEN)
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[place] == keys, self.ids[place], NO_TOKEN)

    def insert(self, keys: Ints) -> None:
        """Give an id, and a count of zero, to each key that has none."""
        unique = np.unique(keys)
        new = unique[self.find(unique) == NO_TOKEN]
        place = np.searchsorted(self.keys, new)
        new_ids = np.arange(len(self.counts), len(self.counts) + len(new))
        self.keys = np.insert(self.keys, place, new)
        self.ids = np.insert(self.ids, place, new_ids)
        self.counts = np.concatenate([self.counts, np.zeros(len(new), dtype=np.int64)])

    def settle(self) -> None:
        """Sum the counts in key order, so that a range of keys has its total at once."""
        self._running = np.concatenate([[0], np.cumsum(self.counts[self.ids])])

    def ranges(self, first_keys: Ints, width: int) -> tuple[Ints, Ints, Ints]:
        """Return start and stop of the keys from first_keys on, and the sum of their counts."""
        start = np.searchsorted(self.keys, first_keys)
        stop = np.searchsorted(self.keys, first_keys + width)
        return start, stop, self._running[stop] - self._running[start]


class ExactCache:
    """Counts of every n-gram up to MAX_ORDER, and the distribution that follows a context."""

    def __init__(self, vocab_size: int) -> None:
        """Start empty."""
        self.vocab_size = vocab_size
        self.total = 0
        self.levels = [Level() for _ in range(MAX_ORDER)]
        self._tail = np.empty(0, dtype=np.int64)

    def update(self, tokens_T: Ints) -> None:
        """Count each n-gram that ends in these tokens; it may begin in the ones given before."""
        stream_T = np.concatenate([self._tail, tokens_T])
        prefix_ids = np.zeros(len(stream_T), dtype=np.int64)
        for depth, level in enumerate(self.levels[: len(stream_T)]):
            keys = prefix_ids[: len(stream_T) - depth] * self.vocab_size + stream_T[depth:]
            level.insert(keys)
            prefix_ids = level.find(keys)
            counted_before = max(len(self._tail) - depth, 0)
            np.add.at(level.counts, prefix_ids[counted_before:], 1)
            level.settle()
        self.total += len(tokens_T)
        self._tail = stream_T[-CONTEXT_TOKENS:]

    def distribution(self, contexts_TC: Ints) -> Floats:
        """Return the distribution after each context; every row sums to one."""
        probs_TV = np.tile(self._unigram(), (len(contexts_TC), 1))
        for length in range(1, CONTEXT_TOKENS + 1):
            self._interpolate(probs_TV, self._context_ids(contexts_TC, length), length)
        return probs_TV

    def _unigram(self) -> Floats:
        probs_V = np.full((1, self.vocab_size), 1.0 / self.vocab_size)
        self._interpolate(probs_V, np.zeros(1, dtype=np.int64), 0)
        unigram_V: Floats = probs_V[0]
        return unigram_V

    def _context_ids(self, contexts_TC: Ints, length: int) -> Ints:
        ids_T = np.zeros(len(contexts_TC), dtype=np.int64)
        for level, tokens_T in zip(self.levels, contexts_TC[:, -length:].T, strict=False):
            # An unseen id is negative, and so is every key made from it: it stays unseen.
            ids_T = level.find(ids_T * self.vocab_size + tokens_T)
        return ids_T

    def _interpolate(self, probs_TV: Floats, ids_T: Ints, length: int) -> None:
        """Replace the rows whose context was seen: discounted counts plus the share left over."""
        level = self.levels[length]
        row_T = np.flatnonzero(ids_T != NO_TOKEN)
        start, stop, total = level.ranges(ids_T[row_T] * self.vocab_size, self.vocab_size)
        seen = total > 0  # the newest n-gram is known as a context before anything followed it
        row_T, start, stop, total = row_T[seen], start[seen], stop[seen], total[seen]
        kinds = stop - start
        probs_TV[row_T] *= (DISCOUNT * kinds / total)[:, None]
        entry_row = np.repeat(np.arange(len(row_T)), kinds)
        entry = np.arange(len(entry_row)) + np.repeat(start - np.cumsum(kinds) + kinds, kinds)
        tokens = level.keys[entry] % self.vocab_size
        shares = (level.counts[level.ids[entry]] - DISCOUNT) / total[entry_row]
        probs_TV[row_T[entry_row], tokens] += shares


class ExactMixer:
    """Mixes the neural distribution with the cache's, token by token of the vocabulary."""

    def __init__(self, settings: Settings) -> None:
        """Start with an empty cache."""
        self.cache = ExactCache(settings.vocab_size)

    def update(self, tokens_T: Ints, counted: int | None = None) -> None:
        """Let the cache count the last `counted` tokens, or all; it knows what stood before."""
        self.cache.update(tokens_T if counted is None else tokens_T[len(tokens_T) - counted :])

    def nats(self, output: Output, inputs_BL: Ints, targets_BT: Ints) -> Tensor:
        """Return minus the log of each target's share of the mixed distribution."""
        B, T, V = output.logits.shape
        contexts_TC = contexts_of(inputs_BL, T).reshape(B * T, CONTEXT_TOKENS)
        logits_TV = output.logits.reshape(B * T, V)
        targets_T = targets_BT.reshape(B * T)
        nats_T = np.empty(B * T)
        for first in range(0, B * T, MAX_ROWS):
            rows = slice(first, min(first + MAX_ROWS, B * T))
            mixed_TV = self.mixed(logits_TV[rows], contexts_TC[rows])
            picked_T = np.take_along_axis(mixed_TV, targets_T[rows][:, None], axis=1)[:, 0]
            nats_T[rows] = -np.log(picked_T)
        return torch.from_numpy(nats_T.reshape(B, T))

    def mixed(self, logits_TV: Tensor, contexts_TC: Ints) -> Floats:
        """Return the distribution at each position, before any target is known."""
        neural_TV: Floats = torch.softmax(logits_TV.double(), dim=-1).cpu().numpy()
        if self.cache.total < MIN_CACHE_TOKENS:
            return neural_TV
        weight_T1 = adaptive_weight(entropy_nats(logits_TV)).double().cpu().numpy()[:, None]
        mixed_TV: Floats = (1 - weight_T1) * neural_TV
        mixed_TV += weight_T1 * self.cache.distribution(contexts_TC)
        return mixed_TV


def contexts_of(inputs_BL: Ints, charged: int) -> Ints:
    """Return the last tokens up to each of the window's last positions, padded at its start."""
    padded_BL = np.pad(inputs_BL, ((0, 0), (CONTEXT_TOKENS - 1, 0)), constant_values=NO_TOKEN)
    windows_BLC = np.lib.stride_tricks.sliding_window_view(padded_BL, CONTEXT_TOKENS, axis=1)
    return windows_BLC[:, inputs_BL.shape[1] - charged :]
