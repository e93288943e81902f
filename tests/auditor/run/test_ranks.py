"""Several ranks: their events in one order, and whole runs over a loopback."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.audit import Plan, audit
from auditor.inspect.ranks import ranks_of_a_run
from auditor.run.ranks import in_order
from auditor.run.sandbox import missing
from auditor.verdict import Outcome, Strength, Verdict
from tests.systems import record
from tests.systems.ranks import ranked

needs_sandbox = pytest.mark.skipif(
    missing("bubblewrap") is not None, reason=f"no sandbox here: {missing('bubblewrap')}"
)


def line(rank: int | None, order: int, kind: str = "look", **facts: Any) -> bytes:
    said = {} if rank is None else {"rank": rank}
    return json.dumps({**said, "kind": kind, "order": order, **facts}).encode()


def test_events_of_one_rank_stay_as_they_are():
    events = list(in_order([line(None, 4), line(None, 7, "line", text="x")]))
    assert [event["order"] for event in events] == [4, 7]


def test_what_comes_before_a_collective_comes_before_what_follows_it_anywhere():
    lines = [
        line(0, 0, "look", here="0a"),
        line(0, 1, "collective"),
        line(0, 2, "look", here="0b"),
        line(0, 3, "line", text="final"),
        line(1, 0, "look", here="1a"),
        line(1, 1, "collective"),
        line(1, 2, "line", text="of another rank"),
    ]
    events = list(in_order(lines))
    assert [event.get("here") for event in events] == ["0a", "1a", "0b", None]
    assert [event["order"] for event in events] == [0, 1, 2, 3]
    assert events[-1]["text"] == "final"


@given(st.permutations([0, 0, 0, 0, 1, 1, 1, 1]))
def test_the_order_does_not_depend_on_which_rank_was_quicker(arrivals):
    said = {0: 0, 1: 0}
    lines = []
    for rank in arrivals:
        order = said[rank]
        lines.append(line(rank, order, "collective" if order == 1 else "look", here=[rank, order]))
        said[rank] += 1
    here = [event["here"] for event in in_order(lines)]
    assert here == [[0, 0], [1, 0], [0, 2], [0, 3], [1, 2], [1, 3]]


def test_two_ranks_are_taken_where_a_default_asks_for_their_number():
    assert ranks_of_a_run(ranked(), {"WORLD_SIZE": "8"}) == 2
    assert ranks_of_a_run(ranked(), {}) == 1
    assert ranks_of_a_run(record(), {"WORLD_SIZE": "8"}) == 1


@pytest.mark.parametrize("given", ["0", "1"])
def test_one_rank_is_enough_where_the_scored_run_gave_the_setting_itself(given):
    assert ranks_of_a_run(ranked(), {"WORLD_SIZE": "8", "NGRAM_CACHE": given}) == 1


def verdict_of(twin: str | None, ranks: int | None, *experiments: str) -> Verdict:
    plan = Plan(run=True, ranks=ranks, experiments=frozenset(experiments), budget_seconds=1e3)
    return audit(ranked(twin), plan)


@needs_sandbox
def test_a_cache_that_only_several_ranks_have_is_seen_on_two():
    verdict = verdict_of("unnormalised", None)
    assert verdict.trouble is None
    assert "ranks=2, on text 1" in verdict.overrides
    assert verdict.evidence["Timeline"]["charged_positions"] == 30_000
    result = verdict.result("full-distribution")
    assert (result.outcome, result.strength) == (Outcome.FAIL, Strength.PROVED)


@pytest.mark.slow
@needs_sandbox
def test_on_one_rank_it_stays_off_and_passes_nothing():
    verdict = verdict_of("unnormalised", 1)
    result = verdict.result("full-distribution")
    assert result.outcome is Outcome.INCONCLUSIVE
    assert "`ngram_cache:on`" in (result.reason or "")


@pytest.mark.slow
@pytest.mark.timeout(300)
@needs_sandbox
def test_an_honest_system_passes_on_two_ranks():
    verdict = verdict_of(None, None, "suffix")
    assert verdict.trouble is None
    for rule in ("strict-prefix", "full-distribution", "score-before-update", "single-pass"):
        assert verdict.result(rule).outcome is Outcome.PASS, verdict.result(rule).reason
    assert verdict.evidence["PrefixSensitivity"]["moved"] == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
@needs_sandbox
def test_where_two_ranks_give_no_score_one_is_tried_and_passes_nothing():
    files = {path: file.data for path, file in ranked().files.items()}
    died = files["train_gpt.py"].replace(
        b"    # the scored stage\n", b"    assert rank == 0, 'no device'\n"
    )
    verdict = audit(
        record(None, **{**files, "train_gpt.py": died}),
        Plan(run=True, experiments=frozenset(), budget_seconds=1e3),
    )
    assert verdict.trouble is None
    # Either rank's last words: the assertion, or that the other one is gone.
    (said,) = (one for one in verdict.overrides if one.startswith("ranks=1, because on 2: "))
    assert "expected exit status 0" in said
    assert verdict.result("full-distribution").outcome is Outcome.INCONCLUSIVE


@needs_sandbox
def test_a_rank_that_dies_ends_the_others():
    verdict = verdict_of("dies", 2)
    assert "RuntimeError: no device" in (verdict.trouble or "")
