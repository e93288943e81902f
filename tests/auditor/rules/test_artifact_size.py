import pytest

from auditor.rules.artifact_size import RULE
from auditor.verdict import Outcome, Strength
from tests.auditor.inspect.records import SCRIPT, claims, honest, judge, log

LIMIT = 16_000_000


def one_run(model: int, **changes: str | bytes | None) -> dict[str, str | bytes | None]:
    files = honest(**changes)
    return {p: f for p, f in files.items() if not p.endswith(".log")} | {
        "submission.json": claims({42: 1.12}),
        "train_seed42.log": log(1.12, seed=42, model=model),
    }


def test_an_honest_record_fits():
    answer = judge(RULE, honest())
    assert (answer.outcome, answer.strength) == (Outcome.PASS, Strength.LOGGED)
    assert f"seed 42 {15_000_000 + len(SCRIPT):,}" in (answer.reason or "")


@pytest.mark.parametrize(("total", "outcome"), [(LIMIT, Outcome.PASS), (LIMIT + 1, Outcome.FAIL)])
def test_the_edge_is_one_byte(total, outcome):
    assert judge(RULE, one_run(total - len(SCRIPT))).outcome is outcome


def test_the_message_holds_total_excess_limit_and_parts():
    (finding,) = judge(RULE, one_run(LIMIT)).findings
    for number in (LIMIT + len(SCRIPT), len(SCRIPT), LIMIT):
        assert f"{number:,}" in finding.message


def test_every_seed_must_fit():
    files = honest() | {"train_seed2024.log": log(1.12234567, seed=2024, model=LIMIT)}
    answer = judge(RULE, files)
    assert answer.outcome is Outcome.FAIL
    assert [finding.location.file for finding in answer.findings] == ["train_seed2024.log"]


def test_over_only_with_helpers_is_undecided_with_both_totals():
    answer = judge(RULE, one_run(LIMIT - len(SCRIPT)) | {"helper.py": "x = 1\n"})
    assert answer.outcome is Outcome.INCONCLUSIVE
    assert "16,000,000" in (answer.reason or "")
    assert "16,000,006" in (answer.reason or "")


def test_over_only_unpacked_is_undecided_with_both_totals():
    files = one_run(0) | {"train_seed42.log": log(1.12, seed=42, model=LIMIT - 10, code=10)}
    answer = judge(RULE, files)
    assert answer.outcome is Outcome.INCONCLUSIVE
    assert "that its log counted" in (answer.reason or "")


def test_a_shipped_blob_is_weighed_itself():
    blob = b"\0\1" * 7_000_000
    files = {p: f for p, f in honest().items() if not p.endswith(".log")}
    assert judge(RULE, files | {"final.int6.ptz": blob}).strength is Strength.SOURCE
    answer = judge(RULE, files | {"final.int6.ptz": blob + b"\0" * 2_000_000})
    assert (answer.outcome, answer.strength) == (Outcome.FAIL, Strength.SOURCE)


def test_the_log_of_another_run_decides_nothing():
    files = one_run(0) | {"train_seed42.log": log(1.15, seed=42, model=LIMIT)}
    assert judge(RULE, files).outcome is Outcome.INCONCLUSIVE


def test_an_ablation_is_mentioned_and_not_judged():
    answer = judge(RULE, honest() | {"log_ablation.txt": log(1.14, seed=1337, model=LIMIT)})
    assert answer.outcome is Outcome.PASS
    assert "log_ablation.txt" in (answer.reason or "")


def test_without_a_blob_or_a_number_nobody_could_look():
    files = {p: f for p, f in honest().items() if not p.endswith(".log")}
    assert judge(RULE, files).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("stated", "outcome"), [(16_000_000, Outcome.INCONCLUSIVE), (16_000_001, Outcome.FAIL)]
)
def test_without_them_the_author_is_believed_against_himself(stated, outcome):
    files = honest(**{f"train_seed{seed}_log": None for seed in (1337, 42, 2024)})
    files["submission.json"] = claims({1337: 1.12}, bytes_total=stated)
    answer = judge(RULE, files)
    assert answer.outcome is outcome
    if outcome is Outcome.FAIL:
        assert answer.strength is Strength.CLAIMED
        assert "16,000,001 bytes, 1 over the limit" in answer.findings[0].message
    # What a log weighs is stronger than what is said of it.
    files["train.log"] = log(1.12, model=15_000_000)
    assert judge(RULE, files).outcome is Outcome.PASS


def test_the_total_that_a_log_prints_is_not_used():
    small = log(1.12, seed=42, model=15_000_000).replace(
        "Total submission size int6", "Total submission size x"
    )
    text = small.replace(f"{15_000_000 + len(SCRIPT)} bytes", "99000000 bytes")
    assert judge(RULE, one_run(0) | {"train_seed42.log": text}).outcome is Outcome.PASS
