import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from torch import Tensor

from reference_impl.adapt import Adapter
from reference_impl.config import Settings
from reference_impl.data import TrainingStream
from reference_impl.errors import SettingsError, TrainingError
from reference_impl.evaluate import evaluate_plain
from reference_impl.model.gpt import GPT, Output, cross_entropy
from reference_impl.optim.groups import matrices
from reference_impl.optim.late_qat import round_straight_through, rounding_penalty
from reference_impl.record import open_stream, train_weights
from reference_impl.runlog import RunLog
from reference_impl.train import Hooks, new_model
from reference_impl.trainer import Objective, Trainer, nats_per_token

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
    late = replace(settings, late_qat_threshold=0.5)
    cold = trained(replace(late, warmup_steps=0))[0]
    warm = trained(replace(late, warmup_steps=2))[0]
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
    _, lines = trained(replace(settings, iterations=10_000, max_wallclock_seconds=18.05))
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


@dataclass
class Clock:
    """A clock that moves only when told to."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


def timed(settings: Settings, hooks: Hooks, **changes: Any) -> tuple[dict[str, Tensor], list[str]]:
    changed = replace(settings, **{"val_loss_every": 0, "iterations": 10_000} | changes)
    log = RunLog()
    return train_weights(changed, open_stream(changed, log), log, None, hooks), log.lines


def slow(clock: Clock, seconds: float) -> Objective:
    """Return the usual objective, which takes that long for each of a step's two parts."""

    def objective(output: Output, inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
        clock.seconds += seconds / 2
        return nats_per_token(output, inputs_BT, targets_BT)

    return objective


def test_training_stops_at_the_reserve_and_says_so(settings: Settings) -> None:
    clock = Clock()
    hooks = Hooks(objective=slow(clock, 10.0), clock=clock)
    _, lines = timed(settings, hooks, max_wallclock_seconds=118.0)
    assert "step:10/10000 train_loss" in "\n".join(lines)
    assert "stopping_early: wallclock_cap train_time:100000ms step:10/10000" in lines
    _, lines = timed(settings, hooks, max_wallclock_seconds=118.0, train_reserve_seconds=0.0)
    assert "stopping_early: wallclock_cap train_time:120000ms step:12/10000" in lines


def test_a_cap_within_the_reserve_is_refused(settings: Settings) -> None:
    message = "must be more than TRAIN_RESERVE_SECONDS, got 18.0 and 18.0"
    with pytest.raises(SettingsError, match=message):
        replace(settings, max_wallclock_seconds=18.0)


def test_a_prefill_runs_once_and_inside_the_clock(settings: Settings) -> None:
    clock, seen = Clock(), []

    def prefill() -> int:
        clock.seconds += 40.0
        seen.append("prefill")
        return 8_000_040_960

    def objective(output: Output, inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
        seen.append("step")
        return slow(clock, 10.0)(output, inputs_BT, targets_BT)

    hooks = Hooks(objective=objective, prefill=prefill, clock=clock)
    _, lines = timed(settings, hooks, max_wallclock_seconds=118.0)
    assert "prefilled 8,000,040,960 tokens in 40000ms (counted in wallclock)" in lines
    assert "stopping_early: wallclock_cap train_time:100000ms step:6/10000" in lines
    assert any(line.endswith("train_time:100000ms step_avg:10000.00ms") for line in lines)
    assert seen == ["prefill"] + 12 * ["step"]  # the warm-up has neither


def test_validation_costs_no_time(settings: Settings) -> None:
    ticking = iter(range(10**6))
    hooks = Hooks(clock=lambda: float(next(ticking)))  # a second for each look at it
    for every in (1, 1000):
        _, lines = timed(settings, hooks, iterations=5, val_loss_every=every)
        assert any(line.startswith("step:5/5 train_loss") for line in lines)
        assert any("train_time:5000ms" in line for line in lines)


def test_an_objective_decides_what_is_learned(settings: Settings) -> None:
    def backwards(output: Output, inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
        return -nats_per_token(output, inputs_BT, targets_BT)

    _, lines = timed(settings, Hooks(objective=backwards), iterations=1)
    _, usual = timed(settings, Hooks(), iterations=1)
    first = next(line for line in lines if line.startswith("step:1/1 train_loss:"))
    assert first.startswith("step:1/1 train_loss:-5.9")
    assert any(line.startswith("step:1/1 train_loss:5.9") for line in usual)


def test_weights_train_as_int5_once_the_rate_is_low(settings: Settings) -> None:
    late = {"iterations": 10, "warmdown_iters": 10, "late_qat_threshold": 0.5}
    _, lines = timed(settings, Hooks(), **late)
    assert "late_qat:enabled step:6 scale:0.4000" in lines
    assert sum("qat" in line for line in lines) == 1
    _, lines = timed(settings, Hooks(), **late, late_qat_min_step=8, soft_round_qat=True)
    assert lines.index("soft_round_qat:enabled initial_alpha=1.0") + 1 == lines.index(
        "late_qat:enabled step:8 scale:0.2000"
    )
    assert not any("qat" in line for line in timed(settings, Hooks(), iterations=10)[1])


def test_the_loss_of_rounded_weights_is_the_rounded_models(settings: Settings) -> None:
    trainer, again = (fresh_trainer(settings) for _ in range(2))
    trainer.rounding = True
    with torch.no_grad():
        for weight in matrices(again.model).values():
            weight.copy_(round_straight_through(weight))
    rounded, plain = trainer.step(0, 0.3), again.step(0, 0.3)
    assert rounded == pytest.approx(plain, rel=1e-6)
    assert rounded != fresh_trainer(settings).step(0, 0.3)


def test_the_rounding_penalty_joins_the_loss_only_while_rounding(settings: Settings) -> None:
    weighted = replace(settings, crown_q_lambda=2.0)
    assert fresh_trainer(weighted).step(0, 1.0) == fresh_trainer(settings).step(0, 1.0)
    plain, charged = fresh_trainer(settings), fresh_trainer(weighted)
    plain.rounding = charged.rounding = True
    penalty = float(rounding_penalty(list(matrices(plain.model).values())).detach())
    expected = plain.step(0, 1.0) + 2.0 * penalty
    assert charged.step(0, 1.0) == pytest.approx(expected, rel=1e-6)


def test_compiling_without_a_gpu_is_left_out_and_said(settings: Settings) -> None:
    weights, lines = timed(settings, Hooks(), iterations=1, compile=True)
    plain, other = timed(settings, Hooks(), iterations=1)
    assert "compile:off, it needs a GPU" in lines
    assert not any("compile" in line for line in other)
    assert all(torch.equal(plain[name], weights[name]) for name in plain)


def test_snapshots_are_announced_once_and_change_nothing(settings: Settings) -> None:
    late = {"iterations": 12, "warmdown_iters": 12}
    plain, _ = timed(settings, Hooks(), **late)
    weights, lines = timed(settings, Hooks(), **late, swa_every=2)
    # The rate is below 0.2 from the update at step 10 on, which ends in step 11.
    assert [line for line in lines if line.startswith("swa")] == ["swa:start step:12"]
    assert all(torch.equal(plain[name], weights[name]) for name in plain)


def test_gradients_are_clipped_over_all_parameters(settings: Settings) -> None:
    trainer = fresh_trainer(replace(settings, grad_clip_norm=0.3))
    norms: list[float] = []
    for optimizer in trainer.optimizers:
        optimizer.register_step_pre_hook(
            lambda held, *_: norms.extend(
                float(p.grad.norm()) for g in held.param_groups for p in g["params"]
            )
        )
    trainer.step(0, 1.0)
    assert math.hypot(*norms) == pytest.approx(0.3, rel=1e-3)


def greedy(*_: object) -> NoReturn:
    raise torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 9.00 GiB. GPU 0 has a total capacity of "
        "8.00 GiB of which 1.00 GiB is free."
    )


def test_a_device_out_of_memory_is_reported_with_its_sizes(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = (
        "64 tokens at once do not fit, raise GRAD_ACCUM_STEPS above 2: .* 9.00 GiB.* 8.00 GiB$"
    )
    with pytest.raises(TrainingError, match=message):
        timed(settings, Hooks(objective=greedy))

    stream, model = open_stream(settings, RunLog()), new_model(settings, CPU)
    monkeypatch.setattr(GPT, "forward", greedy)
    message = "scoring 1 x 32 tokens at once does not fit, lower EVAL_BATCH_SEQS below 5: .* 8.00 "
    with pytest.raises(TrainingError, match=message):
        evaluate_plain(model, stream, settings, RunLog())
    message = "adapting on 2 x 32 tokens at once does not fit, lower TTT_BATCH_SEQS below 2: "
    with pytest.raises(TrainingError, match=message):
        Adapter(model, settings, 1).learn(0, stream.tokens_T, stream.table)


def fresh_trainer(settings: Settings) -> Trainer:
    loader = TrainingStream(Path(settings.data_path), settings.vocab_size)
    model = new_model(settings, CPU)
    with torch.no_grad():  # a new model's blocks add nothing, so that no matrix would matter
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape), alpha=0.2)
    return Trainer(model, loader, settings)
