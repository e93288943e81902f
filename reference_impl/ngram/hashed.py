"""The n-gram mixers as published, which do not give a probability distribution.

The key of the numerator contains the target, both tables share few buckets between many
n-grams, and only the true target's bucket is ever read. Full buckets make the ratio near one for
every token of the vocabulary, so the sum over the vocabulary is far above one and the reported
nats are too low. The file is kept as it was scored, to show what an audit must find.

#779 and #940 back off to the longest order whose context bucket is full enough, #834 and #924
weigh all orders with a learned gate.

Shapes: B windows, L tokens in a window, T charged positions at the end of it, N n-gram orders,
V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from reference_impl.config import Settings
from reference_impl.errors import TrainingError
from reference_impl.mixture.entropy import MIN_CACHE_TOKENS, adaptive_weight, entropy_nats
from reference_impl.mixture.gate import (
    MIN_COUNT,
    SMALLEST_PROBABILITY,
    Lookup,
    gates_for,
    mixture_nats,
)
from reference_impl.model.gpt import Output

Counts = npt.NDArray[np.uint32]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rules:
    """In what the records' hashed n-grams differ."""

    factors: tuple[int, ...]  # one for each context token, oldest first, and one for the target
    positions_left_out: int  # at a window's start, though the context is complete there
    unknown_is_uniform: bool  # where no order is full enough; if not, the network stands alone
    min_tokens: int  # counted before anything is mixed in


# #779 and #834 use the first seven, #924 the first sixteen.
LONG_FACTORS = (
    *(36313, 27191, 51647, 81929, 131071),
    *(174763, 233017, 293011, 373739, 452219),
    *(530713, 614327, 700249, 786433, 872423),
    *(958637, 1046527, 1134623, 1222919, 1311323),
)
RULES = {
    "pr779": Rules(
        LONG_FACTORS,
        positions_left_out=1,
        unknown_is_uniform=True,
        min_tokens=MIN_CACHE_TOKENS,
    ),
    "pr940": Rules(
        (36313, 27191, 51647, 81929, 131071, 175447, 209591),
        positions_left_out=0,
        unknown_is_uniform=False,
        min_tokens=0,
    ),
}


def hashed_keys(
    context: list[Ints], targets: Ints, factors: tuple[int, ...], buckets: int
) -> tuple[Ints, Ints]:
    """Return the bucket of each context, and of each context with its target."""
    hashes = np.zeros(targets.shape, dtype=np.uint64)
    for tokens, factor in zip(context, factors, strict=False):
        hashes ^= tokens.astype(np.uint64) * np.uint64(factor)
    with_target = hashes ^ (targets.astype(np.uint64) * np.uint64(factors[len(context)]))
    mask = np.uint64(buckets - 1)
    return (hashes & mask).astype(np.int64), (with_target & mask).astype(np.int64)


class HashedTables:
    """Counts of hashed contexts, and of hashed contexts with their target, for each order."""

    def __init__(self, settings: Settings) -> None:
        """Start empty."""
        self.rules = RULES[settings.ngram_hash]
        self.orders = range(2, settings.ngram_max_order + 1)
        self.buckets = settings.ngram_buckets
        self.vocab_size = settings.vocab_size
        self.total = 0
        self.frozen = False
        self.context_counts = {n: np.zeros(self.buckets, dtype=np.uint32) for n in self.orders}
        self.full_counts = {n: np.zeros(self.buckets, dtype=np.uint32) for n in self.orders}

    @property
    def table_bytes(self) -> int:
        """Return the memory of all tables."""
        tables = (*self.context_counts.values(), *self.full_counts.values())
        return sum(table.nbytes for table in tables)

    def update(self, tokens_T: Ints, lead: int = 0) -> None:
        """Count the n-grams within these tokens; those that end in the first `lead` are left out.

        A lead gives contexts to the first tokens that are new.
        """
        new_T = tokens_T[lead:]
        if self.frozen:
            raise TrainingError(f"frozen tables must not count, got {len(new_T)} tokens")
        self.total += len(new_T)
        for order in self.orders:
            first = max(lead, order - 1)
            grams = len(tokens_T) - first
            if grams <= 0:
                break
            oldest = first - order + 1
            context = [tokens_T[oldest + k : oldest + k + grams] for k in range(order - 1)]
            keys = hashed_keys(context, tokens_T[first:], self.rules.factors, self.buckets)
            np.add.at(self.context_counts[order], keys[0], 1)
            np.add.at(self.full_counts[order], keys[1], 1)

    def look_up(self, inputs_BL: Ints, targets_BT: Ints) -> Lookup:
        """Return each order's ratio at the targets, one over V where its bucket is not full enough.

        The tables see contexts within a row only. A row that starts before the charged positions
        by the longest context gives every order its context.
        """
        length, charged = inputs_BL.shape[1], targets_BT.shape[1]
        position_T = np.arange(length - charged, length)
        # Zeros in front stand for positions before the window; `valid` rules them out.
        padded_BL = np.pad(inputs_BL, ((0, 0), (self.orders[-1], 0)))
        shape_BTN = (*targets_BT.shape, len(self.orders))
        ratio_BTN, valid_BTN = np.empty(shape_BTN), np.empty(shape_BTN, dtype=np.bool_)
        for index, order in enumerate(self.orders):
            first = self.orders[-1] + length - charged - order + 2
            context = [padded_BL[:, first + k : first + k + charged] for k in range(order - 1)]
            context_keys, full_keys = hashed_keys(
                context, targets_BT, self.rules.factors, self.buckets
            )
            contexts_BT = self.context_counts[order][context_keys].astype(np.float64)
            full_BT = self.full_counts[order][full_keys].astype(np.float64)
            ratio_BT = np.minimum(full_BT, contexts_BT) / np.maximum(contexts_BT, 1)
            first_position = order - 2 + self.rules.positions_left_out
            valid_BT = (contexts_BT >= MIN_COUNT) & (position_T >= first_position)
            ratio_BTN[..., index] = np.where(valid_BT, ratio_BT, 1.0 / self.vocab_size)
            valid_BTN[..., index] = valid_BT
        return Lookup(torch.from_numpy(ratio_BTN), torch.from_numpy(valid_BTN))

    def backed_off(self, inputs_BL: Ints, targets_BT: Ints) -> tuple[Tensor, Tensor]:
        """Return the ratio of the longest order that is full enough, and where there is one."""
        return self.look_up(inputs_BL, targets_BT).backed_off(1.0 / self.vocab_size)


