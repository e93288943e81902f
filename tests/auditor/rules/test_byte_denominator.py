import math

import pytest

from auditor.evidence import Evidence, StreamBytes
from auditor.inspect import inspect
from auditor.rules.byte_denominator import RULE
from auditor.rulesets import DEFAULT
from auditor.verdict import Outcome, Strength
from tests.auditor.inspect.records import BYTES, TOKENS, claims, honest, judge, log, submission


def with_log(text: str) -> dict[str, str | bytes | None]:
    return {p: f for p, f in honest().items() if not p.endswith(".log")} | {"train.log": text}


def test_an_honest_record_divides_by_the_text():
    answer = judge(RULE, honest())
    assert (answer.outcome, answer.strength) == (Outcome.PASS, Strength.LOGGED)
    assert "151.08 M" in (answer.reason or "")


@pytest.mark.parametrize(
    ("size", "outcome"),
    [
        (151_070_001, Outcome.PASS),
        (151_084_999, Outcome.PASS),
        (152_000_000, Outcome.INCONCLUSIVE),  # may be a part of the split
        (176_300_000, Outcome.FAIL),
    ],
)
def test_the_bytes_that_the_score_implies(size, outcome):
    assert judge(RULE, with_log(log(1.0, size=size))).outcome is outcome


def test_the_finding_holds_both_counts():
    (finding,) = judge(RULE, with_log(log(1.0, size=176_300_000))).findings
    assert "176.30 M" in finding.message
    assert "151.07" in finding.message


def test_a_mixed_score_beside_the_loss_of_the_model_is_undecided():
    loss = 1.15 * math.log(2) * BYTES / TOKENS
    mixed = f"mixed_exact val_loss:{loss:.8f} val_bpb:0.98000000\n"
    assert judge(RULE, with_log(log(1.12) + mixed)).outcome is Outcome.INCONCLUSIVE
    alone = f"val_loader:x tokens:{TOKENS}\n{mixed}"
    assert judge(RULE, with_log(alone)).outcome is Outcome.INCONCLUSIVE


def test_an_unknown_split_is_undecided():
    assert judge(RULE, with_log(log(1.12, tokens=9_000_000))).outcome is Outcome.INCONCLUSIVE


def test_the_first_export_of_the_split_had_more_text():
    files = with_log(log(1.22, tokens=63_779_840, size=155_769_746))
    assert judge(RULE, files).outcome is Outcome.PASS


def test_the_tokens_of_an_unknown_tokenizer_spell_no_more_than_the_split():
    files = with_log(log(0.95, tokens=62_363_648, size=182_800_000))
    answer = judge(RULE, files)
    assert (answer.outcome, answer.strength) == (Outcome.FAIL, Strength.LOGGED)
    assert "182.80 M" in answer.findings[0].message
    near = with_log(log(0.95, tokens=62_363_648, size=152_000_000))
    assert judge(RULE, near).outcome is Outcome.INCONCLUSIVE
    other = files | {"submission.json": claims({1337: 0.95}, track="non-record-16mb")}
    assert judge(RULE, other).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("said", "outcome"), [(164_594_398, Outcome.FAIL), (151_074_309, Outcome.INCONCLUSIVE)]
)
def test_a_claimed_line_that_states_its_bytes(said, outcome):
    mixed = f"mixer tokens={TOKENS} bytes={said} final_mix_bpb=0.979491\n"
    loss = "mixed val_loss:2.33531315 val_bpb:0.97949100\n"
    files = with_log(log(1.12) + mixed + loss) | {"submission.json": claims({1337: 0.979491})}
    assert judge(RULE, files).outcome is outcome
    # A stage that is not the claimed one may count what it likes.
    files["submission.json"] = claims({1337: 1.12})
    assert judge(RULE, files).outcome is not Outcome.FAIL


CONSTANT = "BYTES_PER_TOKEN = 2.7523\nbpb = loss / math.log(2) / BYTES_PER_TOKEN\n"


@pytest.mark.parametrize(
    ("script", "findings"),
    [
        (CONSTANT, 1),
        (CONSTANT.replace("/ BYTES", "* tokens / BYTES"), 0),  # a budget, not bits
        (CONSTANT + "BYTES_PER_TOKEN = measure()\n", 0),
        (CONSTANT + "val_byte_count += base_bytes_lut[y].sum()\n", 0),  # bytes are counted too
    ],
)
def test_a_constant_number_of_bytes_is_shown_and_decides_nothing(script, findings):
    answer = judge(RULE, with_log("no numbers") | {"train_gpt.py": script})
    assert answer.outcome is Outcome.INCONCLUSIVE
    assert len(answer.findings) == findings


def test_without_logs_nobody_could_look():
    assert judge(RULE, with_log("no numbers")).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("implied", "outcome"),
    [(1_000_000.5, Outcome.PASS), (1_000_002.0, Outcome.FAIL), (999_998.0, Outcome.FAIL)],
)
def test_our_own_stream_is_stronger(implied, outcome):
    evidence = Evidence()
    evidence.add(StreamBytes(implied=implied, expected=1_000_000))
    answer = RULE.check(evidence, DEFAULT)
    assert (answer.outcome, answer.strength) == (outcome, Strength.RAN)


def test_a_wrong_log_fails_beside_a_right_run():
    evidence = inspect(submission(with_log(log(1.0, size=176_300_000))))
    evidence.add(StreamBytes(implied=5.0, expected=5))
    assert RULE.check(evidence, DEFAULT).outcome is Outcome.FAIL
