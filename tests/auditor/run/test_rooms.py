import contextlib
import os
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import CannotMeasure
from auditor.run.rooms import MOST, Rooms, rooms_here
from auditor.run.sandbox import Finished, Limits, execute, missing

GIB = 2**30


@given(rooms=st.integers(1, MOST), runs=st.lists(st.integers(0, 3), max_size=12))
def test_there_are_never_more_runs_than_rooms_and_each_gives_its_own(rooms, runs):
    lock, inside, most = threading.Lock(), 0, 0

    def run(number: int, milliseconds: int) -> int:
        nonlocal inside, most
        with room.one():
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(milliseconds / 1000)
            with lock:
                inside -= 1
        return number

    with Rooms(rooms) as room:
        assert [one.result() for one in room.each(run, enumerate(runs))] == list(range(len(runs)))
        assert room.waiting_runs() == 0
    assert most <= rooms


def test_with_one_room_the_next_run_is_begun_when_it_is_asked_for():
    begun: list[int] = []
    with Rooms(1) as rooms:
        asked = rooms.each(begun.append, [(1,), (2,)])
        assert begun == []
        next(asked)
        assert begun == [1]


def test_what_cannot_be_measured_is_said_by_the_result_and_trouble_is_raised():
    def fails() -> None:
        raise CannotMeasure("no score")

    for count in (1, 2):
        with Rooms(count) as rooms:
            future = rooms.start(1, fails)
            with pytest.raises(CannotMeasure, match="no score"):
                future.result()


@pytest.mark.skipif(missing("bubblewrap") is not None, reason="no sandbox here")
def test_leaving_early_ends_what_runs_and_what_waits(tmp_path: Path):
    """An audit that is cancelled does not wait for its sandboxes."""
    ended: list[Finished] = []
    running = threading.Barrier(3)

    def sleeps(name: str) -> None:
        (tmp_path / name / "record").mkdir(parents=True)
        with rooms.one() as begun:
            running.wait(60)
            finished = execute(
                [sys.executable, "-c", "import time; time.sleep(600)"],
                workspace=tmp_path / name,
                folder="record",
                environment={},
                limits=Limits(seconds=600, bytes=GIB),
                backend="bubblewrap",
                on_event=lambda line: None,
                on_start=begun,
            )
        ended.append(finished)

    with contextlib.suppress(KeyboardInterrupt), Rooms(2) as rooms:
        both = [rooms.start(1, partial(sleeps, name)) for name in ("one", "two")]
        running.wait(60)
        waiting = rooms.start(1, partial(sleeps, "three"))
        assert rooms.waiting_runs() == 3
        began = time.monotonic()
        raise KeyboardInterrupt
    assert time.monotonic() - began < 60
    assert [one.returncode != 0 and not one.timed_out for one in ended] == [True, True]
    assert all(one.done() for one in both)
    assert waiting.cancelled() or isinstance(waiting.exception(), CannotMeasure)


def test_as_many_rooms_as_the_memory_carries(monkeypatch: pytest.MonkeyPatch):
    assert rooms_here(2**60) == 1
    assert 1 <= rooms_here(1) <= MOST
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert 1 <= rooms_here(1) <= MOST
