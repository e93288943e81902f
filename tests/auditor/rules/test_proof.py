"""What a round trip or a replay is worth: at the claim, over it, short of it, beside a failure."""

import math
from dataclasses import replace
from typing import Any

import pytest

from auditor.evidence import (
    BlindReplay,
    ClaimedNumbers,
    Evidence,
    LoggedNumbers,
    RoundTrip,
    RunLog,
    ScoreLine,
)
from auditor.rules import artifact_only, full_distribution, score_before_update, strict_prefix
from auditor.rules.proof import AGREES_BPB, beside_a_proof
from auditor.rules.replayed import ROUNDING_NATS, beside_a_replay, blindly
from auditor.rulesets import DEFAULT
from auditor.verdict import (
    Finding,
    Judgement,
    Location,
    Outcome,
    Rule,
    Strength,
    failed,
    inconclusive,
    passed,
)
from tests.auditor.report.documents import noise_bound

RULES = [r.RULE for r in (artifact_only, full_distribution, score_before_update, strict_prefix)]
TRIP = RoundTrip(
    tokens_sha256="0" * 64,
    positions=1000,
    text_bytes=2500,
    folder_bytes=200_000,
    bits=5000,
    ideal_bits=4990.0,
    refused_position=None,
    refused_total=None,
    refused_why=None,
)
REFUSED = replace(
    TRIP, bits=None, ideal_bits=None, refused_position=56, refused_total=2.0, refused_why="sum to 2"
)
REPLAY = BlindReplay(
    tokens_sha256="0" * 64,
    text_bytes=2500,
    folder_bytes=200_000,
    positions=1000,
    windows=500,
    replayed_windows=44,
    replayed=88,
    fast_nats=2.0 * 2500 * math.log(2),
    fast_there_nats=300.0,
    blind_nats=300.0,
    blind_error_nats=0.1,
    gained_nats=0.0,
    root_square_nats=0.0,
    worst_nats=0.0,
    worst_position=3,
    tolerance_nats=1e-4,
    differing=0,
    repeated=0,
    unrepeated=0,
    noise_nats=0.0,
    miss_hundredth=0.63,
    miss_tenth=0.008,
    miss_position=0.9,
    nonce="00",
)
LEAK = replace(
    REPLAY, gained_nats=1.4, root_square_nats=0.99, worst_nats=0.7, differing=2, repeated=2
)
NOT_RUN = inconclusive("nothing ran")


def evidence(
    *facts: RoundTrip | BlindReplay | None,
    val_bpb: float | None = 2.0,
    tokens: int | None = 1000,
) -> Any:
    line = ScoreLine(line=3, label="final_exact", val_loss=3.4, val_bpb=2.0, exact=True)
    log = RunLog(
        file="train.log", seed=1, tokens=tokens, scores=(line,), code_bytes=None, model_bytes=None,
        total_bytes=None,
    )  # fmt: skip
    claims = ClaimedNumbers(
        file="submission.json", val_bpb=val_bpb, seed_val_bpb={}, seed_bytes={}, bytes_total=None
    )
    found = Evidence()
    found.add(LoggedNumbers(logs=(log,)), claims, *[fact for fact in facts if fact])
    return found


def judged(
    trip: RoundTrip | BlindReplay | None, otherwise: Judgement = NOT_RUN, **said: Any
) -> Judgement:
    return beside_a_proof(evidence(trip, **said), DEFAULT, otherwise)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_bits_that_reach_the_claim_prove_each_of_the_four_rules(rule: Rule):
    answer = rule.check(evidence(TRIP), DEFAULT)
    assert (answer.outcome, answer.strength) == (Outcome.PASS, Strength.PROVED)
    assert "1,000 tokens (2,500 bytes) came back from 5,000 bits, 2.000000 a byte" in str(
        answer.reason
    )
    assert rule.needs[0] is RoundTrip


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_without_a_round_trip_nothing_changes(rule: Rule):
    assert rule.check(evidence(None), DEFAULT).strength is not Strength.PROVED


