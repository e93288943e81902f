import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch.nn import functional

from reference_impl.config import Settings, from_environment
from reference_impl.model.attention import Attention, without_self
from reference_impl.model.embeddings import SmearGate, bigram_ids
from reference_impl.model.gpt import GPT, Block
from reference_impl.model.mlp import MLP
from reference_impl.model.rotary import rotary_tables, rotate

CPU = torch.device("cpu")


@pytest.fixture
def model(settings: Settings) -> GPT:
    torch.manual_seed(0)
    return shaken(GPT(settings))


def shaken(model: GPT) -> GPT:
    with torch.no_grad():  # the outputs start at zero, where most mistakes would not show
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def test_no_logit_depends_on_a_later_token(model: GPT) -> None:
    tokens = torch.randint(0, 384, (2, 32))
    for position in (1, 8, 31):
        changed = tokens.clone()
        changed[:, position:] = (changed[:, position:] + 1) % 384
        before, after = model(tokens).logits, model(changed).logits
        assert torch.equal(before[:, :position], after[:, :position])
        assert not torch.equal(before[:, position], after[:, position])


def test_forward_gives_capped_logits_and_the_hidden_state(model: GPT, settings: Settings) -> None:
    with torch.no_grad():
        model.tok_embed.weight.mul_(1000)
    output = model(torch.randint(0, 384, (2, 16)))
    assert output.logits.shape == (2, 16, 384)
    assert output.hidden.shape == (2, 16, 32)
    assert 25 < output.logits.abs().max() <= settings.logit_softcap
    assert torch.allclose(output.hidden.square().mean(-1), torch.ones(2, 16), atol=1e-3)


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_skips_join_each_early_block_to_a_late_one(settings: Settings, layers: int) -> None:
    torch.manual_seed(0)
    model = GPT(replace(settings, num_layers=layers, value_embed_layers=1))
    tokens = torch.randint(0, 384, (1, 8))
    before = model(tokens).hidden
    for row in range(layers // 2):
        with torch.no_grad():
            model.skip_weights[row] = torch.linspace(-2, 2, settings.model_dim)
        assert not torch.allclose(model(tokens).hidden, before)
    assert len(model.skip_weights) == layers // 2


def test_deeper_blocks_read_a_smaller_input(settings: Settings) -> None:
    first, fourth = Block(settings, 0), Block(settings, 3)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.copy_(torch.randn_like(parameter))
        first.attn_scale.zero_()
    fourth.load_state_dict(first.state_dict())
    x, x0 = torch.randn(2, 1, 4, settings.model_dim).unbind(0)
    rotary = rotary_tables(4, settings.head_rope_dims, CPU)
    mixed = first.resid_mix[0] * x + first.resid_mix[1] * x0
    # Half the input makes a quarter of the squared output.
    assert torch.allclose(
        4 * (fourth(x, x0, rotary)[0] - mixed),
        first(x, x0, rotary)[0] - mixed,
        rtol=1e-3,
        atol=1e-3,
    )


def test_a_block_can_read_the_embedding_again(settings: Settings) -> None:
    block = Block(settings, 0)
    x, x0 = torch.randn(2, 1, 4, settings.model_dim).unbind(0)
    rotary = rotary_tables(4, settings.head_rope_dims, CPU)
    plain = block(x0, x, rotary)[0]
    with torch.no_grad():
        block.resid_mix.copy_(block.resid_mix.flip(0))
    assert torch.equal(block(x, x0, rotary)[0], plain)


@pytest.mark.parametrize(
    ("size", "previous", "current", "row"),
    [(6144, 512, 77, 5858), (6144, 1023, 512, 4934), (6144, 17, 900, 4138), (4096, 17, 900, 671)],
)
def test_bigrams_hash_as_published(size: int, previous: int, current: int, row: int) -> None:
    assert bigram_ids(torch.tensor([[previous, current]]), size).tolist() == [[size - 1, row]]


def test_smear_starts_halfway_to_the_position_before() -> None:
    x = torch.tensor([[[2.0], [4.0], [8.0]]])
    assert SmearGate(1)(x).flatten().tolist() == [1.0, 3.0, 6.0]


def test_the_mlp_squares_a_leaky_rectifier(settings: Settings) -> None:
    mlp = MLP(replace(settings, model_dim=16, mlp_mult=1.0))
    with torch.no_grad():
        mlp.expand.weight.copy_(torch.eye(16))
        mlp.output.weight.copy_(torch.eye(16))
    inputs = torch.tensor([-2.0, -1.0, 0.0, 3.0] * 4)
    assert mlp(inputs).tolist() == [1.0, 0.25, 0.0, 9.0] * 4


def test_attention_leaves_out_what_points_along_its_own_value() -> None:
    y, v = torch.randn(2, 5, 3, 8), torch.randn(2, 5, 3, 8)
    assert (without_self(y, v) * v).sum(-1).abs().max() < 1e-5


def test_the_first_position_has_only_itself_to_look_at(settings: Settings) -> None:
    attention = Attention(settings)
    rotary = rotary_tables(6, settings.head_rope_dims, CPU)
    seen, _ = attention(torch.randn(2, 6, settings.model_dim), rotary)
    assert seen[:, 0].abs().max() < 1e-6 < seen[:, 1].abs().max()


def test_grouped_heads_match_full_attention_with_copied_keys(settings: Settings) -> None:
    torch.manual_seed(0)
    grouped = Attention(settings)
    full = Attention(replace(settings, num_kv_heads=settings.num_heads))
    width = grouped.head_dim
    with torch.no_grad():
        full.load_state_dict(
            grouped.state_dict()
            | {
                name: grouped.state_dict()[name]
                .view(2, width, -1)
                .repeat_interleave(2, 0)
                .flatten(0, 1)
                for name in ("key.weight", "value.weight")
            }
        )
    x = torch.randn(2, 7, settings.model_dim)
    rotary = rotary_tables(7, settings.head_rope_dims, CPU)
    assert torch.allclose(grouped(x, rotary)[0], full(x, rotary)[0], atol=1e-6)


@examples(max_examples=20)
@given(distance=st.integers(0, 20), position=st.integers(0, 40))
def test_rotated_products_depend_on_the_distance_alone(distance: int, position: int) -> None:
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 64, 1, 24, dtype=torch.float64).unbind(0)
    q, k = q[:, :1].expand(1, 64, 1, 24), k[:, :1].expand(1, 64, 1, 24)
    cos, sin = rotary_tables(64, 16, CPU)
    product = torch.einsum("bthk,bshk->ts", rotate(q, cos, sin), rotate(k, cos, sin))
    assert math.isclose(product[position + distance, position], product[distance, 0], abs_tol=1e-4)


