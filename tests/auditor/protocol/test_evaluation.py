"""A pass that the auditor drives: every position once, and the same after a kill."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import CannotMeasure, SubmissionError
from auditor.protocol.child import evaluation as child
from auditor.protocol.child.distributions import NotADistribution
from auditor.protocol.child.schedule import document_starts, windows
from auditor.protocol.evaluation import Evaluation, Keeping, Schedule, evaluate
from auditor.protocol.host import NoDistribution, Room
from auditor.run.sandbox import missing
from tests.systems.protocol import PASS, STRIDE, VOCAB_SIZE, WINDOW_TOKENS, opened, system

needs_sandbox = pytest.mark.skipif(
    missing("bubblewrap") is not None, reason=f"no sandbox here: {missing('bubblewrap')}"
)
ROOM = Room(seconds=60)
TOKENS = np.random.default_rng(4).integers(VOCAB_SIZE, size=401).astype(np.uint16)


def silent(doing: str, done: float) -> None:
    assert 0 <= done <= 1


def ignored(state: bytes) -> None:
    pass


def passed(twin: str | None, saved: bytes | None = None, **task: Any) -> Any:
    """A pass in this process, with every state that it kept."""
    states: list[bytes] = []
    done = child.evaluate(
        opened(twin),
        TOKENS.astype(np.int64),
        {**PASS, **task},
        saved,
        lambda state, done: states.append(state),
        lambda charged: None,
    )
    return done, states


@given(
    tokens=st.lists(st.integers(0, 3), min_size=2, max_size=80),
    length=st.integers(1, 20),
    stride=st.integers(1, 20),
)
def test_windows_charge_every_position_once_and_cross_no_boundary(tokens, length, stride):
    tokens_T, stride = np.array(tokens), min(stride, length)
    starts = document_starts(tokens_T, 1)
    made = list(windows(len(tokens) - 1, length, stride, starts))
    assert [p for w in made for p in range(w.first, w.stop)] == list(range(len(tokens) - 1))
    for window in made:
        assert 1 not in tokens[window.start + 1 : window.stop]
        assert window.stop - window.start <= length
        # As much as there is of the document, up to the window's length.
        begins = max(start for start in starts if start <= window.first)
        assert window.start == max(begins, window.stop - length)


@settings(max_examples=10, deadline=None)
@given(chunk=st.integers(1, 200), pick=st.integers(0, 100), documents=st.booleans())
def test_from_every_state_the_rest_is_charged_as_before(chunk, pick, documents):
    task = {"chunk_tokens": chunk, "boundary": 5 if documents else None}
    whole, states = passed("resumable", **task)
    assert np.all(whole.times_T == 1)
    assert len(states) >= min(1, 390 // chunk - 1)
    if states:
        again, _ = passed("resumable", states[pick % len(states)], **task)
        assert np.array_equal(again.nats_T, whole.nats_T)
        assert (again.facts(), again.to_bytes()) == (whole.facts(), whole.to_bytes())


@settings(max_examples=10, deadline=None)
@given(ranks=st.integers(1, 9), pick=st.integers(0, 100))
def test_processes_that_share_the_windows_charge_what_one_alone_does(ranks, pick):
    """Each learns everything, so that a system that adapts is where it would be alone."""
    whole, _ = passed("resumable")
    parts = [passed("resumable", rank=rank, ranks=ranks) for rank in range(ranks)]
    assert np.all(sum(part.times_T for part, _ in parts) == 1)
    assert np.array_equal(sum(part.nats_T for part, _ in parts), whole.nats_T)
    assert sum(part.sums.checked for part, _ in parts) == 400
    rank = pick % ranks
    part, states = parts[rank]
    again, _ = passed("resumable", states[pick % len(states)], rank=rank, ranks=ranks)
    assert again.to_bytes() == part.to_bytes()


def test_a_snapshot_that_is_no_whole_one_ends_the_pass_and_not_in_another_score():
    _, states = passed("forgets")
    with pytest.raises(RuntimeError, match=r"after restore\(\) the charges from position \d+ on"):
        passed("forgets", states[2])


def test_without_a_snapshot_nothing_is_kept():
    whole, states = passed(None)
    assert states == []
    assert np.array_equal(whole.nats_T, passed("resumable")[0].nats_T)


def test_windows_side_by_side_and_documents_charge_with_less_context():
    class Lengths:
        vocab_size, window_tokens, stride = VOCAB_SIZE, WINDOW_TOKENS, STRIDE

        def __init__(self):
            self.seen = []

        def predict(self, tokens_L, start, last):
            self.seen.append((len(tokens_L), last))
            return np.full((last, VOCAB_SIZE), -math.log(VOCAB_SIZE))

        def update(self, tokens_T, start):
            pass

    def seen(**task: Any) -> list[tuple[int, int]]:
        lengths, ignore = Lengths(), lambda *_: None
        child.evaluate(lengths, TOKENS.astype(np.int64), {**PASS, **task}, None, ignore, ignore)
        return lengths.seen

    assert seen()[1] == (16, 8)
    assert set(seen(stride=16)) == {(16, 16)}
    assert max(seen(boundary=5))[0] == 16
    assert min(seen(boundary=5))[0] < 16


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_of_a_share_of_the_windows_the_sums_are_known(share):
    done, _ = passed(None, sums=share)
    assert done.sums.checked == pytest.approx(400 * share, abs=120 * (0 < share < 1))
    assert np.allclose(done.nats_T, passed(None)[0].nats_T, atol=1e-12)
    assert abs(done.sums.lowest - 1) < 1e-12


def test_a_row_that_is_not_added_up_must_still_be_a_probability():
    with pytest.raises(NotADistribution, match="must be at most 1, got nan"):
        passed("no-numbers", sums=0.0)
    with pytest.raises(NotADistribution, match="must return the shape"):
        passed("wrong-shape", sums=0.0)


@needs_sandbox
def test_in_the_sandbox_it_goes_on_with_the_state_that_was_kept_there():
    kept: list[bytes] = []
    schedule = Schedule(chunk_tokens=50)
    first = evaluate(
        system("resumable"), TOKENS, ROOM, silent, schedule, Keeping(save=kept.append, seconds=0)
    )
    assert isinstance(first, Evaluation)
    assert first.nats == pytest.approx(math.fsum(passed("resumable")[0].nats_T), abs=1e-9)
    assert (first.resumed_at, first.resumable) == (0, True)
    assert first.sums_checked == 400
    assert len(kept) > 3
    again = evaluate(
        system("resumable"), TOKENS, ROOM, silent, schedule, Keeping(save=ignored, saved=kept[3])
    )
    assert isinstance(again, Evaluation)
    assert again.resumed_at > 150
    assert again.nats == first.nats
    assert np.array_equal(again.nats_T, first.nats_T)


@needs_sandbox
def test_a_state_of_something_else_is_named():
    kept: list[bytes] = []
    schedule = Schedule(chunk_tokens=100)

    def go_on(saved: bytes, twin: str = "resumable", tokens=TOKENS, schedule=schedule) -> None:
        evaluate(system(twin), tokens, ROOM, silent, schedule, Keeping(save=ignored, saved=saved))

    evaluate(
        system("resumable"), TOKENS, ROOM, silent, schedule, Keeping(save=kept.append, seconds=0)
    )
    saved = kept[0]
    with pytest.raises(SubmissionError, match="found that of another record"):
        go_on(saved, "forgets")
    with pytest.raises(SubmissionError, match="found that of another tokens"):
        go_on(saved, tokens=TOKENS[:-1])
    with pytest.raises(SubmissionError, match="found that of another schedule"):
        go_on(saved, schedule=Schedule(chunk_tokens=101))
    with pytest.raises(SubmissionError, match="found one that has been changed"):
        go_on(saved[:-1] + bytes([saved[-1] ^ 1]))
    for data in (b"", b"{}\n", b"[]\n", json.dumps({"format": "x"}).encode() + b"\n"):
        with pytest.raises(SubmissionError, match="the saved state: expected that of"):
            go_on(data)


@needs_sandbox
def test_what_is_no_distribution_has_no_score():
    broken = evaluate(system("unnormalised"), TOKENS, ROOM, silent)
    assert isinstance(broken, NoDistribution)
    assert broken.position == 56
    assert broken.total == pytest.approx(2.0)


@needs_sandbox
@pytest.mark.parametrize("twin", ["is-killed", "leaves-early", "leaves-a-part", "raises"])
def test_a_system_that_ends_in_the_middle_has_no_score(twin):
    with pytest.raises(CannotMeasure):
        evaluate(system(twin), TOKENS, ROOM, silent)


@pytest.mark.parametrize(("given", "said"), [({"chunk_tokens": 0}, "at least 1 token, got 0"),
                                             ({"sums": 1.5}, "of 0 to 1, got 1.5")])  # fmt: skip
def test_a_schedule_that_cannot_be_is_refused(given, said):
    with pytest.raises(SubmissionError, match=said):
        Schedule(**given)
