from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import nn

from reference_impl.config import Settings
from reference_impl.model.gpt import GPT
from reference_impl.optim.average import WeightAverage
from reference_impl.optim.groups import make_optimizers, set_rates
from reference_impl.optim.late_qat import (
    round_softly,
    round_straight_through,
    rounding_penalty,
    sharpness_at,
)
from reference_impl.optim.muon import Muon, orthogonalise
from reference_impl.optim.schedule import (
    learning_rate_scale,
    muon_momentum,
    training_budget_ms,
)


@examples(max_examples=30)
@given(rows=st.integers(1, 12), columns=st.integers(1, 12), seed=st.integers(0, 99))
def test_orthogonalised_matrices_keep_directions_and_lose_scale(
    rows: int, columns: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(rows, columns, generator=generator)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    result = left.T @ orthogonalise(1000 * matrix) @ right.T
    assert (result - result.diag().diag()).abs().max() < 1e-2
    large = values > 0.1 * values.max()
    assert ((result.diag() > 0.5) & (result.diag() < 1.4))[large].all()


def test_muon_decays_and_steps_by_its_rate() -> None:
    weight = nn.Parameter(torch.eye(4))
    weight.grad = torch.eye(4)
    Muon([weight], lr=0.1, weight_decay=0.5).step()
    step = orthogonalise(torch.eye(4))
    assert torch.allclose(weight.detach(), 0.95 * torch.eye(4) - 0.1 * step)


def test_muon_looks_ahead_along_its_momentum() -> None:
    weight = nn.Parameter(torch.zeros(4, 4))
    muon = Muon([weight], lr=1.0, momentum=0.9, weight_decay=0.0)
    first, second = torch.randn(2, 4, 4).unbind(0)
    weight.grad = first
    muon.step()
    before = weight.detach().clone()
    weight.grad = second
    muon.step()
    expected = orthogonalise(second + 0.9 * (0.9 * first + second))
    assert torch.allclose(before - weight.detach(), expected, atol=1e-5)


def test_muon_steps_tall_matrices_further() -> None:
    tall = nn.Parameter(torch.zeros(16, 4))
    tall.grad = torch.randn(16, 4)
    Muon([tall], lr=1.0).step()
    assert torch.allclose(tall.detach(), -2 * orthogonalise(tall.grad), atol=1e-5)


def test_every_parameter_has_exactly_one_optimiser(settings: Settings) -> None:
    model = GPT(settings)
    optimizers = make_optimizers(model, settings)
    held = [p for o in optimizers for group in o.param_groups for p in group["params"]]
    assert sorted(map(id, held)) == sorted(map(id, model.parameters()))
    assert all(p.ndim == 2 for p in optimizers[1].param_groups[0]["params"])


def test_rates_scale_from_their_base_and_momentum_ramps_up(settings: Settings) -> None:
    optimizers = make_optimizers(GPT(settings), settings)
    for step, scale, momentum in ((0, 0.5, 0.92), (750, 0.1, 0.955), (9999, 1.0, 0.99)):
        set_rates(optimizers, settings, step, scale)
        rates = [group["lr"] for o in optimizers for group in o.param_groups]
        base = [settings.embed_lr, settings.matrix_lr, settings.scalar_lr]
        assert rates == pytest.approx([scale * rate for rate in base])
        assert optimizers[1].param_groups[0]["momentum"] == pytest.approx(momentum)


def test_without_a_clock_the_rate_falls_over_the_last_steps(settings: Settings) -> None:
    counted = replace(settings, iterations=10, warmdown_iters=4)
    scales = [learning_rate_scale(counted, step, 1e9) for step in range(10)]
    assert scales == [1, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25]


def test_with_a_clock_the_rate_falls_over_the_last_seconds(settings: Settings) -> None:
    timed = replace(settings, max_wallclock_seconds=600.0, warmdown_iters=3500)
    assert training_budget_ms(timed) == pytest.approx(582_000)
    assert learning_rate_scale(timed, 0, 0.0) == 1
    assert learning_rate_scale(timed, 1000, 100_000) == 1  # 350 s of warm-down, 482 s left
    assert learning_rate_scale(timed, 4070, 407_000) == pytest.approx(0.5)
    assert learning_rate_scale(timed, 5840, 584_000) == 0


def test_the_average_follows_the_weights(settings: Settings) -> None:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(layer.weight)
    average = WeightAverage(layer, decay=0.75)
    for weight, expected in ((1.0, 0.25), (1.0, 0.4375), (0.0, 0.328125)):
        nn.init.constant_(layer.weight, weight)
        average.update(layer)
        assert average.state_dict()["weight"].item() == expected


def test_the_momentum_warm_up_is_as_long_as_set(settings: Settings) -> None:
    short = replace(settings, muon_momentum_warmup_steps=10)
    assert [muon_momentum(short, step) for step in (0, 5, 10, 11)] == pytest.approx(
        [0.92, 0.955, 0.99, 0.99]
    )
    assert muon_momentum(replace(settings, muon_momentum_warmup_steps=0), 0) == 0.99


def test_a_prefill_uses_the_budget_but_is_no_part_of_a_step(settings: Settings) -> None:
    timed = replace(settings, max_wallclock_seconds=600.0, warmdown_iters=3500)
    assert learning_rate_scale(timed, 0, 19_000, 19_000) == 1
    # 1000 steps of 100 ms: 350 s of warm-down, of which 175 s are left
    assert learning_rate_scale(timed, 1000, 407_000, 307_000) == pytest.approx(0.5)


def test_a_slow_first_step_lowers_the_next_rates(settings: Settings) -> None:
    timed = replace(settings, max_wallclock_seconds=600.0, warmdown_iters=3500)
    elapsed = [0.0, *(2200 + 100 * step for step in range(40))]
    scales = [learning_rate_scale(timed, step, ms) for step, ms in enumerate(elapsed)]
    # the published dip: about 0.07, 0.31 after five steps, 0.52 after ten, 1 again after some 35
    assert scales[0] == 1
    assert scales[1] == pytest.approx(0.075, abs=0.001)
    assert scales[5] == pytest.approx(0.32, abs=0.01)
    assert scales[10] == pytest.approx(0.53, abs=0.01)
    assert scales[38] == 1


def test_the_gate_over_experts_is_trained_on_its_own(settings: Settings) -> None:
    gated = make_optimizers(GPT(replace(settings, expert_gate=True)), settings)
    shapes = [tuple(p.shape) for p in gated[3].param_groups[0]["params"]]
    assert shapes == [(settings.ngram_max_order, settings.model_dim), (settings.ngram_max_order,)]
    assert len(make_optimizers(GPT(settings), settings)) == 3


weights = st.integers(0, 99).map(
    lambda seed: torch.randn(5, 40, generator=torch.Generator().manual_seed(seed))
)


@examples(max_examples=30)
@given(weights_RC=weights, size=st.sampled_from([0.01, 1.0, 30.0]))
def test_rounded_weights_are_int5_steps_and_their_gradient_passes(
    weights_RC: torch.Tensor, size: float
) -> None:
    leaf_RC = (size * weights_RC).requires_grad_()
    rounded_RC = round_straight_through(leaf_RC)
    rounded_RC.sum().backward()
    assert leaf_RC.grad is not None
    assert torch.equal(leaf_RC.grad, torch.ones(5, 40))
    for row_C, rounded_C in zip(leaf_RC.detach(), rounded_RC.detach(), strict=True):
        # the slow, obvious one: each weight to the nearest of 32 levels
        clip = sorted(row_C.abs().tolist())
        quantile = clip[38] + (0.9995 * 39 - 38) * (clip[39] - clip[38])
        scale = max(quantile / 15, 1 / 15)
        levels = [scale * level for level in range(-16, 16)]
        for weight, rounded in zip(row_C.tolist(), rounded_C.tolist(), strict=True):
            nearest = min(levels, key=lambda level: abs(level - weight))
            assert abs(rounded - weight) <= abs(nearest - weight) + 1e-4 * scale
            assert min(abs(rounded - level) for level in levels) < 1e-3 * scale


@examples(max_examples=30)
@given(weights_RC=weights)
def test_soft_rounding_ends_at_hard_rounding_and_starts_near_none(
    weights_RC: torch.Tensor,
) -> None:
    hard_RC = round_straight_through(weights_RC)
    assert (round_softly(weights_RC, 4000.0) - hard_RC).abs().quantile(0.95) < 1e-3
    soft = (round_softly(weights_RC, 1.0) - weights_RC).abs().mean()
    assert soft < 0.25 * (hard_RC - weights_RC).abs().mean()
    leaf_RC = weights_RC.clone().requires_grad_()
    round_softly(leaf_RC, 8.0).sum().backward()
    assert leaf_RC.grad is not None
    assert leaf_RC.grad.std() > 0.1  # it sees the steps, unlike the straight-through one


def test_soft_rounding_hardens_as_the_rate_falls(settings: Settings) -> None:
    late = replace(settings, late_qat_threshold=0.5)
    assert [sharpness_at(late, scale) for scale in (0.5, 0.25, 0.0)] == [1.0, 8.5, 16.0]


def test_the_rounding_penalty_is_the_published_sum() -> None:
    first = torch.tensor([[1.0, -3.0], [0.0, 0.5]], requires_grad=True)
    second = torch.tensor([[15.0]], requires_grad=True)
    expected = ((1 + 9) * (3 / 15) ** 2 + 0.25 * (0.5 / 15) ** 2) / 4 + 225 * 1.0
    penalty = rounding_penalty([first, second])
    assert float(penalty.detach()) == pytest.approx(expected / 12)
    penalty.backward()
    assert second.grad is not None
    assert float(second.grad) == pytest.approx(2 * 15 / 12)  # the step counts as given
