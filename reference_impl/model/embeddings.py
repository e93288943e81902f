"""What the first block reads: token embedding, hashed bigram, and a look one position back.

Shapes: B batch, T positions, D model width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from reference_impl.config import Settings

CURRENT_FACTOR, PREVIOUS_FACTOR = 36_313, 27_191  # of the published hash
BIGRAM_SCALE_INIT = 0.05


def bigram_ids(tokens_BT: Tensor, table_size: int) -> Tensor:
    """Hash each token with the one before it; the first position has an id of its own."""
    last = table_size - 1
    current = tokens_BT[:, 1:] * CURRENT_FACTOR
    previous = tokens_BT[:, :-1] * PREVIOUS_FACTOR
    hashed = torch.bitwise_xor(current, previous) % last
    return functional.pad(hashed, (1, 0), value=last)


class BigramEmbedding(nn.Module):
    """A narrow table of hashed bigrams, projected to the model's width."""

    def __init__(self, settings: Settings) -> None:
        """Make the table, its projection and its scale."""
        super().__init__()
        self.embed = nn.Embedding(settings.bigram_vocab_size, settings.bigram_dim)
        self.proj = nn.Linear(settings.bigram_dim, settings.model_dim, bias=False)
        self.scale = nn.Parameter(torch.tensor(BIGRAM_SCALE_INIT))

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return the scaled embedding of each bigram."""
        ids_BT = bigram_ids(tokens_BT, self.embed.num_embeddings)
        out_BTD: Tensor = self.proj(self.embed(ids_BT)) * self.scale
        return out_BTD


class SmearGate(nn.Module):
    """Blends each position with the one before it, by a learned share per channel."""

    def __init__(self, width: int) -> None:
        """Start with equal shares."""
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(width))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return the blend; before the first position there is nothing."""
        share_D = torch.sigmoid(self.gate).to(x_BTD.dtype)
        before_BTD = functional.pad(x_BTD, (0, 0, 1, 0))[:, :-1]
        return (1 - share_D) * x_BTD + share_D * before_BTD
