"""A mixture weight that follows the neural model's own uncertainty.

Everything here is a function of the logits, so of the strict prefix; no target is seen.
Shapes: any leading dimensions, then V vocabulary.
"""

import math

import torch
from torch import Tensor

WEIGHT_FLOOR, WEIGHT_RANGE = 0.05, 0.55
WEIGHT_SLOPE, WEIGHT_MIDDLE_NATS = 2.0, 4.0
SHARPEST_TEMPERATURE = 0.98
TEMPERATURE_RANGE = (0.9, 1.05)
# Before this many tokens a cache knows nothing worth mixing in.
MIN_CACHE_TOKENS = 100


def entropy_nats(logits_V: Tensor) -> Tensor:
    """Return the entropy of the softmax of each row."""
    log_probs_V = torch.log_softmax(logits_V, dim=-1)
    return -(log_probs_V.exp() * log_probs_V).sum(dim=-1)


def adaptive_weight(entropy: Tensor) -> Tensor:
    """Return the share of the n-gram component: the less certain the model, the more."""
    return WEIGHT_FLOOR + WEIGHT_RANGE * torch.sigmoid(
        WEIGHT_SLOPE * (entropy - WEIGHT_MIDDLE_NATS)
    )


def temper(logits_V: Tensor, sharpest: float = SHARPEST_TEMPERATURE) -> Tensor:
    """Sharpen confident rows slightly: `sharpest` at no entropy, 1 at the most there is."""
    certainty = 1 - entropy_nats(logits_V) / math.log(logits_V.shape[-1])
    temperature = (1 - (1 - sharpest) * certainty).clamp(*TEMPERATURE_RANGE)
    return logits_V / temperature[..., None]
