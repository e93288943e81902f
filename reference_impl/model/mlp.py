"""The feed-forward half of a block."""

from torch import Tensor, nn
from torch.nn import functional

from reference_impl.config import Settings


class MLP(nn.Module):
    """Two projections around the square of a leaky rectifier."""

    def __init__(self, settings: Settings) -> None:
        """Make the two projections."""
        super().__init__()
        self.slope = settings.leaky_slope
        hidden = int(settings.mlp_mult * settings.model_dim)
        self.expand = nn.Linear(settings.model_dim, hidden, bias=False)
        self.output = nn.Linear(hidden, settings.model_dim, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Transform each position on its own."""
        hidden = functional.leaky_relu(self.expand(x_BTD), self.slope)
        out_BTD: Tensor = self.output(hidden.square())
        return out_BTD
