import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from auditor.run.align import Aligner
from auditor.run.streams import uniform

STREAM = uniform(384, 5_000, "align").tokens.astype(np.int64)
ALIGNER = Aligner(STREAM)


@given(st.lists(st.tuples(st.integers(0, 4_900), st.integers(6, 90)), min_size=1, max_size=5))
def test_runs_from_the_stream_are_found_again(runs):
    tokens = np.concatenate([STREAM[start : start + length] for start, length in runs])
    spans = ALIGNER.spans(tokens)
    assert spans is not None
    assert np.array_equal(np.concatenate([STREAM[a:b] for a, b in spans]), tokens)


@given(st.integers(0, 4_990), st.integers(4, 10))
def test_one_run_is_found_where_it_stands(start, length):
    assert ALIGNER.spans(STREAM[start : start + length]) == [(start, start + length)]


def test_tokens_of_another_stream_are_not_placed():
    assert ALIGNER.spans(uniform(384, 50, "other").tokens) is None


def test_a_short_run_is_placed_where_it_is_expected():
    places = np.flatnonzero(np.equal(STREAM, STREAM[17]))
    assert len(places) > 1
    for place in map(int, places):
        assert ALIGNER.spans(STREAM[17:18], expected=place) == [(place, place + 1)]


def test_an_empty_run_touches_nothing():
    assert ALIGNER.spans(STREAM[:0]) == []
