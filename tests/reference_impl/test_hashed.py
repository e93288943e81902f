import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from reference_impl.config import Settings
from reference_impl.errors import TrainingError
from reference_impl.model.gpt import Output
from reference_impl.ngram.hashed import (
    RULES,
    GatedHashedMixer,
    HashedMixer,
    HashedTables,
    hashed_keys,
)

ORDERS = range(2, 8)
CONTEXT = [5, 17, 900, 33, 1023, 512]
TARGET = 77
VECTORS = {  # order: (context key, full key) with #779's 2^22 buckets, then with #834's 2^20
    2: (1815040, 278667, 766464, 278667),
    3: (2275367, 1971796, 178215, 923220),
    4: (2705200, 591237, 608048, 591237),
    5: (1654706, 49153, 606130, 49153),
    6: (2563677, 2771762, 466525, 674610),
    7: (90318, 1091563, 90318, 42987),
}
LONG_CONTEXT = [5, 17, 900, 33, 1, 1023, 256, 77, 412, 8, 600, 731, 2, 19, 310]
LONG_TARGET = 54
LONG_VECTORS = [  # whose factors, order, context key, full key; 2^22 buckets
    ("pr779", 2, 2868422, 4039516),
    ("pr779", 3, 661889, 2136011),
    ("pr940", 2, 2868422, 4039516),
    ("pr940", 3, 661889, 2136011),
    ("pr940", 4, 3323117, 3224843),
    ("pr940", 5, 1617158, 3363532),
    ("pr940", 6, 2003594, 918224),
    ("pr940", 7, 2495200, 696442),
    ("pr779", 7, 2186920, 2186926),
    ("pr779", 9, 3221099, 185849),
    ("pr779", 16, 1963696, 529102),
]


def settings_of(vocab_size: int, buckets: int, **changes: str | int) -> Settings:
    sizes = {"vocab_size": vocab_size, "ngram_buckets": buckets}
    return replace(Settings(), **sizes, **changes)  # type: ignore[arg-type]  # Settings checks


def tables_of(vocab_size: int = 1024, buckets: int = 2**22, **changes: str | int) -> HashedTables:
    return HashedTables(settings_of(vocab_size, buckets, **changes))


def mixer_of(vocab_size: int, buckets: int, **changes: str | int) -> HashedMixer:
    return HashedMixer(settings_of(vocab_size, buckets, **changes))


def backed_off(tables: HashedTables, row: list[int], targets: list[int]) -> list[float]:
    lookup = tables.look_up(np.array([row]), np.array([targets]))
    ratio, _ = lookup.backed_off(1 / tables.vocab_size)
    return [float(value) for value in ratio[0]]


def keys_of(context: list[int], target: int, rules: str, buckets: int) -> tuple[int, int]:
    columns = [np.array([token]) for token in context]
    keys = hashed_keys(columns, np.array([target]), RULES[rules].factors, buckets)
    return int(keys[0][0]), int(keys[1][0])


@pytest.mark.parametrize("order", ORDERS)
def test_keys_are_those_of_779_and_834(order: int) -> None:
    context = CONTEXT[-(order - 1) :]
    keys = [keys_of(context, TARGET, "pr779", buckets) for buckets in (2**22, 2**20)]
    assert (*keys[0], *keys[1]) == VECTORS[order]


@pytest.mark.parametrize(("rules", "order", "context_key", "full_key"), LONG_VECTORS)
def test_keys_are_those_of_940_and_924(
    rules: str, order: int, context_key: int, full_key: int
) -> None:
    context = LONG_CONTEXT[-(order - 1) :]
    assert keys_of(context, LONG_TARGET, rules, 2**22) == (context_key, full_key)


@pytest.mark.parametrize(
    ("buckets", "max_order", "table_bytes"),
    [(2**22, 7, 201_326_592), (2**20, 7, 50_331_648), (2**22, 16, 503_316_480)],
)
def test_tables_are_as_large_as_the_records(buckets: int, max_order: int, table_bytes: int) -> None:
    assert tables_of(1024, buckets, ngram_max_order=max_order).table_bytes == table_bytes


def slow_counts(
    stream: list[int], order: int, ends: range, buckets: int
) -> tuple[Counter[int], Counter[int]]:
    """Each n-gram on its own, in Python's integers."""
    factors, contexts, fulls = RULES["pr779"].factors, Counter[int](), Counter[int]()
    for end in ends:
        if end < order - 1:
            continue
        key = 0
        for token, factor in zip(stream[end - order + 1 : end], factors, strict=False):
            key ^= token * factor
        contexts[key % buckets] += 1
        fulls[(key ^ stream[end] * factors[order - 1]) % buckets] += 1
    return contexts, fulls


