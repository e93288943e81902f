import math
from collections import Counter
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from reference_impl.config import Settings
from reference_impl.mixture.entropy import adaptive_weight, entropy_nats
from reference_impl.model.gpt import Output
from reference_impl.ngram.exact import (
    CONTEXT_TOKENS,
    DISCOUNT,
    NO_TOKEN,
    ExactCache,
    ExactMixer,
    contexts_of,
)

VOCAB_SIZE = 5
TOLERANCE = 1e-9  # float64 over a few thousand terms
token_lists = st.lists(st.integers(0, VOCAB_SIZE - 1), max_size=60)
# Only what lies before the start of the text is missing, so only the oldest tokens are.
contexts = st.lists(st.integers(0, VOCAB_SIZE - 1), max_size=CONTEXT_TOKENS).map(
    lambda tokens: [NO_TOKEN] * (CONTEXT_TOKENS - len(tokens)) + tokens
)


def slow_distribution(tokens: list[int], context: list[int]) -> list[float]:
    """The same law from dictionaries, one context and one token at a time."""
    followers: dict[tuple[int, ...], Counter[int]] = {}
    for place, token in enumerate(tokens):
        for length in range(min(place, CONTEXT_TOKENS) + 1):
            key = tuple(tokens[place - length : place])
            followers.setdefault(key, Counter())[token] += 1
    probs = [1 / VOCAB_SIZE] * VOCAB_SIZE
    for length in range(CONTEXT_TOKENS + 1):
        seen = followers.get(tuple(context[len(context) - length :]))
        if not seen:
            continue
        total = sum(seen.values())
        shared = DISCOUNT * len(seen) / total
        probs = [
            shared * prob + max(seen[token] - DISCOUNT, 0) / total
            for token, prob in enumerate(probs)
        ]
    return probs


def filled(tokens: list[int], vocab_size: int = VOCAB_SIZE) -> ExactCache:
    cache = ExactCache(vocab_size)
    cache.update(np.array(tokens, dtype=np.int64))
    return cache


@examples(max_examples=100)
@given(tokens=token_lists, queries=st.lists(contexts, min_size=1, max_size=8))
def test_the_cache_follows_the_slow_law(tokens: list[int], queries: list[list[int]]) -> None:
    ends = [[NO_TOKEN] * CONTEXT_TOKENS + tokens[:stop] for stop in range(len(tokens) + 1)]
    every = [*queries, *(end[-CONTEXT_TOKENS:] for end in ends)]
    probs = filled(tokens).distribution(np.array(every, dtype=np.int64))
    expected = [slow_distribution(tokens, query) for query in every]
    assert np.abs(probs - expected).max() < TOLERANCE


@examples(max_examples=50)
@given(pieces=st.lists(token_lists, max_size=6), query=contexts)
def test_pieces_count_as_much_as_the_whole(pieces: list[list[int]], query: list[int]) -> None:
    cache = ExactCache(VOCAB_SIZE)
    for piece in pieces:
        cache.update(np.array(piece, dtype=np.int64))
    whole = filled([token for piece in pieces for token in piece])
    row = np.array([query])
    assert np.array_equal(cache.distribution(row), whole.distribution(row))
    assert cache.total == whole.total
    for level, expected in zip(cache.levels, whole.levels, strict=True):
        assert len(level.keys) == len(expected.keys)
        assert level.counts.sum() == expected.counts.sum()


def random_stream(size: int, vocab_size: int) -> npt.NDArray[np.int64]:
    rng = np.random.default_rng(0)
    return (vocab_size * rng.random(size) ** 4).astype(np.int64)


def test_every_row_sums_to_one_at_the_real_vocabulary() -> None:
    stream = random_stream(5000, 1024)
    cache = filled(stream.tolist(), 1024)
    rows = np.lib.stride_tricks.sliding_window_view(stream, CONTEXT_TOKENS)[::20]
    probs = cache.distribution(rows)
    assert np.abs(probs.sum(axis=1) - 1).max() < TOLERANCE
    assert probs.min() > 0


