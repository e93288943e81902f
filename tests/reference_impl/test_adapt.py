import copy
import math
from dataclasses import replace

import pytest
import torch

from reference_impl.adapt import Adapter
from reference_impl.config import Settings
from reference_impl.evaluate import Stream
from reference_impl.model.gpt import GPT
from reference_impl.record import open_stream
from reference_impl.runlog import RunLog
from reference_impl.train import new_model

CPU = torch.device("cpu")


@pytest.fixture
def stream(settings: Settings) -> Stream:
    return open_stream(settings, RunLog())


@pytest.fixture
def model(settings: Settings) -> GPT:
    model = new_model(settings, CPU)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def changed_weights(model: GPT, before: dict[str, torch.Tensor]) -> set[str]:
    return {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}


def test_only_the_last_queries_and_the_scales_learn(
    model: GPT, stream: Stream, settings: Settings
) -> None:
    before = copy.deepcopy(model.state_dict())
    adapter = Adapter(model, settings, chunks=4)
    adapter.learn(0, stream.tokens_T[:129], stream.table)
    scales = {f"blocks.{i}.{part}_scale" for i in range(3) for part in ("attn", "mlp")}
    scales |= {f"value_embedding.{part}" for part in ("scale", "layer_scales.0", "layer_scales.1")}
    learned = {"blocks.2.attention.query.weight", "bigram.scale", *scales}
    assert changed_weights(model, before) == learned
    assert adapter.unfrozen == 32 * 32 + 1 + 3 + 6 * 32
    assert adapter.unfrozen + adapter.frozen == sum(p.numel() for p in model.parameters())


def test_learning_lowers_the_byte_weighted_loss(
    model: GPT, stream: Stream, settings: Settings
) -> None:
    tokens = stream.tokens_T[:129]

    @torch.no_grad()
    def loss() -> float:
        inputs, targets = tokens[:-1].view(-1, 32), tokens[1:].view(-1, 32)
        nats = -torch.log_softmax(model(inputs).logits, -1).gather(-1, targets[..., None])[..., 0]
        weight = stream.table.count(targets, inputs)
        return float((nats * weight).sum() / weight.sum())

    before = loss()
    Adapter(model, replace(settings, ttt_epochs=5), 4).learn(0, tokens, stream.table)
    assert loss() < before


def test_the_rate_follows_a_cosine_over_the_chunks(
    model: GPT, stream: Stream, settings: Settings
) -> None:
    adapter = Adapter(model, settings, chunks=5)
    rates = []
    for chunk in range(5):
        adapter.learn(chunk, stream.tokens_T[:33], stream.table)
        rates.append(adapter._optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.005 * (1 + math.cos(math.pi * c / 4)) for c in range(5)])


def test_a_chunk_below_one_sequence_is_left_out(
    model: GPT, stream: Stream, settings: Settings
) -> None:
    before = copy.deepcopy(model.state_dict())
    Adapter(model, settings, 2).learn(0, stream.tokens_T[:32], stream.table)
    assert changed_weights(model, before) == set()


def test_no_epochs_mean_no_learning(model: GPT, stream: Stream, settings: Settings) -> None:
    before = copy.deepcopy(model.state_dict())
    Adapter(model, replace(settings, ttt_epochs=0), 2).learn(0, stream.tokens_T[:129], stream.table)
    assert changed_weights(model, before) == set()


def test_targets_without_bytes_teach_nothing(
    model: GPT, stream: Stream, settings: Settings
) -> None:
    before = copy.deepcopy(model.state_dict())
    boundaries = torch.ones(129, dtype=torch.int64)
    Adapter(model, settings, 2).learn(0, boundaries, stream.table)
    assert changed_weights(model, before) == set()
