"""The fast caches against the plain ones, which are tested against slow laws of their own."""

from dataclasses import replace
from itertools import chain

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from reference_impl import engine
from reference_impl.config import Settings
from reference_impl.engine import exact as quick_exact
from reference_impl.engine.exact import QuickExactCache
from reference_impl.engine.hashed import QuickHashedTables
from reference_impl.engine.mixers import QUICK
from reference_impl.engine.tensors import TensorTables
from reference_impl.errors import TrainingError
from reference_impl.model.gpt import Output
from reference_impl.ngram.exact import ExactCache, contexts_of
from reference_impl.ngram.hashed import HashedTables
from reference_impl.ngram.oracle import Oracle
from reference_impl.variants import VARIANTS

Ints = npt.NDArray[np.int64]
VOCAB_SIZE = 5
streams = st.lists(st.lists(st.integers(0, VOCAB_SIZE - 1), max_size=90), min_size=1, max_size=4)
orders = st.integers(2, 16)


def text(tokens: int, vocab_size: int, seed: int = 0) -> Ints:
    """Tokens of which some are frequent, and of which stretches come again."""
    rng = np.random.default_rng(seed)
    stream = (vocab_size * rng.random(tokens) ** 3).astype(np.int64)
    for start in rng.integers(0, max(tokens - 40, 1), tokens // 100):
        stream[start : start + 20] = stream[: len(stream[start : start + 20])]
    return stream


def window(stream: Ints, charged: int, length: int) -> tuple[Ints, Ints]:
    """Inputs and targets of the last positions of a stream."""
    return stream[None, -length - 1 : -1], stream[None, len(stream) - charged :]


@examples(max_examples=60, deadline=None)
@given(
    pieces=streams, order=orders, lead=st.integers(0, 3), rules=st.sampled_from(["pr779", "pr940"])
)
def test_hashed_counts_and_ratios_are_the_plain_ones(
    pieces: list[list[int]], order: int, lead: int, rules: str
) -> None:
    order = min(order, 7) if rules == "pr940" else order
    settings = replace(
        Settings(), vocab_size=VOCAB_SIZE, ngram_buckets=64, ngram_max_order=order, ngram_hash=rules
    )
    plain, quick = HashedTables(settings), QuickHashedTables(settings)
    for piece in pieces:
        tokens = np.array(piece, dtype=np.int64)
        for tables in (plain, quick):
            tables.update(tokens, min(lead, len(tokens)))
    for one in plain.orders:
        assert np.array_equal(plain.context_counts[one], quick.context_counts[one])
        assert np.array_equal(plain.full_counts[one], quick.full_counts[one])
    assert plain.total == quick.total
    stream = np.array([*chain(*pieces), 1, 2, 3])
    for charged in {1, len(stream) // 2, len(stream) - 1} - {0}:
        inputs, targets = stream[None, :-1], stream[None, len(stream) - charged :]
        same_look_ups(plain, quick, np.repeat(inputs, 3, 0), np.repeat(targets, 3, 0))


def same_look_ups(
    plain: HashedTables, quick: HashedTables, inputs_BL: Ints, targets_BT: Ints
) -> None:
    expected, got = plain.look_up(inputs_BL, targets_BT), quick.look_up(inputs_BL, targets_BT)
    assert got.probs.equal(expected.probs)
    assert got.valid.equal(expected.valid)
    ratio, found = quick.backed_off(inputs_BL, targets_BT)
    expected_ratio, expected_found = plain.backed_off(inputs_BL, targets_BT)
    assert ratio.equal(expected_ratio)
    assert found.equal(expected_found)


def test_cores_share_long_chunks_and_give_what_one_gives() -> None:
    settings = replace(Settings(), vocab_size=1024, ngram_buckets=2**16)
    plain, quick, stream = HashedTables(settings), QuickHashedTables(settings), text(60_000, 1024)
    for tables in (plain, quick):
        tables.update(stream[:40_000])
    assert all(np.array_equal(plain.full_counts[n], quick.full_counts[n]) for n in plain.orders)
    same_look_ups(plain, quick, *window(stream, 30_000, 30_050))
    rows = stream.reshape(600, 100)
    same_look_ups(plain, quick, rows, rows[:, -90:])


def test_frozen_tables_refuse_to_count() -> None:
    tables = QuickHashedTables(replace(Settings(), vocab_size=10, ngram_buckets=64))
    tables.frozen = True
    with pytest.raises(TrainingError, match="frozen tables must not count, got 9 tokens"):
        tables.update(np.arange(9))


def same_distributions(
    plain: ExactCache, quick: QuickExactCache, inputs_BL: Ints, targets_BT: Ints
) -> None:
    tokens = plain.context_tokens
    contexts = contexts_of(inputs_BL, targets_BT.shape[1], tokens).reshape(-1, tokens)
    targets, every = targets_BT.reshape(-1), np.arange(targets_BT.size)
    got = quick.probabilities(inputs_BL, targets_BT).reshape(-1)
    assert np.array_equal(plain.distribution(contexts)[every, targets], got)
    probs_BTN, seen_BTN = quick.orders(inputs_BL, targets_BT)
    ids = plain.context_ids(contexts)
    for index, probs in enumerate(plain.orders(ids)):
        assert np.array_equal(probs[every, targets], probs_BTN[..., index].reshape(-1))
    assert np.array_equal(plain.context_counts(ids), seen_BTN.reshape(len(targets), -1))


@examples(max_examples=60, deadline=None)
@given(
    pieces=streams,
    order=orders,
    charged=st.integers(1, 40),
    other=st.booleans(),
    expected=st.sampled_from([0, 100]),
)
def test_exact_charges_are_those_of_whole_distributions(
    pieces: list[list[int]], order: int, charged: int, other: bool, expected: int
) -> None:
    plain, quick = ExactCache(VOCAB_SIZE, order), QuickExactCache(VOCAB_SIZE, order, expected)
    stream = np.array([*chain(*pieces), 1, 2, 3])
    charged = min(charged, len(stream) - 1)
    inputs, targets = np.repeat(stream[None, :-1], 2, 0), np.repeat(stream[None, -charged:], 2, 0)
    if other:  # targets that are not the next inputs, as when every token is asked for
        targets = (targets + 1) % VOCAB_SIZE
    same_distributions(plain, quick, inputs, targets)
    for piece in pieces:
        for cache in (plain, quick):
            cache.update(np.array(piece, dtype=np.int64))
    assert quick.used == [len(level.keys) for level in plain.levels]
    same_distributions(plain, quick, inputs, targets)


def test_exact_tables_grow_and_pieces_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick_exact, "PIECE", 200)
    monkeypatch.setattr(quick_exact, "SHARED_TOKENS", 500)
    plain, quick, stream = ExactCache(64, 7), QuickExactCache(64, 7), text(3000, 64)
    for first in range(0, 3000, 1000):
        for cache in (plain, quick):
            cache.update(stream[first : first + 1000])
        assert quick.used == [len(level.keys) for level in plain.levels]
        same_distributions(plain, quick, *window(stream, 900, 950))
    same_distributions(plain, quick, stream.reshape(60, 50), stream.reshape(60, 50)[:, -40:])


@pytest.mark.parametrize("expected", [0, 20_000])
def test_memory_is_at_most_forty_bytes_a_token_an_order(expected: int) -> None:
    stream = np.random.default_rng(0).integers(0, 1024, 20_000)  # hardly an n-gram comes again
    for tokens in (5_000, 12_000, 20_000):
        cache = QuickExactCache(1024, 7, min(expected, tokens))
        cache.update(stream[:tokens])
        assert cache.table_bytes <= 40 * tokens * 6


def test_a_context_may_be_followed_by_every_token_of_the_largest_vocabulary() -> None:
    V = 1 << 16
    stream = np.zeros(2 * V, dtype=np.int64)
    stream[1::2] = np.arange(V)
    plain, quick = ExactCache(V, 2), QuickExactCache(V, 2)
    for cache in (plain, quick):
        cache.update(stream)
    same_distributions(plain, quick, np.array([[0], [0], [7]]), np.array([[5], [0], [0]]))


def test_what_does_not_fit_in_a_slot_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bits, got a vocabulary of 65537"):
        QuickExactCache(65_537, 2)
    cache = QuickExactCache(4, 2)
    cache.total = 2**32 - 3
    with pytest.raises(ValueError, match="at most 4294967294 tokens, got 4294967293 and 2"):
        cache.update(np.array([1, 2]))


@pytest.mark.parametrize("plain_of", [one for one in QUICK if one is not Oracle])
@pytest.mark.parametrize("counted", [0, 99, 4000])
def test_mixers_charge_alike(plain_of: type, counted: int) -> None:
    settings = replace(Settings(), vocab_size=64, ngram_buckets=2**12)
    stream = text(4600, 64)
    mixers = [plain_of(settings), QUICK[plain_of](settings)]
    torch.manual_seed(0)
    output = Output(3 * torch.randn(10, 40, 64), torch.randn(10, 40, 4), torch.randn(10, 40, 7))
    rows = stream[4000:].reshape(10, 60)
    for mixer in mixers:
        mixer.update(stream[:counted])
    charges = [mixer.nats(output, rows[:, :-1], rows[:, -40:]) for mixer in mixers]
    # The weight follows the logits in 32-bit floats, whose sums depend on the batch.
    torch.testing.assert_close(charges[0], charges[1].double(), rtol=0, atol=1e-6)
    every = [mixer.log_probs(output, rows[:, :-1]) for mixer in mixers]
    assert np.abs(every[0] - every[1]).max() < 1e-6


def test_long_streams_are_scored_with_fast_parts_and_short_ones_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = replace(Settings(), vocab_size=16, ngram_buckets=64)
    for variant in VARIANTS.values():
        assert engine.quickened(variant.system, engine.MIN_TOKENS - 1) is variant.system
        quick = engine.quickened(variant.system, engine.MIN_TOKENS)
        mixer, plain = quick.mixer_of(settings), variant.system.mixer_of(settings)
        assert type(mixer) in (QUICK[type(plain)], type(plain))
        caches = [getattr(one, "tables", None) or vars(one)["cache"] for one in (mixer, plain)]
        assert type(caches[0]) is not type(caches[1])
        checked = quick.mixer_of(replace(settings, check_distributions=True))
        assert type(checked) is type(plain)
        assert (quick.teacher_of is None) == (variant.system.teacher_of is None)
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    assert engine.quickened(variant.system, engine.MIN_TOKENS) is variant.system


@examples(max_examples=30, deadline=None)
@given(pieces=streams, order=st.integers(2, 7), rules=st.sampled_from(["pr779", "pr940"]))
def test_tensors_count_and_answer_as_the_plain_tables(
    pieces: list[list[int]], order: int, rules: str
) -> None:
    settings = replace(
        Settings(), vocab_size=VOCAB_SIZE, ngram_buckets=64, ngram_max_order=order, ngram_hash=rules
    )
    plain, tensors = HashedTables(settings), TensorTables(settings, torch.device("cpu"))
    for piece in pieces:
        lead = min(2, len(piece))
        plain.update(np.array(piece, dtype=np.int64), lead)
        tensors.update(torch.tensor(piece, dtype=torch.int64), lead)
    counts = zip(plain.context_counts.values(), tensors.context_counts_NM.numpy(), strict=True)
    assert all(np.array_equal(*each) for each in counts)
    counts = zip(plain.full_counts.values(), tensors.full_counts_NM.numpy(), strict=True)
    assert all(np.array_equal(*each) for each in counts)
    assert plain.total == tensors.total
    stream = np.array([*chain(*pieces), 1, 2, 3])
    inputs, targets = np.repeat(stream[None, :-1], 2, 0), np.repeat(stream[None, -2:], 2, 0)
    expected = plain.look_up(inputs, targets)
    got = tensors.look_up(torch.from_numpy(inputs), torch.from_numpy(targets))
    assert got.probs.equal(expected.probs)
    assert got.valid.equal(expected.valid)
