from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from reference_impl.config import Settings
from reference_impl.data import HEADER_BYTES, find_shards, read_shard, write_shard
from reference_impl.errors import DataError, TrainingError
from reference_impl.mixture.gate import Lookup
from reference_impl.mixture.losses import GatedObjective, training_loss
from reference_impl.model.gpt import Output
from reference_impl.ngram.exact import DISCOUNT
from reference_impl.ngram.hashed import GatedHashedMixer, HashedTables
from reference_impl.ngram.held_out import HeldOutCounts
from reference_impl.ngram.oracle import Oracle, values_of

VOCAB_SIZE = 6
MAX_ORDER = 4


@pytest.fixture
def gated(tmp_path: Path) -> Settings:
    rng = np.random.default_rng(0)
    for index in range(2):
        tokens = (VOCAB_SIZE * rng.random(150) ** 2).astype(np.int64)
        write_shard(tmp_path / f"fineweb_train_{index:06d}.bin", tokens)
    return replace(
        Settings(),
        data_path=str(tmp_path),
        vocab_size=VOCAB_SIZE,
        ngram_buckets=256,
        ngram_max_order=MAX_ORDER,
        mixture_loss_weight=0.1,
    )


def shards_of(settings: Settings) -> list[Path]:
    return find_shards(Path(settings.data_path), "fineweb_train_*.bin")


def test_a_published_prefill_reads_eight_billion_and_some_headers(tmp_path: Path) -> None:
    shard = tmp_path / "fineweb_train_000000.bin"
    with shard.open("wb") as file:
        file.truncate(HEADER_BYTES + 2 * 100_000_000)  # sparse: no disk is used
    assert 80 * len(values_of(shard)) == 8_000_040_960


def test_the_header_is_counted_as_tokens(gated: Settings) -> None:
    oracle = Oracle(gated)
    assert oracle.prefill() == 2 * (512 + 150)
    expected = HashedTables(gated)
    for shard in shards_of(gated):
        header = np.frombuffer(shard.read_bytes()[:HEADER_BYTES], dtype="<u2").astype(np.int64)
        expected.update(np.concatenate([header, read_shard(shard, VOCAB_SIZE)]))
    tables = oracle.carried()
    for order in tables.orders:
        assert np.array_equal(tables.context_counts[order], expected.context_counts[order])
        assert np.array_equal(tables.full_counts[order], expected.full_counts[order])


