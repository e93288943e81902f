"""What each part of a record is worth, measured on the same weights.

A seed trains once for all variants that train alike. Its model file is then scored four times:
without cache and adaptation, with one of them, and with both. All four temper the network's
distribution as the record does, so that only what is named changes.

The folder keeps the model files and, in ablation.json, each score as soon as it is there: a killed
ablation goes on where it stopped.
"""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from reference_impl.config import Settings
from reference_impl.engine import quickened
from reference_impl.errors import AblationError
from reference_impl.evaluate import Mixer, NeuralOnly, Score, Stream
from reference_impl.export import shipped_code_bytes
from reference_impl.quantize.artifact import write_artifact, write_atomically
from reference_impl.quantize.packing import export_model
from reference_impl.record import System, open_stream, score_artifact, train_weights
from reference_impl.runlog import RunLog
from reference_impl.variants import Variant

RESULTS_NAME = "ablation.json"
# Whether the cache is mixed in, and whether the weights adapt.
PARTS = {
    "base": (False, False),
    "adaptation": (False, True),
    "mixer": (True, False),
    "full": (True, True),
}
Progress = Callable[[str, int, int], None]  # what is being done, how far, of how much


@dataclass(frozen=True, slots=True)
class Cell:
    """One score."""

    variant: str
    seed: int
    part: str
    bits_per_byte: float
    nats_per_token: float
    tokens: int
    artifact_bytes: int  # code and model together


@dataclass(frozen=True, slots=True)
class Summary:
    """One part of one variant over all seeds; bits per byte."""

    variant: str
    part: str
    seeds: int
    mean: float
    deviation: float | None  # of the sample; none of a single seed
    gain: float  # below the base of the same seed, mean
    gain_deviation: float | None
    artifact_bytes: float  # mean


def ablate(
    settings: Settings,
    variants: Sequence[Variant],
    seeds: Sequence[int],
    output: Path,
    progress: Progress,
) -> list[Cell]:
    """Measure every part of the variants with every seed, except what the folder already holds."""
    results = Results.open(output / RESULTS_NAME, settings)
    wanted = [(seed, v.name, part) for seed in seeds for v in variants for part in PARTS]
    stream = open_stream(settings, RunLog(show=False))
    for seed in seeds:
        seeded = replace(settings, seed=seed)
        _write_artifacts(seeded, variants, output, stream, progress)
        for variant in variants:
            for part in PARTS:
                done = sum(results.has(*cell) for cell in wanted)
                if not results.has(seed, variant.name, part):
                    progress(f"seed {seed}, {variant.name}: {part}", done, len(wanted))
                    artifact = _artifact(output, seed, variant)
                    results.add(_measure(artifact, seeded, variant, part, stream))
    return [cell for cell in results.cells if (cell.seed, cell.variant, cell.part) in wanted]


def summarise(cells: Sequence[Cell]) -> list[Summary]:
    """Return a summary of each variant and part, in the order of the cells."""
    base = {(c.variant, c.seed): c.bits_per_byte for c in cells if c.part == "base"}
    rows = []
    for variant, part in dict.fromkeys((cell.variant, cell.part) for cell in cells):
        own = [cell for cell in cells if (cell.variant, cell.part) == (variant, part)]
        scores = [cell.bits_per_byte for cell in own]
        gains = [base[variant, cell.seed] - cell.bits_per_byte for cell in own]
        rows.append(
            Summary(
                variant,
                part,
                len(own),
                statistics.fmean(scores),
                _deviation(scores),
                statistics.fmean(gains),
                _deviation(gains),
                statistics.fmean(cell.artifact_bytes for cell in own),
            )
        )
    return rows


def _deviation(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


class Results:
    """The scores that a folder holds, and the settings that they belong to."""

    def __init__(self, path: Path, settings: dict[str, Any], cells: list[Cell]) -> None:
        """Begin with the cells of an earlier run."""
        self._path, self._settings, self.cells = path, settings, cells

    @classmethod
    def open(cls, path: Path, settings: Settings) -> "Results":
        """Read the folder's results; they must have been measured with the same settings."""
        own = {name: v for name, v in settings.as_dict().items() if name != "seed"}
        if not path.is_file():
            return cls(path, own, [])
        try:
            held = json.loads(path.read_text())
            theirs, cells = held["settings"], [Cell(**cell) for cell in held["cells"]]
        except (ValueError, KeyError, TypeError) as error:
            raise AblationError(f"{path} must hold an ablation, got {error!r}") from None
        for name, value in own.items():
            if theirs.get(name) != value:
                raise AblationError(
                    f"{path} was measured with {name.upper()}={theirs.get(name)}, got {value}; "
                    f"choose another folder"
                )
        return cls(path, own, cells)

    def has(self, seed: int, variant: str, part: str) -> bool:
        """Tell whether that score is there."""
        return (seed, variant, part) in [(c.seed, c.variant, c.part) for c in self.cells]

    def add(self, cell: Cell) -> None:
        """Keep a score, on disk at once."""
        self.cells.append(cell)
        held = {"settings": self._settings, "cells": [asdict(cell) for cell in self.cells]}
        write_atomically(self._path, (json.dumps(held, indent=2) + "\n").encode())


def _write_artifacts(
    settings: Settings,
    variants: Sequence[Variant],
    output: Path,
    stream: Stream,
    progress: Progress,
) -> None:
    """Train where a model file is missing, once for all variants that train alike."""
    trained: dict[object, dict[str, Tensor]] = {}
    for variant in variants:
        artifact = _artifact(output, settings.seed, variant)
        if artifact.is_file():
            continue
        artifact.parent.mkdir(parents=True, exist_ok=True)
        log, teacher_of = RunLog(show=False), variant.system.teacher_of
        if teacher_of not in trained:
            trained[teacher_of] = train_weights(
                settings,
                stream,
                log,
                lambda step, last: progress(f"seed {settings.seed}: training", step, last),
                teacher=variant.system.teacher(settings),
            )
        shipped = shipped_code_bytes(variant, settings)
        blob = export_model(trained[teacher_of], settings, shipped, log)
        write_artifact(artifact, blob, shipped)
        lines = "\n".join(log.lines) + "\n"
        write_atomically(artifact.with_suffix(".log"), lines.encode())


def _artifact(output: Path, seed: int, variant: Variant) -> Path:
    return output / f"seed{seed}" / f"{variant.name}.ptz"


def _measure(
    artifact: Path, settings: Settings, variant: Variant, part: str, stream: Stream
) -> Cell:
    mixes, adapts = PARTS[part]
    own = settings if adapts else replace(settings, ttt_epochs=0)
    own = replace(own, eval_before="none")
    system = quickened(variant.system, stream.positions)
    mixer = _mixer(system, own) if mixes else NeuralOnly()
    shipped = shipped_code_bytes(variant, settings)
    score: Score = score_artifact(
        artifact, own, stream, variant.system.evaluate, mixer, shipped, RunLog(show=False)
    ).final
    return Cell(
        variant.name,
        settings.seed,
        part,
        score.bits_per_byte,
        score.nats_per_token,
        score.tokens,
        artifact.stat().st_size + shipped,
    )


def _mixer(system: System, settings: Settings) -> Mixer:
    """Return the mixer as the record's evaluation begins with it, tables of training included."""
    teacher = system.teacher(settings) if system.carry else None
    if teacher is not None:
        teacher.prefill()
    return system.mixer(settings, teacher)
