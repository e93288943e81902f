"""The whole network: embeddings, blocks with skips across the middle, capped logits.

Shapes: B batch, T positions, D model width, V vocabulary, E experts, G value heads, K head width,
J = G x K.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from reference_impl.config import Settings
from reference_impl.model.attention import Attention
from reference_impl.model.embeddings import BigramEmbedding, SmearGate
from reference_impl.model.gate import expert_gate
from reference_impl.model.mlp import MLP
from reference_impl.model.rotary import rotary_tables
from reference_impl.model.values import ValueEmbedding

TOKEN_INIT_STD = 0.005
VALUE_EMBED_INIT_STD = 0.01


class Output(NamedTuple):
    """What a forward pass gives."""

    logits: Tensor  # BTV
    hidden: Tensor  # BTD, after the final norm
    gates: Tensor | None = None  # BTE, logits of the experts: expert 0 is the network itself


class Block(nn.Module):
    """Attention and MLP, each normalised before and scaled after."""

    def __init__(self, settings: Settings, index: int) -> None:
        """Make the parts; deeper blocks read a smaller input."""
        super().__init__()
        width = settings.model_dim
        self.input_scale = 1 / math.sqrt(index + 1)
        self.attention = Attention(settings)
        self.mlp = MLP(settings)
        self.resid_mix = nn.Parameter(torch.stack([torch.ones(width), torch.zeros(width)]))
        self.attn_scale = nn.Parameter(torch.ones(width))
        self.mlp_scale = nn.Parameter(torch.ones(width))

    def forward(
        self,
        x_BTD: Tensor,
        x0_BTD: Tensor,
        rotary: tuple[Tensor, Tensor],
        embedded_BTJ: Tensor | None = None,
        first_BTGK: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Mix in the embedding again, then add what attention and MLP find; pass on the values."""
        width = (x_BTD.shape[-1],)
        mix, attn_scale, mlp_scale = (
            parameter.to(x_BTD.dtype)
            for parameter in (self.resid_mix, self.attn_scale, self.mlp_scale)
        )
        x_BTD = mix[0] * x_BTD + mix[1] * x0_BTD
        seen_BTD, values_BTGK = self.attention(
            self.input_scale * functional.rms_norm(x_BTD, width), rotary, embedded_BTJ, first_BTGK
        )
        x_BTD = x_BTD + attn_scale * seen_BTD
        thought_BTD: Tensor = self.mlp(self.input_scale * functional.rms_norm(x_BTD, width))
        return x_BTD + mlp_scale * thought_BTD, values_BTGK


class GPT(nn.Module):
    """The network of the #779 family; the first half of the blocks feeds skips to the second."""

    def __init__(self, settings: Settings) -> None:
        """Make and initialise all parameters from torch's current random state."""
        super().__init__()
        self.settings = settings
        width, layers = settings.model_dim, settings.num_layers
        self.tok_embed = nn.Embedding(settings.vocab_size, width)
        self.bigram = BigramEmbedding(settings)
        self.smear = SmearGate(width)
        self.value_embedding = ValueEmbedding(settings) if settings.value_embed_layers else None
        self.blocks = nn.ModuleList(Block(settings, index) for index in range(layers))
        self.skip_weights = nn.Parameter(torch.ones(layers // 2, width))
        self.expert_gate = expert_gate(width, settings.experts) if settings.expert_gate else None
        self._initialise()

    def _initialise(self) -> None:
        nn.init.normal_(self.tok_embed.weight, std=TOKEN_INIT_STD)
        nn.init.zeros_(self.bigram.embed.weight)
        if self.value_embedding is not None:
            nn.init.normal_(self.value_embedding.embed.weight, std=VALUE_EMBED_INIT_STD)
        for name, module in self.named_modules():
            if not isinstance(module, nn.Linear):
                continue
            if name.endswith(".output"):
                nn.init.zeros_(module.weight)  # every block starts as the identity
                continue
            nn.init.orthogonal_(module.weight)
            if name.endswith(".proj"):
                with torch.no_grad():
                    module.weight.div_(math.sqrt(2 * self.settings.num_layers))

    def forward(self, tokens_BT: Tensor, asked: slice = slice(None)) -> Output:
        """Return the logits of the token after each position, and the state they come from.

        Of a window of which few positions are charged, `asked` are those that are wanted: the
        logits of all others are the most of the memory.
        """
        width = (self.settings.model_dim,)
        rotary = rotary_tables(tokens_BT.shape[1], self.settings.head_rope_dims, tokens_BT.device)
        embedded = {} if self.value_embedding is None else self.value_embedding(tokens_BT)
        x_BTD = self.tok_embed(tokens_BT) + self.bigram(tokens_BT)
        x_BTD = x0_BTD = self.smear(functional.rms_norm(x_BTD, width))
        encoders = len(self.skip_weights)
        skips: list[Tensor] = []
        first_BTGK: Tensor | None = None
        for index, block in enumerate(self.blocks):
            if index >= encoders and skips:
                skip_weight_D = self.skip_weights[index - encoders].to(x_BTD.dtype)
                x_BTD = x_BTD + skip_weight_D * skips.pop()
            x_BTD, values_BTGK = block(x_BTD, x0_BTD, rotary, embedded.get(index), first_BTGK)
            if index == 0:
                first_BTGK = values_BTGK
            if index < encoders:
                skips.append(x_BTD)
        hidden_BTD = functional.rms_norm(x_BTD[:, asked], width)
        gates_BTE = None if self.expert_gate is None else self.expert_gate(hidden_BTD).float()
        return Output(self._logits(hidden_BTD), hidden_BTD, gates_BTE)

    def _logits(self, hidden_BTD: Tensor) -> Tensor:
        cap = self.settings.logit_softcap
        raw_BTV = functional.linear(hidden_BTD, self.tok_embed.weight.to(hidden_BTD.dtype))
        return cap * torch.tanh(raw_BTV.float() / cap)


def cross_entropy(model: nn.Module, inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
    """Return the mean nats of the targets."""
    logits_BTV = model(inputs_BT).logits
    return functional.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten())
