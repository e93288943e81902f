"""The timeline against small records written by hand."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from auditor.errors import CannotMeasure
from auditor.evidence import Timeline
from auditor.run.align import Aligner
from auditor.run.record import Learn, Look, Record, Score, Step, Values, Write
from auditor.run.streams import uniform
from auditor.run.timeline import build_timeline, charges, stages

STREAM = uniform(384, 101, "timeline").tokens.astype(np.int32)
ALIGNER = Aligner(STREAM)
AT = ("train_gpt.py", 7, "evaluate")


def scored(chunks: list[tuple[int, int]], *, after: float = 0.0, first: int = 0) -> Record:
    """A record that charges chunks of 0.5 nats a token, with room for events in between."""
    record, total, count = Record(), 0.0, 0
    for index, (start, stop) in enumerate(chunks):
        order = first + 10 * index
        nats = np.full(stop - start, 0.5)
        record.values.append(Values(order, "sum", AT, nats))
        record.looks.append(Look(order + 1, AT, [STREAM[start:stop]]))
        total, count = total + nats.sum(), count + len(nats)
    record.scores.append(Score(first + 1000, "final_exact", total / count + after, 1.0, 8))
    return record


def timeline_of(record: Record) -> Timeline:
    stage = stages(record)[-1]
    return build_timeline(record, stage, charges(record, stage, ALIGNER), ALIGNER)


def kinds(timeline: Timeline) -> list[tuple[str, int, int]]:
    return [(event.kind, event.start, event.stop) for event in timeline.events]


def test_neighbouring_charges_become_one_event_and_add_up():
    timeline = timeline_of(scored([(1, 51), (51, 101)]))
    assert kinds(timeline) == [("charge", 1, 101)]
    assert timeline.reconciled
    assert timeline.charged_positions == 100
    assert timeline.charged_again == 0


def test_a_printed_score_that_the_charges_do_not_give_is_not_reconciled():
    assert not timeline_of(scored([(1, 101)], after=1e-4)).reconciled


def test_a_position_charged_twice_is_counted():
    timeline = timeline_of(scored([(1, 51), (41, 101)]))
    assert (timeline.charged_again, timeline.first_again) == (10, 41)


def test_writes_and_steps_stand_between_the_charges_they_came_between():
    record = scored([(1, 51), (51, 101)])
    record.writes.append(Write(5, AT, 1, 0.0, [STREAM[0:51]]))
    record.learns.append(Learn(6, AT, STREAM[1:51]))
    record.steps.append(Step(7, AT))
    assert kinds(timeline_of(record)) == [
        ("charge", 1, 51),
        ("cache-write", 0, 51),
        ("optimizer-step", 1, 51),
        ("charge", 51, 101),
    ]


def test_learning_from_the_stream_before_the_stage_is_kept():
    record = scored([(1, 101)], first=100)
    record.learns.append(Learn(1, AT, STREAM[1:51]))
    record.steps.append(Step(2, AT))
    assert kinds(timeline_of(record))[0] == ("optimizer-step", 1, 51)


def test_a_timeline_is_plain_values():
    record = scored([(1, 101)], first=100)
    record.learns.append(Learn(1, AT, uniform(384, 50, "training").tokens.astype(np.int32)))
    record.steps.append(Step(2, AT))
    assert json.loads(json.dumps(asdict(timeline_of(record))))["unplaced"] == 0


def test_training_on_other_tokens_is_not_part_of_the_timeline():
    record = scored([(1, 101)], first=100)
    record.learns.append(Learn(1, AT, uniform(384, 50, "training").tokens.astype(np.int32)))
    record.steps.append(Step(2, AT))
    timeline = timeline_of(record)
    assert kinds(timeline) == [("charge", 1, 101)]
    assert timeline.unplaced == 0


def test_a_write_of_unknown_tokens_during_the_stage_is_counted_as_unplaced():
    record = scored([(1, 51), (51, 101)])
    record.writes.append(Write(5, AT, 1, 0.0, [np.arange(9, dtype=np.int32)]))
    assert timeline_of(record).unplaced == 1


def test_a_table_that_is_full_at_the_first_update_was_filled_before():
    record = scored([(1, 51), (51, 101)])
    record.writes.append(Write(5, AT, 1, 40.0, [STREAM[0:51]]))
    record.writes.append(Write(6, AT, 2, 2.0, [STREAM[0:51]]))
    assert timeline_of(record).entries_before == 42


def test_a_prefill_from_elsewhere_before_the_first_charge_is_what_the_table_held():
    record = scored([(1, 51), (51, 101)], first=100)
    elsewhere = uniform(384, 50, "training").tokens.astype(np.int32)
    record.writes.append(Write(5, AT, 1, 0.0, [elsewhere]))
    record.writes.append(Write(105, AT, 1, 50.0, [STREAM[0:51]]))
    timeline = timeline_of(record)
    assert (timeline.entries_before, timeline.unplaced) == (50, 0)


def test_a_table_that_a_growing_cache_moves_to_later_was_not_filled_before():
    record = scored([(1, 51), (51, 101)])
    record.writes.append(Write(5, AT, 1, 0.0, [STREAM[0:51]]))
    record.writes.append(Write(15, AT, 2, 50.0, [STREAM[51:101]]))
    assert timeline_of(record).entries_before == 0


def test_the_scored_stage_is_the_last_one_and_the_exact_line_gives_its_digits():
    record = scored([(1, 101)], first=2000)
    earlier = scored([(1, 101)])
    record.looks = earlier.looks + record.looks
    record.scores = [
        Score(1000, "final_sliding", 0.5, 1.0, 8),
        Score(3000, "ttt", 0.5, 1.0, 6),
        Score(3001, "final", 0.5, 1.0, 4),
        Score(3002, "final_exact", 0.5, 1.0, 8),
        Score(3003, "best_of_all", 0.4, 1.0, 8),
    ]
    found = stages(record)
    assert [stage.score.label for stage in found] == ["final_sliding", "final_exact"]
    assert found[-1].begins == 1000


def test_what_is_masked_in_a_window_is_not_charged():
    """Its context, and what fills it up at the end."""
    record, pad = Record(), np.full(7, 999, dtype=np.int32)
    for order, (start, first, stop) in enumerate([(1, 1, 33), (17, 33, 65), (49, 65, 101)]):
        nats = np.where(np.arange(start, stop) < first, 0.0, 0.5)
        rows = [np.concatenate([STREAM[start:stop], pad]), np.zeros(5, dtype=np.int32)]
        record.values.append(Values(2 * order, "sum", AT, np.append(nats, np.zeros(12))))
        record.looks.append(Look(2 * order + 1, AT, rows))
    record.scores.append(Score(1000, "final_exact", 0.5, 1.0, 8))
    timeline = timeline_of(record)
    assert kinds(timeline) == [("charge", 1, 101)]
    assert timeline.reconciled
    assert (timeline.charged_positions, timeline.charged_again) == (100, 0)


def test_the_site_whose_charges_add_up_is_the_one_that_charges():
    record = scored([(1, 51), (51, 101)], first=100)
    elsewhere = ("train_gpt.py", 3, "load")
    record.looks.insert(0, Look(99, elsewhere, [STREAM[0:101]]))
    assert kinds(timeline_of(record)) == [("charge", 1, 101)]
    assert timeline_of(record).reconciled


def test_charges_of_unknown_tokens_cannot_be_placed():
    record = Record(
        looks=[Look(1, AT, [np.arange(50, dtype=np.int32)])],
        scores=[Score(2, "final_exact", 1.0, 1.0, 8)],
    )
    with pytest.raises(CannotMeasure, match="final_exact: no look-up"):
        charges(record, stages(record)[-1], ALIGNER)


def test_values_are_those_that_give_the_printed_loss():
    record = scored([(1, 101)])
    record.values.append(Values(2, "sum", ("train_gpt.py", 9, "f"), np.full(100, 3.0)))
    stage = stages(record)[-1]
    assert charges(record, stage, ALIGNER).nats_N.tolist() == [0.5] * 100


def passes(score: float, *nats: float) -> Record:
    """A record that charges everything once for each of `nats`, and learns in between."""
    record = Record()
    for number, each in enumerate(nats):
        order = 10 * number
        record.values.append(Values(order, "sum", AT, np.linspace(each, each + 0.1, 100)))
        record.looks.append(Look(order + 1, AT, [STREAM[1:101]]))
        record.learns.append(Learn(order + 2, AT, STREAM[1:101]))
        record.steps.append(Step(order + 3, AT))
    record.scores.append(Score(1000, "final_exact", score, 1.0, 8))
    return record


@pytest.mark.parametrize("nats", [(3.0, 1.0), (3.0, 2.0, 1.0), (1.0, 3.0, 1.0)])
def test_where_only_the_last_pass_is_printed_the_earlier_ones_are_charges_all_the_same(nats):
    record = passes(1.05, *nats)
    stage = stages(record)[-1]
    charged = charges(record, stage, ALIGNER)
    assert charged.nats_N.tolist() == np.linspace(1.0, 1.1, 100).tolist()
    timeline = build_timeline(record, stage, charged, ALIGNER)
    assert timeline.reconciled
    assert (timeline.charged_positions, timeline.charged_again) == (100, 100 * (len(nats) - 1))
    assert timeline.again_after_update == timeline.charged_again == timeline.uncounted
    assert kinds(timeline)[:2] == [("charge", 1, 101), ("optimizer-step", 1, 101)]


def test_passes_that_do_not_give_the_printed_score_stay_unexplained():
    for score in (1.0501, 3.05):  # neither of the passes; the first one
        assert not timeline_of(passes(score, 3.0, 1.0)).reconciled
    assert timeline_of(passes(2.05, 3.0, 1.0)).reconciled  # the mean of all