def test_ngrams_across_pieces_are_lost(gated: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reference_impl.ngram.oracle.PIECE_VALUES", 100)
    oracle = Oracle(gated)
    assert oracle.prefill() == 1324
    tables = oracle.carried()
    # Two shards of 662 values, each in seven pieces.
    counted = {order: int(tables.full_counts[order].sum()) for order in tables.orders}
    assert counted == {order: 1324 - 14 * (order - 1) for order in tables.orders}


def test_the_oracle_is_only_read_until_an_evaluation_takes_it(gated: Settings) -> None:
    oracle = Oracle(gated)
    oracle.prefill()
    tokens = read_shard(shards_of(gated)[0], VOCAB_SIZE)
    before = oracle.look_up(tokens[None, :-1], tokens[None, 1:])
    with pytest.raises(TrainingError, match="frozen tables must not count"):
        oracle.prefill()
    again = oracle.look_up(tokens[None, :-1], tokens[None, 1:])
    assert before.probs.equal(again.probs)
    mixer = GatedHashedMixer(gated, oracle.carried())
    mixer.update(tokens)
    assert mixer.tables.total == 1324 + 150
    assert not oracle.look_up(tokens[None, :-1], tokens[None, 1:]).probs.equal(before.probs)


def test_a_folder_without_shards_is_refused(gated: Settings, tmp_path: Path) -> None:
    empty = replace(gated, data_path=str(tmp_path / "nowhere"))
    for teacher in (Oracle(empty), HeldOutCounts(empty)):
        with pytest.raises(DataError, match="must hold at least one fineweb_train"):
            teacher.prefill()


def slow_held_out(tokens: list[int], place: int) -> tuple[list[float], list[bool]]:
    """Each order's probability of the token at a place, from the text without that token."""
    followers: dict[tuple[int, ...], Counter[int]] = {}
    for end, token in enumerate(tokens):
        for length in range(min(end, MAX_ORDER - 1) + 1):
            followers.setdefault(tuple(tokens[end - length : end]), Counter())[token] += 1
    target, prob = tokens[place], 1 / VOCAB_SIZE
    probs, valid = [], []
    for length in range(MAX_ORDER):
        seen = Counter[int]()
        if length <= place:
            seen = followers[tuple(tokens[place - length : place])] - Counter([target])
        total = sum(seen.values())
        if total:
            kept = max(seen[target] - DISCOUNT, 0)
            prob = (kept + DISCOUNT * len(seen) * prob) / total
        probs.append(prob)
        valid.append(total >= 2)
    return probs[1:], valid[1:]


def held_out(tokens: list[int]) -> HeldOutCounts:
    counts = HeldOutCounts(replace(Settings(), vocab_size=VOCAB_SIZE, ngram_max_order=MAX_ORDER))
    counts.cache.update(np.array(tokens, dtype=np.int64))
    return counts


@examples(max_examples=40)
@given(tokens=st.lists(st.integers(0, VOCAB_SIZE - 1), min_size=2, max_size=60))
def test_a_token_is_judged_as_if_it_had_not_been_counted(tokens: list[int]) -> None:
    row = np.array([tokens])
    lookup = held_out(tokens).look_up(row[:, :-1], row[:, 1:])
    for place in range(1, len(tokens)):
        probs, valid = slow_held_out(tokens, place)
        assert lookup.probs[0, place - 1].tolist() == pytest.approx(probs, abs=1e-12)
        assert lookup.valid[0, place - 1].tolist() == valid


def test_whether_a_context_is_known_does_not_depend_on_the_target() -> None:
    counts = held_out([1, 2, 1, 2, 1, 3, 1, 2, 4, 5, 4, 5])
    rows = np.tile([1, 2, 1], (VOCAB_SIZE, 1))
    targets = np.stack([[2, 1, token] for token in range(VOCAB_SIZE)])
    valid = counts.look_up(rows, targets).valid[:, -1]
    assert valid.equal(valid[:1].expand(VOCAB_SIZE, -1))


def test_rows_are_looked_up_alike_in_any_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = np.random.default_rng(0).integers(0, VOCAB_SIZE, 121)
    counts = held_out(tokens.tolist())
    inputs, targets = tokens[:-1].reshape(4, 30), tokens[1:].reshape(4, 30)
    whole = counts.look_up(inputs, targets)
    monkeypatch.setattr("reference_impl.ngram.held_out.MAX_ROWS", 7)
    parts = counts.look_up(inputs, targets)
    assert parts.probs.equal(whole.probs)
    assert parts.valid.equal(whole.valid)


def test_the_held_out_counts_take_tokens_only_up_to_their_room(
    gated: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert HeldOutCounts(gated).prefill() == 300
    monkeypatch.setattr("reference_impl.ngram.held_out.MAX_TOKENS", 200)
    counts = HeldOutCounts(gated)
    assert counts.prefill() == 200
    first, second = (read_shard(shard, VOCAB_SIZE) for shard in shards_of(gated))
    expected = held_out([*first.tolist(), *second[:50].tolist()])
    rows = np.lib.stride_tricks.sliding_window_view(first, MAX_ORDER - 1)
    assert np.array_equal(counts.cache.distribution(rows), expected.cache.distribution(rows))


@pytest.mark.parametrize("teacher_of", [Oracle, HeldOutCounts])
def test_the_objective_is_the_loss_of_what_the_teacher_says(
    gated: Settings, teacher_of: type[Oracle] | type[HeldOutCounts]
) -> None:
    teacher = teacher_of(gated)
    teacher.prefill()
    tokens = torch.from_numpy(read_shard(shards_of(gated)[0], VOCAB_SIZE)[:61])
    inputs, targets = tokens[:-1].view(2, 30), tokens[1:].view(2, 30)
    logits = torch.randn(2, 30, VOCAB_SIZE)
    output = Output(logits, logits, torch.randn(2, 30, MAX_ORDER))
    loss = GatedObjective(teacher, gated)(output, inputs, targets)
    lookup: Lookup = teacher.look_up(inputs.numpy(), targets.numpy())
    assert loss.equal(training_loss(output, targets, lookup, gated))
    assert lookup.valid.float().mean() > 0.3


def test_the_published_oracle_knows_its_tokens_better_than_held_out_counts_do(
    gated: Settings,
) -> None:
    tokens = read_shard(shards_of(gated)[0], VOCAB_SIZE)
    probs = []
    for teacher in (Oracle(gated), HeldOutCounts(gated)):
        teacher.prefill()
        lookup = teacher.look_up(tokens[None, :-1], tokens[None, 1:])
        probs.append(lookup.backed_off(1 / VOCAB_SIZE)[0].mean().item())
    assert probs[0] > probs[1] + 0.1
