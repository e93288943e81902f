import hashlib
import io
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from reference_impl.__main__ import main
from reference_impl.checkpoint import MAGIC, CheckpointFile
from reference_impl.config import Settings
from reference_impl.data import TrainingStream, write_shard
from reference_impl.errors import CheckpointError, DataError, InputError
from reference_impl.record import open_stream, train_weights
from reference_impl.runlog import RunLog
from reference_impl.train import Hooks, Progress, TrainingState

# Trains as the test does, and is killed by the system after the fifth step, two after a save.
VICTIM = """\
import os, signal, sys
from pathlib import Path
import torch
from reference_impl.checkpoint import CheckpointFile
from reference_impl.config import Settings
from reference_impl.record import open_stream, train_weights
from reference_impl.runlog import RunLog
from reference_impl.train import Hooks
torch.set_num_threads(1)
settings = {settings!r}
def progress(step, last):
    if step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
log = RunLog()
hooks = Hooks(checkpoints=CheckpointFile(Path({path!r}), settings, 3, False))
train_weights(settings, open_stream(settings, log), log, progress, hooks)
"""


@pytest.fixture
def twelve(settings: Settings) -> Settings:
    """Settings whose last five steps run with rounded weights."""
    return replace(
        settings,
        iterations=12,
        warmdown_iters=12,
        val_loss_every=0,
        late_qat_threshold=0.5,
        swa_every=2,
    )


def run(
    settings: Settings, file: CheckpointFile | None = None, progress: Progress | None = None
) -> tuple[dict[str, torch.Tensor], list[str]]:
    log = RunLog()
    hooks = Hooks(checkpoints=file)
    return train_weights(settings, open_stream(settings, log), log, progress, hooks), log.lines


def same_bytes(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        first[name].numpy().tobytes() == second[name].numpy().tobytes() for name in first
    )


