"""A running average of the weights, which is what gets exported."""

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of every tensor of a model, in 32-bit floats."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Start from the model's present weights."""
        self._decay = decay
        self.weights = {
            name: value.detach().float().clone() for name, value in model.state_dict().items()
        }

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the model."""
        for name, value in model.state_dict().items():
            self.weights[name].lerp_(value.detach().float(), 1 - self._decay)

    def restore(self, weights: dict[str, Tensor]) -> None:
        """Go on from an average taken earlier."""
        for name, value in self.weights.items():
            value.copy_(weights[name])

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averaged weights on the CPU."""
        return {name: value.cpu() for name, value in self.weights.items()}
