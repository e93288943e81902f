"""What a gated record minimises: cross-entropy, the mixture's nats, and how tokens are weighted.

Shapes: B sequences, T positions, N n-gram orders, E experts, V vocabulary.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn import functional

from reference_impl.config import Settings
from reference_impl.mixture.gate import Lookup, gates_for, mixture_nats
from reference_impl.model.gpt import Output

KNOWN_FROM = 0.3  # below this probability the n-grams do not know a token
SMALLEST_WEIGHT = 0.05


Ints = npt.NDArray[np.int64]


class Teacher(Protocol):
    """Counts of the training text, which say how well each order would have done."""

    def look_up(self, inputs_BT: Ints, targets_BT: Ints) -> Lookup:
        """Return each order's probability of the targets, and whether its context is known."""
        ...


class GatedObjective:
    """The training loss of a gated record, in the form that the training loop calls."""

    def __init__(self, teacher: Teacher, settings: Settings) -> None:
        """Learn from a teacher, which the caller has filled or will fill before the first step."""
        self._teacher, self._settings = teacher, settings

    def __call__(self, output: Output, inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """Return the mean loss of a forward pass."""
        lookup = self._teacher.look_up(inputs_BT.cpu().numpy(), targets_BT.cpu().numpy())
        return training_loss(output, targets_BT, lookup, self._settings)


def training_loss(
    output: Output, targets_BT: Tensor, lookup: Lookup | None, settings: Settings
) -> Tensor:
    """Return the mean loss; without a look-up, as in warm-up, it is the cross-entropy alone.

    The gradient reaches the gate, the layers below it and, through the network's own probability,
    the logits. Counts have none.
    """
    nats_T = functional.cross_entropy(
        output.logits.flatten(0, 1), targets_BT.flatten(), reduction="none"
    )
    nats_BT = nats_T.view(targets_BT.shape)
    if lookup is None:
        return nats_BT.mean()
    lookup = lookup.to(nats_BT)
    loss = nats_BT
    if settings.complement_alpha:
        unknown = 1 / output.logits.shape[-1]
        loss = loss * complement_weights(lookup, unknown, settings.complement_alpha)
    if not settings.mixture_loss_weight:
        return loss.mean()
    gates_BTE = gates_for(output, lookup.probs.shape[-1]).to(nats_BT)
    mixed_BT = mixture_nats(gates_BTE, (-nats_BT).exp(), lookup)
    # The mean is over tokens, not over their weights, as in the record.
    return loss.mean() + settings.mixture_loss_weight * mixed_BT.mean()


def complement_weights(lookup: Lookup, unknown: float, strength: float) -> Tensor:
    """Return the weight of each token: the better n-grams know it, the less it is learned."""
    best_BT, _ = lookup.backed_off(unknown)
    known_BT = ((best_BT - KNOWN_FROM) / (1 - KNOWN_FROM)).clamp(0, 1)
    weight_BT: Tensor = (1 - strength * known_BT).clamp(min=SMALLEST_WEIGHT)
    return weight_BT.detach()
