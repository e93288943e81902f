"""An n-gram cache without collisions that gives a whole distribution.

Contexts are looked up by their tokens alone. What follows a context is read for every token of
the vocabulary, discounted, and interpolated with the next shorter context down to uniform, so each
row sums to one whatever the target turns out to be.

Shapes: T positions, C context tokens (oldest first), V vocabulary, N n-gram orders from 2 up,
B windows, L tokens in a window.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from reference_impl.config import Settings
from reference_impl.mixture.entropy import MIN_CACHE_TOKENS, adaptive_weight, entropy_nats
from reference_impl.mixture.gate import MIN_COUNT, expert_weights, gates_for
from reference_impl.model.gpt import Output

NO_TOKEN = -1  # stands before the start of the text; no context that reaches there was ever seen
DISCOUNT = 0.75  # mass taken from each distinct continuation and given to the shorter context
MAX_ROWS = 4096  # rows of the vocabulary's width that are held at once
SUM_TOLERANCE = 1e-9  # float64, over a few thousand terms

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
    """Counts of every n-gram up to an order, and the distribution that follows a context."""

    def __init__(self, vocab_size: int, max_order: int) -> None:
        """Start empty."""
        self.vocab_size = vocab_size
        self.context_tokens = max_order - 1
        self.total = 0
        self.levels = [Level() for _ in range(max_order)]
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
        self._tail = stream_T[-self.context_tokens :]

    def distribution(self, contexts_TC: Ints) -> Floats:
        """Return the distribution after each context; every row sums to one."""
        probs_TV = np.tile(self._unigram(), (len(contexts_TC), 1))
        for length, ids_T in enumerate(self.context_ids(contexts_TC), start=1):
            self._interpolate(probs_TV, ids_T, length)
        return probs_TV

    def orders(self, ids: list[Ints]) -> Iterator[Floats]:
        """Yield the distribution of each order, shortest first, all in one array that changes."""
        probs_TV = np.tile(self._unigram(), (len(ids[0]), 1))
        for length, ids_T in enumerate(ids, start=1):
            self._interpolate(probs_TV, ids_T, length)
            yield probs_TV

    def context_ids(self, contexts_TC: Ints) -> list[Ints]:
        """Return what each context is known by, from one token to all of them."""
        ids, row = [], np.arange(len(contexts_TC))
        for length in range(1, self.context_tokens + 1):
            found = self._context_ids(contexts_TC[row], length)
            ids.append(np.full(len(contexts_TC), NO_TOKEN))
            ids[-1][row] = found
            row = row[found != NO_TOKEN]  # what is unseen stays so with more tokens before it
        return ids

    def row_ids(self, inputs_BL: Ints) -> list[Ints]:
        """Return what the context up to each position of a row is known by, as `context_ids`."""
        known_BL = np.zeros(inputs_BL.shape, dtype=np.int64)
        ids = []
        for level in self.levels[: self.context_tokens]:
            known_BL = level.find(known_BL * self.vocab_size + inputs_BL)
            ids.append(known_BL.reshape(-1))
            # The longer context at a position is the one at the position before, and one token.
            known_BL = np.pad(known_BL, ((0, 0), (1, 0)), constant_values=NO_TOKEN)[:, :-1]
        return ids

    def context_counts(self, ids: list[Ints]) -> Ints:
        """Return how many tokens have followed each context of each order."""
        totals = [self.ranges(ids_T, length)[2] for length, ids_T in enumerate(ids, start=1)]
        return np.stack(totals, axis=1)

    def ranges(self, ids_T: Ints, length: int) -> tuple[Ints, Ints, Ints]:
        """Return from where to where what followed each context lies, and its count."""
        # Keys are not negative, so nothing lies from the key of an unseen id to the next.
        return self.levels[length].ranges(ids_T * self.vocab_size, self.vocab_size)

    def followers(self, start: Ints, stop: Ints, length: int) -> tuple[Ints, Ints, Ints]:
        """Return what lies in each range: the range's row, and token and count of each n-gram."""
        level, kinds = self.levels[length], stop - start
        row = np.repeat(np.arange(len(kinds)), kinds)
        entry = np.arange(len(row)) + np.repeat(start - np.cumsum(kinds) + kinds, kinds)
        return row, level.keys[entry] % self.vocab_size, level.counts[level.ids[entry]]

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
        row_T = np.flatnonzero(ids_T != NO_TOKEN)
        start, stop, total = self.ranges(ids_T[row_T], length)
        seen = total > 0  # the newest n-gram is known as a context before anything followed it
        row_T, start, stop, total = row_T[seen], start[seen], stop[seen], total[seen]
        probs_TV[row_T] *= (DISCOUNT * (stop - start) / total)[:, None]
        row, token, count = self.followers(start, stop, length)
        probs_TV[row_T[row], token] += (count - DISCOUNT) / total[row]


