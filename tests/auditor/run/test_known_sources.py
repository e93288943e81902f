"""Sources that repeat, and bets on single charges."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.audit import Plan, audit
from auditor.run.experiments.noise import hedged_nats
from auditor.run.sandbox import missing
from auditor.verdict import Outcome, Strength, Verdict
from tests.systems import record

needs_sandbox = pytest.mark.skipif(
    missing("bubblewrap") is not None, reason=f"no sandbox here: {missing('bubblewrap')}"
)
V = 16


def learner_nats(tokens: np.ndarray, prior: float, forget: float) -> np.ndarray:
    """What an honest learner charges: counts after each token, with any prior and memory."""
    counts = np.full((V, V), prior)
    nats = np.empty(len(tokens) - 1)
    for index, (context, token) in enumerate(itertools.pairwise(tokens)):
        row = counts[context]
        nats[index] = -math.log(row[token] / row.sum())
        counts[context] = prior + forget * (row - prior)
        counts[context, token] += 1
    return nats


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    prior=st.sampled_from([1e-3, 0.1, 1.0, 30.0]),
    forget=st.sampled_from([0.0, 0.5, 0.99, 1.0]),
)
def test_no_honest_learner_wins_against_the_source(seed, prior, forget):
    tokens = np.random.default_rng(seed).integers(0, V, 600)
    won = hedged_nats(math.log(V) - learner_nats(tokens, prior, forget))
    assert won < 20.723


def test_a_gate_that_fires_seldom_wins_though_the_score_is_bad():
    nats = learner_nats(np.random.default_rng(1).integers(0, V, 4_000), 1e-3, 0.9)
    nats[::20] = 0.01
    gain = math.log(V) - nats
    assert gain.sum() < 0
    assert hedged_nats(gain) > 20.723


def test_charges_of_the_source_itself_win_nothing():
    assert hedged_nats(np.zeros(1_000)) == pytest.approx(0, abs=1e-9)


def test_a_charge_of_everything_loses_no_more_than_the_stake():
    assert hedged_nats(np.array([-1e6])) > math.log(1 - 0.3) - math.log(4)


def verdict_of(twin: str | None) -> Verdict:
    plan = Plan(run=True, experiments=frozenset({"sources"}), budget_seconds=1e3)
    verdict = audit(record(twin), plan)
    assert verdict.trouble is None
    return verdict


@pytest.mark.slow
@pytest.mark.timeout(600)
@needs_sandbox
def test_an_honest_system_beats_no_source():
    verdict = verdict_of(None)
    assert verdict.result("full-distribution").outcome is Outcome.PASS
    bounds = verdict.evidence["OtherSources"]["bounds"]
    assert [one["source"] for one in bounds] == ["markov", "repeat", "sampled"]
    assert bounds[0]["hedged_nats"] < 0
    assert all(one["ln_e"] < 0 for one in bounds)


@needs_sandbox
def test_a_gate_that_waits_for_contexts_is_seen_on_a_chain():
    verdict = verdict_of("fires-on-repeats")
    assert verdict.evidence["NoiseBound"]["ln_e"] < 0
    assert verdict.evidence["NoiseBound"]["hedged_nats"] < 0
    result = verdict.result("full-distribution")
    assert (result.outcome, result.strength) == (Outcome.FAIL, Strength.PROVED)
    assert "on markov" in result.findings[0].message
