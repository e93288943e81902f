"""The script at its own size on the real shards: what it measures, beside what it claims.

Nothing is made small and nothing is watched but what the script prints and the files that it reads
back. CUDA and its packages are stood in for where they are absent; what stood in is said. A score
that is met again shows that the claim comes out of this code; that it is the length of a code is
for the other experiments.
"""

import contextlib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from auditor.errors import CannotMeasure, SubmissionError
from auditor.run.claimed import Claimed
from auditor.run.execution import how_it_ended
from auditor.run.record import Record, Score, read_record
from auditor.run.sandbox import Limits, execute
from auditor.run.scratch import scratch
from auditor.run.timeline import plain_label
from auditor.run.workspace import (
    HEADER_INTS,
    OURS,
    TOKENIZER,
    VALIDATION_SHARD,
    fixed_variables,
    lay_out_record,
    link_usual_places,
)
from auditor.submission import Submission

GIB = 2**30
HEADER_BYTES = 4 * HEADER_INTS
MAX_REST = 65_536
"""Tokens at the end of a split that fill no window, and are not counted."""
SHORT_TRAINING = {"ITERATIONS": "1", "WARMUP_STEPS": "0", "VAL_LOSS_EVERY": "0"}
"""Before the shipped model takes the place of the one that this would make."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a re-evaluation starts from."""

    shards: Path
    """Folder with fineweb_val_*.bin, and fineweb_train_*.bin where the script trains."""
    tokenizer: Path
    launch: Mapping[str, str]
    """The environment of the scored run, as far as the submission shows it."""
    settings: Mapping[str, str]
    """Over it, by who asks."""
    shipped: bool = False
    """Whether the model that the folder holds takes the place of the one that the run makes."""
    ranks: int = 1
    seconds: float = 36_000.0
    bytes: int = 16 * GIB
    sandbox: str = "bubblewrap"


@dataclass(frozen=True, slots=True)
class Measured:
    """The score of one whole run."""

    label: str
    val_loss: float
    val_bpb: float
    replaced: tuple[str, ...]
    """Files of the submission that took the place of those of the run."""
    overrides: tuple[str, ...]
    stand_ins: tuple[str, ...]
    seconds: float
    processor_seconds: float
    machine: str


def measure(
    submission: Submission, given: Given, claimed: Claimed, said: Callable[[str], None]
) -> Measured:
    """Run the script to its end; `said` gets each line that it prints about its course.

    Raises SubmissionError for shards that are none, CannotMeasure for a run without the score.
    """
    script = submission.entry
    if script is None:
        raise CannotMeasure("the folder holds no script to run")
    models = _models(submission) if given.shipped else {}
    settings = {
        **{k: v for k, v in given.launch.items() if not OURS.fullmatch(k) and "$" not in v},
        **(SHORT_TRAINING if models else {}),
        **given.settings,
    }
    cores = os.cpu_count() or 1
    ask: dict[str, object] = {"watch": False, "threads": max(1, cores // given.ranks)}
    if models:
        ask["transplant"] = list(models)
    started = time.monotonic()
    with scratch() as root:
        _lay_out(root, submission, given, models.values())
        finished = execute(
            [sys.executable, "-m", "recorder", script],
            workspace=root,
            folder="record",
            environment={**fixed_variables(1.0, given.ranks, ask), **settings},
            limits=Limits(seconds=given.seconds, bytes=given.bytes, disk_bytes=16 * GIB),
            backend=given.sandbox,
            on_event=lambda line: _tell(line, said),
        )
    if why := how_it_ended(script, finished, given.seconds):
        raise CannotMeasure(why)
    record = read_record(finished.events)
    replaced = tuple(one.name for one in record.read_back if one.replaced)
    if models and not replaced:
        raise CannotMeasure(
            f"{script}: expected it to read back one of {', '.join(models)}, so that the shipped "
            "model can take its place; it read back "
            f"{', '.join(one.name for one in record.read_back) or 'nothing'}"
        )
    score = _score(record, claimed, script)
    return Measured(
        label=plain_label(score.label),
        val_loss=score.val_loss,
        val_bpb=score.val_bpb,
        replaced=replaced,
        overrides=tuple(f"{name}={value}" for name, value in settings.items()),
        stand_ins=tuple(record.stand_ins),
        seconds=time.monotonic() - started,
        processor_seconds=record.processor_seconds,
        machine=f"{cores} cores, {platform.machine()}, {platform.system()}",
    )


def why_other(given: Given, claimed: Claimed) -> str | None:
    """Why this is another measurement than the claimed one; None where it is the same."""
    if given.settings:
        return "settings were given"
    logged = max((log.tokens or 0 for log in claimed.logs), default=0)
    if not logged:
        return "no log says over how many tokens the claim is"
    shards = given.shards.glob("fineweb_val_[0-9]*.bin")
    held = sum((shard.stat().st_size - HEADER_BYTES) // 2 for shard in shards)
    if not logged <= held <= logged + MAX_REST:
        return f"the claim is over {logged:,} tokens, the shards hold {held:,}"
    return None


def _models(submission: Submission) -> dict[str, bytes]:
    """What of the folder may be a model, by base name; text is none."""
    found = {}
    for name, file in submission.files.items():
        if b"\0" in file.data[:65_536]:
            found[name.rpartition("/")[2]] = file.data
    if not found:
        raise SubmissionError("the folder holds no model; without --shipped the run trains its own")
    return found


def _lay_out(root: Path, submission: Submission, given: Given, models: Iterable[bytes]) -> None:
    """Copies, not links: the submission may write to what it sees."""
    handed = {str(index): content for index, content in enumerate(models)}
    folder, data = lay_out_record(root, submission, handed)
    try:
        shards = sorted(given.shards.glob("fineweb_*.bin"))
        if not any(shard.name == VALIDATION_SHARD for shard in shards):
            raise SubmissionError(f"{given.shards}: expected {VALIDATION_SHARD}, found none")
        for shard in shards:
            shutil.copyfile(shard, data / shard.name)
        shutil.copyfile(given.tokenizer, data / TOKENIZER)
    except OSError as error:
        raise SubmissionError(f"{error.filename}: {error.strerror}") from error
    link_usual_places(folder, data, data / TOKENIZER)


def _tell(line: bytes, said: Callable[[str], None]) -> None:
    """What the script printed; other events are left to the end."""
    if b'"line"' in line[:60]:
        # The submission can write there too: whatever is no event is judged when all are read.
        with contextlib.suppress(ValueError, KeyError, TypeError):
            said(str(json.loads(line)["text"])[:160])


def _score(record: Record, claimed: Claimed, script: str) -> Score:
    """The last line of the stage that the logs claim, or the last at all where none do."""
    printed = [score for score in record.scores if not score.is_step]
    named = [one for one in printed if plain_label(one.label) in claimed.stages]
    if claimed.stages and not named:
        raise CannotMeasure(
            f"{script}: expected the score that the logs end with "
            f"({', '.join(sorted(claimed.stages))}), the run printed "
            f"{', '.join(one.label for one in printed) or 'none'}"
        )
    if not printed:
        raise CannotMeasure(f"{script}: expected a line with val_loss and val_bpb, found none")
    return (named or printed)[-1]
