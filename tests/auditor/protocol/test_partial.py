"""Stretches of a text as bits, and back, by a process that is told what comes before each."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import CannotMeasure, SubmissionError
from auditor.protocol.bitstream import sealed
from auditor.protocol.child.schedule import stretches, windows
from auditor.protocol.host import NoDistribution, Room
from auditor.protocol.partial import PartlyDecoded, PartlyEncoded, decode, encode
from auditor.run.sandbox import missing
from tests.systems.protocol import VOCAB_SIZE, charged_by, opened, system

needs_sandbox = pytest.mark.skipif(
    missing("bubblewrap") is not None, reason=f"no sandbox here: {missing('bubblewrap')}"
)
ROOM = Room(seconds=60)
TOKENS = np.random.default_rng(4).integers(VOCAB_SIZE, size=801).astype(np.uint16)


def silent(doing: str, done: float) -> None:
    assert 0 <= done <= 1


def encoded_by(twin: str | None, count: int = 4) -> PartlyEncoded:
    done = encode(system(twin), TOKENS, count, 40, ROOM, silent)
    assert isinstance(done, PartlyEncoded)
    return done


@given(
    positions=st.integers(1, 400),
    length=st.integers(1, 40),
    stride=st.integers(1, 40),
    tokens=st.integers(1, 90),
    count=st.integers(1, 60),
    seed=st.binary(min_size=1, max_size=4),
)
def test_stretches_are_whole_windows_and_fewer_are_some_of_more(
    positions, length, stride, tokens, count, seed
):
    stride = min(stride, length)
    drawn = stretches(positions, length, stride, tokens=tokens, count=count, seed=seed)
    bounds = {(w.first, w.stop) for w in windows(positions, length, stride)}
    firsts, stops = {first for first, _ in bounds}, {stop for _, stop in bounds}
    assert all(s.first in firsts and s.stop in stops and s.first < s.stop for s in drawn)
    assert all(a.stop <= b.first for a, b in itertools.pairwise(drawn))
    full = [s for s in drawn if s.first and s.stop < positions]
    assert all(tokens <= s.stop - s.first < tokens + stride for s in full)
    everything = stretches(positions, length, stride, tokens=tokens, count=10**6, seed=seed)
    assert sum(s.stop - s.first for s in everything) == positions
    fewer = stretches(positions, length, stride, tokens=tokens, count=1, seed=seed)
    assert set(fewer) <= set(drawn) <= set(everything)


@needs_sandbox
def test_stretches_come_back_and_cost_what_the_whole_pass_charges_there():
    done = encoded_by(None)
    nats_T = charged_by(opened(), TOKENS.astype(np.int64))
    for part in done.parts:
        there = nats_T[part.stretch.first : part.stretch.stop].sum() / math.log(2)
        assert part.ideal_bits == pytest.approx(there)
        assert part.ideal_bits <= 8 * part.words_bytes <= part.ideal_bits + 64
    assert done.coded == sum(part.positions for part in done.parts)
    assert done.share == done.coded / 800
    assert done.error_bits is not None
    decoded = decode(system(), done.to_bytes(), TOKENS, ROOM, silent)
    assert decoded == PartlyDecoded(done.coded, 4, 800)


@needs_sandbox
def test_a_decoder_holds_nothing_from_the_stretch_on():
    """It would say so: each stretch of a system that peeks where it can decodes as before."""
    source = (
        "import os\n_honest = load\n\ndef load(positions):\n"
        "    assert os.path.exists('../stream') or not [\n"
        "        name for name in os.listdir('..') if name not in ('record', 'tools', 'out', "
        "'task.json')\n    ]\n    return _honest(positions)\n"
    )
    honest = system().files["system.py"]
    peeking = type(system())(
        "record", {"system.py": type(honest)(honest.data + source.encode(), "3" * 64)}
    )
    done = encode(peeking, TOKENS, 2, 40, ROOM, silent)
    assert isinstance(done, PartlyEncoded)
    assert isinstance(decode(peeking, done.to_bytes(), TOKENS, ROOM, silent), PartlyDecoded)


@needs_sandbox
def test_what_looks_ahead_where_it_can_does_not_decode():
    """The encoder's process has the text, and this one uses it."""
    leaking = encode(system("leaks-a-bit"), TOKENS, 10**6, 40, ROOM, silent)
    assert isinstance(leaking, PartlyEncoded)
    assert leaking.share == 1
    with pytest.raises(CannotMeasure, match="other tokens came out than went in, from position"):
        decode(system("leaks-a-bit"), leaking.to_bytes(), TOKENS, ROOM, silent)


@needs_sandbox
def test_what_is_cut_off_changed_or_of_another_text_is_named():
    done = encoded_by(None)
    data = done.to_bytes()
    with pytest.raises(SubmissionError, match=r"cut off: expected \d+ bytes of words, found \d+"):
        decode(system(), data[:-5], TOKENS, ROOM, silent)
    with pytest.raises(SubmissionError, match="expected strict-prefix/partial-bitstream/v1, but"):
        decode(system(), data[:40], TOKENS, ROOM, silent)
    with pytest.raises(SubmissionError, match="its words have been changed"):
        decode(system(), data[:-1] + bytes([data[-1] ^ 4]), TOKENS, ROOM, silent)
    with pytest.raises(SubmissionError, match="its words have been changed"):
        decode(system(), data + b"more", TOKENS, ROOM, silent)
    with pytest.raises(SubmissionError, match="the text: expected the one that stretches were"):
        decode(system(), data, TOKENS[1:], ROOM, silent)
    with pytest.raises(SubmissionError, match=r"system.py: expected the file that the text was"):
        decode(system("raises"), data, TOKENS, ROOM, silent)


@needs_sandbox
def test_stretches_that_somebody_picked_are_refused():
    done = encoded_by(None)
    header = json.loads(json.dumps(dict(done.header)))
    first, stop, size = header["stretches"][0]
    header["stretches"][0] = [first + 8, stop + 8, size]
    del header["header_sha256"]
    picked = PartlyEncoded(header=sealed(header, done.words), words=done.words, parts=done.parts)
    with pytest.raises(SubmissionError, match="the stretches that record and text draw, from"):
        decode(system(), picked.to_bytes(), TOKENS, ROOM, silent)


@needs_sandbox
def test_a_system_that_gives_none_or_never_the_same_is_told_apart():
    broken = encode(system("unnormalised"), TOKENS, 10**6, 40, ROOM, silent)
    assert isinstance(broken, NoDistribution)
    assert broken.total == pytest.approx(2.0)
    noisy = encoded_by("never-the-same")
    with pytest.raises(CannotMeasure, match="does not repeat itself"):
        decode(system("never-the-same"), noisy.to_bytes(), TOKENS, ROOM, silent)
    for twin in ("is-killed", "leaves-early", "raises"):
        with pytest.raises(CannotMeasure):
            encode(system(twin), TOKENS, 10**6, 40, ROOM, silent)
