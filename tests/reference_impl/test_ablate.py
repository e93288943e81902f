import json
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from reference_impl.ablate import PARTS, Cell, ablate, summarise
from reference_impl.ablation_report import plot, table
from reference_impl.config import Settings
from reference_impl.errors import AblationError
from reference_impl.export import export_records, shipped_code_bytes, write_code
from reference_impl.variants import NAMES, VARIANTS, Variant, variant, variants

SEEDS = (1, 2)


class Said:
    def __init__(self) -> None:
        self.doings: list[str] = []

    def __call__(self, doing: str, done: int, total: int) -> None:
        assert 0 <= done <= total
        self.doings.append(doing)


@pytest.fixture(scope="module")
def gated(settings: Settings) -> Settings:
    return replace(settings, expert_gate=True, mixture_loss_weight=0.1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, gated: Settings) -> Path:
    folder = tmp_path_factory.mktemp("ablation")
    ablate(gated, variants("pr924", "both"), SEEDS, folder, Said())
    return folder


def cells_in(folder: Path) -> list[Cell]:
    return [Cell(**cell) for cell in json.loads((folder / "ablation.json").read_text())["cells"]]


def bits(cells: list[Cell], variant: str, part: str, seed: int = 1) -> float:
    (found,) = [c for c in cells if (c.variant, c.part, c.seed) == (variant, part, seed)]
    return found.bits_per_byte


def test_every_part_is_there_once(folder: Path) -> None:
    cells = cells_in(folder)
    assert [(c.seed, c.variant, c.part) for c in cells] == [
        (seed, name, part) for seed in SEEDS for name in NAMES for part in PARTS
    ]
    assert {cell.tokens for cell in cells} == {992}


def test_the_full_part_is_what_an_exported_record_claims(
    folder: Path, gated: Settings, tmp_path: Path
) -> None:
    seeded = replace(gated, seed=1)
    for record in export_records(seeded, variants("pr924", "both"), tmp_path):
        claims = json.loads((record / "submission.json").read_text())
        cells = [c for c in cells_in(folder) if (c.seed, c.variant) == (1, record.name)]
        assert claims["val_bpb"] == round(bits(cells, record.name, "full"), 8)
        assert {cell.artifact_bytes for cell in cells} == {claims["bytes_total"]}


def test_each_part_changes_the_score_by_itself(folder: Path) -> None:
    cells = cells_in(folder)
    for name in NAMES:
        scores = [bits(cells, name, part) for part in PARTS]
        assert len(set(scores)) == len(PARTS)
    # The published mixer's tables hold all of training; an honest cache cannot look as good.
    assert bits(cells, "as_published", "mixer") < bits(cells, "compliant", "mixer")


def test_a_killed_ablation_goes_on_without_training_again(
    folder: Path, gated: Settings, tmp_path: Path
) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(folder)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes())
    held = json.loads((tmp_path / "ablation.json").read_text())
    held["cells"] = held["cells"][:-2]
    (tmp_path / "ablation.json").write_text(json.dumps(held))
    said = Said()
    cells = ablate(gated, variants("pr924", "both"), SEEDS, tmp_path, said)
    assert said.doings == ["seed 2, compliant: mixer", "seed 2, compliant: full"]
    assert cells == cells_in(folder)


def test_fewer_seeds_of_a_finished_folder_are_read_and_not_measured(
    folder: Path, gated: Settings
) -> None:
    said = Said()
    cells = ablate(gated, [variant("pr924", "compliant")], (2,), folder, said)
    assert said.doings == []
    assert [cell.part for cell in cells] == list(PARTS)
    assert {(cell.seed, cell.variant) for cell in cells} == {(2, "compliant")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"settings": {"seed": 3}, "cells": []}', r"measured with DATA_PATH=None, got "),
        ('{"cells": []}', "must hold an ablation, got KeyError"),
        ("{", "must hold an ablation, got JSONDecodeError"),
        ('{"settings": {}, "cells": [{}]}', "must hold an ablation, got TypeError"),
    ],
)
def test_a_folder_of_something_else_is_left_alone(
    settings: Settings, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "ablation.json").write_text(text)
    with pytest.raises(AblationError, match=message):
        ablate(settings, variants("pr779", "both"), SEEDS, tmp_path, Said())
    assert [path.name for path in tmp_path.iterdir()] == ["ablation.json"]


def cell(variant: str, seed: int, part: str, bits_per_byte: float) -> Cell:
    return Cell(variant, seed, part, bits_per_byte, 1.0, 100, 1000 + seed)


def test_gains_are_paired_by_seed() -> None:
    scores = {1: (2.0, 1.5), 2: (3.0, 2.4), 3: (2.5, 1.8)}
    cells = [
        cell("compliant", seed, part, score)
        for seed, both in scores.items()
        for part, score in zip(("base", "mixer"), both, strict=True)
    ]
    base, mixer = summarise(cells)
    assert base.mean == 2.5
    assert base.deviation == pytest.approx(0.5)
    assert (base.gain, base.gain_deviation) == (0.0, 0.0)
    assert mixer.gain == pytest.approx(0.6)
    assert mixer.gain_deviation == pytest.approx(statistics.stdev([0.5, 0.6, 0.7]))
    assert (mixer.seeds, mixer.artifact_bytes) == (3, 1002)


def test_one_seed_has_no_deviation(tmp_path: Path) -> None:
    cells = [cell("as_published", 7, part, 1.25) for part in PARTS]
    rows = summarise(cells)
    assert {(row.deviation, row.gain_deviation) for row in rows} == {(None, None)}
    console = Console(record=True, width=100)
    console.print(table("#1", rows))
    assert "1.2500" in console.export_text()
    assert "±" not in console.export_text(clear=False)
    png, svg = plot("#1", cells, tmp_path / "ablation.json")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in svg.read_bytes()


@pytest.mark.parametrize("each", VARIANTS.values(), ids=lambda v: f"{v.record}-{v.name}")
def test_the_size_of_the_code_is_known_before_it_is_written(
    settings: Settings, tmp_path: Path, each: Variant
) -> None:
    write_code(tmp_path, each, settings)
    written = sum(path.stat().st_size for path in tmp_path.rglob("*.py"))
    assert shipped_code_bytes(each, settings) == written
