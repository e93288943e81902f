"""Whole submissions under `--run`: the honest one passes, each twin fails what it breaks."""

from dataclasses import replace

import pytest

from auditor.audit import Plan, audit
from auditor.errors import ToolError
from auditor.report.json_v1 import digest_of, verdict_to_json
from auditor.run.execution import Bench
from auditor.run.experiments.noise import noise_inputs
from auditor.run.sandbox import missing
from auditor.verdict import Outcome, Verdict
from tests.systems import record

pytestmark = pytest.mark.skipif(
    missing("bubblewrap") is not None, reason=f"no sandbox here: {missing('bubblewrap')}"
)
RUN_RULES = (
    "strict-prefix",
    "full-distribution",
    "score-before-update",
    "single-pass",
    "causal-cache",
    "byte-denominator",
)


KERNELS = """
import torch
import triton
import triton.language as tl


@triton.jit
def product(a, b, out, N: tl.constexpr):
    i = tl.arange(0, N)
    place = i[:, None] * N + i[None, :]
    x, y = tl.load(a + place).to(tl.bfloat16), tl.load(b + place).to(tl.bfloat16)
    tl.store(out + place, 2 * tl.dot(x, tl.trans(tl.trans(y))))


@torch.library.custom_op("ours::doubled", mutates_args=(), device_types="cuda")
def doubled(a: torch.Tensor) -> torch.Tensor:
    large = torch.zeros(16, 16, dtype=torch.bfloat16, device="cuda")
    large[:2, :2] = a
    out = torch.empty_like(large)
    product[(1,)](large, large, out, 16)
    return out[:2, :2].clone()
"""


def run(twin: str | None, seconds: float = 60) -> Verdict:
    return audit(
        record(twin), Plan(run=True, run_seconds=seconds, experiments=frozenset({"suffix"}))
    )


def rules_with(verdict: Verdict, outcome: Outcome) -> set[str]:
    return {rule for rule in RUN_RULES if verdict.result(rule).outcome is outcome}


def test_the_honest_submission_passes_every_rule_and_does_so_twice():
    verdict, again = run(None), run(None)
    assert rules_with(verdict, Outcome.PASS) == set(RUN_RULES)
    assert verdict.trouble is None
    assert "VOCAB_SIZE=384" in verdict.overrides
    assert "NUM_LAYERS=4" not in verdict.overrides  # this script does not ask for it
    # Same bytes, same verdict: nothing in it depends on the clock or on addresses.
    assert verdict_to_json(verdict)["digest"] == digest_of(verdict_to_json(again))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_runs_at_the_same_time_find_what_runs_one_after_the_other_do():
    plan = Plan(run=True, budget_seconds=3600)
    alone, together = (
        verdict_to_json(audit(record(None), replace(plan, together=rooms))) for rooms in (1, 3)
    )
    assert alone["evidence"] == together["evidence"]
    assert alone["digest"] == together["digest"]
    assert alone["trouble"] is None


@pytest.mark.parametrize(
    ("twin", "failed"),
    [
        ("unnormalised", {"full-distribution"}),
        ("adapts-first", {"score-before-update", "strict-prefix"}),
        ("looks-ahead", {"strict-prefix"}),
        pytest.param("fills-first", {"causal-cache", "strict-prefix"}, marks=pytest.mark.slow),
        pytest.param("charges-twice", {"single-pass"}, marks=pytest.mark.slow),
        pytest.param("counts-too-many-bytes", {"byte-denominator"}, marks=pytest.mark.slow),
    ],
)
def test_each_twin_fails_what_it_breaks_and_nothing_else(twin, failed):
    verdict = run(twin)
    assert rules_with(verdict, Outcome.FAIL) == failed
    assert verdict.outcome is Outcome.FAIL


