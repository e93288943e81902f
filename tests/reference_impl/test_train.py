import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reference_impl.config import Settings
from reference_impl.data import TrainingStream
from reference_impl.errors import TrainingError
from reference_impl.model.gpt import cross_entropy
from reference_impl.record import open_stream, train_weights
from reference_impl.runlog import RunLog
from reference_impl.train import Trainer, new_model

CPU = torch.device("cpu")


def trained(settings: Settings) -> tuple[dict[str, torch.Tensor], list[str]]:
    log = RunLog()
    return train_weights(settings, open_stream(settings, log), log), log.lines


def test_the_same_settings_give_the_same_weights(settings: Settings) -> None:
    first, second = trained(settings)[0], trained(settings)[0]
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = trained(replace(settings, seed=7))[0]
    assert not torch.equal(first["tok_embed.weight"], other["tok_embed.weight"])


def test_training_lowers_the_validation_loss(settings: Settings) -> None:
    _, lines = trained(replace(settings, iterations=40, val_loss_every=40, warmdown_iters=20))
    losses = [float(loss) for loss in re.findall(r"val_loss:(\S+)", "\n".join(lines))]
    assert len(losses) == 2
    assert losses[1] < losses[0] - 1


def test_warmup_is_undone(settings: Settings) -> None:
    cold = trained(replace(settings, warmup_steps=0))[0]
    warm = trained(replace(settings, warmup_steps=2))[0]
    assert all(torch.equal(cold[name], warm[name]) for name in cold)


def test_without_steps_the_weights_are_the_initial_ones(settings: Settings) -> None:
    weights, lines = trained(replace(settings, iterations=0, warmup_steps=0))
    initial = new_model(settings, CPU).state_dict()
    assert all(torch.equal(weights[name], initial[name]) for name in initial)
    assert any(line.startswith("step:0/0 val_loss:") for line in lines)


def test_accumulated_parts_learn_from_consecutive_tokens(settings: Settings) -> None:
    loader = TrainingStream(Path(settings.data_path), settings.vocab_size)
    trainer = Trainer(new_model(settings, CPU), loader, settings)
    fresh = TrainingStream(Path(settings.data_path), settings.vocab_size)
    with torch.no_grad():
        parts = [torch.from_numpy(fresh.take(65)) for _ in range(2)]
        losses = [
            float(cross_entropy(trainer.model, part[:-1].view(2, 32), part[1:].view(2, 32)))
            for part in parts
        ]
    assert trainer.step(0, 1.0) == pytest.approx(sum(losses) / 2, rel=1e-6)
    assert fresh.take(5).tolist() == loader.take(5).tolist()


def test_a_clock_stops_training_early_and_says_so(settings: Settings) -> None:
    _, lines = trained(replace(settings, iterations=10_000, max_wallclock_seconds=0.05))
    stop = next(line for line in lines if line.startswith("stopping_early"))
    match = re.fullmatch(r"stopping_early: wallclock_cap train_time:(\d+)ms step:(\d+)/10000", stop)
    assert match
    assert int(match[1]) >= 48
    assert 0 < int(match[2]) < 10_000


def test_a_loss_that_is_no_number_ends_training(settings: Settings) -> None:
    with pytest.raises(TrainingError, match=r"must stay finite, got (nan|inf) at step \d"):
        trained(replace(settings, embed_lr=1e30, scalar_lr=1e30, matrix_lr=1e30, iterations=9))


def test_progress_is_told_of_every_step(settings: Settings) -> None:
    seen: list[tuple[int, int]] = []
    stream = open_stream(settings, RunLog())
    train_weights(settings, stream, RunLog(), lambda step, last: seen.append((step, last)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
