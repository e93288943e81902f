"""Pictures as files of their own."""

import io
import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
from hypothesis import given, settings
from PIL import Image
from typer.testing import CliRunner

from auditor.cli import app
from auditor.evidence import KraftSum, KraftSums, PrefixSensitivity
from auditor.report.pictures import moves, png, svg_files
from tests.auditor.report.documents import RAN_AHEAD, document, documents, noise_bound, timeline

MOVED = PrefixSensitivity(
    position=60,
    compared=59,
    moved=3,
    largest_nats=0.2,
    first_moved=41,
    repeat_moved=0,
    stretches=((20, 5.9, 5.9, 0.0), (40, 6.0, 6.0, 0.0), (60, 5.8, 5.9, 0.2), (100, 6.1, 7.0, 3.0)),
)
SUM = KraftSum(
    position=900,
    total=182.0,
    least=180.0,
    largest=0.4,
    answered=384,
    vocab_size=384,
    charged_nats=2.5,
    doubt=None,
)
WHOLE = document(noise_bound(2.0), timeline(RAN_AHEAD), MOVED, KraftSums(sums=(SUM,)))


def of(found: PrefixSensitivity) -> str:
    drawn = moves(document(found), "x")
    assert drawn is not None
    return str(drawn)


def test_a_move_is_a_bar_before_the_change_and_nowhere_else():
    svg = of(MOVED)
    assert svg.count('class="bar over"') == 1
    assert svg.count('class="curve ') == 2
    assert "changed from 60 on" in svg
    assert "3 of 59 charges before position 60 moved, by at most 0.2 nats." in svg


def test_a_charge_that_stays_has_no_bar():
    still = tuple((stop, one, two, 0.0) for stop, one, two, _ in MOVED.stretches)
    assert 'class="bar over"' not in of(replace(MOVED, stretches=still))


def test_an_older_verdict_has_no_such_picture():
    assert moves(document(replace(MOVED, stretches=())), "x") is None
    assert moves(document(), "x") is None


def test_every_picture_stands_by_itself():
    drawn = svg_files(WHOLE)
    assert set(drawn) >= {"timeline", "nats-won", "kraft-sums", "end-changed"}
    for svg in drawn.values():
        root = ElementTree.fromstring(svg)
        assert float(root.get("width", 0)) > 0
        assert "var(" not in svg
        assert "url(http" not in svg


@settings(max_examples=30, deadline=None)
@given(documents())
def test_whatever_a_verdict_holds_a_picture_is_one_drawing(whole):
    for svg in svg_files(whole).values():
        names = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(svg).iter()}
        assert not names & {"script", "image", "a", "foreignObject"}


@pytest.mark.parametrize("name", ["timeline", "nats-won", "kraft-sums", "end-changed"])
def test_a_png_shows_the_violation_in_red_on_paper(name):
    image = Image.open(io.BytesIO(png(svg_files(WHOLE)[name]))).convert("RGB")
    colours = {colour for _, colour in image.getcolors(1 << 24) or ()}
    assert image.getpixel((2, image.height - 2)) == (255, 255, 255)
    assert (0xB3, 0x14, 0x1C) in colours


def test_the_command_writes_both_kinds(tmp_path):
    verdict = tmp_path / "verdict.json"
    verdict.write_text(json.dumps(WHOLE))
    done = CliRunner().invoke(app, ["render", str(verdict), "--pictures", str(tmp_path / "drawn")])
    assert done.exit_code == 0, done.output
    names = {path.name for path in (tmp_path / "drawn").iterdir()}
    assert {"timeline.svg", "timeline.png", "end-changed.svg", "end-changed.png"} <= names
