"""The two rules of the artifact, by evidence made by hand; `run/test_artifact.py` has runs."""

from dataclasses import replace

import pytest

from auditor.evidence import ArtifactTransplant, Evidence, LearningOrder, OnTheWay, ValidationSwap
from auditor.rules import artifact_only, validation_independence
from auditor.rulesets import DEFAULT
from auditor.verdict import Judgement, Outcome, Rule, Strength
from tests.auditor.inspect.records import honest, judge

SAME = ArtifactTransplant(
    files=("model.ptz",),
    bytes=9,
    score_nats=3.5,
    transplanted_nats=3.5,
    repeat_nats=None,
    other_nats=None,
)
CARRIED = replace(SAME, transplanted_nats=3.6, repeat_nats=3.5, other_nats=3.7)
UNMOVED = ValidationSwap(
    files=("model.ptz",),
    bytes=9,
    differ=(),
    repeat_differ=None,
    score_nats=3.5,
    swapped_nats=None,
)
MOVED = replace(UNMOVED, differ=("model.ptz",), repeat_differ=(), swapped_nats=3.8)
READ = LearningOrder(
    files=("train_gpt.py",),
    headline="final val_bpb",
    early=(),
    saved=(),
    tables=(),
    chosen=(),
    rooted=(),
    mixed=(),
    covered=(),
    unread=(),
)


def judged(rule: Rule, *facts: object) -> Judgement:
    evidence = Evidence()
    evidence.add(*facts)
    return rule.check(evidence, DEFAULT)


@pytest.mark.parametrize(
    ("seen", "outcome", "said"),
    [
        (SAME, Outcome.PASS, "to the last digit"),
        (CARRIED, Outcome.FAIL, None),
        # In between is a violation whichever run it lies nearer to.
        (replace(CARRIED, transplanted_nats=3.7), Outcome.FAIL, None),
        (replace(CARRIED, repeat_nats=3.51), Outcome.INCONCLUSIVE, "again scores 3.51"),
        (replace(CARRIED, transplanted_nats=3.5 + 1e-8), Outcome.INCONCLUSIVE, "less than 1e-06"),
        (replace(CARRIED, transplanted_nats=3.50002), Outcome.FAIL, None),
        (replace(CARRIED, repeat_nats=None), Outcome.INCONCLUSIVE, "neither was run again"),
    ],
)
def test_the_score_of_a_transplant_is_that_of_its_artifact(seen, outcome, said):
    judgement = judged(artifact_only.RULE, seen, READ)
    assert judgement.outcome is outcome
    assert said is None or said in (judgement.reason or "")
    if outcome is not Outcome.INCONCLUSIVE:
        assert judgement.strength is Strength.RAN


@pytest.mark.parametrize(
    ("seen", "outcome", "said"),
    [
        (UNMOVED, Outcome.PASS, "byte for byte"),
        (MOVED, Outcome.FAIL, None),
        (replace(MOVED, repeat_differ=("model.ptz",)), Outcome.INCONCLUSIVE, "two equal runs"),
        (replace(MOVED, swapped_nats=3.5), Outcome.INCONCLUSIVE, "does not depend"),
        (replace(MOVED, repeat_differ=None), Outcome.INCONCLUSIVE, "not compared"),
    ],
)
def test_the_artifact_of_other_validation_text_is_the_same(seen, outcome, said):
    judgement = judged(validation_independence.RULE, seen, READ)
    assert judgement.outcome is outcome
    assert said is None or said in (judgement.reason or "")


def test_what_is_read_and_what_ran_must_agree_for_a_pass():
    table = OnTheWay(file="train_gpt.py", line=3, text="fill", report_line=9, doubts=())
    read = replace(READ, tables=(table,))
    assert judged(artifact_only.RULE, SAME, read).outcome is Outcome.INCONCLUSIVE
    assert judged(artifact_only.RULE, read).strength is Strength.SOURCE
    assert judged(artifact_only.RULE, CARRIED, read).strength is Strength.RAN


@pytest.mark.parametrize("rule", [artifact_only.RULE, validation_independence.RULE])
def test_without_evidence_nothing_is_decided(rule):
    assert judged(rule).outcome is Outcome.INCONCLUSIVE
    assert judged(rule, READ).outcome is Outcome.PASS


README = """# A record
```bash
mkdir -p data/only
{command}
DATA_PATH=data/only torchrun --nproc_per_node=8 train_gpt.py
```
"""
LINK = "ln -s data/all/fineweb_{}_000000.bin data/{}/fineweb_{}_000000.bin"


@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        (LINK.format("val", "only", "train"), Outcome.FAIL),
        (LINK.format("val", "only", "val"), Outcome.PASS),
        (LINK.format("train", "only", "train"), Outcome.PASS),
        (LINK.format("val", "other", "train"), Outcome.PASS),  # nothing is trained from there
    ],
)
def test_commands_that_put_validation_shards_in_the_place_of_training_shards(command, outcome):
    answer = judge(validation_independence.RULE, honest(README_md=README.format(command=command)))
    assert answer.outcome is outcome
    if outcome is Outcome.FAIL:
        assert answer.strength is Strength.CLAIMED
        assert answer.findings[0].location.line == 4
