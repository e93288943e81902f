from dataclasses import replace

import pytest
import torch

from reference_impl.config import Settings
from reference_impl.model.attention import Attention
from reference_impl.model.gpt import GPT
from reference_impl.model.rotary import rotary_tables
from reference_impl.model.values import ValueEmbedding, ValueResidual

CPU = torch.device("cpu")


def test_later_layers_mix_in_the_raw_values_of_the_first(settings: Settings) -> None:
    model = GPT(replace(settings, value_residual=True))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    tokens = torch.randint(0, 384, (1, 6))
    before = model(tokens).logits
    with torch.no_grad():
        model.get_parameter("blocks.0.attention.value_residual.shares").fill_(9.0)
        assert torch.equal(model(tokens).logits, before)  # counted, and never used
        model.get_parameter("blocks.2.attention.value_residual.shares").fill_(9.0)
        assert not torch.equal(model(tokens).logits, before)


def test_a_value_residual_is_a_plain_weighted_sum() -> None:
    residual = ValueResidual()
    own, first = torch.randn(2, 1, 3, 2, 4).unbind(0)
    assert torch.allclose(residual(own, first), (own + first) / 2)
    with torch.no_grad():
        residual.shares.copy_(torch.tensor([3.0, -1.0]))  # no sigmoid: shares may leave 0 to 1
    assert torch.allclose(residual(own, first), 3 * first - own)


def test_attention_passes_on_its_values_before_the_residual(settings: Settings) -> None:
    attention = Attention(replace(settings, value_residual=True))
    rotary = rotary_tables(5, settings.head_rope_dims, CPU)
    x, embedded = torch.randn(1, 5, settings.model_dim), torch.randn(1, 5, 16)
    _, values = attention(x, rotary, embedded, torch.randn(1, 5, 2, 8))
    assert torch.equal(values.flatten(2), attention.value(x) + embedded)


def test_value_embeddings_go_to_the_last_layers_by_their_scales(settings: Settings) -> None:
    embedding = ValueEmbedding(settings)
    with torch.no_grad():
        embedding.layer_scales[1].fill_(3.0)
    tokens = torch.tensor([[5, 6, 5]])
    embedded = embedding(tokens)
    assert list(embedded) == [1, 2]
    shared = embedding.embed.weight[tokens] @ embedding.proj.weight.T * 0.1
    assert torch.allclose(embedded[1], shared)
    assert torch.allclose(embedded[2], 3 * shared)
    assert embedded[1].shape == (1, 3, settings.num_kv_heads * settings.head_dim)


def test_head_gates_scale_each_head_and_start_nearly_open(settings: Settings) -> None:
    attention = Attention(replace(settings, gated_attention=True))
    plain = Attention(settings)
    plain.load_state_dict(attention.state_dict(), strict=False)
    rotary = rotary_tables(5, settings.head_rope_dims, CPU)
    x = torch.randn(1, 5, settings.model_dim)
    assert torch.allclose(attention(x, rotary)[0], 0.98201 * plain(x, rotary)[0], atol=1e-5)
    assert attention.gate is not None
    with torch.no_grad():
        attention.gate.bias.copy_(torch.tensor([-1e4, 1e4, 1e4, 1e4]))
        shut = attention(x, rotary)[0]
        plain.output.weight[:, : settings.head_dim] = 0.0
    assert torch.allclose(shut, plain(x, rotary)[0], atol=1e-5)


@pytest.mark.parametrize("order", [7, 16])
def test_the_expert_gate_starts_in_favour_of_the_network(settings: Settings, order: int) -> None:
    model = GPT(replace(settings, expert_gate=True, ngram_max_order=order))
    output = model(torch.randint(0, 384, (2, 8)))
    assert output.gates is not None
    assert output.gates.shape == (2, 8, order)
    assert output.gates.flatten(0, 1).unique(dim=0).tolist() == [[2.0] + [0.0] * (order - 1)]
    output.gates[..., 0].sum().backward()
    assert model.expert_gate is not None
    assert model.expert_gate.weight.grad is not None
    assert torch.allclose(model.expert_gate.weight.grad[0], output.hidden.sum((0, 1)), atol=1e-4)
    with torch.no_grad():
        model.expert_gate.weight[0, 0] = 1.0
    shifted = model(torch.zeros(1, 4, dtype=torch.long))
    assert shifted.gates is not None
    (sums,) = torch.autograd.grad(shifted.gates.sum(), [model.tok_embed.weight])
    assert sums.abs().max() > 0  # the network learns through the gate as well
