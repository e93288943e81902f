import dataclasses
import random
import re
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.evidence import TimelineEvent
from auditor.report.timeline import Mark, ahead_of_charges, closeup, describe, headline, marks
from auditor.report.timeline_svg import timeline_svg
from tests.auditor.report.documents import HOSTILE, RAN_AHEAD, events, timeline

MOST_ELEMENTS = 1_500


def read(made: Sequence[TimelineEvent], tokens: int = 100) -> list[Mark]:
    return marks(dataclasses.asdict(timeline(made, tokens)))


def draw(found: Sequence[Mark], tokens: int = 100, window: tuple[int, int] | None = None) -> str:
    return timeline_svg(
        found, tokens, ident="t", title="title", description="description", window=window
    )


@given(events())
def test_marks_agree_with_counting_position_by_position(made):
    charged: set[int] = set()
    for mark, event in zip(read(made), made, strict=True):
        touched = set(range(event.start, event.stop))
        if event.kind == "charge":
            assert mark.again == bool(touched & charged)
            assert not mark.ahead
            charged |= touched
        else:
            assert {p for a, b in mark.ahead for p in range(a, b)} == touched - charged - {0}
        assert mark.frontier <= max(charged, default=0) + 1


@settings(max_examples=50, deadline=None)
@given(events(), st.integers(1, 30))
def test_a_write_or_step_ahead_of_the_charges_is_always_drawn(made, first):
    found = read(made)
    assert ("ahead" in draw(found)) == bool(ahead_of_charges(found))
    window = [m for m in found if first <= m.index < first + 10]
    part = draw(found, window=(first, first + 10))
    assert ("ahead" in part) == bool(ahead_of_charges(window))


def test_one_early_write_among_many_events_is_drawn_and_named():
    made = [TimelineEvent(kind="charge", order=i, start=i, stop=i + 1) for i in range(9_000)]
    made[7_000] = TimelineEvent(
        kind="optimizer-step", order=7_000, start=7_000, stop=7_001, file="a.py", line=9
    )
    found = read(made, 9_000)
    for picture in (draw(found, 9_000), draw(found, 9_000, window=closeup(found))):
        assert picture.count('class="ahead"') == 1
        assert "a.py:9" in picture
        assert "1 position too early" in picture


@pytest.mark.parametrize("seed", range(3))
def test_any_number_of_events_makes_a_bounded_picture(seed):
    chance = random.Random(seed)
    made = []
    for order in range(8_000):
        start = chance.randrange(60_000)
        kind = chance.choice(["charge", "cache-write", "optimizer-step"])
        made.append(
            TimelineEvent(kind=kind, order=order, start=start, stop=start + chance.randrange(99))
        )
    found = read(made, 60_000)
    picture = draw(found, 60_000)
    assert len(re.findall(r"<(?!/)", picture)) <= MOST_ELEMENTS
    assert len(picture) < 1_500_000
    window = closeup(found)
    assert window is not None
    assert len(re.findall(r"<(?!/)", draw(found, 60_000, window))) <= MOST_ELEMENTS


def test_no_event_makes_an_empty_picture():
    assert "future" in draw(read([]))


def test_text_of_the_submission_is_escaped_in_the_picture():
    early = dataclasses.replace(RAN_AHEAD[1], file=HOSTILE[1])
    picture = draw(read((RAN_AHEAD[0], early)))
    assert "<img" not in picture
    assert "&lt;img" in picture


def test_the_sentences_say_what_ran_ahead():
    made = timeline(RAN_AHEAD, unplaced=2)
    found = read(RAN_AHEAD)
    assert headline(found[1]) == "a cache write, train_gpt.py:7, 30 positions too early"
    said = " ".join(describe(dataclasses.asdict(made), found))
    assert "1 of the writes and steps touched positions that had not been charged yet" in said
    assert "2 more writes or steps are not drawn" in said


def test_the_sentences_say_when_nothing_ran_ahead():
    made = (RAN_AHEAD[0], dataclasses.replace(RAN_AHEAD[1], stop=50))
    said = describe(dataclasses.asdict(timeline(made)), read(made))
    assert said[1] == "No write or step that is drawn touched a position before its charge."
