"""Write record folders: the script and its code, the model file, the log and the claims.

A folder appears whole or not at all: it is made beside its place and renamed into it.
"""

import ast
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from reference_impl.config import Settings
from reference_impl.device import from_rank_zero, rank, wait_for_all
from reference_impl.engine import quickened
from reference_impl.errors import ExportError
from reference_impl.evaluate import Scores, Stream
from reference_impl.quantize.artifact import (
    ARTIFACT_NAME,
    ArtifactSize,
    code_bytes,
    write_artifact,
)
from reference_impl.quantize.packing import export_model
from reference_impl.record import (
    Teacher,
    open_stream,
    score_artifact,
    train_weights,
)
from reference_impl.runlog import RunLog
from reference_impl.train import Progress
from reference_impl.variants import Variant

PACKAGE = Path(__file__).parent
ENTRY_NAME, SYSTEM_NAME = "train_gpt.py", "system.py"
PROTOCOL_SCRIPT = '''\
"""This record as a system that an auditor drives; TOKENIZER_PATH names the tokenizer."""

from pathlib import Path

from reference_impl.system import RecordSystem, open_system
from train_gpt import DEFAULTS, SYSTEM


def load(positions: int) -> RecordSystem:
    """Return the system that the model file beside this script holds."""
    return open_system(DEFAULTS, SYSTEM, Path(__file__).resolve().parent, positions)
'''


class Trained(NamedTuple):
    """What one training gives."""

    weights: dict[str, Tensor]
    teacher: Teacher | None
    log: RunLog


def export_records(
    settings: Settings,
    variants: list[Variant],
    output: Path,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> list[Path]:
    """Train, once for all variants that train alike, score each, and write a folder for each."""
    targets = [output / variant.name for variant in variants]
    for target in targets:
        _check_free(target, force=force)
    trained: dict[object, Trained] = {}
    log = RunLog()
    stream = open_stream(settings, log)
    for variant in variants:
        # Variants that train alike share one training.
        if variant.system.teacher_of not in trained:
            teacher, training_log = variant.system.teacher(settings), RunLog()
            training_log.lines += log.lines
            weights = train_weights(settings, stream, training_log, progress, teacher=teacher)
            trained[variant.system.teacher_of] = Trained(weights, teacher, training_log)
    with _staging(output) as staging:
        for variant in variants:
            training = trained[variant.system.teacher_of]
            _write_record(staging / variant.name, variant, settings, stream, training)
        for target in targets if rank() == 0 else ():
            _move_into_place(staging / target.name, target, staging)
    return targets


def _check_free(target: Path, *, force: bool) -> None:
    if target.exists() and not target.is_dir():
        raise ExportError(f"{target} must be a folder or absent, got a file")
    if target.is_dir() and any(target.iterdir()) and not force:
        held = len(list(target.iterdir()))
        raise ExportError(
            f"{target} must be absent or empty, got {held} entries; --force replaces it"
        )


@contextmanager
def _staging(output: Path) -> Iterator[Path]:
    """Make one folder for all processes, which rank 0 writes to and the others read."""
    made = ""
    if rank() == 0:
        output.mkdir(parents=True, exist_ok=True)
        made = tempfile.mkdtemp(prefix=".export.", dir=output)
    folder = from_rank_zero(made)
    try:
        yield Path(folder)
    finally:
        if made:
            shutil.rmtree(made, ignore_errors=True)


def _move_into_place(finished: Path, target: Path, staging: Path) -> None:
    if target.exists():
        os.replace(target, staging / f"{target.name}.replaced")
    os.replace(finished, target)


def _write_record(
    folder: Path,
    variant: Variant,
    settings: Settings,
    stream: Stream,
    training: Trained,
) -> None:
    log, artifact, system = RunLog(), folder / ARTIFACT_NAME, variant.system
    if rank() == 0:
        write_code(folder, variant, settings)
        shipped = code_bytes(folder.rglob("*.py"))
        write_artifact(artifact, export_model(training.weights, settings, shipped, log), shipped)
    wait_for_all()
    size = ArtifactSize(artifact.stat().st_size, code_bytes(folder.rglob("*.py")))
    mixer = quickened(system, stream.positions).mixer(settings, training.teacher)
    scores = score_artifact(
        artifact, settings, stream, system.evaluate, mixer, size.code_bytes, log
    )
    if rank():
        return
    lines = [*training.log.lines, *log.lines]
    (folder / f"train_seed{settings.seed}.log").write_text("\n".join(lines) + "\n")
    claims = submission(variant, settings, scores, size)
    (folder / "submission.json").write_text(json.dumps(claims, indent=2) + "\n")
    (folder / "README.md").write_text(readme(variant, settings, scores, size))


def write_code(folder: Path, variant: Variant, settings: Settings) -> None:
    """Write the script and the modules that this variant runs, and no others."""
    scripts = scripts_of(variant, settings)
    for module in modules_of(scripts):
        copy = folder / module
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PACKAGE.parent / module, copy)
    for name, script in scripts.items():
        (folder / name).write_text(script)


def shipped_code_bytes(variant: Variant, settings: Settings) -> int:
    """Return the size of what `write_code` would write."""
    scripts = scripts_of(variant, settings)
    modules = code_bytes(PACKAGE.parent / module for module in modules_of(scripts))
    return modules + sum(len(script.encode()) for script in scripts.values())


