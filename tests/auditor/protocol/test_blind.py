import math

import numpy as np
import pytest

from auditor.errors import CannotMeasure, SubmissionError
from auditor.protocol.blind import TOLERANCE_NATS, Replay, draw, replay
from auditor.protocol.host import NoDistribution, Room
from auditor.run.sandbox import missing
from tests.systems.protocol import VOCAB_SIZE, system

pytestmark = pytest.mark.skipif(
    missing("bubblewrap") is not None, reason=f"no sandbox here: {missing('bubblewrap')}"
)
ROOM = Room(seconds=60)
TOKENS = np.random.default_rng(6).integers(VOCAB_SIZE, size=2001).astype(np.uint16)
WINDOWS = 1 + (2000 - 16) // 8
# Of the positions that look ahead, those that are not the last of their window.
LEAKING = [p for p in range(2000) if p % 100 == 7 and (p < 15 or p % 8 != 7)]


def silent(doing: str, done: float) -> None:
    assert 0 <= done <= 1


def replayed(twin: str | None, count: int) -> Replay:
    found = replay(system(twin), TOKENS, count, ROOM, silent)
    assert isinstance(found, Replay)
    return found


def test_an_honest_system_charges_the_same_blindly():
    found = replayed(None, 20)
    assert (found.windows, found.replayed_windows) == (WINDOWS, 20)
    assert found.replayed in (160, 168)  # the first window charges 16 positions
    assert found.differing == 0
    assert found.worst_nats < TOLERANCE_NATS / 1000


def test_looking_ahead_in_the_fast_pass_is_caught_where_it_is_replayed():
    found = replayed("looks-ahead", WINDOWS)
    assert found.replayed == 2000
    assert found.differing == len(LEAKING)
    assert found.worst_position in LEAKING
    assert found.fast_nats < replayed(None, 1).fast_nats


def test_a_leak_escapes_as_often_as_stated():
    """One in a hundred positions leaks; the windows that hold one are found by drawing alone."""
    leaking = {max(0, 1 + (p - 16) // 8) for p in LEAKING}
    drawn = 12
    stated = Replay(
        windows=WINDOWS,
        replayed_windows=drawn,
        replayed=96,
        fast_nats=0,
        worst_nats=0,
        worst_position=0,
        differing=0,
    ).miss_probability(len(leaking) / WINDOWS)
    trials = 2000
    generator = np.random.default_rng(7)
    missed = 0
    for _ in range(trials):
        tokens = generator.integers(VOCAB_SIZE, size=10).astype(np.uint16)
        missed += not leaking & draw(system(), tokens, WINDOWS, drawn)
    assert missed / trials == pytest.approx(stated, abs=4 * math.sqrt(stated / trials))


def test_the_windows_follow_from_submission_and_stream():
    first = draw(system(), TOKENS, WINDOWS, 9)
    assert first == draw(system(), TOKENS, WINDOWS, 9)
    assert first != draw(system(), TOKENS[1:], WINDOWS, 9)
    assert first != draw(
        type(system())("x", {"system.py": type(system().files["system.py"])(b"", "2" * 64)}),
        TOKENS,
        WINDOWS,
        9,
    )
    assert len(draw(system(), TOKENS, WINDOWS, 10**6)) == WINDOWS
    with pytest.raises(SubmissionError, match="at least 1 window to replay, got 0"):
        draw(system(), TOKENS, WINDOWS, 0)


def test_what_is_no_distribution_is_found_here_too():
    broken = replay(system("unnormalised"), TOKENS, 3, ROOM, silent)
    assert isinstance(broken, NoDistribution)
    assert broken.total == pytest.approx(2.0)


def test_a_system_that_ends_early_is_no_verdict():
    with pytest.raises(CannotMeasure, match="gave 1: OSError: no more"):
        replay(system("raises"), TOKENS, 3, ROOM, silent)
