"""Matrices and embeddings in whole steps of one scale a row; small tensors in 16-bit floats.

Shapes: R rows, C columns.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_impl.errors import ArtifactError

SMALLEST_SCALE, LARGEST_FP16 = torch.finfo(torch.float16).tiny, torch.finfo(torch.float16).max
# Clipping rare large weights can leave less error in all; the best of these is kept.
CLIP_QUANTILES = (0.999, 0.9995, 0.9999, 0.99999, 1.0)


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor as the artifact holds it."""

    kind: str  # "int5", "int6", "int8" or "fp16"
    values: Tensor
    scale: Tensor | None = None  # one a row

    def restore(self) -> Tensor:
        """Return the tensor as 32-bit floats."""
        if self.scale is None:
            return self.values.float()
        return self.values.float() * self.scale.float()[:, None]


@dataclass(frozen=True, kw_only=True, slots=True)
class RowFormat:
    """How the rows of a matrix become whole numbers of steps."""

    kind: str
    largest: int  # steps upwards; the clip of a row is this many
    smallest: int  # steps downwards: -largest where symmetric, one more in two's complement
    clip_quantiles: tuple[float, ...]  # of a row's magnitudes; 1 is its largest weight
    scale_floor: float = 0.0  # no step is finer, whatever the weights
    # The published 8-bit rows clip the weights and divide by the scale before its rounding to
    # 16 bits; all others divide by what a reader of the artifact gets.
    divide_by_unrounded: bool = False

    def describe(self) -> dict[str, object]:
        """Return what a reader needs to do the same."""
        return {
            "kind": self.kind,
            "steps": [self.smallest, self.largest],
            "clip_quantiles": list(self.clip_quantiles),
            "scale_floor": self.scale_floor,
        }

    def quantize(self, weights_RC: Tensor) -> Stored:
        """Return the candidate of least squared error over the tensor, the first of equals."""
        best, least = None, float("inf")
        for candidate in self._candidates(weights_RC):
            error = (candidate.restore() - weights_RC).square().mean().item()
            if best is None or error < least:
                best, least = candidate, error
        assert best is not None
        return best

    def _candidates(self, weights_RC: Tensor) -> Iterator[Stored]:
        magnitudes_RC = weights_RC.abs()
        for quantile in self.clip_quantiles:
            if quantile == 1:
                clip_R = magnitudes_RC.amax(dim=1)
            else:
                clip_R = torch.quantile(magnitudes_RC, quantile, dim=1)
            yield self._round(weights_RC, clip_R)

    def _round(self, weights_RC: Tensor, clip_R: Tensor) -> Stored:
        scale_R = (clip_R / self.largest).clamp(min=self.scale_floor)
        stored_R = scale_R.half().clamp(min=SMALLEST_SCALE)
        if not self.divide_by_unrounded:
            return Stored(self.kind, self.steps(weights_RC, stored_R.float()), stored_R)
        clipped_RC = torch.minimum(torch.maximum(weights_RC, -clip_R[:, None]), clip_R[:, None])
        return Stored(
            self.kind, self.steps(clipped_RC, scale_R.clamp(min=SMALLEST_SCALE)), stored_R
        )

    def steps(self, weights_RC: Tensor, scale_R: Tensor) -> Tensor:
        """Return the nearest steps within the range."""
        steps_RC = torch.round(weights_RC / scale_R[:, None])
        return steps_RC.clamp(self.smallest, self.largest).to(torch.int8)


INT6_SEARCH = RowFormat(kind="int6", largest=31, smallest=-31, clip_quantiles=CLIP_QUANTILES)
INT8_SEARCH = RowFormat(kind="int8", largest=127, smallest=-127, clip_quantiles=CLIP_QUANTILES)


def is_small(value: Tensor, fp16_max_numel: int) -> bool:
    """Return whether a tensor is stored in 16-bit floats: vectors, and what is as small as one."""
    return value.ndim != 2 or value.numel() <= fp16_max_numel


def is_embedding(name: str) -> bool:
    """Return whether a tensor is a table that tokens or hashes look rows up in."""
    return name.endswith("embed.weight")


def quantize_state(
    state: Mapping[str, Tensor],
    fp16_max_numel: int,
    matrices: RowFormat = INT6_SEARCH,
    embeddings: RowFormat = INT8_SEARCH,
) -> dict[str, Stored]:
    """Choose by size and role how each tensor is stored, and store it."""
    stored: dict[str, Stored] = {}
    for name, value in state.items():
        if is_small(value, fp16_max_numel):
            stored[name] = Stored("fp16", value.half().contiguous())
        else:
            form = embeddings if is_embedding(name) else matrices
            stored[name] = form.quantize(value.float())
        check_finite(name, value, stored[name])
    return stored


def restore_state(stored: Mapping[str, Stored]) -> dict[str, Tensor]:
    """Return the weights that a reader of the artifact gets."""
    return {name: value.restore() for name, value in stored.items()}


def check_finite(name: str, value: Tensor, stored: Stored) -> None:
    """Refuse a tensor that a reader would get back as infinities or worse."""
    if not stored.restore().isfinite().all():
        raise ArtifactError(
            f"{name} must hold weights that 16-bit floats and scales can carry, up to "
            f"{LARGEST_FP16:.0f}, got a largest of {float(value.abs().max())}"
        )
