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
    DISCOUNT,
    NO_TOKEN,
    ExactCache,
    ExactMixer,
    GatedExactMixer,
    check_sums,
    contexts_of,
)

VOCAB_SIZE = 5
MAX_ORDER = 7
CONTEXT_TOKENS = MAX_ORDER - 1
TOLERANCE = 1e-9  # float64 over a few thousand terms
token_lists = st.lists(st.integers(0, VOCAB_SIZE - 1), max_size=60)
# Only what lies before the start of the text is missing, so only the oldest tokens are.
contexts = st.lists(st.integers(0, VOCAB_SIZE - 1), max_size=CONTEXT_TOKENS).map(
    lambda tokens: [NO_TOKEN] * (CONTEXT_TOKENS - len(tokens)) + tokens
)


def slow_distribution(
    tokens: list[int], context: list[int], max_order: int = MAX_ORDER
) -> list[float]:
    """The same law from dictionaries, one context and one token at a time."""
    followers: dict[tuple[int, ...], Counter[int]] = {}
    for place, token in enumerate(tokens):
        for length in range(min(place, max_order - 1) + 1):
            key = tuple(tokens[place - length : place])
            followers.setdefault(key, Counter())[token] += 1
    probs = [1 / VOCAB_SIZE] * VOCAB_SIZE
    for length in range(max_order):
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
    cache = ExactCache(vocab_size, MAX_ORDER)
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
    cache = ExactCache(VOCAB_SIZE, MAX_ORDER)
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
    assert ExactCache(4, MAX_ORDER).distribution(rows).tolist() == [[0.25] * 4] * 2


def test_contexts_end_at_the_position_and_pad_the_window_start() -> None:
    inputs = np.array([[1, 2, 3, 4, 5, 6, 7, 8]])
    assert contexts_of(inputs, 2, 6).tolist() == [[[2, 3, 4, 5, 6, 7], [3, 4, 5, 6, 7, 8]]]
    padded = contexts_of(inputs[:, :2], 2, 6).tolist()
    assert padded == [[[-1, -1, -1, -1, -1, 1], [-1, -1, -1, -1, 1, 2]]]


@pytest.fixture
def mixer() -> ExactMixer:
    mixer = ExactMixer(replace(Settings(), vocab_size=64))
    mixer.update(random_stream(500, 64))
    return mixer


def test_the_mixture_is_convex_and_sums_to_one(mixer: ExactMixer) -> None:
    logits = 3 * torch.randn(40, 64)
    rows = np.lib.stride_tricks.sliding_window_view(random_stream(500, 64), CONTEXT_TOKENS)[:40]
    mixed = mixer.mixed(Output(logits, logits), rows)
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


@pytest.mark.parametrize("max_order", [2, 5, 16])
def test_each_order_is_the_distribution_of_a_cache_that_stops_there(max_order: int) -> None:
    stream = random_stream(120, VOCAB_SIZE).tolist()
    cache = ExactCache(VOCAB_SIZE, max_order)
    cache.update(np.array(stream))
    padded = [NO_TOKEN] * max_order + stream
    rows = np.array([padded[end - max_order + 1 : end] for end in range(max_order, 120, 11)])
    orders = [probs.copy() for probs in cache.orders(cache.context_ids(rows))]
    assert len(orders) == max_order - 1
    for order, probs in enumerate(orders, start=2):
        expected = [slow_distribution(stream, row.tolist(), order) for row in rows]
        assert np.abs(probs - expected).max() < TOLERANCE
    assert np.array_equal(orders[-1], cache.distribution(rows))


@examples(max_examples=40)
@given(tokens=token_lists, rows=st.lists(token_lists.filter(len), min_size=1, max_size=1))
def test_contexts_are_known_alike_by_row_and_one_by_one(
    tokens: list[int], rows: list[list[int]]
) -> None:
    cache, inputs = filled(tokens), np.array(rows + rows)
    contexts_TC = contexts_of(inputs, inputs.shape[1], CONTEXT_TOKENS).reshape(-1, CONTEXT_TOKENS)
    expected = cache.context_ids(contexts_TC)
    for by_row, one_by_one in zip(cache.row_ids(inputs), expected, strict=True):
        assert np.array_equal(by_row, one_by_one)


def test_contexts_count_what_followed_them() -> None:
    cache = filled([1, 2, 1, 2, 1, 3, 2])
    rows = np.array([[0, 0, 0, 0, 2, 1], [0, 0, 0, 0, 0, 4], [0, 0, 0, 0, 3, 2]])
    counts = cache.context_counts(cache.context_ids(rows))
    # (1) was followed three times, (2, 1) twice; (2) twice, and (3, 2) by nothing yet.
    assert counts[:, :3].tolist() == [[3, 2, 0], [0, 0, 0], [2, 0, 0]]


def gated_output(positions: int, vocab_size: int, experts: int) -> Output:
    logits, gates = 3 * torch.randn(positions, vocab_size), 3 * torch.randn(positions, experts)
    return Output(logits, logits, gates)