class HashedMixer:
    """The mixer of #779 and #940: the longest order with a full enough context bucket is used."""

    def __init__(self, settings: Settings, tables: HashedTables | None = None) -> None:
        """Start empty, or with given tables."""
        self.tables = HashedTables(settings) if tables is None else tables

    def update(self, tokens_T: Ints, lead: int = 0) -> None:
        """Count the n-grams of these tokens, which have been charged."""
        self.tables.update(tokens_T, lead)

    def nats(self, output: Output, inputs_BL: Ints, targets_BT: Ints) -> Tensor:
        """Return what each target is charged."""
        log_probs_BT = target_log_probs(output.logits, targets_BT).double().cpu()
        rules = self.tables.rules
        if self.tables.total < rules.min_tokens:
            return -log_probs_BT
        ratio_BT, found_BT = self.tables.backed_off(inputs_BL, targets_BT)
        weight_BT = adaptive_weight(entropy_nats(output.logits)).double().cpu()
        if not rules.unknown_is_uniform:
            weight_BT = weight_BT * found_BT
        mixed_BT = (1 - weight_BT) * log_probs_BT.exp() + weight_BT * ratio_BT
        return -mixed_BT.clamp(min=SMALLEST_PROBABILITY).log()

    def log_probs(self, output: Output, inputs_BL: Ints) -> Floats:
        """Return minus the charges of all tokens; their exponentials need not sum to one."""
        return minus_charges(self.nats, output, inputs_BL)


class GatedHashedMixer:
    """The mixer of #834 and #924: a learned gate weighs the network and every order."""

    def __init__(self, settings: Settings, tables: HashedTables | None = None) -> None:
        """Start empty, or, as #924 does, with tables that already hold the training shards."""
        self.tables = HashedTables(settings) if tables is None else tables

    def update(self, tokens_T: Ints, lead: int = 0) -> None:
        """Count the n-grams of these tokens, which have been charged."""
        self.tables.update(tokens_T, lead)

    def nats(self, output: Output, inputs_BL: Ints, targets_BT: Ints) -> Tensor:
        """Return what each target is charged."""
        log_probs_BT = target_log_probs(output.logits, targets_BT).double().cpu()
        if self.tables.total < self.tables.rules.min_tokens:
            return -log_probs_BT
        lookup = self.tables.look_up(inputs_BL, targets_BT)
        gates_BTE = gates_for(output, len(self.tables.orders)).double().cpu()
        return mixture_nats(gates_BTE, log_probs_BT.exp(), lookup)

    def log_probs(self, output: Output, inputs_BL: Ints) -> Floats:
        """Return minus the charges of all tokens; their exponentials need not sum to one."""
        return minus_charges(self.nats, output, inputs_BL)


def target_log_probs(logits_BTV: Tensor, targets_BT: Ints) -> Tensor:
    """Return the log of the network's own probability of each target."""
    targets = torch.from_numpy(targets_BT).to(logits_BTV.device)
    log_probs_BTV = torch.log_softmax(logits_BTV, dim=-1)
    return log_probs_BTV.gather(-1, targets[..., None])[..., 0]


def minus_charges(
    nats: Callable[[Output, Ints, Ints], Tensor], output: Output, inputs_BL: Ints
) -> Floats:
    """Ask what each token of the vocabulary would be charged, one after the other; BTV."""
    B, T, V = output.logits.shape
    charges = [nats(output, inputs_BL, np.full((B, T), token)).numpy() for token in range(V)]
    return -np.stack(charges, axis=-1)