def test_a_script_written_for_cuda_gets_the_verdict_of_the_same_script():
    verdict = run("written-for-cuda")
    assert verdict.trouble is None
    assert rules_with(verdict, Outcome.PASS) == set(RUN_RULES)
    stood_in = {words.removeprefix("stand-in: ") for words in verdict.overrides}
    assert {"cuda", "device", "torch.compile", "flash attention", "autocast"} <= stood_in
    honest = run(None)
    assert verdict.evidence["NoiseBound"] == honest.evidence["NoiseBound"]


def test_newer_grammar_kernels_and_absent_packages_change_nothing():
    verdict = audit(
        record("newer-kernels", **{"kernels.py": KERNELS.encode()}),
        Plan(run=True, experiments=frozenset({"suffix"})),
    )
    assert verdict.trouble is None
    assert rules_with(verdict, Outcome.PASS) == set(RUN_RULES)
    stood_in = {words.removeprefix("stand-in: ") for words in verdict.overrides}
    assert {
        "triton interpreter",
        "custom operator",
        "operator cutlass_evt::gemm_mul",
        "package wandb",
    } <= stood_in


def test_a_stage_that_only_the_log_shows_is_found_behind_its_switch():
    verdict = run("behind-a-switch")
    assert "TTT_ENABLED=1" in verdict.overrides
    assert rules_with(verdict, Outcome.PASS) == set(RUN_RULES)


def test_a_stage_that_cannot_be_brought_back_passes_nothing():
    verdict = run("off-by-default")
    assert "the scored stage did not run" in (verdict.trouble or "")
    assert {verdict.result(rule).outcome for rule in RUN_RULES} == {Outcome.INCONCLUSIVE}


@pytest.mark.slow
def test_an_ablation_beside_the_claimed_log_asks_for_nothing():
    start = b"val_loader:shards pattern=x tokens:9\n"
    claimed = start + b"final_ttt_exact val_loss:6.00000000 val_bpb:3.00000000\n"
    other = start + b"ngram_cache:on\nfinal_other_exact val_loss:2.00000000 val_bpb:1.00000000\n"
    files = {"train_seed1.log": claimed, "ablation.log": other}
    verdict = audit(record(None, **files), Plan(run=True, experiments=frozenset({"suffix"})))
    assert verdict.evidence["Exercised"]["missing"] == ()
    assert rules_with(verdict, Outcome.PASS) == set(RUN_RULES)
    # Were it the claimed one, its stage would have to run.
    claimed_other = audit(
        record(None, **{"train_seed1.log": other}),
        Plan(run=True, experiments=frozenset({"suffix"})),
    )
    assert "expected the score that the logs end with" in (claimed_other.trouble or "")


@pytest.mark.slow
def test_charging_the_end_twice_with_nothing_learnt_in_between_fails_nobody():
    verdict = run("overlaps-at-the-end")
    assert rules_with(verdict, Outcome.FAIL) == set()
    assert verdict.result("single-pass").outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("twin", "said"),
    [
        ("dies", "expected exit status 0, got 1: RuntimeError: no device"),
        ("prints-no-score", "expected a line such as `final_exact"),
        ("hangs", "expected an end within 8 s"),
    ],
)
def test_a_script_that_gives_no_score_fails_nothing(twin, said):
    verdict = run(twin, seconds=8 if twin == "hangs" else 60)
    assert verdict.trouble is not None
    assert verdict.trouble.startswith("train_gpt.py: ")
    assert said in verdict.trouble
    assert not rules_with(verdict, Outcome.FAIL)
    assert verdict.result("full-distribution").outcome is Outcome.INCONCLUSIVE


def test_without_a_sandbox_nothing_runs(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolError, match="--run needs a sandbox: bubblewrap is not installed"):
        run(None)


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run("dies")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("twin", [None, "unnormalised"])
def test_watching_changes_nothing(twin):
    """With a recorder that only listens the script prints the same scores, to the last digit."""
    bench = Bench(record(twin), Plan(run=True), {})
    outputs = [
        bench.execute(noise_inputs(ask={"watch": watched}), lambda done: None).output
        for watched in (False, True)
    ]
    assert outputs[0] == outputs[1]
    assert "final_ttt_exact val_loss:" in outputs[0]