@examples(max_examples=15)
@given(tokens=st.lists(st.integers(0, VOCAB_SIZE - 1), min_size=100, max_size=120), query=contexts)
def test_the_gated_mixture_is_the_weighted_sum_of_whole_distributions(
    tokens: list[int], query: list[int]
) -> None:
    mixer = GatedExactMixer(replace(Settings(), vocab_size=VOCAB_SIZE))
    mixer.update(np.array(tokens))
    output = gated_output(1, VOCAB_SIZE, MAX_ORDER)
    mixed = mixer.mixed(output, np.array([query]))[0]
    assert abs(mixed.sum() - 1) < TOLERANCE
    assert output.gates is not None
    gates = output.gates[0].tolist()
    shares, experts = [math.exp(gates[0])], [torch.softmax(output.logits[0].double(), -1).numpy()]
    for order in range(2, MAX_ORDER + 1):
        context = query[len(query) - order + 1 :]
        followed = sum(
            tokens[place - order + 1 : place] == context for place in range(order - 1, len(tokens))
        )
        shares.append(math.exp(gates[order - 1]) if followed >= 2 else 0.0)
        experts.append(np.array(slow_distribution(tokens, query, order)))
    weights = [0.95 * share / sum(shares) for share in shares]
    weights[0] += 0.05
    expected = sum(weight * expert for weight, expert in zip(weights, experts, strict=True))
    assert np.abs(mixed - expected).max() < 1e-7  # the gates have 32 bits


@pytest.mark.parametrize("max_order", [7, 16])
def test_gated_charges_over_all_targets_have_a_kraft_sum_of_one(max_order: int) -> None:
    settings = replace(
        Settings(), vocab_size=64, ngram_max_order=max_order, check_distributions=True
    )
    mixer = GatedExactMixer(settings)
    mixer.update(random_stream(2000, 64))
    row = np.tile(random_stream(2000, 64)[100:120], (64, 1))
    gates = torch.linspace(-1, 2, max_order).expand(64, 1, max_order)
    logits = torch.randn(1, 1, 64).expand(64, 1, 64)
    nats = mixer.nats(Output(logits, logits, gates), row, np.arange(64)[:, None])
    assert math.fsum((-nats).exp().flatten().tolist()) == pytest.approx(1, abs=TOLERANCE)
    alone = -torch.log_softmax(logits.double(), -1)[0, 0].numpy()
    assert np.abs(nats.numpy()[:, 0] - alone).max() > 0.1


def test_the_gate_is_not_asked_until_a_hundred_tokens() -> None:
    mixer = GatedExactMixer(replace(Settings(), vocab_size=64))
    output, row = gated_output(1, 64, 7), np.full((1, 6), 3)
    alone = torch.softmax(output.logits.double(), -1).numpy()
    mixer.update(np.full(99, 3))
    assert np.array_equal(mixer.mixed(output, row), alone)
    mixer.update(np.array([3]))
    assert mixer.mixed(output, row)[0, 3] > alone[0, 3]


def test_the_tokens_of_a_lead_are_not_counted_again() -> None:
    stream = random_stream(300, 64)
    whole, pieces = (ExactMixer(replace(Settings(), vocab_size=64)) for _ in range(2))
    whole.update(stream)
    pieces.update(stream[:100])
    pieces.update(stream[80:], lead=20)
    rows = np.lib.stride_tricks.sliding_window_view(stream, CONTEXT_TOKENS)
    assert np.array_equal(whole.cache.distribution(rows), pieces.cache.distribution(rows))


def test_uniform_noise_costs_at_least_its_entropy() -> None:
    noise = np.random.default_rng(0).integers(0, 64, (20, 250))
    for mixer_of, experts in ((ExactMixer, 7), (GatedExactMixer, 7)):
        mixer = mixer_of(replace(Settings(), vocab_size=64))
        nats = 0.0
        for row in noise:
            logits, gates = torch.zeros(1, 249, 64), torch.zeros(1, 249, experts)
            output = Output(logits, logits, gates)
            nats += mixer.nats(output, row[None, :-1], row[None, 1:]).sum().item()
            mixer.update(row)
        assert nats / (20 * 249) >= math.log(64)


@pytest.mark.parametrize("row", [[0.5, 0.5 + 2e-9], [0.5, 0.4], [math.nan, 1.0]])
def test_rows_that_are_no_distribution_are_found(row: list[float]) -> None:
    check_sums(np.array([[0.5, 0.5]]))
    with pytest.raises(AssertionError, match=r"a distribution must sum to 1, got .* in row 1"):
        check_sums(np.array([[0.5, 0.5], row]))


def test_the_debug_mode_checks_what_is_charged(
    mixer: ExactMixer, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, output = np.full((1, 8), 3), Output(torch.zeros(1, 1, 64), torch.zeros(1, 1, 4))
    checked = ExactMixer(replace(Settings(), vocab_size=64, check_distributions=True))
    for each in (mixer, checked):
        monkeypatch.setattr(each, "mixed", lambda output, contexts: np.full((1, 64), 1 / 63))
    mixer.nats(output, row, np.array([[3]]))
    with pytest.raises(AssertionError, match=r"must sum to 1, got 1\.01"):
        checked.nats(output, row, np.array([[3]]))


def test_the_charge_is_the_model_alone_until_a_hundred_tokens() -> None:
    mixer = ExactMixer(replace(Settings(), vocab_size=64))
    logits, row, target = torch.randn(1, 1, 64), np.full((1, 8), 3), np.array([[3]])
    alone = -torch.log_softmax(logits.double(), -1)[0, 0, 3].item()
    mixer.update(np.full(99, 3))
    assert mixer.nats(Output(logits, logits), row, target).item() == pytest.approx(alone)
    mixer.update(np.array([3]))
    assert mixer.nats(Output(logits, logits), row, target).item() < alone
