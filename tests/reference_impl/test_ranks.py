import os
import re
import subprocess
import sys
from dataclasses import astuple, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from reference_impl.adapt_first import evaluate_adapt_first
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
from reference_impl.variants import VARIANTS

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


def score_together(index: int, folder: str, settings: Settings) -> None:
    """Be one of two processes that score with one model, and write down what it came to."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(index), "WORLD_SIZE": "2"}
    with joined_ranks(f"file://{folder}/store"):
        torch.save(scores(settings), Path(folder, f"rank{index}"))


def scores(settings: Settings) -> list[tuple[float, int, float]]:
    """Score with each system's order of work, its mixer and its adaptation."""
    found = []
    for each in VARIANTS.values():
        own = replace(settings, expert_gate=each.record in ("pr834", "pr924"))
        model, stream = new_model(own, CPU), open_stream(own, RunLog())
        score = each.system.evaluate(model, stream, each.system.mixer_of(own), own, RunLog())
        found.append(astuple(score.final))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cache_update", "chunk_tokens"),
    [("chunk_inputs", 128), ("chunk_targets", 128), ("window", 128), ("chunk_inputs", 32)],
)
def test_two_processes_score_what_one_does(
    settings: Settings, tmp_path: Path, cache_update: str, chunk_tokens: int
) -> None:
    # A chunk of four rows is one step of two rows each for two processes, of four for one; of a
    # chunk of one row, one process has none. Bytes are weighed within a process, as in the records,
    # so they are left out here.
    two = replace(
        settings,
        cache_update=cache_update,
        ttt_chunk_tokens=chunk_tokens,
        ttt_epochs=2,
        ttt_byte_weighted=False,
    )
    spawn(score_together, (str(tmp_path), two), nprocs=2)
    first, second = (torch.load(tmp_path / f"rank{index}") for index in range(2))
    assert first == second
    alone = scores(replace(two, ttt_batch_seqs=4))
    for each, one, both in zip(VARIANTS.values(), alone, first, strict=True):
        assert both[1:] == one[1:]
        if each.system.evaluate is evaluate_adapt_first and cache_update == "window":
            assert both[0] != pytest.approx(one[0], rel=1e-4)  # two caches know less than one
        else:
            assert both[0] == pytest.approx(one[0], rel=1e-5), each.title


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


def torchrun(settings: Settings, *arguments: str) -> str:
    variables = {name.upper(): str(value) for name, value in settings.as_dict().items()}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    data = ["--data", settings.data_path, "--tokenizer", settings.tokenizer_path]
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "reference_impl", *arguments, *data],
        cwd=ROOT,
        env=os.environ | variables | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_torchrun_writes_one_model_and_one_log(settings: Settings, tmp_path: Path) -> None:
    printed = torchrun(settings, "train", "--output", str(tmp_path / "out"))
    assert printed.count("step:3/3 train_loss") == 1
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["final_model.int6.ptz", "train_seed1337.log"]


@pytest.mark.slow
def test_torchrun_exports_each_folder_once(settings: Settings, tmp_path: Path) -> None:
    printed = torchrun(settings, "export", "--variant", "both", "--output", str(tmp_path))
    assert printed.count("final_int6_ttt_exact") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["as_published", "compliant"]
    assert (tmp_path / "compliant" / "submission.json").is_file()


def test_alone_there_is_nothing_to_join() -> None:
    with joined_ranks(), rank_zero_first():
        assert (rank(), world_size()) == (0, 1)
    assert largest_over_ranks(3.5, CPU) == 3.5
    tensor = torch.ones(2)
    average_over_ranks([tensor])
    assert tensor.tolist() == [1, 1]
