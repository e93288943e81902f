"""The hashed tables of the published records as torch tensors, on whatever device these are.

Nothing here waits for the device: what is found stays there, and the number of counted tokens is
known from shapes. Counts are 32-bit and signed, so a bucket holds 2,147,483,647.

Shapes: B rows, L tokens in a row, T charged positions at its end, N orders from 2 up, M buckets.
"""

import torch
from torch import Tensor
from torch.nn import functional

from reference_impl.config import Settings
from reference_impl.mixture.gate import MIN_COUNT, Lookup
from reference_impl.ngram.hashed import RULES


class TensorTables:
    """The counts and answers of `HashedTables`, as tensors on one device."""

    def __init__(self, settings: Settings, device: torch.device) -> None:
        """Start empty."""
        self.rules = RULES[settings.ngram_hash]
        self.orders = range(2, settings.ngram_max_order + 1)
        self.buckets = settings.ngram_buckets
        self.vocab_size = settings.vocab_size
        self.total = 0
        shape_NM = (len(self.orders), self.buckets)
        self.context_counts_NM = torch.zeros(shape_NM, dtype=torch.int32, device=device)
        self.full_counts_NM = torch.zeros(shape_NM, dtype=torch.int32, device=device)

    def update(self, tokens_T: Tensor, lead: int = 0) -> None:
        """Count the n-grams within these tokens that end after the first `lead` of them."""
        self.total += len(tokens_T) - lead
        one = torch.ones(len(tokens_T), dtype=torch.int32, device=tokens_T.device)
        for index, order in enumerate(self.orders):
            first = max(lead, order - 1)
            if len(tokens_T) <= first:
                break
            targets_T = tokens_T[first:]
            keys = self._keys(tokens_T[first - order + 1 :], targets_T, order)
            for table_M, keys_T in zip(
                (self.context_counts_NM[index], self.full_counts_NM[index]), keys, strict=True
            ):
                table_M.index_add_(0, keys_T, one[first:])

    def look_up(self, inputs_BL: Tensor, targets_BT: Tensor) -> Lookup:
        """Return each order's ratio at the targets, one over V where too little was counted."""
        length, charged = inputs_BL.shape[1], targets_BT.shape[1]
        position_T = torch.arange(length - charged, length, device=inputs_BL.device)
        # Zeros in front stand for positions before the window; `valid` rules them out.
        padded_BL = functional.pad(inputs_BL, (self.orders[-1], 0))
        ratios, valids = [], []
        for index, order in enumerate(self.orders):
            oldest = self.orders[-1] + length - charged - order + 2
            keys = self._keys(padded_BL[:, oldest:], targets_BT, order)
            contexts_BT = self.context_counts_NM[index][keys[0]].double()
            full_BT = self.full_counts_NM[index][keys[1]].double()
            first_position = order - 2 + self.rules.positions_left_out
            valid_BT = (contexts_BT >= MIN_COUNT) & (position_T >= first_position)
            ratio_BT = torch.minimum(full_BT, contexts_BT) / contexts_BT.clamp(min=1)
            ratios.append(torch.where(valid_BT, ratio_BT, 1.0 / self.vocab_size))
            valids.append(valid_BT)
        return Lookup(torch.stack(ratios, dim=-1), torch.stack(valids, dim=-1))

    def backed_off(self, inputs_BL: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Return the ratio of the longest order that is full enough, and where there is one."""
        return self.look_up(inputs_BL, targets_BT).backed_off(1.0 / self.vocab_size)

    def _keys(self, inputs: Tensor, targets: Tensor, order: int) -> tuple[Tensor, Tensor]:
        """Return the buckets of contexts that begin with the inputs, without and with a target."""
        charged, factors = targets.shape[-1], self.rules.factors
        hashes = inputs[..., :charged] * factors[0]
        for k in range(1, order - 1):
            hashes = hashes ^ (inputs[..., k : k + charged] * factors[k])
        full = hashes ^ (targets * factors[order - 1])
        return hashes & (self.buckets - 1), full & (self.buckets - 1)
