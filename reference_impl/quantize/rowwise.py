"""Matrices in 6 bits and embeddings in 8, with one scale a row; small tensors in 16-bit floats.

Shapes: R rows, C columns.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

INT6_MAX, INT8_MAX = 31, 127
# Clipping rare large weights can leave less error in all; the best of these is kept.
CLIP_QUANTILES = (0.999, 0.9995, 0.9999, 0.99999, 1.0)


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor as the artifact holds it."""

    kind: str  # "int6", "int8" or "fp16"
    values: Tensor
    scale: Tensor | None = None  # one a row

    def restore(self) -> Tensor:
        """Return the tensor as 32-bit floats."""
        if self.scale is None:
            return self.values.float()
        return self.values.float() * self.scale.float()[:, None]


def quantize_state(state: dict[str, Tensor], fp16_max_numel: int) -> dict[str, Stored]:
    """Choose by size and role how each tensor is stored, and store it."""
    return {name: _quantize(name, value, fp16_max_numel) for name, value in state.items()}


def restore_state(stored: dict[str, Stored]) -> dict[str, Tensor]:
    """Return the weights that a reader of the artifact gets."""
    return {name: value.restore() for name, value in stored.items()}


def _quantize(name: str, value: Tensor, fp16_max_numel: int) -> Stored:
    if value.ndim != 2 or value.numel() <= fp16_max_numel:
        return Stored("fp16", value.half().contiguous())
    if name.endswith("embed.weight"):
        return _rowwise("int8", value.float(), INT8_MAX)
    return _rowwise("int6", value.float(), INT6_MAX)


def _rowwise(kind: str, weights_RC: Tensor, largest: int) -> Stored:
    candidates = [_round(weights_RC, quantile, largest) for quantile in CLIP_QUANTILES]
    errors = [
        (Stored(kind, *candidate).restore() - weights_RC).square().mean().item()
        for candidate in candidates
    ]
    return Stored(kind, *candidates[errors.index(min(errors))])


def _round(weights_RC: Tensor, quantile: float, largest: int) -> tuple[Tensor, Tensor]:
    clip_R = torch.quantile(weights_RC.abs(), quantile, dim=1)
    # The scale is rounded to its stored form first, so that the weights fit what is read back.
    scale_R = (clip_R / largest).half().clamp(min=torch.finfo(torch.float16).tiny)
    steps_RC = torch.round(weights_RC / scale_R.float()[:, None])
    return steps_RC.clamp(-largest, largest).to(torch.int8), scale_R
