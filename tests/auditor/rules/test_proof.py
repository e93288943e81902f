"""What a round trip is worth: at the claim, under it, over it, short of it, beside a violation."""

from dataclasses import replace
from typing import Any

import pytest

from auditor.evidence import ClaimedNumbers, Evidence, LoggedNumbers, RoundTrip, RunLog, ScoreLine
from auditor.rules import artifact_only, full_distribution, score_before_update, strict_prefix
from auditor.rules.proof import AGREES_BPB, beside_a_proof
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
NOT_RUN = inconclusive("nothing ran")


def evidence(trip: RoundTrip | None, val_bpb: float | None = 2.0, tokens: int | None = 1000) -> Any:
    line = ScoreLine(line=3, label="final_exact", val_loss=3.4, val_bpb=2.0, exact=True)
    log = RunLog(
        file="train.log", seed=1, tokens=tokens, scores=(line,), code_bytes=None, model_bytes=None,
        total_bytes=None,
    )  # fmt: skip
    claims = ClaimedNumbers(
        file="submission.json", val_bpb=val_bpb, seed_val_bpb={}, seed_bytes={}, bytes_total=None
    )
    found = Evidence()
    found.add(LoggedNumbers(logs=(log,)), claims, *([trip] if trip else []))
    return found


def judged(trip: RoundTrip | None, otherwise: Judgement = NOT_RUN, **said: Any) -> Judgement:
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