def test_a_killed_run_goes_on_to_the_same_weights(twelve: Settings, tmp_path: Path) -> None:
    path = tmp_path / "state"
    victim = VICTIM.format(settings=twelve, path=str(path))
    killed = subprocess.run(
        [sys.executable, "-c", victim],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert "step:5/12 train_loss" in killed.stdout
    whole, whole_lines = run(twelve)
    resumed, lines = run(twelve, CheckpointFile(path, twelve, 3, True))
    assert same_bytes(whole, resumed)
    assert any(line.startswith("resumed: step:3 train_time:") for line in lines)
    losses = [line.split(" train_time")[0] for line in lines if "train_loss" in line]
    assert (
        losses == [line.split(" train_time")[0] for line in whole_lines if "train_loss" in line][3:]
    )


class StopError(Exception):
    """Ends a run between two steps."""


@pytest.mark.parametrize("last", [6, 7])  # on both sides of the change to rounded weights
def test_a_run_can_go_on_from_any_step(twelve: Settings, tmp_path: Path, last: int) -> None:
    def stop(step: int, _: int) -> None:
        if step == last + 1:
            raise StopError

    path = tmp_path / "state"
    with pytest.raises(StopError):
        run(twelve, CheckpointFile(path, twelve, 1, False), stop)
    resumed, lines = run(twelve, CheckpointFile(path, twelve, 1, True))
    assert any(line.startswith(f"resumed: step:{last} ") for line in lines)
    assert same_bytes(resumed, run(twelve)[0])


def test_the_clock_goes_on_too(twelve: Settings, tmp_path: Path) -> None:
    path = tmp_path / "state"
    seconds = iter(range(1000))
    hooks = Hooks(
        clock=lambda: float(next(seconds)), checkpoints=CheckpointFile(path, twelve, 1, False)
    )
    train_weights(twelve, open_stream(twelve, RunLog()), RunLog(), None, hooks)
    state = CheckpointFile(path, twelve, 1, True).load()
    assert state is not None
    assert (state.step, state.elapsed_ms, state.rounding, state.announced) == (
        12,
        12_000.0,
        True,
        True,
    )


def test_a_finished_run_is_not_trained_again(twelve: Settings, tmp_path: Path) -> None:
    path = tmp_path / "state"
    weights, _ = run(twelve, CheckpointFile(path, twelve, 500, False))
    again, lines = run(twelve, CheckpointFile(path, twelve, 500, True))
    assert same_bytes(weights, again)
    assert not any("train_loss" in line for line in lines)


def test_other_settings_are_refused_with_both_values(twelve: Settings, tmp_path: Path) -> None:
    path = tmp_path / "state"
    run(replace(twelve, iterations=1), CheckpointFile(path, twelve, 1, False))
    other = CheckpointFile(path, replace(twelve, seed=7, matrix_lr=0.5), 1, True)
    message = "was made with MATRIX_LR=0.025 and here 0.5; SEED=1337 and here 7$"
    with pytest.raises(CheckpointError, match=message):
        other.load()


class Trap:
    """Unpickling it would run code."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return (sys.exit, ("trapped",))


def framed(held: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(held, buffer)
    return MAGIC + hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue()


def test_a_checkpoint_that_would_run_code_is_refused(twelve: Settings, tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_bytes(framed({"settings": Trap()}))
    with pytest.raises(CheckpointError, match="must hold tensors and plain values only"):
        CheckpointFile(path, twelve, 1, True).load()


def test_a_checkpoint_of_other_things_is_refused(twelve: Settings, tmp_path: Path) -> None:
    path = tmp_path / "state"
    settings = twelve.as_dict()
    for content, message in (
        (b"", "must start with b'strict-prefix checkpoint 1"),
        (b"PK not a checkpoint", "got b'PK not a checkpoint'"),
        (framed([torch.ones(1)]), "must say its settings, got none"),
        (framed({"weights": torch.ones(1)}), "must say its settings, got none"),
        (framed({"settings": {}}), "SEED=unset and here 1337"),
        (framed({"settings": settings, "step": 1}), "must hold announced, average, .*, got step"),
    ):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            CheckpointFile(path, twelve, 1, True).load()


def test_a_damaged_checkpoint_is_refused(twelve: Settings, tmp_path: Path) -> None:
    path = tmp_path / "state"
    run(replace(twelve, iterations=1), CheckpointFile(path, twelve, 1, False))
    whole = path.read_bytes()
    for place in range(0, len(whole), len(whole) // 20):
        flipped = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        for damaged in (whole[:place], flipped):
            path.write_bytes(damaged)
            with pytest.raises(CheckpointError, match=r"is damaged|must start with"):
                CheckpointFile(path, twelve, 1, True).load()


def test_a_failed_write_leaves_the_checkpoint_before(
    twelve: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state"
    file = CheckpointFile(path, twelve, 1, False)
    run(replace(twelve, iterations=1), file)
    before = path.read_bytes()
    state = CheckpointFile(path, twelve, 1, True).load()
    assert isinstance(state, TrainingState)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        file.save(replace(state, step=2))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_state_is_read_as_it_was_written(twelve: Settings, tmp_path: Path) -> None:
    path = tmp_path / "state"
    run(replace(twelve, iterations=2), CheckpointFile(path, twelve, 1, False))
    state = CheckpointFile(path, twelve, 1, True).load()
    assert state is not None
    assert {field.name for field in fields(state)} >= {"average", "optimizers", "random"}
    span = 2 * (twelve.train_batch_tokens + twelve.grad_accum_steps)
    fresh = TrainingStream(Path(twelve.data_path), twelve.vocab_size)
    fresh.take(span)
    assert state.place == fresh.place


def test_a_stream_goes_on_from_any_place(tmp_path: Path) -> None:
    for index, tokens in enumerate(([1, 2, 3], [4], [5, 6])):
        write_shard(tmp_path / f"fineweb_train_{index:06d}.bin", tokens)
    first = TrainingStream(tmp_path, 10)
    for _ in range(20):
        second = TrainingStream(tmp_path, 10)
        second.seek(first.place)
        after = first.place
        assert second.take(9).tolist() == first.take(9).tolist()
        first.seek(after)
        first.take(1)
    with pytest.raises(DataError, match="must match more than 3 shards to go on from, got 3"):
        first.seek((3, 0))
    with pytest.raises(DataError, match="must hold at least 4 tokens to go on from, got 3"):
        first.seek((0, 4))


@pytest.mark.parametrize(
    ("every", "resume", "exists", "message"),
    [
        (0, False, False, "--checkpoint-every must be positive, got 0"),
        (1, True, False, "must be a checkpoint to resume from, got none"),
        (1, False, True, "exists; resume from it or remove it"),
    ],
)
def test_a_checkpoint_that_could_not_be_used_is_refused_at_the_start(
    twelve: Settings, tmp_path: Path, every: int, resume: bool, exists: bool, message: str
) -> None:
    path = tmp_path / "state"
    if exists:
        path.touch()
    with pytest.raises(InputError, match=message):
        CheckpointFile(path, twelve, every, resume)
    with pytest.raises(InputError, match="must be a folder to write checkpoints to"):
        CheckpointFile(tmp_path / "no" / "state", twelve, 1, False)


def test_the_command_line_keeps_and_resumes_a_run(
    twelve: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in twelve.as_dict().items():
        monkeypatch.setenv(name.upper(), str(value))
    arguments = ["train", "--data", twelve.data_path, "--tokenizer", twelve.tokenizer_path]
    kept = ["--checkpoint", str(tmp_path / "state"), "--checkpoint-every", "4"]
    assert main([*arguments, "--output", str(tmp_path / "a"), *kept]) == 0
    assert main([*arguments, "--output", str(tmp_path / "b"), *kept]) == 2
    assert main([*arguments, "--output", str(tmp_path / "b"), "--resume"]) == 2
    errors = capsys.readouterr().err
    assert "exists; resume from it or remove it" in errors
    assert "--resume needs --checkpoint FILE, got none" in errors
    assert main([*arguments, "--output", str(tmp_path / "b"), *kept, "--resume"]) == 0
    assert "resumed: step:12" in capsys.readouterr().out
    first, second = (next((tmp_path / name).glob("*.ptz")).read_bytes() for name in "ab")
    assert first == second