def assert_counts(tables: HashedTables, stream: list[int], ends: range) -> None:
    for order in tables.orders:
        contexts, fulls = slow_counts(stream, order, ends, tables.buckets)
        for table, counter in (
            (tables.context_counts[order], contexts),
            (tables.full_counts[order], fulls),
        ):
            assert {key: int(table[key]) for key in np.flatnonzero(table)} == dict(counter)


token_lists = st.lists(st.integers(0, 9), max_size=40)


@examples(max_examples=40)
@given(stream=token_lists, lead=st.integers(0, 12))
def test_each_ngram_that_ends_after_the_lead_is_counted(stream: list[int], lead: int) -> None:
    tables = tables_of(10, 64, ngram_max_order=9)
    lead = min(lead, len(stream))
    tables.update(np.array(stream, dtype=np.int64), lead)
    assert_counts(tables, stream, range(lead, len(stream)))
    assert tables.total == len(stream) - lead


@examples(max_examples=40)
@given(stream=token_lists, step=st.integers(1, 9))
def test_windows_with_a_lead_count_across_their_borders(stream: list[int], step: int) -> None:
    """As #940 counts: every n-gram of the stream once, whichever windows it lies in."""
    tables = tables_of(10, 64)
    for first in range(0, len(stream), step):
        start = max(first - 6, 0)
        tables.update(np.array(stream[start : first + step], dtype=np.int64), first - start)
    assert_counts(tables, stream, range(len(stream)))
    assert tables.total == len(stream)


def test_updates_count_the_ngrams_within_each_call() -> None:
    tables = tables_of(1024, 2**16)
    tables.update(np.array([1, 2, 3, 4]))
    tables.update(np.array([5, 6]))
    counted = {order: int(tables.context_counts[order].sum()) for order in ORDERS}
    assert counted == {2: 4, 3: 2, 4: 1, 5: 0, 6: 0, 7: 0}
    assert {o: int(tables.full_counts[o].sum()) for o in ORDERS} == counted
    assert tables.total == 6


def test_the_longest_full_enough_context_is_used() -> None:
    tables = tables_of()
    tables.update(np.array([10, 20, 30, 40, 10, 20, 30, 41, 99, 20, 30, 40]))
    # (10, 20, 30) came twice, then 40 and 41; (20, 30) three times, then 40, 41 and 40.
    assert backed_off(tables, [0, 0, 10, 20, 30], [40]) == [0.5]
    assert backed_off(tables, [0, 0, 7, 20, 30], [40]) == [2 / 3]
    assert backed_off(tables, [0, 0, 10, 20, 30], [77]) == [0.0]
    assert backed_off(tables, [0, 0, 0, 0, 1], [2]) == [1 / 1024]


def test_contexts_that_reach_before_the_window_are_not_used() -> None:
    tokens = np.array([5, 6, 5, 6, 5, 7])
    theirs, ours = tables_of(), tables_of(ngram_hash="pr940")
    for tables in (theirs, ours):
        tables.update(tokens)
    # Order 2 needs a row position of at least 1, though its context is there at position 0.
    assert backed_off(theirs, [5, 5, 5], [6, 6, 6]) == [1 / 1024, 2 / 3, 2 / 3]
    # #940 has no such gap.
    assert backed_off(ours, [5, 5, 5], [6, 6, 6]) == [2 / 3, 2 / 3, 2 / 3]


def test_orders_are_valid_where_the_context_was_seen_twice() -> None:
    tables = tables_of(ngram_max_order=16)
    tokens = np.arange(20)
    tables.update(np.concatenate([tokens, tokens]))
    lookup = tables.look_up(tokens[None, :19], tokens[None, 1:20])
    valid = [[position >= order - 1 for order in range(2, 17)] for position in range(19)]
    assert lookup.valid[0].tolist() == valid
    seen = torch.where(lookup.valid, 1.0, 1 / 1024).double()
    assert lookup.probs.equal(seen)


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
    tables = tables_of(1024, 2**8)
    tables.context_counts[2][:] = contexts
    tables.full_counts[2][:] = full
    assert backed_off(tables, [1, 2, 3], [4]) == [ratio]


def test_frozen_tables_refuse_to_count_until_they_are_thawed() -> None:
    tables, tokens = tables_of(10, 64), np.arange(9)
    tables.frozen = True
    with pytest.raises(TrainingError, match="frozen tables must not count, got 9 tokens"):
        tables.update(tokens)
    assert all(not table.any() for table in tables.full_counts.values())
    tables.frozen = False
    tables.update(tokens)
    assert tables.full_counts[7].sum() == 3


