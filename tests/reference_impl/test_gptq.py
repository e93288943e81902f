"""GPTQ against a slow obvious one, and its calibration.

Shapes: R rows, C columns, N inputs.
"""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import Tensor, nn

from reference_impl.config import Settings
from reference_impl.errors import ArtifactError, TrainingError
from reference_impl.model.gpt import GPT
from reference_impl.quantize import gptq
from reference_impl.quantize.artifact import read_artifact
from reference_impl.quantize.gptq import calibrate, quantize_model, quantize_with_feedback
from reference_impl.quantize.packing import calibration_batches, export_model, reserve_seconds
from reference_impl.quantize.rowwise import INT6_SEARCH, RowFormat, restore_state
from reference_impl.quantize.schemes import INT5_SEARCH
from reference_impl.runlog import RunLog


def correlated_inputs(columns: int, seed: int) -> Tensor:
    """Return inputs that share a few causes, as the columns of a trained network's do."""
    generator = torch.Generator().manual_seed(seed)
    causes = torch.randn(4, columns, generator=generator)
    mixed = torch.randn(500, 4, generator=generator) @ causes
    return mixed + 0.1 * torch.randn(500, columns, generator=generator)


def hessian(inputs_NC: Tensor) -> Tensor:
    return (2 * inputs_NC.T @ inputs_NC / len(inputs_NC)).double()


def matrix(rows: int, columns: int, seed: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed + 1000))


def slow_gptq(weights_RC: Tensor, hessian_CC: Tensor, form: RowFormat) -> list[list[int]]:
    """Fix one weight after the other; each time solve for the others that hurt least."""
    columns = weights_RC.shape[1]
    damped_CC = hessian_CC + 0.01 * hessian_CC.diagonal().mean() * torch.eye(columns).double()
    order = sorted(range(columns), key=lambda column: -float(hessian_CC[column, column]))
    scale_R = form.quantize(weights_RC).scale
    assert scale_R is not None
    result = []
    for row_C, scale in zip(weights_RC.double(), scale_R.double(), strict=True):
        left_C, steps = row_C.clone(), [0] * columns
        for place, column in enumerate(order):
            step = round(float(left_C[column] / scale))  # half to even, as torch rounds
            steps[column] = max(form.smallest, min(form.largest, step))
            error = left_C[column] - steps[column] * scale
            rest = order[place + 1 :]
            # The change of the rest that minimises the quadratic form, given the error: a system
            # of equations in the damped Hessian's own entries, no inverse kept.
            if rest:
                change = torch.linalg.solve(damped_CC[rest][:, rest], damped_CC[rest, column])
                left_C[rest] += change * error
        result.append(steps)
    return result