@pytest.mark.parametrize(
    ("trip", "said", "why"),
    [
        (replace(TRIP, bits=5002), {}, "2.000800 bits a byte, but 2.000000 are claimed"),
        (TRIP, {"val_bpb": 1.9}, "but 1.900000 are claimed"),
        (TRIP, {"val_bpb": None}, "no score is claimed"),
        (TRIP, {"tokens": 1001}, "but the score is over 1,001"),
        (TRIP, {"tokens": None}, "no log says over how many tokens"),
        (replace(TRIP, folder_bytes=16_000_001), {}, "16,000,001 bytes, where 16,000,000 are"),
        (REFUSED, {}, "ended early: sum to 2"),
    ],
)
def test_bits_that_do_not_prove_the_claim_decide_nothing(trip, said, why):
    answer = judged(trip, **said)
    assert answer.outcome is Outcome.INCONCLUSIVE
    assert answer.reason is not None
    assert answer.reason.startswith("nothing ran; ")
    assert why in answer.reason
    ran = passed(Strength.RAN, "seen")
    assert judged(trip, ran, **said) == ran


def test_what_the_coder_loses_is_forgiven_and_fewer_bits_are_as_good():
    lost = int(2500 * AGREES_BPB * 0.99)
    assert judged(replace(TRIP, bits=5000 + lost)).outcome is Outcome.PASS
    assert judged(replace(TRIP, bits=4000)).outcome is Outcome.PASS
    assert judged(replace(TRIP, positions=1100), tokens=1000).outcome is Outcome.PASS


def test_a_violation_that_was_seen_stands():
    seen = failed(Strength.RAN, [Finding("an early step", Location(file="train_gpt.py"))])
    assert judged(TRIP, seen) == seen


@pytest.mark.parametrize(
    ("total", "outcome"),
    [
        (2.0, Outcome.FAIL),
        (1.06, Outcome.FAIL),
        (1.04, Outcome.INCONCLUSIVE),
        (0.5, Outcome.INCONCLUSIVE),
        (None, Outcome.INCONCLUSIVE),
    ],
)
def test_only_more_than_rounding_gives_fails_what_cannot_be_coded(total, outcome):
    """Less than one is wasteful and no lie; no number at all is a fault of the file."""
    found = evidence(replace(REFUSED, refused_total=total))
    answer = full_distribution.check(found, DEFAULT)
    assert answer.outcome is outcome
    if outcome is Outcome.FAIL:
        assert answer.strength is Strength.PROVED
        assert f"at position 56 the probabilities of all tokens sum to {total:.6f}" in (
            answer.findings[0].message
        )
    assert strict_prefix.check(found, DEFAULT).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_replay_that_agrees_at_the_claim_passes_where_nothing_else_looked(rule: Rule):
    answer = rule.check(evidence(REPLAY), DEFAULT)
    assert (answer.outcome, answer.strength) == (Outcome.PASS, Strength.RAN)
    assert "a leak in a tenth of the windows goes unseen with probability 0.008" in str(
        answer.reason
    )
    assert rule.check(evidence(TRIP, REPLAY), DEFAULT).strength is Strength.PROVED


@pytest.mark.parametrize(
    ("replay", "said", "why"),
    [
        (replace(REPLAY, miss_tenth=0.011), {}, "0.63, where 0.01 is asked of the first"),
        (replace(REPLAY, fast_nats=None), {}, "a token has no chance at all"),
        (REPLAY, {"val_bpb": 1.9}, "but 1.900000 are claimed"),
        (REPLAY, {"tokens": 1001}, "but the score is over 1,001"),
        (REPLAY, {"tokens": None}, "but no log says over how many"),
        (replace(REPLAY, folder_bytes=16_000_001), {}, "the system's folder has 16,000,001 bytes"),
    ],
)
def test_a_replay_that_falls_short_decides_nothing_and_says_what_it_saw(replay, said, why):
    answer = judged(replay, **said)
    assert answer.outcome is Outcome.INCONCLUSIVE
    assert str(answer.reason).startswith("nothing ran; 88 charges in 44 of 500 windows came out")
    assert why in str(answer.reason)


