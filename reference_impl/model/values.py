"""Two ways to enrich the values of attention: those of the first layer, and a token embedding.

Shapes: B batch, T positions, G value heads, K head width, J = G x K.
"""

import torch
from torch import Tensor, nn

from reference_impl.config import Settings

VALUE_EMBED_SCALE_INIT = 0.1


class ValueResidual(nn.Module):
    """Mixes a layer's values with the first layer's, by two raw shares."""

    def __init__(self) -> None:
        """Start with equal shares."""
        super().__init__()
        self.shares = nn.Parameter(torch.full((2,), 0.5))

    def forward(self, own_BTGK: Tensor, first_BTGK: Tensor) -> Tensor:
        """Return the mix."""
        shares = self.shares.to(own_BTGK.dtype)
        return shares[0] * first_BTGK + shares[1] * own_BTGK


class ValueEmbedding(nn.Module):
    """A table of tokens that the last layers add to their values, each by its own scale."""

    def __init__(self, settings: Settings) -> None:
        """Make the shared table, its projection and the scales."""
        super().__init__()
        width = settings.num_kv_heads * settings.head_dim
        count, layers = settings.value_embed_layers, settings.num_layers
        self.layers = range(layers - count, layers)
        self.embed = nn.Embedding(settings.vocab_size, settings.value_embed_dim)
        self.proj = nn.Linear(settings.value_embed_dim, width, bias=False)
        self.scale = nn.Parameter(torch.tensor(VALUE_EMBED_SCALE_INIT))
        self.layer_scales = nn.ParameterList(torch.ones(()) for _ in range(count))

    def forward(self, tokens_BT: Tensor) -> dict[int, Tensor]:
        """Return what each of its layers adds, BTJ."""
        shared_BTJ = self.proj(self.embed(tokens_BT)) * self.scale
        return {
            layer: shared_BTJ * scale
            for layer, scale in zip(self.layers, self.layer_scales, strict=True)
        }
