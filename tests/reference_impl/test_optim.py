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
from reference_impl.optim.muon import Muon, orthogonalise
from reference_impl.optim.schedule import learning_rate_scale, training_budget_ms


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
        set_rates(optimizers, step, scale)
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
