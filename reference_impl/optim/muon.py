"""Muon: momentum whose update is pushed towards an orthogonal matrix."""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor

from reference_impl.device import rank, sum_over_ranks, world_size

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # quintic that drives singular values towards one
NEWTON_SCHULZ_STEPS = 5


def orthogonalise(matrix: Tensor) -> Tensor:
    """Return roughly U V^T of the matrix's singular value decomposition."""
    a, b, c = NEWTON_SCHULZ
    x: Tensor = matrix.to(torch.bfloat16 if matrix.is_cuda else torch.float32)
    x = x / (x.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x.T if tall else x
    return result.to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, with decoupled weight decay; for matrices only."""

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        *,
        momentum: float = 0.99,
        weight_decay: float = 0.04,
    ) -> None:
        """Keep one momentum buffer a matrix."""
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Apply one update to every matrix that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            directions = [self._direction(p, group["momentum"]) for p in parameters]
            for parameter, update in zip(parameters, _share_out(directions), strict=True):
                _apply(parameter, update, group)
        return None

    def _direction(self, parameter: Tensor, momentum: float) -> Tensor:
        gradient = parameter.grad
        assert gradient is not None
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(gradient)
        buffer: Tensor = state["momentum"].mul_(momentum).add_(gradient)
        return gradient + momentum * buffer


def _share_out(directions: list[Tensor]) -> list[Tensor]:
    """Orthogonalise matrix i on rank i modulo the number of ranks, and exchange the results."""
    ranks = world_size()
    if ranks == 1 or not directions:
        return [orthogonalise(direction) for direction in directions]
    updates = [
        orthogonalise(direction) if index % ranks == rank() else torch.zeros_like(direction)
        for index, direction in enumerate(directions)
    ]
    flat = sum_over_ranks(torch.cat([update.flatten() for update in updates]))
    pieces = torch.split(flat, [update.numel() for update in updates])
    return [piece.view_as(update) for piece, update in zip(pieces, updates, strict=True)]


def _apply(parameter: Tensor, update: Tensor, group: dict[str, Any]) -> None:
    rows, columns = parameter.shape
    parameter.mul_(1 - group["lr"] * group["weight_decay"])
    parameter.add_(update, alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)
