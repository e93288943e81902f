from auditor.evidence import DataFlow, Evidence, TargetRead
from auditor.inspect import inspect
from auditor.rules.context_only_keys import RULE
from auditor.rulesets import DEFAULT
from auditor.verdict import Outcome, Strength
from tests.auditor.inspect.records import honest, judge, submission


def read(*, reached):
    return TargetRead(
        file="train_gpt.py",
        line=115,
        text="n = table[key]",
        function="score",
        key_line=113,
        key_text="key = context ^ target",
        reached=reached,
        why="because",
    )


def say(*reads, unread=()):
    evidence = Evidence()
    evidence.add(
        DataFlow(files=("train_gpt.py",), unread=unread, target_reads=reads, table_reads=3)
    )
    return RULE.check(evidence, DEFAULT)


def test_an_honest_record_passes():
    answer = judge(RULE, honest())
    assert (answer.outcome, answer.strength) == (Outcome.PASS, Strength.SOURCE)


def test_a_reached_read_fails_with_both_lines():
    answer = say(read(reached=True), read(reached=None))
    assert (answer.outcome, answer.strength) == (Outcome.FAIL, Strength.SOURCE)
    (finding,) = answer.findings
    assert "line 115" in finding.message
    assert "line 113" in finding.message


def test_an_open_switch_is_undecided_and_shown():
    answer = say(read(reached=None))
    assert answer.outcome is Outcome.INCONCLUSIVE
    assert len(answer.findings) == 1


def test_a_read_that_is_off_passes_and_is_mentioned():
    answer = say(read(reached=False))
    assert answer.outcome is Outcome.PASS
    assert "train_gpt.py:115" in (answer.reason or "")


def test_what_could_not_be_read_is_undecided():
    assert say(unread=("helper.c: compiled",)).outcome is Outcome.INCONCLUSIVE


def test_a_packed_script_is_undecided():
    text = "import lzma\nexec(lzma.decompress(DATA))\n"
    assert judge(RULE, honest(train_gpt_py=text)).outcome is Outcome.INCONCLUSIVE


def test_hostile_source_is_undecided_with_the_reason():
    evidence = inspect(submission(honest(train_gpt_py="x = " + "(" * 100_000)))
    answer = RULE.check(evidence, DEFAULT)
    assert answer.outcome is Outcome.INCONCLUSIVE
    assert "train_gpt.py" in (answer.reason or "")
