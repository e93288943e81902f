"""A learned gate: the network itself says how much each n-gram order is worth at a position.

The weights follow from the hidden state and from which contexts were seen, so from the strict
prefix; no target is seen. What they weigh is the caller's: full distributions in a compliant
record, the ratios at the target alone in the published ones.

Shapes: any leading dimensions (BT here), then N n-gram orders from 2 up, E = 1 + N experts of which
the first is the network.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from reference_impl.errors import TrainingError
from reference_impl.model.gpt import Output

NEURAL_FLOOR = 0.05
IMPOSSIBLE_LOGIT = -1e9  # its share is zero to the last digit, and unlike -inf it has a gradient
MIN_COUNT = 2  # a context seen once says little about what follows it
SMALLEST_PROBABILITY = 1e-12


class Lookup(NamedTuple):
    """What each order says of the targets; whether it may speak depends on the context alone."""

    probs: Tensor  # BTN
    valid: Tensor  # BTN, true or false

    def to(self, like: Tensor) -> "Lookup":
        """Return the look-up where and in the precision that another tensor is."""
        return Lookup(self.probs.to(like), self.valid.to(like.device))

    def backed_off(self, unknown: float) -> tuple[Tensor, Tensor]:
        """Return what the longest valid order says, and where there is one."""
        best_BT = torch.full_like(self.probs[..., 0], unknown)
        for order in range(self.probs.shape[-1]):
            best_BT = torch.where(self.valid[..., order], self.probs[..., order], best_BT)
        return best_BT, self.valid.any(dim=-1)


def expert_weights(gates_BTE: Tensor, valid_BTN: Tensor) -> Tensor:
    """Return the weight of each expert: they sum to one, and the network has at least its floor."""
    neural_BT1 = torch.ones_like(valid_BTN[..., :1])
    usable_BTE = torch.cat([neural_BT1, valid_BTN], dim=-1)
    share_BTE = gates_BTE.masked_fill(~usable_BTE, IMPOSSIBLE_LOGIT).softmax(dim=-1)
    floor_E = torch.zeros(gates_BTE.shape[-1]).to(gates_BTE)
    floor_E[0] = NEURAL_FLOOR
    return floor_E + (1 - NEURAL_FLOOR) * share_BTE


def mixture_nats(gates_BTE: Tensor, neural_BT: Tensor, lookup: Lookup) -> Tensor:
    """Return minus the log of the experts' weighted sum at the target."""
    expert_BTE = torch.cat([neural_BT[..., None], lookup.probs], dim=-1)
    mixed_BT = (expert_weights(gates_BTE, lookup.valid) * expert_BTE).sum(dim=-1)
    return -mixed_BT.clamp(min=SMALLEST_PROBABILITY).log()


def gates_for(output: Output, orders: int) -> Tensor:
    """Return the gates of a model that was made for this many n-gram orders."""
    experts = 0 if output.gates is None else output.gates.shape[-1]
    if output.gates is None or experts != 1 + orders:
        raise TrainingError(
            f"a mixture of the network and {orders} n-gram orders needs {1 + orders} gates, "
            f"got {experts}"
        )
    return output.gates