def test_a_replay_settles_no_doubt_that_source_or_run_left():
    doubt = inconclusive("a gate", [Finding("a gate", Location(file="train_gpt.py"))])
    assert judged(REPLAY, doubt).outcome is Outcome.INCONCLUSIVE
    assert judged(TRIP, doubt).outcome is Outcome.PASS
    ran = evidence(REPLAY)
    ran.add(noise_bound(9.0))
    assert beside_a_proof(ran, DEFAULT, NOT_RUN).outcome is Outcome.INCONCLUSIVE
    read = passed(Strength.SOURCE, "as read")
    assert judged(REPLAY, read).strength is Strength.RAN
    assert judged(REPLAY, passed(Strength.PROVED, "seen")).reason == "seen"


def test_charges_that_differ_each_time_fail_strict_prefix_alone_and_over_a_round_trip():
    for facts in ((LEAK,), (TRIP, LEAK)):
        answer = strict_prefix.check(evidence(*facts), DEFAULT)
        assert (answer.outcome, answer.strength) == (Outcome.FAIL, Strength.RAN)
        assert "2 of 88 charges are other ones" in answer.findings[0].message
        assert answer.findings[0].location == Location(file="system.py", position=3)
        for rule in RULES:
            assert rule is strict_prefix.RULE or (
                rule.check(evidence(*facts), DEFAULT) == rule.check(evidence(*facts[:-1]), DEFAULT)
            )


@pytest.mark.parametrize(
    ("changes", "outcome", "why"),
    [
        ({}, Outcome.FAIL, ""),
        ({"gained_nats": -1.4}, Outcome.FAIL, ""),  # an accident, and still no prefix
        ({"unrepeated": 1, "noise_nats": 0.3}, Outcome.INCONCLUSIVE, "by up to 0.3 nats: the sys"),
        ({"worst_nats": ROUNDING_NATS}, Outcome.INCONCLUSIVE, "rounding can give so little"),
        ({"worst_nats": ROUNDING_NATS * 1.01}, Outcome.FAIL, ""),
        ({"worst_nats": 0.01, "gained_nats": 6.5 * 0.99}, Outcome.FAIL, ""),
        ({"worst_nats": 0.01, "gained_nats": -6.5 * 0.99}, Outcome.INCONCLUSIVE, "rounding"),
    ],
)
def test_only_what_repeats_itself_and_no_rounding_gives_is_a_violation(changes, outcome, why):
    answer = blindly(replace(LEAK, **changes))
    assert answer.outcome is outcome
    assert why in str(answer.reason)


def test_a_difference_that_is_no_violation_still_keeps_strict_prefix_from_passing():
    noisy = replace(LEAK, unrepeated=2, noise_nats=0.5)
    ran = passed(Strength.RAN, "0 of 9 charges moved")
    answer = beside_a_replay(evidence(noisy), ran)
    assert answer.outcome is Outcome.INCONCLUSIVE
    assert "0 of 9 charges moved; 2 of 88 charges are other ones" in str(answer.reason)
    seen = failed(Strength.RAN, [Finding("moved", Location(position=1))])
    logged = failed(Strength.LOGGED, [Finding("a gate", Location(file="a.log"))])
    assert beside_a_replay(evidence(noisy), seen) == seen
    assert beside_a_replay(evidence(LEAK), seen) == seen
    assert beside_a_replay(evidence(LEAK), logged).strength is Strength.RAN
    assert beside_a_replay(evidence(REPLAY), ran) == ran
    assert strict_prefix.check(evidence(TRIP, noisy), DEFAULT).strength is Strength.PROVED
