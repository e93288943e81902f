"""Which parameter is trained by which optimiser, and at which rate."""

import torch
from torch import nn

from reference_impl.config import Settings
from reference_impl.model.gpt import GPT
from reference_impl.optim.muon import Muon

BETAS = (0.9, 0.95)
MUON_MOMENTUM_START, MUON_MOMENTUM_END, MUON_RAMP_STEPS = 0.92, 0.99, 1500


def make_optimizers(model: GPT, settings: Settings) -> list[torch.optim.Optimizer]:
    """Return AdamW for embeddings and for scalars, and Muon for the matrices between."""
    tables = [m.weight for m in model.modules() if isinstance(m, nn.Embedding)]
    matrices = [m.weight for m in model.modules() if isinstance(m, nn.Linear)]
    taken = {id(parameter) for parameter in [*tables, *matrices]}
    scalars = [p for p in model.parameters() if id(p) not in taken]
    decay = settings.weight_decay
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(tables, lr=settings.embed_lr, betas=BETAS, weight_decay=decay),
        Muon(matrices, lr=settings.matrix_lr, weight_decay=decay),
        torch.optim.AdamW(scalars, lr=settings.scalar_lr, betas=BETAS, weight_decay=decay),
    ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["base_lr"] = group["lr"]
    return optimizers


def set_rates(optimizers: list[torch.optim.Optimizer], step: int, scale: float) -> None:
    """Scale every rate from its base, and ramp up Muon's momentum."""
    ramp = min(step / MUON_RAMP_STEPS, 1.0)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * scale
            if isinstance(optimizer, Muon):
                group["momentum"] = (1 - ramp) * MUON_MOMENTUM_START + ramp * MUON_MOMENTUM_END
