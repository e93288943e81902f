"""Own-written programs: one adapts, counts and writes in the legal order, twins break one thing.

The mutation test: each twin fails the rule of the property that it breaks, and no other.
"""

import contextlib
import os
import subprocess
import sys
import textwrap
import time

import pytest

from auditor.errors import CannotMeasure
from auditor.evidence import Evidence, LearningOrder
from auditor.inspect import inspect
from auditor.inspect.order.learning import read_learning_order
from auditor.inspect.order.values import Learnt, Link, Loops, Region, overlap
from auditor.inspect.program import read_program
from auditor.rules import (
    artifact_only,
    causal_cache,
    full_distribution,
    score_before_update,
    single_pass,
    validation_independence,
)
from auditor.rulesets import DEFAULT
from auditor.verdict import Outcome, Strength
from tests.auditor.inspect.programs import ENDLESS, INNOCENT, OPEN, VIOLATIONS, at, changed
from tests.auditor.inspect.records import README, claims, log, submission

RULES = (
    full_distribution,
    score_before_update,
    causal_cache,
    single_pass,
    artifact_only,
    validation_independence,
)


def evidence_of(script: str, **files: str | None) -> Evidence:
    return inspect(
        submission(
            {
                "README.md": README,
                "train_gpt.py": textwrap.dedent(script),
                "submission.json": claims({1337: 1.1}),
                "train.log": log(1.1) + "final_exact val_loss:1.85732100 val_bpb:1.10000000\n",
                **files,
            }
        )
    )


def failed_rules(script: str, **files: str | None) -> set[str]:
    evidence = evidence_of(script, **files)
    found = {module.RULE.id: module.RULE.check(evidence, DEFAULT) for module in RULES}
    return {name for name, judged in found.items() if judged.outcome is Outcome.FAIL}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_each_twin_fails_what_it_breaks_and_nothing_else(name):
    rule, changes = VIOLATIONS[name]
    assert failed_rules(changed(changes)) == {rule}


@pytest.mark.parametrize("name", INNOCENT)
def test_what_looks_like_it_and_is_innocent_fails_nothing(name):
    script = changed(INNOCENT[name])
    assert failed_rules(script) == set()
    order = evidence_of(script).get(LearningOrder)
    assert order is not None
    assert order.headline == "train.log:13 states the score that it prints"
    assert not [use for use in order.early if use.sure]


def test_a_finding_has_both_lines_and_the_print():
    script = changed(VIOLATIONS["adapts to the whole split before scoring it"][1])
    judged = score_before_update.RULE.check(evidence_of(script), DEFAULT)
    lines = script.splitlines()
    assert judged.strength is Strength.SOURCE
    (finding,) = judged.findings
    assert "loss.backward()" in lines[(finding.location.line or 0) - 1]
    assert "model(x, y)" in lines[finding.numbers["charge_line"] - 1]
    assert "final_exact" in lines[finding.numbers["report_line"] - 1]


def test_an_open_setting_decides_nothing_and_is_named():
    switch = (
        '    epochs = int(os.environ.get("EPOCHS", "3"))\n',
        '    epochs = int(os.environ.get("EPOCHS", "3"))\n'
        '    first = os.environ.get("ADAPT_FIRST", unknown())\n',
    )
    call = at("BEFORE SCORING", "if args.first:", "    adapt(scored, val_tokens, 1, 1e-3)")
    judged = score_before_update.RULE.check(evidence_of(changed([switch, call])), DEFAULT)
    assert judged.outcome is Outcome.INCONCLUSIVE
    assert "whether `args.first` holds" in (judged.reason or "")
    # A log that prints the settings closes it, and so does a line that only that branch prints.
    header = "".join(f"  setting_{n}: {n}\n" for n in range(12)) + "  first: True\n"
    text = header + log(1.1) + "final_exact val_loss:1.85732100 val_bpb:1.10000000\n"
    script = changed([switch, call])
    assert failed_rules(script, **{"train.log": text}) == {"score-before-update"}
    said = at(
        "BEFORE SCORING",
        "if args.first:",
        "    print('adapting first of all')",
        "    adapt(scored, val_tokens, 1, 1e-3)",
    )
    text = "adapting first of all\n" + text.replace(header, "")
    assert failed_rules(changed([switch, said]), **{"train.log": text}) == {"score-before-update"}


@pytest.mark.parametrize("name", OPEN)
def test_a_switch_that_is_kept_under_a_name_is_open_too(name):
    evidence = evidence_of(changed(OPEN[name]))
    judged = score_before_update.RULE.check(evidence, DEFAULT)
    assert judged.outcome is Outcome.INCONCLUSIVE
    assert "holds (train_gpt.py:" in (judged.reason or "")


def test_without_a_log_the_last_print_counts_and_with_another_nothing_is_sure():
    script = changed(VIOLATIONS["adapts to the whole split before scoring it"][1])
    assert failed_rules(script, **{"train.log": None}) == {"score-before-update"}
    other = log(1.1).replace("final", "quite_another")
    assert failed_rules(script, **{"train.log": other}) == set()


def test_two_readings_in_two_processes_are_equal():
    code = (
        "from tests.auditor.inspect.test_order import *\n"
        "for _, changes in VIOLATIONS.values():\n"
        "    print(evidence_of(changed(changes)).get(LearningOrder))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


@pytest.mark.parametrize("name", ENDLESS)
def test_a_program_that_is_written_to_be_slow_ends(name):
    started = time.process_time()
    with contextlib.suppress(CannotMeasure):
        made = read_program(submission({"train_gpt.py": ENDLESS[name]}))
        assert read_learning_order(made).early == ()
    assert time.process_time() - started < 60


def learnt(*links: Link, born: frozenset[int] = frozenset()) -> Learnt:
    return Learnt("step", ("a.py", 1), Region("validation", links), born)


def link(line: int, *turns: tuple[int, int]) -> Link:
    return Link(("a.py", line), frozenset(turns))


@pytest.mark.parametrize(
    ("taken", "used", "running", "same"),
    [
        (learnt(link(1, (1, 0))), [link(1, (1, 0))], {1: 0}, True),
        (learnt(link(1, (1, 0))), [link(1, (1, 1))], {1: 1}, False),  # an earlier turn
        (learnt(link(1, (1, 0))), [link(9, (2, 1))], {2: 1}, True),  # loop 1 has swept all
        (learnt(link(1, (8, 0))), [link(9, (2, 1))], {2: 1}, None),  # loop 8 went over some
        (
            learnt(link(1, (1, 0)), link(2, (3, 1))),
            [link(1, (1, 0)), link(7, (4, 0))],
            {1: 0, 4: 0},
            True,
        ),
        (learnt(link(1, (1, 0))), [link(2, (1, 0))], {1: 0}, None),  # two slices of one turn
        (learnt(link(1, (2, 0)), born=frozenset({1})), [link(2, (1, 1))], {1: 1}, None),
    ],
)
def test_tokens_are_compared_by_slices_and_turns(taken, used, running, same):
    loops = Loops(running, sweeping={1, 2, 3, 4})
    assert overlap(taken, Region("validation", tuple(used)), loops) is same