def scripts_of(variant: Variant, settings: Settings) -> dict[str, str]:
    """Return the files at the top of a record folder: what runs it, and what opens it to others."""
    return {ENTRY_NAME: entry(variant, settings), SYSTEM_NAME: PROTOCOL_SCRIPT}


def modules_of(scripts: Mapping[str, str]) -> list[Path]:
    """Return the files of this package that scripts import, directly or through others."""
    reached: set[Path] = set()
    waiting = [module for script in scripts.values() for module in _imports(script)]
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += _imports((PACKAGE.parent / module).read_text())
    return sorted(reached)


def _imports(source: str) -> list[Path]:
    files = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == PACKAGE.name:
            module = Path(str(node.module).replace(".", "/"))
            files += [folder / "__init__.py" for folder in module.parents[:-1]]
            if (PACKAGE.parent / module).is_dir():
                # A package's names are modules: from reference_impl.optim import late_qat.
                files.append(module / "__init__.py")
                files += [(module / name.name).with_suffix(".py") for name in node.names]
            else:
                files.append(module.with_suffix(".py"))
    return files


def entry(variant: Variant, settings: Settings) -> str:
    """Return the script: this run's settings as defaults, and what this variant's system runs."""
    # Where data lies differs from one machine to the next; the challenge's places are the default.
    shown = replace(
        settings, data_path=Settings().data_path, tokenizer_path=Settings().tokenizer_path
    )
    defaults = "\n".join(f"    {name}={value!r}," for name, value in shown.as_dict().items())
    parts = variant.system.parts()
    imports = sorted(
        [
            "from reference_impl.config import Settings",
            "from reference_impl.record import System, main",
            *(f"from {part.__module__} import {part.__name__}" for part in parts.values()),
        ]
    )
    system = ", ".join(f"{name}={part.__name__}" for name, part in parts.items())
    joined = "\n".join(imports)
    return f'''"""Train, quantise and score this record; EVAL_ONLY=1 scores the model file here.

Environment variables replace the defaults below: DATA_PATH, TOKENIZER_PATH and every other field.
"""

import sys
from pathlib import Path

{joined}

DEFAULTS = Settings(
{defaults}
)
SYSTEM = System({system})

if __name__ == "__main__":
    sys.exit(main(DEFAULTS, SYSTEM, Path(__file__).resolve().parent))
'''


def submission(
    variant: Variant, settings: Settings, scores: Scores, size: ArtifactSize
) -> dict[str, object]:
    """Return the claims of the record, all of them read off this run."""
    bpb = round(scores.final.bits_per_byte, 8)
    loss = round(scores.final.nats_per_token, 8)
    before = {}
    if scores.plain is not None and settings.eval_before == "sliding":
        before = {
            "pre_ttt_val_bpb": round(scores.plain.bits_per_byte, 8),
            "pre_ttt_val_loss": round(scores.plain.nats_per_token, 8),
        }
    return {
        "author": "Strict Prefix",
        "github_id": "strict-prefix",
        "name": variant.title,
        "blurb": variant.blurb,
        "date": date.today().isoformat(),
        "track": "non_record_16mb",
        "val_bpb": bpb,
        "val_loss": loss,
        **before,
        "bytes_total": size.total_bytes,
        "bytes_code": size.code_bytes,
        "bytes_model_int6_zstd": size.model_bytes,
        "seed_results": {
            str(settings.seed): {
                "val_bpb": bpb,
                "val_loss": loss,
                "artifact_bytes": size.total_bytes,
            }
        },
    }


def readme(variant: Variant, settings: Settings, scores: Scores, size: ArtifactSize) -> str:
    """Return the description of the record."""
    tokens = scores.final.tokens
    split = f"{tokens} targets, all of the validation split"
    if settings.val_tokens:
        split = f"{tokens} targets from the start of the validation split"
    plain = "-" if scores.plain is None else f"{scores.plain.bits_per_byte:.8f}"
    return f"""# {variant.title}

{variant.blurb}

| seed | model alone, bpb | score, bpb | model bytes | code bytes | total bytes |
|---|---|---|---|---|---|
| {settings.seed} | {plain} | {scores.final.bits_per_byte:.8f} \
| {size.model_bytes} | {size.code_bytes} | {size.total_bytes} |

Scored on {split}, stride {settings.eval_stride}, window {settings.eval_seq_len}.

## Run

    DATA_PATH=... TOKENIZER_PATH=... python {ENTRY_NAME}

This trains, quantises and scores. With the variable EVAL_ONLY at 1 it scores {ARTIFACT_NAME} only.
The defaults in `{ENTRY_NAME}` are the settings of the run in `train_seed{settings.seed}.log`.

## Method

- {settings.num_layers} layers of width {settings.model_dim}, {settings.num_heads} query and \
{settings.num_kv_heads} key heads, tied embeddings, hashed bigrams, U-Net skips.
- Muon for matrices, AdamW for the rest; the averaged weights are quantised and compressed.
- Evaluation works in chunks of {settings.ttt_chunk_tokens} tokens, \
{settings.ttt_epochs} epoch(s) of test-time training on each with {settings.ttt_optimizer}.
"""
