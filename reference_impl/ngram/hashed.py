"""The n-gram mixer as published in #779, which does not give a probability distribution.

The key of the numerator contains the target, both tables share few buckets between many
n-grams, and only the true target's bucket is ever read. Full buckets make the ratio near one for
every token of the vocabulary, so the sum over the vocabulary is far above one and the reported
nats are too low. The file is kept as it was scored, to show what an audit must find.

Shapes: B windows, L tokens in a window, T charged positions at the end of it, V vocabulary.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from reference_impl.config import Settings
from reference_impl.mixture.entropy import MIN_CACHE_TOKENS, adaptive_weight, entropy_nats
from reference_impl.model.gpt import Output

ORDERS = (2, 3, 4, 5, 6, 7)
FACTORS = (36313, 27191, 51647, 81929, 131071, 174763, 233017)
MIN_COUNT = 2
SMALLEST_PROBABILITY = 1e-12

Counts = npt.NDArray[np.uint32]
Ints = npt.NDArray[np.int64]


def hashed_keys(context: list[Ints], targets: Ints, buckets: int) -> tuple[Ints, Ints]:
    """Return the bucket of each context, and of each context with its target."""
    hashes = np.zeros(targets.shape, dtype=np.uint64)
    for tokens, factor in zip(context, FACTORS, strict=False):
        hashes ^= tokens.astype(np.uint64) * np.uint64(factor)
    with_target = hashes ^ (targets.astype(np.uint64) * np.uint64(FACTORS[len(context)]))
    mask = np.uint64(buckets - 1)
    return (hashes & mask).astype(np.int64), (with_target & mask).astype(np.int64)


class HashedMixer:
    """Counts of hashed n-grams; the longest order with a full enough context bucket is used."""

    def __init__(self, settings: Settings) -> None:
        """Start empty."""
        self.buckets = settings.ngram_buckets
        self.vocab_size = settings.vocab_size
        self.total = 0
        self.context_counts = {n: np.zeros(self.buckets, dtype=np.uint32) for n in ORDERS}
        self.full_counts = {n: np.zeros(self.buckets, dtype=np.uint32) for n in ORDERS}

    def update(self, tokens_T: Ints, counted: int | None = None) -> None:
        """Count the n-grams within these tokens that end in the last `counted` of them, or any."""
        counted = len(tokens_T) if counted is None else counted
        self.total += counted
        for order in ORDERS:
            grams = min(counted, len(tokens_T) - order + 1)
            if grams <= 0:
                continue
            within_T = tokens_T[len(tokens_T) - grams - order + 1 :]
            context = [within_T[back : back + grams] for back in range(order - 1)]
            context_keys, full_keys = hashed_keys(context, within_T[order - 1 :], self.buckets)
            np.add.at(self.context_counts[order], context_keys, 1)
            np.add.at(self.full_counts[order], full_keys, 1)

    def nats(self, output: Output, inputs_BL: Ints, targets_BT: Ints) -> Tensor:
        """Return what each target is charged."""
        logits_BTV = output.logits
        targets = torch.from_numpy(targets_BT).to(logits_BTV.device)
        log_probs_BTV = torch.log_softmax(logits_BTV, dim=-1)
        log_probs_BT = log_probs_BTV.gather(-1, targets[..., None])[..., 0].double().cpu()
        if self.total < MIN_CACHE_TOKENS:
            return -log_probs_BT
        weight_BT = adaptive_weight(entropy_nats(logits_BTV)).double().cpu()
        ratio_BT = torch.from_numpy(self.ratios(inputs_BL, targets_BT))
        mixed_BT = (1 - weight_BT) * log_probs_BT.exp() + weight_BT * ratio_BT
        return -mixed_BT.clamp(min=SMALLEST_PROBABILITY).log()

    def ratios(self, inputs_BL: Ints, targets_BT: Ints) -> npt.NDArray[np.float64]:
        """Return the bucket ratio of each target, one over V where no order is full enough."""
        length, charged = inputs_BL.shape[1], targets_BT.shape[1]
        position_T = np.arange(length - charged, length)
        # Zeros in front stand for positions before the window; `usable` rules them out.
        padded_BL = np.pad(inputs_BL, ((0, 0), (ORDERS[-1], 0)))
        best_BT = np.full(targets_BT.shape, 1.0 / self.vocab_size)
        for order in ORDERS:
            first = ORDERS[-1] + length - charged - order + 2
            context = [padded_BL[:, first + k : first + k + charged] for k in range(order - 1)]
            context_keys, full_keys = hashed_keys(context, targets_BT, self.buckets)
            contexts_BT = self.context_counts[order][context_keys].astype(np.float64)
            full_BT = self.full_counts[order][full_keys].astype(np.float64)
            ratio_BT = np.minimum(full_BT, contexts_BT) / np.maximum(contexts_BT, 1)
            usable_BT = (contexts_BT >= MIN_COUNT) & (position_T >= order - 1)
            best_BT = np.where(usable_BT, ratio_BT, best_BT)
        return best_BT