def test_contexts_do_not_collide_with_the_largest_vocabulary() -> None:
    last = 65_535
    cache = filled([last, last, last, 0, 1, 0, last, 7], 65_536)
    rows = np.array([[last, last, last, 0, 1, 0], [last] * 6, [0, 0, 0, 0, 0, 1]])
    assert cache.distribution(rows).argmax(axis=1).tolist() == [last, 0, 0]
    assert len(cache.levels[1].keys) == 6  # last-last twice; the other pairs once each
    assert cache.levels[1].counts.tolist().count(2) == 1


def test_an_empty_cache_is_uniform() -> None:
    rows = np.full((2, CONTEXT_TOKENS), NO_TOKEN)
    assert ExactCache(4).distribution(rows).tolist() == [[0.25] * 4] * 2


def test_contexts_end_at_the_position_and_pad_the_window_start() -> None:
    inputs = np.array([[1, 2, 3, 4, 5, 6, 7, 8]])
    assert contexts_of(inputs, 2).tolist() == [[[2, 3, 4, 5, 6, 7], [3, 4, 5, 6, 7, 8]]]
    padded = contexts_of(inputs[:, :2], 2).tolist()
    assert padded == [[[-1, -1, -1, -1, -1, 1], [-1, -1, -1, -1, 1, 2]]]


@pytest.fixture
def mixer() -> ExactMixer:
    mixer = ExactMixer(replace(Settings(), vocab_size=64))
    mixer.update(random_stream(500, 64))
    return mixer


def test_the_mixture_is_convex_and_sums_to_one(mixer: ExactMixer) -> None:
    logits = 3 * torch.randn(40, 64)
    rows = np.lib.stride_tricks.sliding_window_view(random_stream(500, 64), CONTEXT_TOKENS)[:40]
    mixed = mixer.mixed(logits, rows)
    weight = adaptive_weight(entropy_nats(logits)).double().numpy()[:, None]
    neural = torch.softmax(logits.double(), -1).numpy()
    expected = (1 - weight) * neural + weight * mixer.cache.distribution(rows)
    assert np.abs(mixed - expected).max() < TOLERANCE
    assert np.abs(mixed.sum(axis=1) - 1).max() < TOLERANCE


def test_charges_over_all_targets_have_a_kraft_sum_of_one(mixer: ExactMixer) -> None:
    row = np.tile(random_stream(500, 64)[100:110], (64, 1))
    logits = torch.randn(1, 1, 64).expand(64, 1, 64)
    nats = mixer.nats(Output(logits, logits), row, np.arange(64)[:, None])
    assert math.fsum((-nats).exp().flatten().tolist()) == pytest.approx(1, abs=TOLERANCE)


def test_rows_are_charged_alike_in_any_batch(
    mixer: ExactMixer, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = random_stream(400, 64).reshape(10, 40)
    targets, logits = inputs[:, -4:], torch.randn(10, 4, 64)
    whole = mixer.nats(Output(logits, logits), inputs, targets)
    monkeypatch.setattr("reference_impl.ngram.exact.MAX_ROWS", 7)
    # The mixture weight follows the logits in 32-bit floats.
    assert torch.allclose(mixer.nats(Output(logits, logits), inputs, targets), whole, atol=1e-6)


def test_the_charge_is_the_model_alone_until_a_hundred_tokens() -> None:
    mixer = ExactMixer(replace(Settings(), vocab_size=64))
    logits, row, target = torch.randn(1, 1, 64), np.full((1, 8), 3), np.array([[3]])
    alone = -torch.log_softmax(logits.double(), -1)[0, 0, 3].item()
    mixer.update(np.full(99, 3))
    assert mixer.nats(Output(logits, logits), row, target).item() == pytest.approx(alone)
    mixer.update(np.array([3]))
    assert mixer.nats(Output(logits, logits), row, target).item() < alone
