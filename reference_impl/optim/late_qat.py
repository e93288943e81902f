"""Late quantisation-aware training: the matrices act as if rounded while the rate is low.

Shapes: R rows, C columns.
"""

import math

import torch
from torch import Tensor

from reference_impl.config import Settings

LARGEST = 15  # int5 here reaches from -16 to 15; the records' artifacts use -15 to 15
CLIP_QUANTILE = 0.9995
SHARPEST = 16.0  # of the soft rounding, reached when the learning rate is 0
CROWN_Q_SHARE = 1 / 12  # variance of a rounding error that is uniform over one step


def round_straight_through(weights_RC: Tensor) -> Tensor:
    """Return the weights rounded to int5, with the gradient of weights that are not."""
    with torch.no_grad():
        scale_R1 = _scale(weights_RC)
        steps_RC = torch.round(weights_RC / scale_R1).clamp(-LARGEST - 1, LARGEST)
        rounded_RC = steps_RC * scale_R1
    return weights_RC + (rounded_RC - weights_RC).detach()


def round_softly(weights_RC: Tensor, sharpness: float) -> Tensor:
    """Return the weights drawn towards their int5 values, with the gradient of just that."""
    scale_R1 = _scale(weights_RC)
    steps_RC = weights_RC / scale_R1
    floor_RC = steps_RC.floor()
    bend_RC = torch.tanh(sharpness * (steps_RC - floor_RC - 0.5)) / math.tanh(sharpness / 2)
    return (floor_RC + 0.5 + 0.5 * bend_RC).clamp(-LARGEST - 1, LARGEST) * scale_R1


def sharpness_at(settings: Settings, scale: float) -> float:
    """Return how hard soft rounding is: 1 when it starts, 16 when the learning rate is 0."""
    progress = max(0.0, 1 - scale / settings.late_qat_threshold)
    return 1 + (SHARPEST - 1) * progress


def rounding_penalty(matrices: list[Tensor]) -> Tensor:
    """Return CROWN-Q before its weight: each row's squares times its squared rounding step."""
    total = torch.zeros((), device=matrices[0].device)
    for weights_RC in matrices:
        step_R1 = weights_RC.detach().abs().amax(dim=1, keepdim=True) / LARGEST
        total = total + (weights_RC.square() * step_R1.square()).mean()
    return CROWN_Q_SHARE * total


def _scale(weights_RC: Tensor) -> Tensor:
    """Return each row's rounding step; the records' floor of 1/15 holds for most rows."""
    clip_R = torch.quantile(weights_RC.abs(), CLIP_QUANTILE, dim=1)
    return (clip_R / LARGEST).clamp(min=1 / LARGEST)[:, None]
