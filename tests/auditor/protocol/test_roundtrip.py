import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import CannotMeasure, SubmissionError
from auditor.protocol.bitstream import digest, line_of
from auditor.protocol.host import NoDistribution, Room
from auditor.protocol.roundtrip import Encoded, decode, encode, read_bitstream
from auditor.run.sandbox import missing
from tests.systems.protocol import VOCAB_SIZE, system

pytestmark = pytest.mark.skipif(
    missing("bubblewrap") is not None, reason=f"no sandbox here: {missing('bubblewrap')}"
)
ROOM = Room(seconds=60)
TOKENS = np.random.default_rng(5).integers(VOCAB_SIZE, size=401).astype(np.uint16)


def silent(doing: str, done: float) -> None:
    assert 0 <= done <= 1


@pytest.fixture(scope="module")
def encoded() -> Encoded:
    done = encode(system(), TOKENS, ROOM, silent)
    assert isinstance(done, Encoded)
    return done


def pair_counts_bits() -> float:
    """The code length by hand: counts grow only at the end of each window."""
    counts, bits, counted = np.ones((VOCAB_SIZE, VOCAB_SIZE)), 0.0, 0
    stops = [16, *range(24, 401, 8)]
    for stop in stops:
        for position in range(counted, stop):
            row = counts[TOKENS[position]]
            bits -= math.log2(row[TOKENS[position + 1]] / row.sum())
        for position in range(counted, stop):
            counts[TOKENS[position], TOKENS[position + 1]] += 1
        counted = stop
    return bits


def test_the_text_comes_back_from_bits_that_are_no_more_than_it_costs(encoded):
    assert encoded.ideal_bits == pytest.approx(pair_counts_bits())
    assert encoded.ideal_bits <= encoded.bits <= encoded.ideal_bits + 64
    decoded = decode(system(), encoded.to_bytes(), ROOM, silent)
    assert not isinstance(decoded, NoDistribution)
    assert np.array_equal(decoded, TOKENS)


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_a_flipped_byte_of_the_bitstream_is_named(encoded, place, flip):
    data = bytearray(encoded.to_bytes())
    data[place % len(data)] ^= flip
    in_words = place % len(data) >= len(data) - len(encoded.words)
    with pytest.raises(SubmissionError, match="the bitstream: expected") as caught:
        read_bitstream(bytes(data))
    if in_words:
        assert "its words have been changed" in str(caught.value)


def test_a_file_that_does_not_say_how_long_it_is_can_be_read_and_may_not_be_cut(encoded):
    header = {k: v for k, v in encoded.header.items() if k not in ("words_bytes", "header_sha256")}
    header["header_sha256"] = digest(line_of(header))
    data = line_of(header) + encoded.words
    assert read_bitstream(data) == (header, encoded.words)
    with pytest.raises(SubmissionError, match="its words have been changed"):
        read_bitstream(data[:-4])


@pytest.mark.parametrize("data", [b"", b"{}", b"{}\n", b"[]\n", b"\xff\n", b"[" * 10**5 + b"\n"])
def test_what_is_no_bitstream_is_said(data):
    with pytest.raises(SubmissionError, match="the bitstream: expected strict-prefix/bitstream/v1"):
        read_bitstream(data)


def test_another_system_is_named_before_it_runs(encoded):
    other = system("raises")
    changed = {"system.py": type(other.files["system.py"])(b"", "1" * 64)}
    other = type(other)("record", changed)
    with pytest.raises(SubmissionError, match=r"system.py: expected the file that the text was"):
        decode(other, encoded.to_bytes(), ROOM, silent)


@pytest.mark.parametrize(
    ("twin", "total"), [("unnormalised", 2.0), ("no-numbers", None), ("wrong-shape", None)]
)
def test_what_is_no_distribution_cannot_be_encoded(twin, total):
    broken = encode(system(twin), TOKENS, ROOM, silent)
    assert isinstance(broken, NoDistribution)
    assert broken.total == (total and pytest.approx(total))
    assert broken.position == {"unnormalised": 56}.get(twin, 0)
    assert "must" in broken.why


def test_a_system_that_does_not_repeat_itself_decodes_to_something_else():
    done = encode(system("never-the-same"), TOKENS, ROOM, silent)
    assert isinstance(done, Encoded)
    with pytest.raises(CannotMeasure, match="other tokens came out than went in"):
        decode(system("never-the-same"), done.to_bytes(), ROOM, silent)


@pytest.mark.parametrize(
    ("twin", "said", "seconds"),
    [
        ("raises", "expected to end with status 0 gave 1: OSError: no more", 60),
        ("knows-too-few", "ValueError: expected a vocabulary that has token 23, got 12", 60),
        ("hangs", "expected to end within 2 s still ran then", 2),
        ("leads-out", "left no result", 60),
    ],
)
def test_trouble_is_no_verdict(twin, said, seconds):
    with pytest.raises(CannotMeasure, match=said):
        encode(system(twin), TOKENS, Room(seconds=seconds), silent)


def test_a_folder_without_a_system_is_told_what_is_missing():
    empty = type(system())("record", {"README.md": system().files["system.py"]})
    with pytest.raises(SubmissionError, match=r"record: expected a system.py"):
        encode(empty, TOKENS, ROOM, silent)
