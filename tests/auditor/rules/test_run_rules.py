"""The five rules that judge a run: honest, violated, the edge, and no evidence.

Each rule is given only the evidence it reads, made by hand; whole submissions are run in
`tests/auditor/run/test_systems.py`.
"""

from dataclasses import replace

import pytest

from auditor.evidence import (
    Evidence,
    Exercised,
    KraftSum,
    KraftSums,
    NoiseBound,
    OtherSources,
    PrefixSensitivity,
    Timeline,
    TimelineEvent,
)
from auditor.rules import (
    causal_cache,
    full_distribution,
    score_before_update,
    single_pass,
    strict_prefix,
)
from auditor.rulesets import DEFAULT
from auditor.verdict import Judgement, Outcome, Rule, Strength


def event(kind: str, start: int, stop: int, order: int = 5) -> TimelineEvent:
    return TimelineEvent(
        kind=kind, order=order, start=start, stop=stop, file="train_gpt.py", line=7
    )


CHARGE_1 = event("charge", 1, 51, order=1)
CHARGE_2 = event("charge", 51, 101, order=9)
HONEST_TIMELINE = Timeline(
    stage="final_exact",
    tokens=101,
    events=(CHARGE_1, CHARGE_2),
    charged_nats=600.0,
    printed_nats=600.0,
    charged_positions=100,
    charged_again=0,
    first_again=None,
    again_after_update=0,
    entries_before=0,
    unplaced=0,
)
HONEST_NOISE = NoiseBound(
    source="uniform",
    vocab_size=384,
    tokens=50_000,
    source_nats=297_532.0,
    charged_nats=297_600.0,
    hedged_nats=-68.0,
    curve=(),
    slack_nats_per_token=0.001,
)
HONEST_PREFIX = PrefixSensitivity(
    position=70, compared=69, moved=0, largest_nats=0.0, first_moved=None, repeat_moved=None
)
HONEST_SUM = KraftSum(
    position=900,
    total=1.0000001,
    least=0.97,
    largest=0.4,
    answered=384,
    vocab_size=384,
    charged_nats=2.5,
    doubt=None,
)
LOOKS_AHEAD = replace(HONEST_PREFIX, moved=3, largest_nats=0.2, first_moved=67, repeat_moved=0)


def judged(rule: Rule, *facts: object) -> Judgement:
    evidence = Evidence()
    evidence.add(*facts)
    return rule.check(evidence, DEFAULT)


def beating(nats: float, tokens: int = 50_000) -> NoiseBound:
    return replace(HONEST_NOISE, tokens=tokens, charged_nats=HONEST_NOISE.source_nats - nats)


def with_events(*events: TimelineEvent) -> Timeline:
    return replace(HONEST_TIMELINE, events=(CHARGE_1, *events, CHARGE_2))


