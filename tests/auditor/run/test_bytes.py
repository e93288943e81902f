"""Scores on bytes: what is claimed, and the bound on a source whose bytes cost what tokens do."""

import math

import numpy as np
import pytest

from auditor.audit import Plan, audit
from auditor.evidence import ClaimedNumbers, Evidence, LoggedNumbers
from auditor.inspect.logs import read_log
from auditor.run.claimed import Claimed, claimed
from auditor.run.sandbox import missing
from auditor.run.streams import spelled
from auditor.verdict import Outcome, Strength, Verdict
from tests.systems import on_bytes

needs_sandbox = pytest.mark.skipif(
    missing("bubblewrap") is not None, reason=f"no sandbox here: {missing('bubblewrap')}"
)


def told(text: str, bpb: float | None) -> Claimed:
    evidence = Evidence()
    evidence.add(LoggedNumbers(logs=(read_log("train.log", text),)))
    if bpb is not None:
        evidence.add(
            ClaimedNumbers(
                file="submission.json",
                val_bpb=bpb,
                seed_val_bpb={},
                seed_bytes={},
                bytes_total=None,
            )
        )
    return claimed(evidence)


ALONE = """quantized val_loss:2.8417 val_bpb:1.1001
ppm_mixer val_bpb:0.92982823 order=5
quantized_sliding_window val_loss:2.79866081 val_bpb:1.08344881
"""
BESIDE = """pre-quantization val_loss:2.54309633 val_bpb:1.10520037
final_roundtrip val_loss:2.56959416 val_bpb:1.11671602
final_sliding_window val_loss:2.52725872 val_bpb:0.95213621
"""


def test_a_line_of_bits_per_byte_alone_may_be_the_claim():
    found = told(ALONE, 0.9297)
    assert found.by_bytes == {"ppm_mixer"}
    assert found.stages == {"quantized_sliding_window"}
    assert found.place == "`ppm_mixer` (train.log:2)"
    # The same log under another claim is one of tokens.
    assert told(ALONE, 1.0835) == Claimed(told(ALONE, 1.0835).logs, found.stages)


def test_bits_per_byte_that_the_loss_does_not_give_are_of_bytes():
    assert told(BESIDE, 0.952).by_bytes == {"final_sliding_window"}


def test_an_honest_log_ends_in_its_claim():
    honest = BESIDE.replace("0.95213621", "1.09830000")
    assert told(honest, 1.0983).by_bytes == frozenset()
    assert told(honest, None).stages == {"final_sliding_window"}


def test_a_line_that_shows_the_claim_to_its_last_digit_is_claimed_too():
    strides = (
        "final_roundtrip_exact val_loss:1.81021189 val_bpb:1.07210944\n"
        "final_sliding_exact val_loss:1.78515431 val_bpb:1.05727244\n"
        "final_sliding_s64_exact val_loss:1.78512789 val_bpb:1.05725609\n"
    )
    assert told(strides, 1.0573).stages == {"final_sliding", "final_sliding_s"}
    assert told(strides.replace("1.05727", "1.05737"), 1.0573).stages == {"final_sliding_s"}


def test_every_string_of_bytes_has_one_parse():
    stream = spelled(1_000, "test")
    pieces = [stream.vocabulary.pieces[token] for token in stream.tokens[1:]]
    assert all(piece.startswith("\u2581") and "\u2581" not in piece[1:] for piece in pieces)
    assert {len(piece.encode()) for piece in pieces} == {5}  # three once the mark is a space
    assert len(set(stream.vocabulary.pieces)) == len(stream.vocabulary.pieces)
    assert stream.nats_N[1:].tolist() == [math.log(379)] * 999
    assert np.bincount(stream.tokens[1:])[:5].sum() == 0


def verdict_of(twin: str) -> Verdict:
    plan = Plan(run=True, experiments=frozenset(), budget_seconds=1e3)
    verdict = audit(on_bytes(twin), plan)
    assert verdict.trouble is None
    assert verdict.evidence["Exercised"]["by_bytes"] == "`ppm_mixer` (train_seed1.log:3)"
    return verdict


@needs_sandbox
def test_a_mixture_of_roots_beats_the_source_of_its_bytes():
    result = verdict_of("mixes-roots").result("full-distribution")
    assert (result.outcome, result.strength) == (Outcome.FAIL, Strength.PROVED)
    assert "on bytes of 8.5661" in result.findings[0].message


@pytest.mark.slow
@needs_sandbox
def test_a_normalised_model_of_bytes_is_not_failed_and_passes_nothing_else():
    verdict = verdict_of("predicts-bytes")
    assert verdict.result("full-distribution").outcome is Outcome.PASS
    assert verdict.evidence["OtherSources"]["bounds"][0]["ln_e"] < 0
    for rule in ("strict-prefix", "score-before-update", "single-pass", "byte-denominator"):
        assert verdict.result(rule).outcome is Outcome.INCONCLUSIVE, rule
