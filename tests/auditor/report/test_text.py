import io
import unicodedata
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from auditor.report.text import MOST_FINDINGS, render_text
from auditor.verdict import Outcome, Result, Strength
from tests.auditor.report.documents import (
    FINDING,
    RAN_AHEAD,
    document,
    documents,
    noise_bound,
    timeline,
)


def printed(
    several: Sequence[dict[str, Any]],
    width: int = 100,
    encoding: str = "utf-8",
    terminal: bool = False,
) -> str:
    """What a console of this kind is given."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="")
    console = Console(
        file=file,
        width=width,
        force_terminal=terminal,
        color_system="standard" if terminal else None,
        _environ={},
    )
    render_text(several, console)
    file.flush()
    return raw.getvalue().decode(encoding)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(documents(), max_size=3),
    st.integers(20, 200),
    st.sampled_from(["utf-8", "ascii"]),
)
def test_any_verdicts_print_plain_text_on_any_console(several, width, encoding):
    shown = printed(several, width, encoding)
    strange = {c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert strange <= {"\n"}


def test_markup_of_the_submission_is_printed_and_not_obeyed():
    hostile = "[red]danger[/red] \x1b[31mred"
    shown = printed([document(trouble=hostile)], terminal=True)
    assert "[red]danger[/red] red" in shown


def test_the_outcome_is_said_in_words_and_in_colour():
    assert "FAIL" in printed([document()])
    assert "\x1b[1;31mFAIL\x1b[0m" in printed([document()], terminal=True)


def test_one_submission_shows_rules_figures_findings_and_overrides():
    shown = printed([document(noise_bound(2.0), timeline(RAN_AHEAD))])
    for words in (
        "2026-03-25_Ngram  FAIL",
        "249,533.0",
        "2.0000",
        "train_gpt.py:7: reads the answer",
        "| t[y]",
        "30 positions too early",
        "ITERATIONS=5 (was 20000)",
        "not run",
    ):
        assert words in shown, words


def test_several_submissions_stand_side_by_side():
    shown = printed([document(noise_bound(2.0)), document(noise_bound(8.01)), document()])
    assert any(
        "2.0000" in line and "8.0100" in line and "not known" in line for line in shown.splitlines()
    )


@pytest.mark.parametrize("width", [30, 50, 80, 200])
def test_no_line_is_wider_than_the_console(width):
    several = [document(noise_bound(2.0)), document(), document()]
    assert max(map(len, printed(several, width).splitlines())) <= width


def test_findings_beyond_the_limit_are_counted():
    many = Result("x", Outcome.FAIL, Strength.RAN, None, (FINDING,) * (MOST_FINDINGS + 5))
    assert "5 more, in the JSON" in printed([document(results=(many,))])
