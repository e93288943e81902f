"""Pictures of proof: the line that nobody crosses, and what crosses it."""

import re

import pytest

from auditor.evidence import KraftSum, KraftSums
from auditor.report.curves_svg import gain_svg, kraft_svg
from auditor.report.html import render_html
from tests.auditor.report.documents import document, noise_bound

LIMIT = 20.723


def kraft(*totals: float, doubt: str | None = None) -> KraftSums:
    def one(position: int, total: float) -> KraftSum:
        return KraftSum(
            position=position,
            total=total,
            least=0.97 * total,
            largest=0.5,
            answered=384,
            vocab_size=384,
            charged_nats=1.0,
            doubt=doubt,
        )

    return KraftSums(sums=tuple(one(100 * at, total) for at, total in enumerate(totals, 1)))


def heights(drawn: str, kind: str) -> list[float]:
    """The y of each point of a path of this class."""
    path = re.search(rf'<path class="{kind}[^"]*" d="M([^"]*)"', drawn)
    assert path is not None
    return [float(pair.split()[1].split("H")[0]) for pair in path[1].split("L")]


@pytest.mark.parametrize(
    ("nats", "above"), [(-45.0, False), (20.0, False), (21.0, True), (1e6, True)]
)
def test_a_curve_ends_above_the_line_exactly_when_it_proves(nats, above):
    bound = {"source": "uniform", "curve": [(500, nats / 2), (1_000, nats)]}
    drawn = gain_svg([bound], LIMIT, ident="a", title="t")
    assert drawn is not None
    assert (heights(drawn, "curve")[-1] < heights(drawn, "limit")[0]) is above


def test_nothing_known_is_not_drawn():
    assert gain_svg([], LIMIT, ident="a", title="t") is None
    assert gain_svg([{"source": "uniform", "curve": ()}], LIMIT, ident="a", title="t") is None
    assert kraft_svg([], ident="a", title="t") is None
    page = render_html([document(kraft(3.0, doubt="forked too late"))])
    assert "Every token at one position" not in page


def test_only_sums_over_one_are_marked():
    page = render_html([document(noise_bound(7.5), kraft(1.0000001, 182.5, 0.3))])
    assert page.count('class="bar over"') == 1
    assert "182.500000" in page
    assert "Nats won against each source" in page
