"""Which parameter is trained by which optimiser, and at which rate."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reference_impl.config import Settings
from reference_impl.optim.muon import Muon
from reference_impl.optim.schedule import muon_momentum

BETAS = (0.9, 0.95)
GATE_HEAD = "expert_gate."  # where the model keeps the weights of its gate over the experts


def matrices(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights that Muon trains, those of the linear maps; gates are none."""
    return {
        f"{name}.weight": module.weight
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    }


def make_optimizers(model: nn.Module, settings: Settings) -> list[torch.optim.Optimizer]:
    """Return AdamW for tables, scalars and the gate head, and Muon for the matrices between."""
    tables = [m.weight for m in model.modules() if isinstance(m, nn.Embedding)]
    between = list(matrices(model).values())
    gate = [p for name, p in model.named_parameters() if name.startswith(GATE_HEAD)]
    taken = {id(parameter) for parameter in [*tables, *between, *gate]}
    scalars = [p for p in model.parameters() if id(p) not in taken]
    decay, device = settings.weight_decay, next(model.parameters()).device

    def adamw(parameters: Sequence[Tensor], rate: float) -> torch.optim.Optimizer:
        fused = device.type == "cuda"
        return torch.optim.AdamW(
            parameters, lr=rate, betas=BETAS, eps=1e-8, weight_decay=decay, fused=fused
        )

    optimizers = [
        adamw(tables, settings.embed_lr),
        Muon(between, lr=settings.matrix_lr, weight_decay=decay),
        adamw(scalars, settings.scalar_lr),
    ]
    if gate:
        optimizers.append(adamw(gate, settings.scalar_lr))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["base_lr"] = group["lr"]
    return optimizers


def set_rates(
    optimizers: list[torch.optim.Optimizer], settings: Settings, step: int, scale: float
) -> None:
    """Scale every rate from its base, and set Muon's momentum."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * scale
            if isinstance(optimizer, Muon):
                group["momentum"] = muon_momentum(settings, step)
