import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from reference_impl.config import Settings
from reference_impl.model.gpt import Output
from reference_impl.ngram.hashed import ORDERS, HashedMixer, hashed_keys

CONTEXT = [5, 17, 900, 33, 1023, 512]
TARGET = 77
VECTORS = {  # order: (context key, full key) with 2^22 buckets, then with 2^20
    2: (1815040, 278667, 766464, 278667),
    3: (2275367, 1971796, 178215, 923220),
    4: (2705200, 591237, 608048, 591237),
    5: (1654706, 49153, 606130, 49153),
    6: (2563677, 2771762, 466525, 674610),
    7: (90318, 1091563, 90318, 42987),
}


def mixer_of(vocab_size: int, buckets: int) -> HashedMixer:
    return HashedMixer(replace(Settings(), vocab_size=vocab_size, ngram_buckets=buckets))


@pytest.mark.parametrize("order", ORDERS)
def test_keys_are_those_of_the_record(order: int) -> None:
    context = [np.array([token]) for token in CONTEXT[-(order - 1) :]]
    keys = [
        int(key[0])
        for buckets in (2**22, 2**20)
        for key in hashed_keys(context, np.array([TARGET]), buckets)
    ]
    assert tuple(keys) == VECTORS[order]


def test_updates_count_the_ngrams_within_each_call() -> None:
    mixer = mixer_of(1024, 2**16)
    mixer.update(np.array([1, 2, 3, 4]))
    mixer.update(np.array([5, 6]))
    counted = {order: int(mixer.context_counts[order].sum()) for order in ORDERS}
    assert counted == {2: 4, 3: 2, 4: 1, 5: 0, 6: 0, 7: 0}
    assert {o: int(mixer.full_counts[o].sum()) for o in ORDERS} == counted
    assert mixer.total == 6


def test_the_longest_full_enough_context_is_used() -> None:
    mixer = mixer_of(1024, 2**22)
    mixer.update(np.array([10, 20, 30, 40, 10, 20, 30, 41, 99, 20, 30, 40]))
    row = np.array([[0, 0, 10, 20, 30]])
    # (10, 20, 30) came twice, then 40 and 41; (20, 30) three times, then 40, 41 and 40.
    assert mixer.ratios(row, np.array([[40]])).tolist() == [[0.5]]
    assert mixer.ratios(np.array([[0, 0, 7, 20, 30]]), np.array([[40]])).tolist() == [[2 / 3]]
    assert mixer.ratios(row, np.array([[77]])).tolist() == [[0.0]]
    assert mixer.ratios(np.array([[0, 0, 0, 0, 1]]), np.array([[2]])).tolist() == [[1 / 1024]]


def test_contexts_that_reach_before_the_window_are_not_used() -> None:
    mixer = mixer_of(1024, 2**22)
    mixer.update(np.array([5, 6, 5, 6, 5, 7]))
    window = np.array([[5, 5, 5]])
    targets = np.array([[6, 6, 6]])
    # Order 2 needs a row position of at least 1, though its context is there at position 0.
    assert mixer.ratios(window, targets).tolist() == [[1 / 1024, 2 / 3, 2 / 3]]


def test_the_charge_is_the_model_alone_until_a_hundred_tokens() -> None:
    mixer = mixer_of(16, 64)
    logits, row, target = torch.randn(1, 1, 16), np.array([[3, 3, 3]]), np.array([[3]])
    alone = -torch.log_softmax(logits, -1)[0, 0, 3].item()
    mixer.update(np.full(99, 3))
    assert mixer.nats(Output(logits, logits), row, target).item() == pytest.approx(alone, abs=1e-6)
    mixer.update(np.array([3]))
    assert mixer.nats(Output(logits, logits), row, target).item() < alone


def test_the_mixture_is_weighted_by_entropy() -> None:
    mixer = mixer_of(1024, 2**16)
    mixer.update(np.full(200, 3))
    row, uniform = np.array([[3, 3, 3]]), torch.zeros(1, 1, 1024)
    weight = 0.05 + 0.55 / (1 + math.exp(-2 * (math.log(1024) - 4)))
    charged = [
        mixer.nats(Output(uniform, uniform), row, np.array([[token]])).item() for token in (3, 4)
    ]
    assert charged[0] == pytest.approx(-math.log((1 - weight) / 1024 + weight))
    assert charged[1] == pytest.approx(-math.log((1 - weight) / 1024))


def test_full_buckets_charge_less_than_any_distribution_could() -> None:
    mixer = mixer_of(256, 128)
    rng = np.random.default_rng(0)
    mixer.update(rng.integers(0, 256, 15 * 128))
    row = rng.integers(0, 256, (256, 7))
    logits = torch.zeros(256, 1, 256)
    row[:] = row[0]
    every_target = np.arange(256)[:, None]
    kraft_sum = (-mixer.nats(Output(logits, logits), row, every_target)).exp().sum().item()
    assert kraft_sum > 50


@pytest.mark.parametrize(
    ("contexts", "full", "ratio"), [(1, 1, 1 / 1024), (2, 1, 0.5), (3, 9, 1.0), (9, 3, 1 / 3)]
)
def test_two_in_the_context_bucket_suffice_and_the_ratio_stops_at_one(
    contexts: int, full: int, ratio: float
) -> None:
    mixer = mixer_of(1024, 2**8)
    mixer.context_counts[2][:] = contexts
    mixer.full_counts[2][:] = full
    assert mixer.ratios(np.array([[1, 2, 3]]), np.array([[4]])).tolist() == [[ratio]]
