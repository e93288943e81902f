import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.report.words import LIMIT, clean, figure, number, place, seen
from tests.auditor.report.documents import HOSTILE


@given(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=50)))
def test_clean_text_is_one_short_line_that_stays_where_it_is_put(text):
    shown = clean(text)
    assert len(shown) <= LIMIT
    assert not {"Cc", "Cf", "Cs", "Zl", "Zp"} & {unicodedata.category(c) for c in shown}
    assert clean(shown) == shown


@given(st.text(st.characters(categories=["L", "N", "P"]), max_size=50))
def test_plain_text_is_left_alone(text):
    assert clean(text) == text


def test_a_colour_is_dropped_and_a_reversal_is_shown():
    assert clean("a\x1b[31mb\x1b[0mc\u202ed") == r"abc\u{202e}d"


def test_a_sequence_without_an_end_swallows_nothing():
    assert clean("\x1b]0;title 16,000,001 bytes") == r"\u{1b}]0;title 16,000,001 bytes"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (16_000_000, "16,000,000"),
        (277_928.24, "277,928.2"),
        (0.00012345, "0.00012345"),
        (1e-9, "1.0000e-09"),
        (0.0, "0"),
        (True, "True"),
        ("a\tb", "a b"),
    ],
)
def test_numbers_keep_the_digits_that_matter(value, shown):
    assert number(value) == shown


def test_a_place_names_file_line_and_position():
    where = {"file": "a.py", "line": 3, "position": 4_000, "text": None}
    assert place(where) == "a.py:3, position 4,000"


def test_what_was_seen_in_a_failure_is_its_first_finding():
    result = {
        "outcome": "fail",
        "reason": "two things",
        "findings": [{"message": "one"}, {"message": "two"}],
    }
    assert seen(result) == "one (and 1 more)"


def test_seeds_and_lines_are_names_and_not_amounts():
    assert figure("seed", 1337) == "1337"
    assert figure("key_line", 1012) == "1012"
    assert figure("tokens", 1012) == "1,012"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("::error::x", r"\u{3a}:error::x"),
        ("  ::set-env name=A::b", r"  \u{3a}:set-env name=A::b"),
        ("##[group]x", r"\u{23}#[group]x"),
        ("x[::2] and y[1::2]", "x[::2] and y[1::2]"),
        ("## heading", "## heading"),
    ],
)
def test_commands_to_a_runner_are_shown_and_not_given(said, shown):
    assert clean(said) == shown
