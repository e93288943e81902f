"""How outcomes follow from results, and what a rule cannot do."""

import itertools

import pytest

from auditor.errors import ToolError
from auditor.evidence import Evidence, ShippedBytes
from auditor.rules import RULES
from auditor.rulesets import DEFAULT
from auditor.verdict import (
    Finding,
    Judgement,
    Location,
    Outcome,
    Result,
    Rule,
    Strength,
    Verdict,
    failed,
    judge,
    passed,
)

P, F, U, N = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.NOT_APPLICABLE


def verdict(*outcomes: Outcome) -> Verdict:
    return Verdict(
        ruleset="r",
        engine="e",
        submission={},
        results=tuple(Result("x", outcome, None, None, ()) for outcome in outcomes),
        evidence={},
        overrides=(),
        trouble=None,
        seconds=0.0,
    )


def test_nothing_judged_is_inconclusive():
    assert verdict().outcome is U
    assert verdict(N, N).outcome is U


@pytest.mark.parametrize(
    ("outcomes", "outcome"), [((P, P), P), ((P, N), P), ((P, U), U), ((P, F, U), F), ((N, F), F)]
)
def test_fail_beats_inconclusive_beats_pass_in_any_order(outcomes, outcome):
    for order in itertools.permutations(outcomes):
        assert verdict(*order).outcome is outcome


def rule(check, authority: str = "official") -> Rule:
    return Rule(
        id="x",
        title="",
        authority=authority,
        needs=(),
        check=check,
        matters="",
        mend="",
        documentation="",
    )


def test_a_rule_that_crashes_is_the_tools_error_not_an_outcome():
    def check(evidence, ruleset):
        raise KeyError("oops")

    with pytest.raises(ToolError, match="rule x crashed"):
        judge([rule(check)], Evidence(), DEFAULT)


def test_a_fail_needs_a_finding():
    with pytest.raises(ToolError, match="without a finding"):
        failed(Strength.SOURCE, [])


def test_a_disputed_rule_shows_its_findings_but_fails_nobody():
    def check(evidence, ruleset) -> Judgement:
        return failed(Strength.RAN, [Finding("m", Location(file="a"))])

    (result,) = judge([rule(check, "disputed")], Evidence(), DEFAULT)
    assert result.outcome is U
    assert result.findings[0].message == "m"


def test_evidence_is_collected_once():
    evidence = Evidence()
    shipped = ShippedBytes(code={}, models={}, entry=None)
    evidence.add(shipped)
    with pytest.raises(ToolError, match="ShippedBytes was collected twice"):
        evidence.add(shipped)


def test_strengths_are_ordered_from_said_to_proved():
    assert sorted(Strength, reverse=True)[0] is Strength.PROVED
    assert Strength.CLAIMED < Strength.LOGGED < Strength.SOURCE < Strength.RAN < Strength.PROVED


def test_rules_are_listed_once_each_and_documented():
    ids = [one.id for one in RULES]
    assert len(set(ids)) == len(ids)
    assert set(DEFAULT.rules) == set(ids)
    for one in RULES:
        assert one.title
        assert one.needs
        for said in ("can be wrong", "Violates:", "Innocent:"):
            assert said in one.documentation, (one.id, said)


def test_no_rule_passes_or_fails_on_no_evidence_at_all():
    for result in judge(RULES, Evidence(), DEFAULT):
        # Whether a record is better than another is asked only where there is another.
        alone = result.rule == "significance"
        assert result.outcome is (Outcome.NOT_APPLICABLE if alone else U), result.rule
        assert result.reason


def test_pass_keeps_what_was_seen():
    assert passed(Strength.RAN, "seen").reason == "seen"


def test_every_rule_says_in_one_sentence_why_it_matters_and_how_to_mend_it():
    for rule in RULES:
        for said in (rule.matters, rule.mend):
            assert 30 < len(said) < 160, rule.id
            assert said[0].isupper(), rule.id
            assert said.endswith("."), rule.id
            assert said.count(". ") == 0, rule.id


def test_a_finding_without_a_place_cannot_be_made():
    with pytest.raises(ValueError, match="a file or a position, got neither"):
        Location(line=1)
