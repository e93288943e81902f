"""Causal attention with shared key heads, normalised queries and keys, and no view of itself.

Shapes: B batch, T positions, D model width, H query heads, G key and value heads, K head width,
J = G x K.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from reference_impl.config import Settings
from reference_impl.model.gate import head_gate
from reference_impl.model.rotary import rotate
from reference_impl.model.values import ValueResidual


class Attention(nn.Module):
    """Grouped-query attention whose output leaves out what the position says about itself."""

    def __init__(self, settings: Settings) -> None:
        """Make the four projections, the gain of each query head, and what the settings add."""
        super().__init__()
        self.heads, self.kv_heads = settings.num_heads, settings.num_kv_heads
        width = settings.model_dim
        self.head_dim = settings.head_dim
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, self.kv_heads * self.head_dim, bias=False)
        self.value = nn.Linear(width, self.kv_heads * self.head_dim, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.q_gain = nn.Parameter(torch.full((self.heads,), settings.qk_gain_init))
        self.value_residual = ValueResidual() if settings.value_residual else None
        self.gate = head_gate(width, self.heads) if settings.gated_attention else None

    def forward(
        self,
        x_BTD: Tensor,
        rotary: tuple[Tensor, Tensor],
        embedded_BTJ: Tensor | None = None,
        first_BTGK: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Mix each position with the ones before it; return that and the values of this layer.

        The values are those before the residual, as later layers read the first layer's.
        """
        B, T, D = x_BTD.shape
        q_BTHK = self.query(x_BTD).view(B, T, self.heads, self.head_dim)
        k_BTGK = self.key(x_BTD).view(B, T, self.kv_heads, self.head_dim)
        own_BTJ = self.value(x_BTD)
        if embedded_BTJ is not None:
            own_BTJ = own_BTJ + embedded_BTJ
        own_BTGK = v_BTGK = own_BTJ.view(B, T, self.kv_heads, self.head_dim)
        if self.value_residual is not None and first_BTGK is not None:
            v_BTGK = self.value_residual(own_BTGK, first_BTGK)
        q_BTHK = rotate(functional.rms_norm(q_BTHK, (self.head_dim,)), *rotary)
        q_BTHK = q_BTHK * self.q_gain.to(q_BTHK.dtype)[:, None]
        k_BTGK = rotate(functional.rms_norm(k_BTGK, (self.head_dim,)), *rotary)

        group = self.heads // self.kv_heads
        k_BTHK = k_BTGK.repeat_interleave(group, dim=2)
        v_BTHK = v_BTGK.repeat_interleave(group, dim=2)
        y_BHTK = functional.scaled_dot_product_attention(
            q_BTHK.transpose(1, 2), k_BTHK.transpose(1, 2), v_BTHK.transpose(1, 2), is_causal=True
        )
        y_BTHK = without_self(y_BHTK.transpose(1, 2), v_BTHK)
        if self.gate is not None:
            y_BTHK = y_BTHK * torch.sigmoid(self.gate(x_BTD))[..., None]
        return self.output(y_BTHK.reshape(B, T, D)), own_BTGK


def without_self(y_BTHK: Tensor, v_BTHK: Tensor) -> Tensor:
    """Remove from each output the part that points along the position's own value (XSA)."""
    direction = functional.normalize(v_BTHK, dim=-1)
    return y_BTHK - (y_BTHK * direction).sum(dim=-1, keepdim=True) * direction
