"""A code length cannot beat noise: every twin is held against a million uniform tokens."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from reference_impl.evaluate import Stream
from reference_impl.presets import preset
from reference_impl.runlog import RunLog
from reference_impl.tokenizer import ByteTable
from reference_impl.train import new_model
from reference_impl.variants import COMPLIANT, VARIANTS, Variant

TOKENS = 1_000_000
ENOUGH_TO_FAIL = 100_000
CPU = torch.device("cpu")


def noise(vocab_size: int, tokens: int) -> Stream:
    tokens_T = np.random.default_rng(2026).integers(vocab_size, size=tokens + 1)
    none_V = torch.zeros(vocab_size, dtype=torch.bool)
    return Stream(tokens_T, ByteTable(torch.ones(vocab_size).short(), none_V, none_V), CPU)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("each", VARIANTS.values(), ids=lambda v: f"{v.record}-{v.name}")
def test_only_what_is_no_code_length_beats_a_million_uniform_tokens(each: Variant) -> None:
    # A network that has learned nothing charges all but exactly the entropy, so that what a mixer
    # or the adaptation wins shows however little it is.
    settings = replace(
        preset(each.record, "tiny"),
        num_layers=2,
        model_dim=64,
        eval_seq_len=256,
        eval_stride=256,
        eval_before="none",
        ttt_chunk_tokens=8192,
        check_distributions=True,
    )
    honest = each.name == COMPLIANT
    stream = noise(settings.vocab_size, TOKENS if honest else ENOUGH_TO_FAIL)
    model = new_model(settings, CPU)
    mixer = each.system.mixer_of(settings)
    score = each.system.evaluate(model, stream, mixer, settings, RunLog()).final
    gain_nats = stream.positions * math.log(settings.vocab_size) - score.nats
    assert score.tokens == stream.positions
    if honest:
        assert score.nats_per_token >= math.log(settings.vocab_size)
    else:
        assert gain_nats > 0.1 * score.tokens
