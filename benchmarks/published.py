"""The published n-gram method as straightforward NumPy: what the engine is measured against.

One hash of the context, one of context and target; one `np.add.at` a table to count, one gather a
table and order to look up. Written for this comparison from the method's description.

Shapes: T positions, M buckets.
"""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
PRIMES = np.array([36313, 27191, 51647, 81929, 131071, 174763, 233017], dtype=np.uint64)
MIN_COUNT = 2


class NumpyMixer:
    """Hashed counts of orders 2 to 7, and the ratio of the longest order seen twice."""

    def __init__(self, buckets: int, vocab_size: int) -> None:
        """Start empty."""
        self.orders = range(2, 8)
        self.mask = np.uint64(buckets - 1)
        self.uniform = 1.0 / vocab_size
        self.contexts = {order: np.zeros(buckets, dtype=np.uint32) for order in self.orders}
        self.pairs = {order: np.zeros(buckets, dtype=np.uint32) for order in self.orders}

    def keys(self, tokens_T: Ints, first: int, stop: int, order: int) -> tuple[Ints, Ints]:
        """Return the buckets of the contexts of some positions, without and with their token."""
        hashes_T = np.zeros(stop - first, dtype=np.uint64)
        for k in range(order - 1):
            shift = k - order + 1
            hashes_T ^= tokens_T[first + shift : stop + shift].astype(np.uint64) * PRIMES[k]
        pairs_T = hashes_T ^ (tokens_T[first:stop].astype(np.uint64) * PRIMES[order - 1])
        return (hashes_T & self.mask).astype(np.int64), (pairs_T & self.mask).astype(np.int64)

    def score(self, tokens_T: Ints, first: int, stop: int) -> Floats:
        """Return the ratio that is mixed in at some positions."""
        ratio_T = np.full(stop - first, self.uniform)
        for order in self.orders:
            context_keys_T, pair_keys_T = self.keys(tokens_T, first, stop, order)
            contexts_T = self.contexts[order][context_keys_T].astype(np.float64)
            pairs_T = self.pairs[order][pair_keys_T].astype(np.float64)
            found_T = contexts_T >= MIN_COUNT
            share_T = np.minimum(pairs_T, contexts_T) / np.maximum(contexts_T, 1)
            ratio_T = np.where(found_T, share_T, ratio_T)
        return ratio_T

    def update(self, tokens_T: Ints, first: int, stop: int) -> None:
        """Count the n-grams that end at some positions."""
        for order in self.orders:
            context_keys_T, pair_keys_T = self.keys(tokens_T, first, stop, order)
            np.add.at(self.contexts[order], context_keys_T, 1)
            np.add.at(self.pairs[order], pair_keys_T, 1)