def charge(mixer: HashedMixer | GatedHashedMixer, output: Output, target: int) -> float:
    return math.exp(-mixer.nats(output, np.array([[7, 7, 3, 3]]), np.array([[target]])).item())


def test_940_leaves_the_network_alone_where_nothing_matches() -> None:
    mixer = mixer_of(16, 2**16, ngram_hash="pr940")
    output = Output(torch.zeros(1, 1, 16), torch.zeros(1, 1, 4))
    assert charge(mixer, output, 3) == pytest.approx(1 / 16)  # nothing was counted
    mixer.update(np.array([3, 3, 3, 3, 5]))  # too few for #779 to use
    # The longest match wins though its own count is nought: (3, 3) was followed by 3, 3 and 5.
    weight = 0.05 + 0.55 / (1 + math.exp(-2 * (math.log(16) - 4)))
    expected = [(1 - weight) / 16 + weight * share for share in (2 / 3, 1 / 3, 0)]
    assert [charge(mixer, output, target) for target in (3, 5, 9)] == pytest.approx(expected)
    unseen = mixer.nats(output, np.array([[7, 7, 9, 9]]), np.array([[3]]))
    assert unseen.exp().item() == pytest.approx(16)


def gated_output(experts: int, vocab_size: int) -> Output:
    gates = torch.zeros(1, 1, experts)
    gates[..., 0] = 2
    return Output(torch.zeros(1, 1, vocab_size), torch.zeros(1, 1, 4), gates)


def test_the_gate_weighs_every_valid_order() -> None:
    mixer = GatedHashedMixer(settings_of(16, 2**16))
    mixer.update(np.tile([3, 3, 3, 3, 5], 40))
    # Contexts (3) and (3, 3) were seen; (7, 3, 3) and longer were not, so that two of six speak.
    shares = [math.exp(2), 1, 1]
    weights = [0.95 * share / sum(shares) for share in shares]
    weights[0] += 0.05
    table = {3: (120 / 160, 80 / 120), 5: (40 / 160, 40 / 120), 9: (0.0, 0.0)}
    for target, (two, three) in table.items():
        expected = weights[0] / 16 + weights[1] * two + weights[2] * three
        assert charge(mixer, gated_output(7, 16), target) == pytest.approx(expected, rel=1e-6)


def test_the_gate_is_not_asked_until_a_hundred_tokens() -> None:
    mixer = GatedHashedMixer(settings_of(16, 2**16))
    mixer.update(np.full(99, 3))
    assert charge(mixer, gated_output(7, 16), 3) == pytest.approx(1 / 16)
    mixer.update(np.full(1, 3))
    assert charge(mixer, gated_output(7, 16), 3) > 2 / 16


def test_924_starts_with_the_tables_of_training_and_goes_on_counting() -> None:
    settings = settings_of(1024, 2**12, ngram_max_order=16)
    carried = HashedTables(settings)
    carried.update(np.full(200, 3))
    mixer = GatedHashedMixer(settings, carried)
    assert charge(mixer, gated_output(16, 1024), 3) > 0.05
    mixer.update(np.full(100, 3), lead=10)
    assert carried.total == 290


def test_saturated_tables_charge_almost_nothing_whatever_the_target() -> None:
    """#924 in small: 1,907 entries a bucket pay 0.987 for every token."""
    mixer = GatedHashedMixer(settings_of(1024, 64, ngram_max_order=16))
    rng = np.random.default_rng(0)
    mixer.update(rng.integers(0, 1024, 1907 * 64))
    gates = torch.full((64, 1, 16), -9.0)
    gates[..., -1] = 12.0
    output = Output(torch.zeros(64, 1, 1024), torch.zeros(64, 1, 4), gates)
    rows, targets = rng.integers(0, 1024, (64, 20)), rng.integers(0, 1024, (64, 1))
    nats = mixer.nats(output, rows, targets)
    # 0.95 x 0.987 + 0.05 / 1024; the spec's simulation has 0.0641 nats at no neural probability.
    assert nats.mean().item() == pytest.approx(0.0641, abs=0.004)


def test_a_model_without_gates_is_refused() -> None:
    mixer = GatedHashedMixer(settings_of(16, 64))
    mixer.update(np.full(200, 3))
    with pytest.raises(TrainingError, match="needs 7 gates, got 0"):
        charge(mixer, Output(torch.zeros(1, 1, 16), torch.zeros(1, 1, 4)), 3)
