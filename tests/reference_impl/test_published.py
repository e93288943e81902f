import pytest
import torch

from reference_impl.config import Settings
from reference_impl.errors import ArtifactError
from reference_impl.model.gpt import GPT
from reference_impl.model.published import from_published, name_of
from reference_impl.presets import RECORDS

WIDTH, LAYERS, VOCAB_SIZE = 512, 11, 1024
Shapes = dict[str, tuple[int, ...]]


def inventory(settings: Settings) -> Shapes:
    """List the published tensors by hand, as the records' state dicts have them."""
    value_width = 64 * settings.num_kv_heads
    hidden = int(settings.mlp_mult * WIDTH)
    shapes: Shapes = {
        "tok_emb.weight": (VOCAB_SIZE, WIDTH),
        "bigram.embed.weight": (settings.bigram_vocab_size, 128),
        "bigram.proj.weight": (WIDTH, 128),
        "bigram.scale": (),
        "smear.gate": (WIDTH,),
        "skip_weights": (5, WIDTH),
    }
    for layer in range(LAYERS):
        shapes |= {
            f"blocks.{layer}.attn.c_q.weight": (WIDTH, WIDTH),
            f"blocks.{layer}.attn.c_k.weight": (value_width, WIDTH),
            f"blocks.{layer}.attn.c_v.weight": (value_width, WIDTH),
            f"blocks.{layer}.attn.proj.weight": (WIDTH, WIDTH),
            f"blocks.{layer}.attn.q_gain": (8,),
            f"blocks.{layer}.mlp.fc.weight": (hidden, WIDTH),
            f"blocks.{layer}.mlp.proj.weight": (WIDTH, hidden),
            f"blocks.{layer}.attn_scale": (WIDTH,),
            f"blocks.{layer}.mlp_scale": (WIDTH,),
            f"blocks.{layer}.resid_mix": (2, WIDTH),
        }
    return shapes


VALUE_EMBEDDING: Shapes = {
    "ve_shared.embed.weight": (VOCAB_SIZE, 128),
    "ve_shared.proj.weight": (WIDTH, 128),
    "ve_shared.scale": (),
    "ve_layer_scales.0": (),
    "ve_layer_scales.1": (),
}


def expert_gate(experts: int) -> Shapes:
    return {"alpha_head.weight": (experts, WIDTH), "alpha_head.bias": (experts,)}


HEAD_GATES: Shapes = {
    f"blocks.{layer}.attn.{part}": shape
    for layer in range(LAYERS)
    for part, shape in (
        ("vr_lambda", (2,)),
        ("attn_gate.weight", (8, WIDTH)),
        ("attn_gate.bias", (8,)),
    )
}
PARTS: dict[str, Shapes] = {
    "pr779": VALUE_EMBEDDING,
    "pr834": VALUE_EMBEDDING | expert_gate(7),
    "pr940": HEAD_GATES,
    "pr924": VALUE_EMBEDDING | expert_gate(16),
}


@pytest.mark.parametrize("name", RECORDS)
def test_every_published_tensor_has_one_place_of_its_shape(name: str) -> None:
    published = inventory(RECORDS[name]) | PARTS[name]
    with torch.device("meta"):
        state = {key: torch.empty(shape) for key, shape in published.items()}
        model = GPT(RECORDS[name])
    renamed = from_published(state)
    assert len(renamed) == len(published)
    wanted = {key: value.shape for key, value in model.state_dict().items()}
    assert {key: value.shape for key, value in renamed.items()} == wanted
    assert all(renamed[name_of(key)] is value for key, value in state.items())


@pytest.mark.parametrize("name", ["lm_head.weight", "blocks.0.attn.bias", "blocks.x.attn_scale"])
def test_an_unknown_weight_is_named(name: str) -> None:
    with pytest.raises(ArtifactError, match=f"must have a known name, got '{name}'"):
        name_of(name)
