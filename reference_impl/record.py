"""A whole record: train, quantise, write the model file, read it back, score."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from reference_impl.config import Settings, from_environment
from reference_impl.data import (
    TRAIN_PATTERN,
    VAL_PATTERN,
    TrainingStream,
    find_shards,
    validation_tokens,
)
from reference_impl.device import joined_ranks, pick_device, rank, wait_for_all
from reference_impl.errors import InputError
from reference_impl.evaluate import Ints, Mixer, Scores, Stream
from reference_impl.mixture.gate import Lookup
from reference_impl.mixture.losses import GatedObjective
from reference_impl.model.gpt import GPT
from reference_impl.quantize.artifact import (
    ARTIFACT_NAME,
    ArtifactSize,
    check_fit,
    code_bytes,
    read_artifact,
    write_artifact,
)
from reference_impl.quantize.packing import export_model
from reference_impl.quantize.rowwise import restore_state
from reference_impl.runlog import RunLog
from reference_impl.tokenizer import byte_table, load_tokenizer
from reference_impl.train import NO_HOOKS, Hooks, Progress, new_model, train

MixerOf = Callable[[Settings], Mixer]
Evaluation = Callable[[GPT, Stream, Mixer, Settings, RunLog], Scores]


class Teacher(Protocol):
    """What the training text says of the n-grams in it."""

    def prefill(self) -> int:
        """Read the training text, and return how many tokens that were."""
        ...

    def look_up(self, inputs_BT: Ints, targets_BT: Ints) -> Lookup:
        """Return each order's probability of the targets."""
        ...


@dataclass(frozen=True, slots=True)
class System:
    """What a record does beyond its settings."""

    mixer_of: MixerOf
    evaluate: Evaluation
    teacher_of: Callable[[Settings], Teacher] | None = None  # of the gate, while it trains
    carry: Callable[[Settings, Any], Mixer] | None = None  # goes on with the teacher's own tables

    def parts(self) -> dict[str, Callable[..., Any]]:
        """Return each part that it has by its field's name."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: part for name, part in parts.items() if part is not None}

    def teacher(self, settings: Settings) -> Teacher | None:
        """Return a new teacher, which knows nothing before training fills it."""
        return None if self.teacher_of is None else self.teacher_of(settings)

    def mixer(self, settings: Settings, teacher: Teacher | None) -> Mixer:
        """Return the mixer that evaluation begins with; without training there is no teacher."""
        if self.carry is None or teacher is None:
            return self.mixer_of(settings)
        return self.carry(settings, teacher)


def main(defaults: Settings, system: System, folder: Path) -> int:
    """Run the record in a folder as its script does; the environment may change any setting."""
    try:
        run_record(from_environment(defaults), system, sorted(folder.rglob("*.py")))
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


def run_record(settings: Settings, system: System, code: list[Path]) -> None:
    """Train, unless EVAL_ONLY is set, and score the model file in the present folder.

    Processes that torchrun starts train and score together; one of them writes.
    """
    log, artifact = RunLog(), Path(ARTIFACT_NAME)
    teacher = None
    train_it = os.environ.get("EVAL_ONLY", "0") == "0"
    with joined_ranks():
        stream = open_stream(settings, log)
        if train_it:
            teacher = system.teacher(settings)
            weights = train_weights(settings, stream, log, teacher=teacher)
            if rank() == 0:
                blob = export_model(weights, settings, code_bytes(code), log)
                write_artifact(artifact, blob, code_bytes(code))
            wait_for_all()
        mixer = system.mixer(settings, teacher)
        score_artifact(artifact, settings, stream, system.evaluate, mixer, code_bytes(code), log)


def open_stream(settings: Settings, log: RunLog) -> Stream:
    """Read the tokenizer and the validation split."""
    folder = Path(settings.data_path)
    tokenizer = load_tokenizer(Path(settings.tokenizer_path), settings.vocab_size)
    log(f"val_bpb:enabled tokenizer_kind=sentencepiece tokenizer_path={settings.tokenizer_path}")
    tokens_T = validation_tokens(
        folder,
        settings.vocab_size,
        window_tokens=settings.longest_window,
        limit=settings.val_tokens,
    )
    log(f"val_loader:shards pattern={folder / VAL_PATTERN} tokens:{len(tokens_T) - 1}")
    if settings.val_tokens:
        log(f"val_limit: VAL_TOKENS={settings.val_tokens}, not the whole validation split")
    return Stream(tokens_T, byte_table(tokenizer), pick_device())


def train_weights(
    settings: Settings,
    stream: Stream,
    log: RunLog,
    progress: Progress | None = None,
    hooks: Hooks = NO_HOOKS,
    teacher: Teacher | None = None,
) -> dict[str, Tensor]:
    """Train on the training shards and return the averaged weights."""
    if teacher is not None:
        hooks = replace(hooks, objective=GatedObjective(teacher, settings), prefill=teacher.prefill)
    folder = Path(settings.data_path)
    shards = len(find_shards(folder, TRAIN_PATTERN))
    log(f"train_loader:dataset:{folder.name} train_shards:{shards}")
    return train(
        settings, lambda: TrainingStream(folder, settings.vocab_size), stream, log, progress, hooks
    )


def score_artifact(
    artifact: Path,
    settings: Settings,
    stream: Stream,
    evaluate: Evaluation,
    mixer: Mixer,
    shipped_code_bytes: int,
    log: RunLog,
) -> Scores:
    """Score a model file as the system does, after checking that it and the code are in limits."""
    model = load_model(artifact, settings, stream.device)
    ArtifactSize(artifact.stat().st_size, shipped_code_bytes).check()
    return evaluate(model, stream, mixer, settings, log)


def load_model(artifact: Path, settings: Settings, device: torch.device) -> GPT:
    """Return the model with the weights of a model file."""
    weights = restore_state(read_artifact(artifact))
    model = new_model(settings, device)
    check_fit(artifact, weights, model.state_dict())
    model.load_state_dict(weights)
    return model