@examples(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 4),
    columns=st.integers(1, 24),
    block=st.sampled_from([1, 5, 128]),
    form=st.sampled_from([INT5_SEARCH, INT6_SEARCH, replace(INT5_SEARCH, scale_floor=1 / 15)]),
    seed=st.integers(0, 999),
)
def test_columns_are_rounded_as_the_slow_one_does(
    rows: int, columns: int, block: int, form: RowFormat, seed: int
) -> None:
    weights, hessian_CC = matrix(rows, columns, seed), hessian(correlated_inputs(columns, seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gptq, "BLOCK_COLUMNS", block)
        got = quantize_with_feedback(weights, hessian_CC, form)
    assert got.values.tolist() == slow_gptq(weights, hessian_CC, form)


@pytest.mark.parametrize("form", [INT5_SEARCH, INT6_SEARCH])
@pytest.mark.parametrize("seed", range(3))
def test_the_output_is_nearer_than_with_plain_rounding(form: RowFormat, seed: int) -> None:
    inputs, weights = correlated_inputs(200, seed), matrix(30, 200, seed)
    stored = {
        "plain": form.quantize(weights),
        "gptq": quantize_with_feedback(weights, hessian(inputs), form),
    }
    errors = {
        name: float((inputs @ (value.restore() - weights).T).square().mean())
        for name, value in stored.items()
    }
    assert errors["gptq"] < 0.2 * errors["plain"]
    fresh = correlated_inputs(200, seed)[torch.randperm(500)[:100]]
    assert float((fresh @ (stored["gptq"].restore() - weights).T).square().mean()) < errors["plain"]


def test_independent_inputs_leave_plain_rounding() -> None:
    weights = matrix(6, 30, 0)
    scales = torch.linspace(1.0, 2.0, 30).double()
    got = quantize_with_feedback(weights, torch.diag(scales), INT6_SEARCH)
    assert torch.equal(got.values, INT6_SEARCH.quantize(weights).values)


def test_inputs_that_are_never_on_leave_plain_rounding() -> None:
    weights = matrix(6, 30, 0)
    got = quantize_with_feedback(weights, torch.zeros(30, 30).double(), INT6_SEARCH)
    assert torch.equal(got.values, INT6_SEARCH.quantize(weights).values)


def test_the_columns_of_most_power_go_first() -> None:
    """The first one rounded bears plain rounding's error; later ones bear what it sent them."""
    inputs = correlated_inputs(20, 0)
    inputs[:, 13] *= 50
    weights = matrix(5, 20, 0)
    plain, got = (
        INT5_SEARCH.quantize(weights),
        quantize_with_feedback(weights, hessian(inputs), INT5_SEARCH),
    )
    assert torch.equal(got.values[:, 13], plain.values[:, 13])
    assert not torch.equal(got.values, plain.values)


class Layers(nn.Module):
    """Two layers, of which the second gets what the first makes of the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4, bias=False), nn.Linear(4, 2)
        self.unused = nn.Linear(3, 3)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        one_hot = nn.functional.one_hot(tokens_BT, 3).float()
        out: Tensor = self.second(self.first(one_hot).square())
        return out


def batches() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 3, (2, 5), generator=generator) for _ in range(3)]


def test_calibration_collects_what_each_layer_reads() -> None:
    model, log = Layers().train(), RunLog()
    names, modes = ["first.weight", "second.weight"], []
    watch = model.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    got = calibrate(model, batches(), names, math.inf, log)
    watch.remove()
    assert modes == [False] * 3  # in training mode a layer may round its weights itself
    one_hot = nn.functional.one_hot(torch.cat(batches()).flatten(), 3).float()
    torch.testing.assert_close(got["first.weight"], hessian(one_hot))
    torch.testing.assert_close(
        got["second.weight"], hessian(model.first(one_hot).square().detach())
    )
    assert log.lines[0] == "gptq:calibrating with training data..."
    assert log.lines[1].startswith("gptq:calibrated 2 layers in ")
    assert model.training
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("name", ["unused.weight", "second.bias", "gone.weight"])
def test_a_matrix_that_no_input_reaches_is_refused(name: str) -> None:
    message = f"must see the inputs of all 2 matrices, got 1: {name} had none"
    with pytest.raises(ArtifactError, match=message):
        calibrate(Layers(), batches(), ["first.weight", name], math.inf, RunLog())


def test_calibration_without_batches_is_refused() -> None:
    with pytest.raises(ArtifactError, match="inputs of all 1 matrices, got 0"):
        calibrate(Layers(), [], ["first.weight"], math.inf, RunLog())


class Slow(Layers):
    """Takes a second for each batch, on a clock of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def perf_counter(self) -> float:
        return self.seconds

    def forward(self, tokens_BT: Tensor) -> Tensor:
        self.seconds += 1.0
        return super().forward(tokens_BT)


def test_calibration_stops_before_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds, expected in ((1.5, 1), (2.0, 2), (math.inf, 3)):
        model = Slow()
        monkeypatch.setattr(gptq, "time", model)
        calibrate(model, batches(), ["first.weight"], seconds, RunLog())
        assert model.seconds == expected
    model = Slow()
    monkeypatch.setattr(gptq, "time", model)
    with pytest.raises(TrainingError, match=r"within the 0\.5s that training left, got 1\.0s"):
        calibrate(model, batches(), ["first.weight"], 0.5, RunLog())


def test_a_failing_batch_leaves_no_hook_behind() -> None:
    model = Layers()
    with pytest.raises(RuntimeError):
        calibrate(model, [torch.full((1, 1), 9)], ["first.weight"], math.inf, RunLog())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_model_s_matrices_come_back_in_steps() -> None:
    model = Layers()
    names = ["first.weight", "second.weight"]
    stored = quantize_model(model, batches(), names, INT5_SEARCH, math.inf, RunLog())
    assert list(stored) == names
    assert all(value.kind == "int5" for value in stored.values())
    hessians = calibrate(model, batches(), names, math.inf, RunLog())
    for name in names:
        weights = model.get_parameter(name).detach()
        expected = quantize_with_feedback(weights, hessians[name], INT5_SEARCH)
        assert torch.equal(stored[name].values, expected.values)


def test_a_record_can_be_exported_with_gptq(settings: Settings, tmp_path: Path) -> None:
    """The whole network, on the training split; what a layer puts out is nearer than without."""
    settings = replace(settings, quantization="int5_gptq")
    model = GPT(settings)
    with torch.no_grad():  # zero at the start, and so nothing to round
        for module in model.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.2)
    errors = {}
    inputs_BT = next(calibration_batches(settings, torch.device("cpu")))
    for name, scheme in (("gptq", settings), ("plain", replace(settings, quantization="pr779"))):
        log = RunLog()
        path = tmp_path / name
        path.write_bytes(export_model(model.state_dict(), scheme, 0, log))
        restored = GPT(settings)
        restored.load_state_dict(restore_state(read_artifact(path)))
        with torch.no_grad():
            errors[name] = float(
                (restored(inputs_BT).hidden - model(inputs_BT).hidden).abs().mean()
            )
        matrices = [n for n, v in read_artifact(path).items() if v.kind == "int5"]
        assert any("mlp" in n for n in matrices)
        if name == "gptq":
            assert f"gptq_quantize: {len(matrices)} GPTQ layers, 0 naive layers" in log.lines
        else:
            assert not any(line.startswith("gptq") for line in log.lines)
    assert errors["gptq"] < errors["plain"]


def test_calibration_takes_what_the_training_clock_keeps() -> None:
    record = Settings(max_wallclock_seconds=600.0)
    assert reserve_seconds(record) == pytest.approx(record.train_reserve_seconds)
    assert reserve_seconds(Settings(max_wallclock_seconds=0.0)) == math.inf
