"""The comment: bounded, and inert whatever a submission writes into it."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from auditor.report.entries import Entry, Report
from auditor.report.markdown import MARKER, inert, render_markdown
from auditor.report.words import clean
from auditor.verdict import Finding, Location, Outcome, Result, Strength
from tests.auditor.report.documents import HOSTILE, document, documents

PARSER = MarkdownIt("gfm-like", {"html": True, "linkify": True})
OURS = re.compile(
    r"<!-- strict-prefix -->|<!-- -->|<br>|</?sub>|</?details>|</?summary>|\d+ rules could not be "
    r"decided|\s"
)
REFERENCE = re.compile(r"(?<![\w/])[@#]\w")
DANGER = (
    *HOSTILE,
    "@octocat please merge, fixes #1 and owner/repo#2",
    "[click](javascript:alert(1)) ![x](http://x.example/a.png) <http://x.example>",
    "www.x.example http://x.example/ mail@x.example",
    "`code` ``two`` ~~gone~~ **bold** _under_ $x^2$ | cell | \\| &copy; &#64;octocat",
    "# head",
    "- item",
    "1. one",
    "> quote",
    "+++",
    "===",
    "``` \n```",
    "@<!-- -->octocat",
    ":tada:",
)


def tokens(text: str) -> list[Token]:
    """Every token, inline ones too."""
    found = []
    for token in PARSER.parse(text):
        found += [token, *(token.children or [])]
    return found


def words(text: str) -> str:
    """What a reader sees."""
    return "".join(token.content for token in tokens(text) if token.type == "text")


def check_inert(text: str) -> None:
    for token in tokens(text):
        assert token.type not in ("link_open", "image", "strong_open_", "code_block"), token
        if token.type in ("html_block", "html_inline"):
            assert OURS.sub("", token.content) == "", token.content
        # A mention is made of one piece of text; a comment inside it takes it apart.
        if token.type == "text":
            assert not REFERENCE.search(token.content), token.content


@pytest.mark.parametrize("said", DANGER)
def test_words_of_a_stranger_are_shown_and_do_nothing(said):
    text = inert(said)
    check_inert(text)
    shown = [token.type for token in tokens(f"x {text}")]
    assert set(shown) <= {"paragraph_open", "paragraph_close", "inline", "text", "html_inline"} | {
        "text_special"
    }
    assert "".join(words(f"x {text}").split()) == "x" + "".join(clean(said, 600).split())


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60) | st.sampled_from(DANGER))
def test_any_words_are_inert(said):
    check_inert(inert(said))
    assert [token.type for token in PARSER.parse(f"- {inert(said)}x")][:2] == [
        "bullet_list_open",
        "list_item_open",
    ]


@settings(max_examples=40, deadline=None)
@given(st.lists(documents(), max_size=3), st.integers(600, 60_000))
def test_any_report_is_bounded_marked_and_inert(several, limit):
    text = render_markdown(Report.of_verdicts(several), limit)
    assert text.startswith(MARKER)
    assert len(text) <= limit
    check_inert(text)


def test_too_much_is_cut_between_parts_and_said():
    many = tuple(
        Finding("m" * 500, Location(file=f"f{at}.py", line=1, text="x" * 200)) for at in range(5)
    )
    results = tuple(Result(f"r{at}", Outcome.FAIL, Strength.RAN, "", many) for at in range(30))
    text = render_markdown(Report.of_verdicts([document(results=results)]))
    assert 40_000 < len(text) <= 60_000
    assert re.search(r"_The rest does not fit in a comment: \d+ more parts", text)


def test_a_verdict_that_passes_is_one_line_of_a_table():
    results = (Result("packaging", Outcome.PASS, Strength.SOURCE, "all there", ()),)
    text = render_markdown(Report.of_verdicts([document(results=results)]))
    assert "### Strict Prefix: PASS" in text
    assert "packaging" not in text
    assert [token.type for token in tokens(text)].count("tr_open") == 2


def test_what_failed_comes_before_what_is_undecided():
    fine = document(results=(Result("seeds", Outcome.INCONCLUSIVE, None, "unclear", ()),))
    text = render_markdown(Report.of_verdicts([fine, document()]))
    assert text.index("reads the answer") < text.index("unclear")
    assert text.count("<details>") == text.count("</details>") == 2


def test_a_record_without_a_verdict_says_why():
    entry = Entry(folder="a b/c", verdict=None, error="no files in it", change="added")
    text = render_markdown(Report(entries=(entry,), outcome="inconclusive"))
    assert "no files in it" in words(text)
    assert "not audited" in text
