import functools
import math

import numpy as np
import pytest

from auditor.errors import CannotMeasure, SubmissionError
from auditor.evidence import BlindReplay
from auditor.protocol.blind import (
    MAX_REPEATED,
    TOLERANCE_NATS,
    draw,
    miss_probability,
    replay,
    seed_of,
)
from auditor.protocol.evaluation import Evaluation, evaluate
from auditor.protocol.host import NoDistribution, Room
from auditor.rules.replayed import ROUNDING_NATS, blindly
from auditor.run.sandbox import missing
from auditor.verdict import Outcome
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


def replayed(twin: str | None, count: int, nonce: bytes | None = None) -> BlindReplay:
    found = replay(system(twin), TOKENS, count, ROOM, silent, nonce)
    assert isinstance(found, BlindReplay)
    return found


def test_an_honest_system_charges_the_same_blindly():
    found = replayed(None, 20)
    assert blindly(found).outcome is Outcome.PASS
    assert (found.windows, found.replayed_windows) == (WINDOWS, 20)
    assert found.replayed in (160, 168)  # the first window charges 16 positions
    assert (found.differing, found.worst_nats, found.noise_nats) == (0, 0.0, 0.0)
    assert found.blind_nats == found.fast_there_nats
    assert found.blind_nats
    assert found.fast_nats
    assert found.blind_error_nats
    mean_nats = found.blind_nats / found.replayed
    assert abs(mean_nats - found.fast_nats / 2000) < 4 * found.blind_error_nats


def test_looking_ahead_in_the_fast_pass_is_caught_where_it_is_replayed():
    found = replayed("looks-ahead", WINDOWS)
    assert blindly(found).outcome is Outcome.FAIL
    assert found.replayed == 2000
    assert found.differing == len(LEAKING)
    assert found.worst_position in LEAKING
    assert found.fast_nats
    assert found.blind_nats
    assert found.fast_nats < found.blind_nats
    assert found.gained_nats == pytest.approx(found.blind_nats - found.fast_nats)
    assert found.noise_nats == 0


@pytest.mark.parametrize("nonce", [b"b", b"c", b"e"])
def test_one_bit_at_one_position_of_a_thousand_is_found_where_its_window_is_drawn(nonce):
    """And nowhere else: what the draw finds is all that the stated probability is about."""
    found = replayed("leaks-a-bit", 125, nonce)
    submission, drawn = system("leaks-a-bit"), 125
    seed = seed_of(submission, TOKENS, fast_nats("leaks-a-bit"), nonce)
    caught = {window_of(p) for p in (7, 1007)} & draw(WINDOWS, drawn, seed)
    assert found.differing == len(caught)
    assert blindly(found).outcome is (Outcome.FAIL if caught else Outcome.PASS)
    if caught:
        assert found.worst_nats == pytest.approx(math.log(2))
    stated = 1 - miss_probability(WINDOWS, 125, 2)
    assert stated == pytest.approx(1 - (WINDOWS - 125) / WINDOWS * (WINDOWS - 126) / (WINDOWS - 1))


def window_of(position: int) -> int:
    return max(0, 1 + (position - 16) // 8)


@functools.cache
def fast_nats(twin: str) -> np.ndarray:
    done = evaluate(system(twin), TOKENS, ROOM, silent)
    assert isinstance(done, Evaluation)
    return done.nats_T


def test_a_leak_escapes_as_often_as_stated():
    """Over many draws; which windows were drawn decides alone, as the test above shows."""
    leaking, drawn = {window_of(p) for p in (7, 1007)}, 125
    stated = math.comb(WINDOWS - 2, drawn) / math.comb(WINDOWS, drawn)
    nats_T, trials = np.zeros(2000), 2000
    missed = sum(
        not leaking & draw(WINDOWS, drawn, seed_of(system(), TOKENS, nats_T, nonce.to_bytes(4)))
        for nonce in range(trials)
    )
    assert missed / trials == pytest.approx(stated, abs=4 * math.sqrt(stated / trials))


@pytest.mark.parametrize("twin", ["rounds-by-shape", None])
def test_windows_have_the_shape_that_they_had_in_the_fast_pass(twin):
    assert blindly(replayed(twin, 9)).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("twin", "count"),
    [
        ("never-the-same", 20),
        ("counts-questions", 20),
        ("keeps-its-answer", 20),
        ("ages-by-windows", 5),  # so few that all which differ are asked for again
    ],
)
def test_a_difference_that_the_future_need_not_explain_is_no_violation(twin, count):
    found = replayed(twin, count)
    assert blindly(found).outcome is Outcome.INCONCLUSIVE
    assert 0 < found.unrepeated <= found.differing
    assert TOLERANCE_NATS < found.noise_nats < 10
    assert found.blind_nats is not None