class ExactMixer:
    """Mixes the neural distribution with the cache's, token by token of the vocabulary."""

    def __init__(self, settings: Settings) -> None:
        """Start with an empty cache."""
        self.cache = ExactCache(settings.vocab_size, settings.ngram_max_order)
        self._checks = settings.check_distributions

    def update(self, tokens_T: Ints, lead: int = 0) -> None:
        """Let the cache count the tokens after the lead; it knows itself what stood before."""
        self.cache.update(tokens_T[lead:])

    def nats(self, output: Output, inputs_BL: Ints, targets_BT: Ints) -> Tensor:
        """Return minus the log of each target's share of the mixed distribution."""
        B, T = targets_BT.shape
        contexts_BTC = contexts_of(inputs_BL, T, self.cache.context_tokens)
        contexts_TC = contexts_BTC.reshape(B * T, self.cache.context_tokens)
        targets_T = targets_BT.reshape(B * T)
        nats_T = np.empty(B * T)
        for first in range(0, B * T, MAX_ROWS):
            rows = slice(first, min(first + MAX_ROWS, B * T))
            mixed_TV = self._checked(rows_of(output, rows), contexts_TC[rows])
            picked_T = np.take_along_axis(mixed_TV, targets_T[rows][:, None], axis=1)[:, 0]
            nats_T[rows] = -np.log(picked_T)
        return torch.from_numpy(nats_T.reshape(B, T))

    def log_probs(self, output: Output, inputs_BL: Ints) -> Floats:
        """Return the mixed distributions as logarithms."""
        B, T, V = output.logits.shape
        contexts_BTC = contexts_of(inputs_BL, T, self.cache.context_tokens)
        contexts_TC = contexts_BTC.reshape(B * T, self.cache.context_tokens)
        every = rows_of(output, slice(None))
        log_probs: Floats = np.log(self._checked(every, contexts_TC)).reshape(B, T, V)
        return log_probs

    def _checked(self, output: Output, contexts_TC: Ints) -> Floats:
        mixed_TV = self.mixed(output, contexts_TC)
        if self._checks:
            check_sums(mixed_TV)
        return mixed_TV

    def mixed(self, output: Output, contexts_TC: Ints) -> Floats:
        """Return the distribution at each position, before any target is known."""
        neural_TV = neural_distribution(output)
        if self.cache.total < MIN_CACHE_TOKENS:
            return neural_TV
        weight_T1 = adaptive_weight(entropy_nats(output.logits)).double().cpu().numpy()[:, None]
        mixed_TV: Floats = (1 - weight_T1) * neural_TV
        mixed_TV += weight_T1 * self.cache.distribution(contexts_TC)
        return mixed_TV


class GatedExactMixer(ExactMixer):
    """Weighs the neural distribution and that of each order with a learned gate.

    The compliant twin of #834 and #924. The gate reads the hidden state, and an order whose context
    was seen too rarely has no weight, so the weights are fixed before the target is known. There is
    no oracle: its tables would have to be in the artifact, and the cache starts empty instead.
    """

    def mixed(self, output: Output, contexts_TC: Ints) -> Floats:
        """Return the distribution at each position, before any target is known."""
        neural_TV = neural_distribution(output)
        if self.cache.total < MIN_CACHE_TOKENS:
            return neural_TV
        ids = self.cache.context_ids(contexts_TC)
        valid_TN = self.cache.context_counts(ids) >= MIN_COUNT
        gates_TE = gates_for(output, len(ids)).double().cpu()
        weight_TE = expert_weights(gates_TE, torch.from_numpy(valid_TN)).numpy()
        mixed_TV: Floats = weight_TE[:, :1] * neural_TV
        for index, probs_TV in enumerate(self.cache.orders(ids)):
            rows = np.flatnonzero(valid_TN[:, index])
            mixed_TV[rows] += weight_TE[rows, index + 1, None] * probs_TV[rows]
        return mixed_TV


def neural_distribution(output: Output) -> Floats:
    """Return what the network alone predicts."""
    neural_TV: Floats = torch.softmax(output.logits.double(), dim=-1).cpu().numpy()
    return neural_TV


def check_sums(mixed_TV: Floats) -> None:
    """Stop at a row that is no distribution."""
    sums_T = mixed_TV.sum(axis=1)
    worst = int(np.abs(sums_T - 1).argmax())  # a row that is no number counts as the worst
    got = float(sums_T[worst])
    if not abs(got - 1) <= SUM_TOLERANCE:
        raise AssertionError(f"a distribution must sum to 1, got {got:.12f} in row {worst}")


def contexts_of(inputs_BL: Ints, charged: int, tokens: int) -> Ints:
    """Return the last tokens up to each of the window's last positions, padded at its start."""
    padded_BL = np.pad(inputs_BL, ((0, 0), (tokens - 1, 0)), constant_values=NO_TOKEN)
    windows_BLC = np.lib.stride_tricks.sliding_window_view(padded_BL, tokens, axis=1)
    return windows_BLC[:, inputs_BL.shape[1] - charged :]


def rows_of(output: Output, rows: slice) -> Output:
    """Return some positions of a batch, counted through all its windows."""
    gates = None if output.gates is None else output.gates.flatten(0, 1)[rows]
    return Output(output.logits.flatten(0, 1)[rows], output.hidden.flatten(0, 1)[rows], gates)
