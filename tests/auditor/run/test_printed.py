"""Scripts that print other numbers than they charge, run."""

import pytest

from auditor.audit import Plan, audit
from auditor.run.sandbox import missing
from auditor.verdict import Outcome, Strength, Verdict
from tests.systems import record

pytestmark = pytest.mark.skipif(
    missing("bubblewrap") is not None, reason=f"no sandbox here: {missing('bubblewrap')}"
)


def verdict_of(twin: str | None) -> Verdict:
    return audit(record(twin), Plan(run=True, experiments=frozenset(), budget_seconds=1e3))


@pytest.mark.parametrize(
    ("twin", "said"),
    [
        ("prints-less", "prints 0.900000 times what it charges, in 2 runs: "),
        pytest.param(
            "prints-its-claim",
            "prints val_loss:3.1 on uniform and on text, which share nothing",
            marks=pytest.mark.slow,
        ),
        ("scores-nothing", "prints val_loss:3.1 on uniform and on text, which share nothing"),
    ],
)
def test_a_forged_number_fails_the_claims(twin, said):
    result = verdict_of(twin).result("claims-match")
    assert (result.outcome, result.strength) == (Outcome.FAIL, Strength.RAN)
    assert said in result.findings[0].message


def test_a_mixture_that_is_added_up_out_of_sight_is_no_forgery():
    verdict = verdict_of("mixes-out-of-sight")
    assert verdict.evidence["Timeline"]["charged_nats"] > 0
    assert verdict.result("score-before-update").outcome is Outcome.INCONCLUSIVE
    assert verdict.result("claims-match").outcome is Outcome.PASS
