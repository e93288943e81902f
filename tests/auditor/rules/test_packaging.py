import dataclasses

import pytest

from auditor.inspect import inspect
from auditor.rules.packaging import RULE
from auditor.rulesets import DEFAULT
from auditor.verdict import Outcome
from tests.auditor.inspect.records import honest, judge, submission


def test_an_honest_record_is_complete():
    assert judge(RULE, honest()).outcome is Outcome.PASS


@pytest.mark.parametrize("name", ["README.md", "submission.json", "train_gpt.py"])
def test_each_missing_file_is_one_finding(name):
    answer = judge(RULE, honest() | {name: None})
    assert answer.outcome is Outcome.FAIL
    assert [finding.location.file for finding in answer.findings] == [name]


def test_no_log_is_a_finding():
    files = {path: text for path, text in honest().items() if not path.endswith(".log")}
    assert judge(RULE, files).outcome is Outcome.FAIL


def test_claims_that_cannot_be_read_are_a_finding():
    answer = judge(RULE, honest(submission_json="{"))
    assert answer.outcome is Outcome.FAIL
    assert "expected JSON" in answer.findings[0].message


def test_an_empty_script_is_a_finding():
    assert judge(RULE, honest(train_gpt_py="")).outcome is Outcome.FAIL


def test_a_log_in_another_grammar_is_a_log():
    files = {path: text for path, text in honest().items() if not path.endswith(".log")}
    assert (
        judge(RULE, files | {"run.txt": "my bpb came out as about one\n"}).outcome is Outcome.PASS
    )


def test_several_scripts_under_other_names_are_undecided():
    files = honest(train_gpt_py=None) | {"train_a.py": "pass\n", "train_b.py": "pass\n"}
    assert judge(RULE, files).outcome is Outcome.INCONCLUSIVE


def test_a_file_that_could_not_be_had_is_no_missing_file():
    files = {path: text for path, text in honest().items() if not path.endswith(".log")}
    some = dataclasses.replace(submission(files), unread={"train.log": "expected a blob"})
    answer = RULE.check(inspect(some), DEFAULT)
    assert answer.outcome is Outcome.INCONCLUSIVE
    assert "1 could not be read: train.log, expected a blob" in (answer.reason or "")