RULES = (
    strict_prefix.RULE,
    full_distribution.RULE,
    score_before_update.RULE,
    single_pass.RULE,
    causal_cache.RULE,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_no_evidence_is_inconclusive_with_the_reason(rule):
    evidence = Evidence()
    evidence.cannot("the submission was not run", *rule.needs)
    answer = rule.check(evidence, DEFAULT)
    assert answer.outcome is Outcome.INCONCLUSIVE
    assert answer.reason == "the submission was not run"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_an_honest_run_passes(rule):
    assert judged(rule, HONEST_TIMELINE, HONEST_NOISE, HONEST_PREFIX).outcome is Outcome.PASS


@pytest.mark.parametrize("rule", RULES[1:], ids=lambda rule: rule.id)
def test_charges_that_do_not_add_up_to_the_score_pass_nothing(rule):
    forged = replace(HONEST_TIMELINE, charged_nats=599.0)
    answer = judged(rule, forged, HONEST_NOISE, HONEST_PREFIX)
    assert answer.outcome is Outcome.INCONCLUSIVE
    assert "599.0000 of 600.0000 nats" in (answer.reason or "")


# --- strict-prefix ------------------------------------------------------------------------------


def test_charges_that_move_with_later_tokens_fail():
    answer = judged(strict_prefix.RULE, LOOKS_AHEAD)
    assert (answer.outcome, answer.strength) == (Outcome.FAIL, Strength.RAN)
    assert answer.findings[0].location.position == 67
    assert "3 of 69 charges" in answer.findings[0].message


def test_one_charge_that_moves_is_enough():
    answer = judged(strict_prefix.RULE, replace(LOOKS_AHEAD, moved=1, largest_nats=1e-15))
    assert answer.outcome is Outcome.FAIL


def test_charges_that_move_from_run_to_run_anyway_decide_nothing():
    answer = judged(strict_prefix.RULE, replace(LOOKS_AHEAD, repeat_moved=2))
    assert answer.outcome is Outcome.INCONCLUSIVE


def test_nothing_compared_is_no_pass():
    assert judged(strict_prefix.RULE, replace(HONEST_PREFIX, compared=0)).outcome is (
        Outcome.INCONCLUSIVE
    )


# --- full-distribution --------------------------------------------------------------------------


def test_beating_noise_is_proof():
    answer = judged(full_distribution.RULE, beating(5_000), HONEST_TIMELINE, HONEST_PREFIX)
    assert (answer.outcome, answer.strength) == (Outcome.FAIL, Strength.PROVED)
    assert "5,000 nats" in answer.findings[0].message


@pytest.mark.parametrize(
    ("nats", "tokens", "outcome"),
    [
        (20.7, 50_000, Outcome.PASS),  # chance: not yet one in 10^9
        (20.8, 50_000, Outcome.FAIL),
        (20.8, 208_001, Outcome.INCONCLUSIVE),  # under 1e-4 a token rounding could do it
        (20.8, 207_999, Outcome.FAIL),
    ],
)
def test_the_edge_needs_both_thresholds(nats, tokens, outcome):
    assert judged(full_distribution.RULE, beating(nats, tokens), HONEST_TIMELINE).outcome is outcome


def test_charging_twice_is_covered_whether_or_not_the_first_charges_are_known():
    twice = replace(HONEST_TIMELINE, charged_again=1, first_again=100)
    assert judged(full_distribution.RULE, beating(5_000), twice).outcome is Outcome.FAIL
    unknown = replace(twice, charged_nats=0.0)
    assert judged(full_distribution.RULE, beating(5_000), unknown).outcome is Outcome.FAIL
    assert judged(full_distribution.RULE, beating(-5), unknown).outcome is Outcome.INCONCLUSIVE


def test_beating_noise_by_looking_ahead_is_the_other_rule():
    answer = judged(full_distribution.RULE, beating(5_000), HONEST_TIMELINE, LOOKS_AHEAD)
    assert answer.outcome is Outcome.INCONCLUSIVE
    assert "strict-prefix" in (answer.reason or "")


def test_bets_that_win_are_proof_where_the_whole_score_hides_it():
    answer = judged(
        full_distribution.RULE, replace(HONEST_NOISE, hedged_nats=400.0), HONEST_TIMELINE
    )
    assert (answer.outcome, answer.strength) == (Outcome.FAIL, Strength.PROVED)
    assert "bets of small shares" in answer.findings[0].message
    assert "400 nats" in answer.findings[0].message


def test_one_source_that_is_beaten_is_enough():
    honest = replace(HONEST_NOISE, source="markov")
    others = OtherSources(bounds=(honest, replace(honest, hedged_nats=90.0)), failed=())
    answer = judged(full_distribution.RULE, HONEST_NOISE, others, HONEST_TIMELINE)
    assert (answer.outcome, answer.strength) == (Outcome.FAIL, Strength.PROVED)
    [finding] = answer.findings
    assert "on markov" in finding.message
    others = OtherSources(bounds=(honest,), failed=("repeat: it died",))
    answer = judged(full_distribution.RULE, HONEST_NOISE, others, HONEST_TIMELINE)
    assert answer.outcome is Outcome.PASS


def with_sum(*facts: object, **changed: object) -> Judgement:
    sums = KraftSums(sums=(HONEST_SUM, replace(HONEST_SUM, **changed)))  # type: ignore[arg-type]
    return judged(full_distribution.RULE, HONEST_NOISE, HONEST_TIMELINE, sums, *facts)


def test_a_sum_of_one_passes_and_says_so():
    answer = with_sum()
    assert answer.outcome is Outcome.PASS
    assert "adds up to 1.000000, 1.000000" in (answer.reason or "")


def test_an_overfull_sum_on_text_is_proof_even_where_noise_shows_nothing():
    answer = with_sum(HONEST_PREFIX, total=182.0, least=170.0, position=1_700, answered=380)
    assert (answer.outcome, answer.strength) == (Outcome.FAIL, Strength.PROVED)
    [finding] = answer.findings
    assert finding.location.position == 1_700
    assert "380 tokens, of 384" in finding.message
    assert "182.000000" in finding.message


@pytest.mark.parametrize(
    ("total", "least", "outcome"),
    [
        (1.000009, 0.98, Outcome.PASS),
        (1.000011, 0.98, Outcome.INCONCLUSIVE),  # charges in bfloat16 could give that
        (1.03, 1.0, Outcome.INCONCLUSIVE),
        (1.03, 1.001, Outcome.FAIL),
        (0.2, 0.19, Outcome.PASS),  # wasteful, and a code all the same
    ],
)
def test_the_edge_of_a_sum_is_rounding(total, least, outcome):
    assert with_sum(total=total, least=least).outcome is outcome


def test_a_sum_in_doubt_counts_for_nothing():
    assert with_sum(total=182.0, least=170.0, doubt="forked too late").outcome is Outcome.PASS


def test_an_overfull_sum_by_looking_ahead_is_the_other_rule():
    answer = with_sum(LOOKS_AHEAD, total=1.7, least=1.6)
    assert answer.outcome is Outcome.INCONCLUSIVE
    assert "strict-prefix" in (answer.reason or "")


# --- score-before-update and causal-cache -------------------------------------------------------

UPDATES = [
    pytest.param(score_before_update.RULE, "optimizer-step", id="optimizer-step"),
    pytest.param(causal_cache.RULE, "cache-write", id="cache-write"),
]


@pytest.mark.parametrize(("rule", "kind"), UPDATES)
@pytest.mark.parametrize(("start", "stop"), [(0, 51), (1, 51), (50, 51)])
def test_updates_on_charged_positions_pass_up_to_the_last_one(rule, kind, start, stop):
    answer = judged(rule, with_events(event(kind, start, stop)), HONEST_PREFIX)
    assert answer.outcome is Outcome.PASS


@pytest.mark.parametrize(("rule", "kind"), UPDATES)
@pytest.mark.parametrize(("stop", "uncharged"), [(52, 1), (101, 50)])
def test_updates_on_uncharged_positions_that_move_charges_fail(rule, kind, stop, uncharged):
    answer = judged(rule, with_events(event(kind, 1, stop)), LOOKS_AHEAD)
    assert (answer.outcome, answer.strength) == (Outcome.FAIL, Strength.RAN)
    assert answer.findings[0].numbers["uncharged"] == uncharged
    assert str(answer.findings[0].location) == "train_gpt.py:7"


@pytest.mark.parametrize(("rule", "kind"), UPDATES)
@pytest.mark.parametrize(
    "facts",
    [
        pytest.param((HONEST_PREFIX,), id="no effect"),
        pytest.param((), id="effect not measured"),
        pytest.param((replace(LOOKS_AHEAD, repeat_moved=3),), id="not repeatable"),
        pytest.param((HONEST_PREFIX, beating(5_000)), id="noise beaten by something else"),
    ],
)
def test_early_updates_without_a_shown_effect_are_inconclusive(rule, kind, facts):
    answer = judged(rule, with_events(event(kind, 1, 101)), *facts)
    assert answer.outcome is Outcome.INCONCLUSIVE
    assert answer.findings


@pytest.mark.parametrize(("rule", "kind"), UPDATES)
def test_of_two_early_updates_the_one_that_others_were_charged_after_is_to_blame(rule, kind):
    other = {"optimizer-step": "cache-write", "cache-write": "optimizer-step"}[kind]
    # The own update covers just what is charged next: its charge may have been fixed before it.
    own = event(kind, 51, 101, order=8)
    blamed = event(other, 1, 101, order=0)
    timeline = replace(HONEST_TIMELINE, events=(blamed, CHARGE_1, own, CHARGE_2))
    assert judged(rule, timeline, LOOKS_AHEAD).outcome is Outcome.INCONCLUSIVE
    alone = replace(timeline, events=(CHARGE_1, own, CHARGE_2))
    assert judged(rule, alone, LOOKS_AHEAD).outcome is Outcome.FAIL
    far = replace(timeline, events=(blamed, event(kind, 1, 101, order=0), CHARGE_1, CHARGE_2))
    assert judged(rule, far, LOOKS_AHEAD).outcome is Outcome.FAIL


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_run_that_left_out_what_the_logs_show_passes_nothing(rule):
    left_out = Exercised(
        mechanisms=("ttt",), missing=("`ttt` (train.log:9)",), stages=("final_ttt",)
    )
    answer = judged(rule, HONEST_TIMELINE, HONEST_NOISE, HONEST_PREFIX, left_out)
    assert answer.outcome is Outcome.INCONCLUSIVE
    assert "train.log:9" in (answer.reason or "")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_where_no_log_says_what_has_to_run_nothing_passes(rule):
    for stages, outcome in (((), Outcome.INCONCLUSIVE), (("final_ttt",), Outcome.PASS)):
        ran = Exercised(mechanisms=(), missing=(), stages=stages)
        answer = judged(rule, HONEST_TIMELINE, HONEST_NOISE, HONEST_PREFIX, ran)
        assert answer.outcome is outcome, answer.reason


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_score_on_bytes_passes_nothing_that_was_seen_of_tokens(rule):
    ran = Exercised(mechanisms=(), missing=(), stages=("final",), by_bytes="`ppm` (train.log:9)")
    answer = judged(rule, HONEST_TIMELINE, HONEST_NOISE, HONEST_PREFIX, ran)
    assert answer.outcome is Outcome.INCONCLUSIVE
    assert "train.log:9" in (answer.reason or "")


def test_a_run_that_left_something_out_can_still_fail():
    left_out = Exercised(mechanisms=("ttt",), missing=("`ttt` (train.log:9)",))
    answer = judged(full_distribution.RULE, beating(5_000), HONEST_TIMELINE, left_out)
    assert answer.outcome is Outcome.FAIL


@pytest.mark.parametrize(("rule", "kind"), UPDATES)
def test_updates_whose_tokens_were_not_found_are_inconclusive(rule, kind):
    timeline = replace(with_events(event(kind, 1, 51)), unplaced=1)
    assert judged(rule, timeline, HONEST_PREFIX).outcome is Outcome.INCONCLUSIVE


def test_a_cache_that_is_full_before_its_first_write_is_not_judged():
    timeline = replace(with_events(event("cache-write", 1, 51)), entries_before=9)
    answer = judged(causal_cache.RULE, timeline, HONEST_PREFIX)
    assert answer.outcome is Outcome.INCONCLUSIVE
    assert "held 9 entries" in (answer.reason or "")


def test_no_cache_write_passes_only_when_the_future_moved_nothing():
    assert judged(causal_cache.RULE, HONEST_TIMELINE, HONEST_PREFIX).outcome is Outcome.PASS
    for facts in ((HONEST_TIMELINE,), (HONEST_TIMELINE, LOOKS_AHEAD)):
        assert judged(causal_cache.RULE, *facts).outcome is Outcome.INCONCLUSIVE


# --- single-pass --------------------------------------------------------------------------------


def test_windows_that_overlap_at_the_end_fail_nobody():
    """They weigh a few tokens twice, and records like that were accepted."""
    twice = replace(HONEST_TIMELINE, charged_again=1, first_again=100)
    answer = judged(single_pass.RULE, twice)
    assert answer.outcome is Outcome.INCONCLUSIVE
    assert answer.findings


def test_an_earlier_pass_that_is_not_in_the_score_fails_only_where_it_shows():
    """A warm-up whose weights are thrown away learns from everything and gives nothing away."""
    passes = replace(
        HONEST_TIMELINE, charged_again=100, first_again=1, again_after_update=100, uncounted=100
    )
    quiet = judged(single_pass.RULE, passes, beating(-5))
    assert (quiet.outcome, len(quiet.findings)) == (Outcome.INCONCLUSIVE, 1)
    assert judged(single_pass.RULE, passes, beating(5_000)).outcome is Outcome.FAIL
    for rule in (score_before_update.RULE, causal_cache.RULE, full_distribution.RULE):
        assert judged(rule, passes, beating(-5)).outcome is Outcome.INCONCLUSIVE


def test_one_position_charged_again_after_it_was_learnt_fails():
    twice = replace(HONEST_TIMELINE, charged_again=1, first_again=100, again_after_update=1)
    answer = judged(single_pass.RULE, twice)
    assert answer.outcome is Outcome.FAIL
    assert "100 positions were charged 101 times" in answer.findings[0].message
    assert answer.findings[0].location.position == 100
