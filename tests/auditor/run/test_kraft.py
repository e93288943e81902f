"""Sums over the vocabulary, by copies of the running process."""

import pytest

from auditor.audit import Plan, audit
from auditor.run.sandbox import missing
from auditor.verdict import Outcome, Strength, Verdict
from tests.systems import record

pytestmark = [
    pytest.mark.skipif(
        missing("bubblewrap") is not None, reason=f"no sandbox here: {missing('bubblewrap')}"
    ),
    pytest.mark.slow,
    pytest.mark.timeout(900),
]


def verdict_of(twin: str | None, experiments: frozenset[str] = frozenset({"kraft"})) -> Verdict:
    plan = Plan(run=True, experiments=experiments, budget_seconds=1e3)
    verdict = audit(record(twin), plan)
    assert verdict.trouble is None
    return verdict


def test_honest_charges_of_all_tokens_add_up_to_one():
    verdict = verdict_of(None)
    result = verdict.result("full-distribution")
    assert (result.outcome, result.strength) == (Outcome.PASS, Strength.RAN)
    sums = verdict.evidence["KraftSums"]["sums"]
    assert len(sums) == 3
    for one in sums:
        assert one["doubt"] is None
        assert one["answered"] == one["vocab_size"] == 384
        assert one["total"] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("twin", "on_noise"), [("unnormalised", True), ("charges-its-entropy", False)]
)
def test_charges_of_one_number_each_overfill_the_vocabulary(twin, on_noise):
    verdict = verdict_of(twin)
    result = verdict.result("full-distribution")
    assert (result.outcome, result.strength) == (Outcome.FAIL, Strength.PROVED)
    assert (verdict.evidence["NoiseBound"]["ln_e"] > 20.7) is on_noise
    assert "could stand there" in result.findings[0].message
    assert all(one["doubt"] is None for one in verdict.evidence["KraftSums"]["sums"])


def test_adaptation_before_the_charge_shows_in_the_sum_as_well():
    verdict = verdict_of("adapts-first", frozenset({"kraft", "suffix"}))
    assert all(one["total"] > 1 + 1e-5 for one in verdict.evidence["KraftSums"]["sums"])
    result = verdict.result("full-distribution")
    assert result.outcome is Outcome.INCONCLUSIVE
    assert "strict-prefix" in (result.reason or "")
