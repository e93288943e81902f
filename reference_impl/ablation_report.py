"""An ablation as a table and as a plot."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from reference_impl.ablate import PARTS, Cell, Summary, summarise
from reference_impl.errors import AblationError
from reference_impl.variants import AS_PUBLISHED

COLOURS = {"as_published": "#b3402a", "compliant": "#1f6f8b"}
MARKS = "#222222"
PLOT_SUFFIXES = (".png", ".svg")


def table(title: str, summaries: Sequence[Summary]) -> Table:
    """Return the rows of an ablation, bits per byte."""
    shown = Table(title=title, title_justify="left", box=SIMPLE)
    for heading in ("variant", "part"):
        shown.add_column(heading, no_wrap=True)
    for heading in ("seeds", "bits per byte", "below base", "artifact bytes"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in summaries:
        shown.add_row(
            row.variant,
            row.part,
            str(row.seeds),
            _with_deviation(row.mean, row.deviation),
            "" if row.part == "base" else _with_deviation(row.gain, row.gain_deviation, "+"),
            f"{row.artifact_bytes:,.0f}",
        )
    return shown


def _with_deviation(mean: float, deviation: float | None, sign: str = "") -> str:
    spread = "" if deviation is None else f" ± {deviation:.4f}"
    return f"{mean:{sign}.4f}{spread}"


def plot(title: str, cells: Sequence[Cell], path: Path) -> list[Path]:
    """Draw mean, deviation and each seed of every part; returns the files, PNG and SVG."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise AblationError(
            f"a plot needs matplotlib (pip install 'strict-prefix[plots]'), got {error}"
        ) from None
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    variants = list(dict.fromkeys(cell.variant for cell in cells))
    for index, variant in enumerate(variants):
        offset = 0.18 * (2 * index - len(variants) + 1)
        _draw(axes, [cell for cell in cells if cell.variant == variant], variant, offset)
    axes.set_yticks(range(len(PARTS)), list(PARTS))
    axes.invert_yaxis()
    axes.set_xlabel("bits per byte: mean, standard deviation and each seed")
    axes.set_title(title, loc="left")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.1)
    figure.legend(loc="outside lower center", ncols=len(variants), frameon=False)
    files = [path.with_suffix(suffix) for suffix in PLOT_SUFFIXES]
    for file in files:
        figure.savefig(file, dpi=150)
    return files


def _draw(axes: Any, cells: Sequence[Cell], variant: str, offset: float) -> None:
    colour = COLOURS[variant]
    rows = summarise(cells)
    height = [list(PARTS).index(row.part) + offset for row in rows]
    note = " (with the mixer not a code length)" if variant == AS_PUBLISHED else ""
    axes.barh(height, [row.mean for row in rows], 0.32, color=colour, label=variant + note)
    axes.errorbar(
        [row.mean for row in rows],
        height,
        xerr=[row.deviation or 0 for row in rows],
        fmt="none",
        ecolor=MARKS,
        capsize=3,
    )
    axes.scatter(
        [cell.bits_per_byte for cell in cells],
        [list(PARTS).index(cell.part) + offset for cell in cells],
        color=MARKS,
        s=6,
        zorder=3,
    )
    for row, y in zip(rows, height, strict=True):
        axes.annotate(
            f"{row.mean:.3f}",
            (row.mean, y),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
