import pytest

from auditor.rules.claims_match import RULE
from auditor.verdict import Outcome
from tests.auditor.inspect.records import claims, honest, judge, log

SCORES = {1337: 1.12034567, 42: 1.12134567, 2024: 1.12234567}


def test_an_honest_record_matches():
    assert judge(RULE, honest()).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("headline", "outcome"),
    [
        (1.12134567, Outcome.PASS),
        (1.1213, Outcome.PASS),
        (1.1214, Outcome.PASS),  # one unit of the last decimal: rounded or cut off
        (1.1211, Outcome.INCONCLUSIVE),  # a slip of the pen
        (1.1181, Outcome.FAIL),
    ],
)
def test_the_headline_is_the_mean(headline, outcome):
    assert judge(RULE, honest(submission_json=claims(SCORES, headline))).outcome is outcome


def test_a_wrong_seed_is_found_with_both_numbers():
    wrong = SCORES | {42: 1.1001}
    answer = judge(RULE, honest(submission_json=claims(wrong)))
    assert answer.outcome is Outcome.FAIL
    assert "1.1001 bpb for seed 42" in answer.findings[0].message
    assert "1.12134567" in answer.findings[0].message


def test_the_best_seed_as_headline_is_undecided():
    answer = judge(RULE, honest(submission_json=claims(SCORES, 1.12034567)))
    assert answer.outcome is Outcome.INCONCLUSIVE
    assert "one log alone" in (answer.reason or "")


def test_an_earlier_stage_may_be_claimed():
    assert judge(RULE, honest(submission_json='{"val_bpb": 1.15}')).outcome is Outcome.PASS


def test_a_mean_over_seeds_without_logs_fails_nobody():
    files = {p: f for p, f in honest().items() if p != "train_seed42.log"}
    answer = judge(RULE, files | {"submission.json": claims(SCORES, 1.1001)})
    assert answer.outcome is Outcome.INCONCLUSIVE


def test_a_validation_during_training_as_headline_is_undecided():
    text = '{"val_bpb": 1.2, "seeds": [1337, 42, 2024]}'
    assert judge(RULE, honest(submission_json=text)).outcome is Outcome.INCONCLUSIVE


def test_one_run_and_one_number_are_fine():
    files = {p: f for p, f in honest().items() if not p.endswith(".log")}
    files |= {"submission.json": '{"val_bpb": 1.1203}', "train.log": log(1.12034567)}
    assert judge(RULE, files).outcome is Outcome.PASS


def test_a_script_of_another_size_is_undecided_with_both_sizes():
    files = honest() | {
        f"train_seed{seed}.log": log(score, seed=seed, code=94_143)
        for seed, score in SCORES.items()
    }
    answer = judge(RULE, files)
    assert answer.outcome is Outcome.INCONCLUSIVE
    assert "94,143" in (answer.reason or "")


@pytest.mark.parametrize(
    ("helper_bytes", "outcome"), [(100, Outcome.PASS), (101, Outcome.INCONCLUSIVE)]
)
def test_a_log_may_count_the_helper_files_with_the_script(helper_bytes, outcome):
    script = len(str(honest()["train_gpt.py"]).encode())
    files = (
        honest()
        | {"helper.py": "#" * helper_bytes}
        | {
            f"train_seed{seed}.log": log(score, seed=seed, code=script + 100)
            for seed, score in SCORES.items()
        }
    )
    assert judge(RULE, files).outcome is outcome


def test_a_run_that_never_finished_fails_nobody():
    text = log(1.12).split("final_int6")[0]
    files = {p: f for p, f in honest().items() if not p.endswith(".log")} | {"train.log": text}
    assert (
        judge(RULE, files | {"submission.json": '{"val_bpb": 1.0}'}).outcome is Outcome.INCONCLUSIVE
    )


@pytest.mark.parametrize("text", [None, "{", "{}"])
def test_without_claims_nobody_could_look(text):
    assert judge(RULE, honest(submission_json=text)).outcome is Outcome.INCONCLUSIVE


def test_without_logs_nobody_could_look():
    files = {path: text for path, text in honest().items() if not path.endswith(".log")}
    assert judge(RULE, files).outcome is Outcome.INCONCLUSIVE
