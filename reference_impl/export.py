"""Write record folders: the script and its code, the model file, the log and the claims.

A folder appears whole or not at all: it is made beside its place and renamed into it.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

from reference_impl.config import Settings
from reference_impl.errors import ExportError
from reference_impl.evaluate import Stream
from reference_impl.quantize.artifact import (
    ARTIFACT_NAME,
    ArtifactSize,
    code_bytes,
    write_artifact,
)
from reference_impl.record import (
    Scores,
    open_stream,
    pack_weights,
    score_artifact,
    train_weights,
)
from reference_impl.runlog import RunLog
from reference_impl.train import Progress
from reference_impl.variants import Variant

PACKAGE = Path(__file__).parent
ENTRY_NAME = "train_gpt.py"
# What a record needs besides its mixer; a record ships nothing that it does not run.
SHARED_MODULES = (
    "__init__.py",
    "adapt.py",
    "config.py",
    "data.py",
    "device.py",
    "errors.py",
    "evaluate.py",
    "mixture/__init__.py",
    "mixture/entropy.py",
    "model/__init__.py",
    "model/attention.py",
    "model/embeddings.py",
    "model/gate.py",
    "model/gpt.py",
    "model/mlp.py",
    "model/rotary.py",
    "model/values.py",
    "ngram/__init__.py",
    "optim/__init__.py",
    "optim/average.py",
    "optim/groups.py",
    "optim/muon.py",
    "optim/schedule.py",
    "quantize/__init__.py",
    "quantize/artifact.py",
    "quantize/container.py",
    "quantize/rowwise.py",
    "quantize/schemes.py",
    "record.py",
    "runlog.py",
    "tokenizer.py",
    "train.py",
)


def export_records(
    settings: Settings,
    variants: list[Variant],
    output: Path,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> list[Path]:
    """Train once, score each variant on the same model file, and write a folder for each."""
    targets = [output / variant.name for variant in variants]
    for target in targets:
        _check_free(target, force=force)
    log = RunLog()
    stream = open_stream(settings, log)
    blob = pack_weights(train_weights(settings, stream, log, progress), settings, log)
    output.mkdir(parents=True, exist_ok=True)
    with _staging(output) as staging:
        for variant in variants:
            _write_record(staging / variant.name, variant, settings, stream, blob, log)
        for target in targets:
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
    folder = Path(tempfile.mkdtemp(prefix=".export.", dir=output))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _move_into_place(finished: Path, target: Path, staging: Path) -> None:
    if target.exists():
        os.replace(target, staging / f"{target.name}.replaced")
    os.replace(finished, target)


def _write_record(
    folder: Path,
    variant: Variant,
    settings: Settings,
    stream: Stream,
    blob: bytes,
    training_log: RunLog,
) -> None:
    write_code(folder, variant, settings)
    shipped = code_bytes(folder.rglob("*.py"))
    size = write_artifact(folder / ARTIFACT_NAME, blob, shipped)
    log = RunLog()
    scores = score_artifact(
        folder / ARTIFACT_NAME, settings, stream, variant.mixer_of, shipped, log
    )
    lines = [*training_log.lines, *log.lines]
    (folder / f"train_seed{settings.seed}.log").write_text("\n".join(lines) + "\n")
    claims = submission(variant, settings, scores, size)
    (folder / "submission.json").write_text(json.dumps(claims, indent=2) + "\n")
    (folder / "README.md").write_text(readme(variant, settings, scores, size))


def write_code(folder: Path, variant: Variant, settings: Settings) -> None:
    """Write the script and the modules that this variant runs."""
    for module in (*SHARED_MODULES, variant.module):
        copy = folder / "reference_impl" / module
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PACKAGE / module, copy)
    (folder / ENTRY_NAME).write_text(entry(variant, settings))


def entry(variant: Variant, settings: Settings) -> str:
    """Return the script: this run's settings as defaults, and this variant's mixer."""
    module = "reference_impl." + variant.module.removesuffix(".py").replace("/", ".")
    # Where data lies differs from one machine to the next; the challenge's places are the default.
    shown = replace(
        settings, data_path=Settings().data_path, tokenizer_path=Settings().tokenizer_path
    )
    fields = "\n".join(f"    {name}={value!r}," for name, value in shown.as_dict().items())
    return f'''"""Train, quantise and score this record; EVAL_ONLY=1 scores the model file here.

Environment variables replace the defaults below: DATA_PATH, TOKENIZER_PATH and every other field.
"""

import sys
from pathlib import Path

from reference_impl.config import Settings
from {module} import {variant.mixer_name}
from reference_impl.record import main

DEFAULTS = Settings(
{fields}
)

if __name__ == "__main__":
    sys.exit(main(DEFAULTS, {variant.mixer_name}, Path(__file__).resolve().parent))
'''


def submission(
    variant: Variant, settings: Settings, scores: Scores, size: ArtifactSize
) -> dict[str, object]:
    """Return the claims of the record, all of them read off this run."""
    bpb = round(scores.adaptive.bits_per_byte, 8)
    loss = round(scores.adaptive.nats_per_token, 8)
    return {
        "author": "Strict Prefix",
        "github_id": "strict-prefix",
        "name": f"Reference n-gram mixer and score-first TTT ({variant.name})",
        "blurb": variant.blurb,
        "date": date.today().isoformat(),
        "track": "non_record_16mb",
        "val_bpb": bpb,
        "val_loss": loss,
        "pre_ttt_val_bpb": round(scores.sliding.bits_per_byte, 8),
        "pre_ttt_val_loss": round(scores.sliding.nats_per_token, 8),
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
    split = (
        f"the first {scores.adaptive.tokens} targets of the validation split"
        if settings.val_tokens
        else f"all {scores.adaptive.tokens} targets of the validation split"
    )
    return f"""# Reference n-gram mixer and score-first TTT ({variant.name})

{variant.blurb}

| seed | sliding window bpb | n-gram + TTT bpb | model bytes | code bytes | total bytes |
|---|---|---|---|---|---|
| {settings.seed} | {scores.sliding.bits_per_byte:.8f} | {scores.adaptive.bits_per_byte:.8f} \
| {size.model_bytes} | {size.code_bytes} | {size.total_bytes} |

Scored on {split}, stride {settings.eval_stride}, window {settings.eval_seq_len}.

## Run

    DATA_PATH=... TOKENIZER_PATH=... python {ENTRY_NAME}               # train, quantise, score
    EVAL_ONLY=1 DATA_PATH=... TOKENIZER_PATH=... python {ENTRY_NAME}   # score {ARTIFACT_NAME}

The defaults in `{ENTRY_NAME}` are the settings of the run in `train_seed{settings.seed}.log`.

## Method

- {settings.num_layers} layers of width {settings.model_dim}, {settings.num_heads} query and \
{settings.num_kv_heads} key heads, tied embeddings, hashed bigrams, U-Net skips.
- Muon for matrices, AdamW for the rest; the averaged weights are stored in 6-bit rows, 8-bit
  embeddings and 16-bit small tensors, compressed with zstd.
- Evaluation scores a chunk of {settings.ttt_chunk_tokens} tokens, then counts its n-grams, then
  adapts the last block's queries and the scale vectors on it.
"""