def test_many_differences_are_made_again_at_the_largest_alone():
    found = replayed("leaks-a-little", 40)
    assert (found.differing, found.repeated, found.unrepeated) == (found.replayed, MAX_REPEATED, 0)


def test_little_differences_fail_only_where_the_fast_pass_gains_by_all_of_them():
    """What is rounded by what follows differs each time too, and is no look ahead."""
    rounds, leaks = replayed("rounds-by-the-future", 40), replayed("leaks-a-little", 40)
    assert max(rounds.worst_nats, leaks.worst_nats) < ROUNDING_NATS
    assert blindly(rounds).outcome is Outcome.INCONCLUSIVE
    assert "rounding can give so little" in str(blindly(rounds).reason)
    assert blindly(leaks).outcome is Outcome.FAIL


def test_a_token_without_any_chance_costs_infinitely_much_on_both_sides():
    found = replayed("knows-no-sevens", 20)
    assert blindly(found).outcome is Outcome.PASS
    assert (found.fast_nats, found.worst_nats, found.blind_error_nats) == (None, 0.0, None)


def test_nobody_knows_the_draw_before_the_charges_are_in():
    """It follows from everything; without the nonce a system could work it out."""
    nats_T = np.zeros(2000)
    first = seed_of(system(), TOKENS, nats_T, b"n")
    assert draw(WINDOWS, 9, first) == draw(WINDOWS, 9, seed_of(system(), TOKENS, nats_T, b"n"))
    other = type(system())("x", {"system.py": type(system().files["system.py"])(b"", "2" * 64)})
    for seed in (
        seed_of(other, TOKENS, nats_T, b"n"),
        seed_of(system(), TOKENS[1:], nats_T, b"n"),
        seed_of(system(), TOKENS, nats_T + 1e-9, b"n"),
        seed_of(system(), TOKENS, nats_T, b"m"),
    ):
        assert draw(WINDOWS, 9, seed) != draw(WINDOWS, 9, first)
    assert len(draw(WINDOWS, 10**6, first)) == WINDOWS
    assert replayed(None, 3).nonce != replayed(None, 3).nonce


@pytest.mark.parametrize(("twin", "total"), [("unnormalised", 2.0), ("no-numbers", None)])
def test_what_is_no_distribution_is_found_here_too(twin, total):
    broken = replay(system(twin), TOKENS, 3, ROOM, silent)
    assert isinstance(broken, NoDistribution)
    assert broken.total == (total and pytest.approx(total))


def test_a_system_that_ends_early_is_no_verdict():
    with pytest.raises(CannotMeasure, match="gave 1: OSError: no more"):
        replay(system("raises"), TOKENS, 3, ROOM, silent)


def test_no_windows_and_too_many_are_refused(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("auditor.protocol.blind.MAX_WINDOWS", 100)
        with pytest.raises(CannotMeasure, match="more than 100 of 8 positions each"):
            replay(system(), TOKENS, 3, ROOM, silent)
    with pytest.raises(SubmissionError, match="at least 1 window to replay, got 0"):
        replay(system(), TOKENS, 0, ROOM, silent)
    monkeypatch.setattr("auditor.protocol.blind.MAX_EVENT_BYTES", 100 * (600 + 256))
    with pytest.raises(SubmissionError, match=r"at most 100 positions .* of 24, got"):
        replay(system(), TOKENS, WINDOWS, ROOM, silent)
