import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from reference_impl.config import Settings
from reference_impl.data import TrainingStream
from reference_impl.device import (
    average_over_ranks,
    joined_ranks,
    largest_over_ranks,
    rank,
    rank_zero_first,
    world_size,
)
from reference_impl.errors import SettingsError
from reference_impl.record import open_stream, train_weights
from reference_impl.runlog import RunLog
from reference_impl.train import new_model
from reference_impl.trainer import Trainer

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]


def together(index: int, folder: str, settings: Settings) -> None:
    """Be one of two processes that train one model, and write down what it came to."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(index), "WORLD_SIZE": "2"}
    with joined_ranks(f"file://{folder}/store"):
        assert (rank(), world_size()) == (index, 2)
        with rank_zero_first():
            if index == 0:
                Path(folder, "first").touch()
            assert Path(folder, "first").exists()
        assert largest_over_ranks(float(index), CPU) == 1.0
        ones, twos = torch.full((2, 2), float(index)), torch.full((1,), 2.0 + index)
        average_over_ranks([ones, twos])
        assert (ones.tolist(), twos.tolist()) == ([[0.5, 0.5], [0.5, 0.5]], [2.5])
        odd = replace(settings, grad_accum_steps=1)
        loader = TrainingStream(Path(settings.data_path), settings.vocab_size)
        with pytest.raises(SettingsError, match="multiple of the number of processes, got 1 and 2"):
            Trainer(new_model(odd, CPU), loader, odd)
        log = RunLog()
        weights = train_weights(settings, open_stream(settings, log), log)
        torch.save({"weights": weights, "lines": log.lines}, Path(folder, f"rank{index}"))


def losses(lines: list[str]) -> list[float]:
    return [float(loss) for loss in re.findall(r"(?:train|val)_loss:(\S+)", "\n".join(lines))]


@pytest.mark.slow  # each process imports torch
def test_two_processes_train_what_one_does(settings: Settings, tmp_path: Path) -> None:
    four = replace(
        settings, iterations=8, grad_accum_steps=4, val_loss_every=8, late_qat_threshold=0.9
    )
    spawn(together, (str(tmp_path), four), nprocs=2)
    log = RunLog()
    alone: dict[str, Tensor] = train_weights(four, open_stream(four, log), log)
    first, second = (torch.load(tmp_path / f"rank{index}") for index in range(2))
    assert second["lines"] == []
    assert len(losses(log.lines)) == 10
    assert losses(first["lines"]) == pytest.approx(losses(log.lines), abs=1e-4)
    for name, weight in alone.items():
        assert torch.equal(first["weights"][name], second["weights"][name])
        assert torch.allclose(first["weights"][name], weight, atol=1e-3), name


@pytest.mark.slow
def test_torchrun_writes_one_model_and_one_log(settings: Settings, tmp_path: Path) -> None:
    variables = {name.upper(): str(value) for name, value in settings.as_dict().items()}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    data = ["--data", settings.data_path, "--tokenizer", settings.tokenizer_path]
    command = [sys.executable, *launcher, "-m", "reference_impl", "train", *data]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "out")],
        cwd=ROOT,
        env=os.environ | variables | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("step:3/3 train_loss") == 1
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["final_model.int6.ptz", "train_seed1337.log"]


def test_alone_there_is_nothing_to_join() -> None:
    with joined_ranks(), rank_zero_first():
        assert (rank(), world_size()) == (0, 1)
    assert largest_over_ranks(3.5, CPU) == 3.5
    tensor = torch.ones(2)
    average_over_ranks([tensor])
    assert tensor.tolist() == [1, 1]
