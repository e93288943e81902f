"""Rotary positions on the first dimensions of each head.

Shapes: B batch, T positions, H heads, K head width, R half of the rotated dimensions.
"""

import torch
from torch import Tensor

BASE = 10_000.0
REFERENCE_TOKENS = 1024  # longer windows stretch the base, so that far positions stay in range


def rope_base(length: int, rope_dims: int) -> float:
    """Return the base of the frequencies for windows of that length."""
    stretch = max(1.0, length / REFERENCE_TOKENS)
    return float(BASE * stretch ** (rope_dims / (rope_dims - 2)))


def rotary_tables(length: int, rope_dims: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return cos_TR and sin_TR for positions 0 to length - 1."""
    base = rope_base(length, rope_dims)
    frequency_R = base ** (-torch.arange(0, rope_dims, 2, device=device).float() / rope_dims)
    angle_TR = torch.arange(length, device=device).float()[:, None] * frequency_R
    return angle_TR.cos(), angle_TR.sin()


def rotate(x_BTHK: Tensor, cos_TR: Tensor, sin_TR: Tensor) -> Tensor:
    """Rotate dimension j against dimension j + R; leave the dimensions past 2R as they are."""
    half = cos_TR.shape[1]
    cos, sin = cos_TR[:, None, :].to(x_BTHK.dtype), sin_TR[:, None, :].to(x_BTHK.dtype)
    first, second = x_BTHK[..., :half], x_BTHK[..., half : 2 * half]
    rotated = (first * cos + second * sin, second * cos - first * sin, x_BTHK[..., 2 * half :])
    return torch.cat(rotated, dim=-1)
