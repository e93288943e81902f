"""The names of the published scripts' weights, and the same weights under the names used here.

The shapes are the same, so published weights can be loaded once they are renamed.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from reference_impl.errors import ArtifactError

NAMES = {
    "tok_emb.weight": "tok_embed.weight",
    "bigram.embed.weight": "bigram.embed.weight",
    "bigram.proj.weight": "bigram.proj.weight",
    "bigram.scale": "bigram.scale",
    "smear.gate": "smear.gate",
    "skip_weights": "skip_weights",
    "ve_shared.embed.weight": "value_embedding.embed.weight",
    "ve_shared.proj.weight": "value_embedding.proj.weight",
    "ve_shared.scale": "value_embedding.scale",
    "alpha_head.weight": "expert_gate.weight",
    "alpha_head.bias": "expert_gate.bias",
}
BLOCK_NAMES = {
    "attn.c_q.weight": "attention.query.weight",
    "attn.c_k.weight": "attention.key.weight",
    "attn.c_v.weight": "attention.value.weight",
    "attn.proj.weight": "attention.output.weight",
    "attn.q_gain": "attention.q_gain",
    "attn.vr_lambda": "attention.value_residual.shares",
    "attn.attn_gate.weight": "attention.gate.weight",
    "attn.attn_gate.bias": "attention.gate.bias",
    "mlp.fc.weight": "mlp.expand.weight",
    "mlp.proj.weight": "mlp.output.weight",
    "attn_scale": "attn_scale",
    "mlp_scale": "mlp_scale",
    "resid_mix": "resid_mix",
}
IN_A_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")
LAYER_SCALE = re.compile(r"ve_layer_scales\.(\d+)")


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return published weights under the names of this package's model."""
    return {name_of(name): value for name, value in state.items()}


def name_of(published: str) -> str:
    """Return the name here of a published weight."""
    if block := IN_A_BLOCK.fullmatch(published):
        layer, rest = block.groups()
        if rest in BLOCK_NAMES:
            return f"blocks.{layer}.{BLOCK_NAMES[rest]}"
    if scale := LAYER_SCALE.fullmatch(published):
        return f"value_embedding.layer_scales.{scale[1]}"
    if published in NAMES:
        return NAMES[published]
    raise ArtifactError(f"a published weight must have a known name, got {published!r}")
