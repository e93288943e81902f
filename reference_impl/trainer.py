"""One training update: losses, gradients over all processes, clipping, optimisers.

Shapes: B sequences, T positions.
"""

import functools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from reference_impl.config import Settings
from reference_impl.data import TrainingStream
from reference_impl.device import (
    average_over_ranks,
    fitting,
    mixed_precision,
    rank,
    sum_over_ranks,
    world_size,
)
from reference_impl.errors import SettingsError, TrainingError
from reference_impl.model.gpt import GPT, Output
from reference_impl.optim.groups import make_optimizers, matrices, set_rates
from reference_impl.optim.late_qat import (
    round_softly,
    round_straight_through,
    rounding_penalty,
    sharpness_at,
)

Objective = Callable[[Output, Tensor, Tensor], Tensor]  # of a forward pass, inputs and targets


def nats_per_token(output: Output, inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
    """Return the mean nats of the targets: the objective unless a run brings its own."""
    return functional.cross_entropy(output.logits.flatten(0, 1), targets_BT.flatten())


class Trainer:
    """A model, its optimisers and where it is in the training stream."""

    def __init__(
        self,
        model: GPT,
        loader: TrainingStream,
        settings: Settings,
        objective: Objective = nats_per_token,
    ) -> None:
        """Start at the first token of the first shard."""
        self.model, self.loader, self.settings = model, loader, settings
        self.device = model.tok_embed.weight.device
        self.optimizers = make_optimizers(model, settings)
        self.rounding = False
        self._objective = objective
        if settings.grad_accum_steps % world_size():
            raise SettingsError(
                f"GRAD_ACCUM_STEPS must be a multiple of the number of processes, got "
                f"{settings.grad_accum_steps} and {world_size()}"
            )

    def step(self, step: int, scale: float) -> float:
        """Take one update and return its training loss in nats, the mean over all ranks."""
        set_rates(self.optimizers, self.settings, step, scale)
        parts = self.settings.grad_accum_steps // world_size()
        loss = torch.zeros((), device=self.device)
        with fitting(
            f"{self._part_tokens} tokens at once do not fit, raise GRAD_ACCUM_STEPS above "
            f"{self.settings.grad_accum_steps}"
        ):
            for _ in range(parts):
                part = self._loss(scale) / parts
                part.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                loss += part.detach()
        nats = float(sum_over_ranks(loss)) / world_size()
        if not np.isfinite(nats):
            raise TrainingError(
                f"the training loss must stay finite, got {nats} at step {step + 1}; "
                f"lower EMBED_LR, MATRIX_LR and SCALAR_LR"
            )
        average_over_ranks([p.grad for p in self.model.parameters() if p.grad is not None])
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.grad_clip_norm)
        for optimizer in self.optimizers:
            optimizer.step()
        self.model.zero_grad(set_to_none=True)
        return nats

    @property
    def _part_tokens(self) -> int:
        return self.settings.train_batch_tokens // self.settings.grad_accum_steps

    def _loss(self, scale: float) -> Tensor:
        count = self._part_tokens + 1
        # Every rank reads the spans of all and keeps its own: together they read what one would.
        span_T = self.loader.take(world_size() * count)[rank() * count :][:count]
        tokens_T = torch.from_numpy(span_T).to(self.device)
        inputs_BT = tokens_T[:-1].view(-1, self.settings.train_seq_len)
        targets_BT = tokens_T[1:].view(-1, self.settings.train_seq_len)
        compiled = self.settings.compile and self.device.type == "cuda"
        forward = _compiled_forward() if compiled else _forward
        with mixed_precision(self.device):
            output = forward(self.model, self._rounded(scale), inputs_BT)
            loss = self._objective(output, inputs_BT, targets_BT)
        if self.rounding and self.settings.crown_q_lambda:
            penalty = rounding_penalty(list(matrices(self.model).values()))
            loss = loss + self.settings.crown_q_lambda * penalty
        return loss

    def _rounded(self, scale: float) -> dict[str, Tensor]:
        if not self.rounding:
            return {}
        weights = matrices(self.model)
        if self.settings.soft_round_qat:
            sharpness = sharpness_at(self.settings, scale)
            return {name: round_softly(w, sharpness) for name, w in weights.items()}
        return {name: round_straight_through(w) for name, w in weights.items()}


def _forward(model: GPT, replaced: dict[str, Tensor], inputs_BT: Tensor) -> Output:
    output: Output = torch.func.functional_call(model, replaced, (inputs_BT,))
    return output


@functools.cache
def _compiled_forward() -> Callable[[GPT, dict[str, Tensor], Tensor], Output]:
    return torch.compile(_forward)
