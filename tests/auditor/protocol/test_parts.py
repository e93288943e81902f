import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import SubmissionError
from auditor.protocol.child import coding
from auditor.protocol.child.distributions import TOTAL, NotADistribution, checked, table
from auditor.protocol.child.schedule import windows
from auditor.protocol.shards import read_stream
from auditor.run.workspace import write_shard
from reference_impl.windows import sliding_windows


@given(positions=st.integers(1, 300), length=st.integers(1, 40), stride=st.integers(1, 40))
def test_every_position_is_charged_once_with_all_the_input_there_is(positions, length, stride):
    stride = min(stride, length)
    made = list(windows(positions, length, stride))
    assert [p for w in made for p in range(w.first, w.stop)] == list(range(positions))
    assert all(w.stop - w.start == min(length, positions) for w in made)
    if positions >= length:
        theirs = [(w.start, w.first, w.stop) for w in sliding_windows(positions, length, stride)]
        assert [(w.start, w.first, w.stop) for w in made] == theirs


def test_a_stride_that_leaves_positions_out_is_refused():
    with pytest.raises(ValueError, match="must be 1 to 8 positions, got 9"):
        list(windows(100, 8, 9))


@settings(max_examples=200)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=50).filter(lambda row: sum(row) > 0))
def test_a_table_has_a_share_for_every_token_and_no_more_than_all(row):
    probs_V = np.array(row) / sum(row)
    shares_V = table(probs_V) * TOTAL
    assert np.array_equal(shares_V, np.round(shares_V))
    assert shares_V.min() >= 1
    assert shares_V.sum() == TOTAL
    # A token of any weight costs next to nothing more than it should.
    heavy = probs_V > 1e-3
    assert np.all(np.log2(probs_V[heavy] / table(probs_V)[heavy]) < 1e-3)


def test_rounding_is_forgiven_and_mass_is_not():
    even = np.full((2, 4), math.log(0.25))
    assert np.allclose(checked(even + 1e-5, 0, 2, 4), 0.25)
    with pytest.raises(
        NotADistribution, match=r"at position 8 must sum to 1, got 1.0010"
    ) as caught:
        checked(even + np.array([[0.0], [1e-3]]), 7, 2, 4)
    assert caught.value.position == 8
    with pytest.raises(NotADistribution, match="got inf"):
        checked(np.full((1, 4), 800.0), 0, 1, 4)


class NeverTheSame:
    """A system that answers otherwise each time it is asked."""

    vocab_size, window_tokens, stride = 32, 16, 8

    def __init__(self, seed: int) -> None:
        self._draw = np.random.default_rng(seed)

    def predict(self, tokens_T, start, last):
        return np.log(self._draw.dirichlet(np.full(self.vocab_size, 0.05), last) + 1e-300)

    def update(self, tokens_T, position):
        pass


def test_bits_of_other_distributions_decode_to_something_else_or_to_less():
    """The coder notices some of them itself; that is no trouble of the system's process."""
    lengths = set()
    for seed in range(40):
        tokens_T = np.random.default_rng(seed).integers(32, size=201)
        words, _ = coding.encode(NeverTheSame(seed), tokens_T, lambda done: None)
        words = np.asarray(words, dtype=np.uint32)
        same_T = coding.decode(NeverTheSame(seed), words, int(tokens_T[0]), 200, lambda done: None)
        assert np.array_equal(same_T, tokens_T)
        other_T = coding.decode(
            NeverTheSame(seed + 1000), words, int(tokens_T[0]), 200, lambda done: None
        )
        assert not np.array_equal(other_T, tokens_T)
        lengths.add(len(other_T))
    assert max(lengths) == 201
    assert min(lengths) < 201


def test_shards_are_one_stream(tmp_path):
    tokens = np.arange(30, dtype=np.uint16)
    write_shard(tmp_path / "fineweb_val_000000.bin", tokens[:20])
    write_shard(tmp_path / "fineweb_val_000001.bin", tokens[20:])
    assert np.array_equal(read_stream(tmp_path), tokens)
    assert np.array_equal(read_stream(tmp_path, 24), tokens[:25])
    assert np.array_equal(read_stream(tmp_path / "fineweb_val_000001.bin", 3), tokens[20:24])
    with pytest.raises(SubmissionError, match="expected 41 tokens, found 30"):
        read_stream(tmp_path, 40)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "magic number 20240520 and version 1, found 0 and 0"),
        (bytes(1024), "found 0 and 0"),
        (np.array([20240520, 1, 9], "<i4").tobytes() + bytes(1012), "expected 1042 bytes|1,042"),
    ],
)
def test_what_is_no_shard_is_said(tmp_path, data, said):
    (tmp_path / "x.bin").write_bytes(data)
    with pytest.raises(SubmissionError, match=said):
        read_stream(tmp_path / "x.bin")
    with pytest.raises(SubmissionError, match="at least one fineweb_val"):
        read_stream(tmp_path)
    with pytest.raises(SubmissionError, match="cannot be read"):
        read_stream(tmp_path / "absent.bin")
