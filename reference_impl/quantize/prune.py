"""Magnitude pruning: the smallest weights become zero, which compresses better."""

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from reference_impl.quantize.rowwise import is_small


def prune_state(
    state: Mapping[str, Tensor], fraction: float, fp16_max_numel: int
) -> dict[str, Tensor]:
    """Return the tensors with that fraction of each large one zeroed, embeddings included."""
    return {
        name: value if is_small(value, fp16_max_numel) else _prune(value, fraction)
        for name, value in state.items()
    }


def _prune(value: Tensor, fraction: float) -> Tensor:
    magnitudes = value.abs()
    # torch.quantile refuses more than 2**24 values.
    threshold = float(np.quantile(magnitudes.float().cpu().numpy(), fraction))
    return value.masked_fill(magnitudes < threshold, 0.0)
