"""GPTQ: round one column at a time, and let the columns still to come make up for the error.

What counts is the output of the layer on the inputs it really gets, so the error is measured by
their second moments, the Hessian, taken from training tokens.
Shapes: R rows, C columns (inputs of the layer), B sequences, T positions.
"""

import time
from collections.abc import Collection, Iterable

import torch
from torch import Tensor, nn

from reference_impl.device import mixed_precision
from reference_impl.errors import ArtifactError, TrainingError
from reference_impl.quantize.rowwise import RowFormat, Stored, check_finite
from reference_impl.runlog import RunLog

DAMPING = 0.01  # share of the mean diagonal; keeps the inverse tame where inputs move together
BLOCK_COLUMNS = 128  # errors reach the columns beyond at once: the same sums, fewer passes


def quantize_model(
    model: nn.Module,
    batches_BT: Iterable[Tensor],
    names: Collection[str],
    form: RowFormat,
    seconds: float,
    log: RunLog,
) -> dict[str, Stored]:
    """Return the named matrices of a model, rounded for what the batches make of their inputs."""
    hessians = calibrate(model, batches_BT, names, seconds, log)
    stored = {}
    for name in names:
        weights_RC = model.get_parameter(name).detach().float()
        rounded = quantize_with_feedback(weights_RC, hessians[name], form)
        assert rounded.scale is not None
        stored[name] = Stored(form.kind, rounded.values.cpu(), rounded.scale.cpu())
        check_finite(name, weights_RC, stored[name])
    return stored


def calibrate(
    model: nn.Module,
    batches_BT: Iterable[Tensor],
    names: Collection[str],
    seconds: float,
    log: RunLog,
) -> dict[str, Tensor]:
    """Return the Hessian of each named matrix, from as many batches as the seconds allow."""
    log("gptq:calibrating with training data...")
    layers = {
        f"{name}.weight": module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and f"{name}.weight" in names
    }
    started = time.perf_counter()
    moments = {name: _Moments(layer) for name, layer in layers.items()}
    try:
        _feed(model, batches_BT, started + seconds)
    finally:
        for moment in moments.values():
            moment.handle.remove()
    elapsed = time.perf_counter() - started
    seen = {name: moment.mean() for name, moment in moments.items() if moment.rows}
    if len(seen) < len(names):
        raise ArtifactError(
            f"calibration must see the inputs of all {len(names)} matrices, got {len(seen)}: "
            f"{min(set(names) - set(seen))} had none"
        )
    if elapsed > seconds:
        raise TrainingError(
            f"calibration must end within the {seconds:.1f}s that training left, got "
            f"{elapsed:.1f}s; lower EVAL_BATCH_SEQS"
        )
    log(f"gptq:calibrated {len(seen)} layers in {elapsed:.1f}s")
    return seen


class _Moments:
    """The running sum of a layer's inputs times themselves."""

    def __init__(self, layer: nn.Linear) -> None:
        self.rows = 0
        self._sum_CC = torch.zeros(
            layer.in_features, layer.in_features, dtype=torch.float64, device=layer.weight.device
        )
        self.handle = layer.register_forward_pre_hook(self._see)

    def _see(self, _layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        flat = inputs[0].detach().flatten(0, -2).float()
        # Within a batch 32 bits are enough; over many they would lose the small inputs.
        self._sum_CC += (flat.T @ flat).double()
        self.rows += len(flat)

    def mean(self) -> Tensor:
        return 2 * self._sum_CC / self.rows


def _feed(model: nn.Module, batches_BT: Iterable[Tensor], deadline: float) -> None:
    was_training = model.training
    model.eval()
    longest = 0.0
    try:
        for tokens_BT in batches_BT:
            started = time.perf_counter()
            if started + longest > deadline:
                return
            with torch.no_grad(), mixed_precision(tokens_BT.device):
                model(tokens_BT)
            if tokens_BT.device.type == "cuda":
                torch.cuda.synchronize(tokens_BT.device)
            longest = max(longest, time.perf_counter() - started)
    finally:
        model.train(was_training)


def quantize_with_feedback(weights_RC: Tensor, hessian_CC: Tensor, form: RowFormat) -> Stored:
    """Return the matrix in steps of the scales that plain rounding chooses.

    Columns go in the order of their inputs' power: what is rounded first has the most columns left
    to make up for it.
    """
    plain = form.quantize(weights_RC)
    assert plain.scale is not None
    order_C = torch.argsort(torch.diagonal(hessian_CC), descending=True, stable=True)
    factor_CC = _inverse_factor(hessian_CC[order_C][:, order_C])
    work_RC = weights_RC.double()[:, order_C]
    scale_R = plain.scale.double()
    steps_RC = torch.empty_like(plain.values)
    for start in range(0, len(order_C), BLOCK_COLUMNS):
        stop = min(start + BLOCK_COLUMNS, len(order_C))
        errors = torch.zeros_like(work_RC[:, start:stop])
        for column in range(start, stop):
            now_R = work_RC[:, column]
            steps_R1 = form.steps(now_R[:, None], scale_R)
            steps_RC[:, order_C[column]] = steps_R1[:, 0]
            error_R = (now_R - steps_R1[:, 0] * scale_R) / factor_CC[column, column]
            work_RC[:, column:stop] -= torch.outer(error_R, factor_CC[column, column:stop])
            errors[:, column - start] = error_R
        work_RC[:, stop:] -= errors @ factor_CC[start:stop, stop:]
    return Stored(form.kind, steps_RC, plain.scale)


def _inverse_factor(hessian_CC: Tensor) -> Tensor:
    """Return the upper triangle U with U'U the inverse of the damped Hessian.

    Its row c is what an error in column c sends to the columns after it, all before it being fixed.
    """
    damping = DAMPING * torch.diagonal(hessian_CC).mean()
    if damping <= 0:  # inputs that are always zero: nothing to send, so plain rounding
        return torch.eye(len(hessian_CC), dtype=torch.float64, device=hessian_CC.device)
    damped_CC = hessian_CC + damping * torch.eye(
        len(hessian_CC), dtype=torch.float64, device=hessian_CC.device
    )
    lower_CC = torch.linalg.cholesky(damped_CC)
    upper_CC: Tensor = torch.linalg.cholesky(torch.cholesky_inverse(lower_CC), upper=True)
    return upper_CC
