import re
from html.parser import HTMLParser

from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.report.html import MOST_FINDINGS, render_html
from auditor.verdict import Outcome, Result, Strength
from tests.auditor.report.documents import (
    FINDING,
    HOSTILE,
    RAN_AHEAD,
    document,
    documents,
    noise_bound,
    timeline,
)

VOID = {"meta", "wbr"}
TAGS = set(
    re.findall(
        r"\w+",
        """html head meta title style body header main footer section article h1 h2 h3 h4 p a b i
        code span div ul li table thead tbody tr th td figure figcaption details summary dl dt dd
        sup wbr svg desc defs pattern path rect text""",
    )
)
ATTRIBUTES = set(
    re.findall(
        r"[\w-]+",
        """lang charset name content http-equiv id class style title role scope colspan href
        tabindex aria-label aria-labelledby aria-hidden focusable viewbox d x y width height fill
        stroke stroke-width stroke-dasharray text-anchor patternunits patterntransform""",
    )
)


class Page(HTMLParser):
    """Reads a page strictly: known tags and attributes, each tag closed where it should be."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, tag
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert name in ATTRIBUTES, name
            assert name != "href" or (value or "").startswith("#s")
            assert "url(" not in (value or "") or (value or "").startswith("url(#s")
            if name == "id":
                self.ids.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@settings(max_examples=40, deadline=None)
@given(st.lists(documents(), max_size=3))
def test_any_verdicts_make_a_page_of_harmless_tags(several):
    page = render_html(several)
    seen = Page(page)
    assert len(set(seen.ids)) == len(seen.ids)
    page.encode()


def test_every_hostile_text_is_escaped_wherever_it_stands():
    for text in HOSTILE:
        whole = document(
            timeline(RAN_AHEAD, stage=text),
            submission={
                "folder": text,
                "digests": {"submission": "0" * 64, "files": {text: "1" * 64}},
                "claims": None,
            },
            overrides=(text,),
            trouble=text,
            ruleset=text,
            engine=text,
        )
        page = render_html([whole, whole])
        Page(page)
        assert "<script" not in page
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066]", page)


def test_a_page_loads_nothing():
    page = render_html([document(noise_bound(2.0), timeline(RAN_AHEAD))])
    assert "default-src 'none'" in page
    assert not re.search(r"<(script|link|img|iframe|object|embed|base|form)\b|@import|//", page)


def test_one_submission_has_its_outcome_reasons_and_pictures():
    seen = Page(render_html([document(noise_bound(2.0), timeline(RAN_AHEAD))])).text
    for words in (
        "2026-03-25_Ngram",
        "FAIL",
        "reads the answer",
        "train_gpt.py:7",
        "t[y]",
        "249,533.0 nats",
        "ahead of the charges",
        "ITERATIONS=5 (was 20000)",
        "1" * 64,
        "2026-05-02",
    ):
        assert words in seen, words


def test_several_submissions_are_compared_on_one_scale():
    page = render_html([document(noise_bound(2.0)), document(noise_bound(8.01)), document()])
    assert "3 submissions compared" in page
    assert "not known" in page
    assert page.count('class="bar below"') == 2  # once compared, once on its own


def test_a_score_that_does_not_beat_the_source_is_said_so():
    assert "It did not beat the source" in Page(render_html([document(noise_bound(8.01))])).text


def test_absent_evidence_keeps_its_reason():
    whole = document(evidence={"Timeline": {"absent": "the script needs two ranks"}})
    assert "the script needs two ranks" in render_html([whole])


def test_findings_beyond_the_limit_are_counted():
    many = Result("x", Outcome.FAIL, Strength.RAN, None, (FINDING,) * (MOST_FINDINGS + 5))
    seen = Page(render_html([document(results=(many,))])).text
    assert "5 more findings, in the JSON" in seen


def test_no_verdict_makes_a_page_too():
    assert "0 submissions compared" in render_html([])


def test_the_same_verdicts_make_the_same_bytes():
    several = [document(noise_bound(2.0), timeline(RAN_AHEAD)), document()]
    assert render_html(several) == render_html(several)