def test_only_the_first_dimensions_turn_and_none_at_position_zero() -> None:
    x = torch.randn(1, 9, 2, 24)
    turned = rotate(x, *rotary_tables(9, 16, CPU))
    assert torch.equal(turned[..., 16:], x[..., 16:])
    assert torch.equal(turned[:, 0], x[:, 0])
    assert not torch.equal(turned[:, 1, :, :16], x[:, 1, :, :16])


def test_long_windows_stretch_the_base_as_published() -> None:
    _, sin = rotary_tables(2048, 16, CPU)
    slowest = 22_081.79 ** (-14 / 16)
    assert sin[1, -1].item() == pytest.approx(slowest, rel=1e-4)
    short = rotary_tables(1024, 16, CPU)[0]
    assert torch.allclose(
        short[1000], torch.cos(1000 * 10_000 ** (-torch.arange(8) / 8)), atol=1e-3
    )


def test_the_same_seed_gives_the_same_model(settings: Settings) -> None:
    logits = []
    for _ in range(2):
        torch.manual_seed(settings.seed)
        logits.append(GPT(settings)(torch.arange(8)[None]).logits)
    assert torch.equal(*logits)
    uniform = functional.log_softmax(logits[0], dim=-1)
    assert uniform.mean().item() == pytest.approx(-math.log(384), abs=0.1)


@pytest.mark.parametrize("gated", [False, True])
def test_positions_that_are_asked_for_are_as_in_the_whole_window(
    settings: Settings, gated: bool
) -> None:
    settings = replace(settings, expert_gate=gated)
    model, tokens = shaken(GPT(settings)).eval(), torch.arange(24).reshape(2, 12)
    whole, asked = model(tokens), model(tokens, slice(7, 10))
    torch.testing.assert_close(asked.logits, whole.logits[:, 7:10])
    torch.testing.assert_close(asked.hidden, whole.hidden[:, 7:10])
    assert (asked.gates is not None) == gated
    if gated:
        torch.testing.assert_close(asked.gates, whole.gates[:, 7:10])


@pytest.mark.parametrize("setting", ["VALUE_RESIDUAL", "GATED_ATTENTION", "EXPERT_GATE"])
def test_no_mechanism_lets_a_logit_depend_on_a_later_token(
    settings: Settings, setting: str
) -> None:
    torch.manual_seed(0)
    model = shaken(GPT(from_environment(settings, {setting: "1"})))
    tokens = torch.randint(0, 384, (2, 16))
    changed = tokens.clone()
    changed[:, 9:] = (changed[:, 9:] + 1) % 384
    before, after = model(tokens), model(changed)
    assert torch.equal(before.logits[:, :9], after.logits[:, :9])
    if before.gates is not None:
        assert torch.equal(before.gates[:, :9], after.gates[:, :9])


def test_the_start_is_as_published(settings: Settings) -> None:
    model = GPT(replace(settings, model_dim=64, num_layers=11, gated_attention=True))
    assert model.value_embedding is not None
    assert model.tok_embed.weight.std().item() == pytest.approx(0.005, rel=0.05)
    assert model.value_embedding.embed.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert not model.bigram.embed.weight.any()
    for projection in (model.bigram.proj, model.value_embedding.proj):
        columns = projection.weight.T @ projection.weight
        assert torch.allclose(columns, torch.eye(8) / 22, atol=1e-5)
    for layer in range(11):
        query = model.get_parameter(f"blocks.{layer}.attention.query.weight")
        assert torch.allclose(query @ query.T, torch.eye(64), atol=1e-4)
        for zeros in ("attention.output", "mlp.output", "attention.gate"):
            assert not model.get_parameter(f"blocks.{layer}.{zeros}.weight").any()


def test_the_slope_is_a_setting(settings: Settings) -> None:
    mlp = MLP(replace(settings, model_dim=16, mlp_mult=1.0, leaky_slope=0.9))
    with torch.no_grad():
        mlp.expand.weight.copy_(torch.eye(16))
        mlp.output.weight.copy_(torch.eye(16))
    assert mlp(torch.full((16,), -2.0)).tolist() == pytest.approx([3.24] * 16)
