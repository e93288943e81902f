from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impl.data import (
    HEADER_BYTES,
    TrainingStream,
    read_shard,
    validation_tokens,
    write_shard,
)
from reference_impl.errors import DataError


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "fineweb_val_000000.bin"
    write_shard(path, list(range(100)))
    return path


def rewrite(path: Path, word: int, value: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[4 * word : 4 * word + 4] = value.to_bytes(4, "little")
    path.write_bytes(raw)


@settings(max_examples=30)
@given(tokens=st.lists(st.integers(0, 65_535)))
def test_a_shard_reads_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, tokens: list[int]
) -> None:
    path = tmp_path_factory.mktemp("shard") / "shard.bin"
    write_shard(path, tokens)
    assert read_shard(path, 65_536).tolist() == tokens
    assert path.stat().st_size == HEADER_BYTES + 2 * len(tokens)


def test_tokens_that_need_more_than_16_bits_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 to 65535, got 1 to 65536"):
        write_shard(tmp_path / "shard.bin", [1, 65_536])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("word", "value", "message"),
    [
        (0, 7, "magic number 20240520, got 7"),
        (1, 2, "version 1, got 2"),
        (2, 99, "1222 bytes for its 99 tokens, got 1224"),
        (2, 101, "1226 bytes for its 101 tokens, got 1224"),
    ],
)
def test_a_wrong_header_is_named_with_both_numbers(
    shard: Path, word: int, value: int, message: str
) -> None:
    rewrite(shard, word, value)
    with pytest.raises(DataError, match=f"{shard}.*{message}"):
        read_shard(shard, 1024)


def test_a_file_shorter_than_the_header_is_refused(shard: Path) -> None:
    shard.write_bytes(b"short")
    with pytest.raises(DataError, match="header of 1024 bytes, got 5"):
        read_shard(shard, 1024)


def test_the_largest_id_must_be_below_the_vocabulary_size(shard: Path) -> None:
    assert read_shard(shard, 100).max() == 99
    with pytest.raises(DataError, match="vocabulary size 99, got 99"):
        read_shard(shard, 99)


@pytest.mark.parametrize(("window", "positions"), [(10, 90), (33, 99), (99, 99)])
def test_the_validation_stream_is_whole_windows_and_a_last_target(
    shard: Path, window: int, positions: int
) -> None:
    tokens = validation_tokens(shard.parent, 100, window_tokens=window)
    assert tokens.tolist() == list(range(positions + 1))


def test_validation_shards_are_joined_in_name_order(shard: Path) -> None:
    write_shard(shard.with_name("fineweb_val_000001.bin"), [5, 6, 7])
    assert validation_tokens(shard.parent, 100, window_tokens=102)[-3:].tolist() == [5, 6, 7]


def test_the_limit_counts_tokens_before_windows_are_cut(shard: Path) -> None:
    assert len(validation_tokens(shard.parent, 100, window_tokens=10, limit=51)) == 51
    assert len(validation_tokens(shard.parent, 100, window_tokens=10, limit=50)) == 41


def test_a_stream_below_one_window_is_refused(shard: Path) -> None:
    with pytest.raises(DataError, match=r"at least 101 tokens.*got 100"):
        validation_tokens(shard.parent, 100, window_tokens=100)


def test_a_folder_without_shards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"fineweb_train_\*.bin, got none"):
        TrainingStream(tmp_path, 100)


def test_training_reads_shards_in_order_and_starts_again(tmp_path: Path) -> None:
    write_shard(tmp_path / "fineweb_train_000001.bin", [4, 5])
    write_shard(tmp_path / "fineweb_train_000000.bin", [1, 2, 3])
    stream = TrainingStream(tmp_path, 100)
    taken = [stream.take(2).tolist(), stream.take(2).tolist(), stream.take(7).tolist()]
    assert taken == [[1, 2], [3, 4], [5, 1, 2, 3, 4, 5, 1]]


def test_training_shards_without_tokens_are_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "fineweb_train_000000.bin", np.empty(0, dtype=np.int64))
    with pytest.raises(DataError, match="must hold tokens, got 0"):
        TrainingStream(tmp_path, 100)
