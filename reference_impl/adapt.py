"""Test-time training: some of the weights learn from a chunk of the validation stream.

Shapes: B sequences, L tokens in a sequence, T positions, V vocabulary.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from reference_impl.config import Settings
from reference_impl.device import (
    average_over_ranks,
    fitting,
    mixed_precision,
    rank,
    rank_share,
    world_size,
)
from reference_impl.model.gpt import GPT
from reference_impl.tokenizer import ByteTable

CLIP_NORM = 1.0
BETAS = (0.9, 0.999)
SGD_MOMENTUM = 0.9
GATE_HEAD = "expert_gate"


class Adapter:
    """An optimiser of the weights that adapt."""

    def __init__(self, model: GPT, settings: Settings, chunks: int) -> None:
        """Freeze all else."""
        self._model, self._settings, self._chunks = model, settings, chunks
        self._weights = []
        for name, parameter in model.named_parameters():
            adapts = does_adapt(name, settings)
            parameter.requires_grad_(adapts)
            if adapts:
                self._weights.append(parameter)
        self.unfrozen = sum(weight.numel() for weight in self._weights)
        self.frozen = sum(weight.numel() for weight in model.parameters()) - self.unfrozen
        self._optimizer = _optimizer(self._weights, settings)

    def learn(self, chunk: int, tokens_T: Tensor, table: ByteTable) -> None:
        """Take the steps of one chunk; its first token is input only."""
        length = self._settings.eval_seq_len
        rows = (len(tokens_T) - 1) // length
        if not rows:
            return
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.ttt_lr * self._rate(chunk)
        inputs_BL = tokens_T[: rows * length].view(rows, length)
        targets_BL = tokens_T[1 : rows * length + 1].view(rows, length)
        weight_BL = table.count(targets_BL, inputs_BL)
        if not self._settings.ttt_byte_weighted:
            weight_BL = torch.ones_like(weight_BL)
        for _ in range(self._settings.ttt_epochs):
            for part, share in self._batches(rows):
                with fitting(
                    f"adapting on {part.stop - part.start} x {length} tokens at once does "
                    f"not fit, lower TTT_BATCH_SEQS below {self._settings.ttt_batch_seqs}"
                ):
                    self._step(inputs_BL[part], targets_BL[part], weight_BL[part], share)

    def state(self) -> dict[str, Any]:
        """Return what the optimiser remembers of earlier chunks."""
        return self._optimizer.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        """Go on as the one whose state it is."""
        self._optimizer.load_state_dict(state)

    def _batches(self, rows: int) -> Iterator[tuple[slice, float]]:
        """Yield the rows of each step in this process, and what their mean loss counts for.

        A step takes TTT_BATCH_SEQS rows of each process. One whose rows are used up goes on with a
        row that counts for nothing, since the others wait for its gradient.
        """
        world, batch = world_size(), self._settings.ttt_batch_seqs
        shares = [rank_share(rows, r) for r in range(world)]
        longest = max(share.stop - share.start for share in shares)
        mine = shares[rank()]
        for taken in range(0, longest, batch):
            taking_part = sum(share.start + taken < share.stop for share in shares)
            first = mine.start + taken
            if first < mine.stop:
                yield slice(first, min(first + batch, mine.stop)), world / taking_part
            else:
                yield slice(0, 1), 0.0

    def _rate(self, chunk: int) -> float:
        if self._settings.ttt_schedule == "constant":
            return 1.0
        progress = chunk / max(self._chunks - 1, 1)
        return 0.5 * (1 + math.cos(math.pi * progress))

    def _step(self, inputs_BL: Tensor, targets_BL: Tensor, weight_BL: Tensor, share: float) -> None:
        with mixed_precision(inputs_BL.device):
            logits_BLV = self._model(inputs_BL).logits
        nats_T = functional.cross_entropy(
            logits_BLV.flatten(0, 1), targets_BL.flatten(), reduction="none"
        )
        weight_T = weight_BL.flatten().to(nats_T.dtype)
        loss = share * (nats_T * weight_T).sum() / weight_T.sum().clamp(min=1)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        average_over_ranks([w.grad for w in self._weights if w.grad is not None])
        torch.nn.utils.clip_grad_norm_(self._weights, CLIP_NORM)
        self._optimizer.step()


def does_adapt(name: str, settings: Settings) -> bool:
    """Tell whether the parameter of that name learns during the evaluation."""
    parts = name.split(".")
    if settings.ttt_weights == "late_blocks":
        return not (parts[0] == "blocks" and int(parts[1]) < settings.ttt_blocks)
    if parts[0] == GATE_HEAD:
        return True  # listed in the records, and inert: no loss of the adaptation reads it
    first = settings.num_layers - settings.ttt_blocks
    last_query = parts[0] == "blocks" and parts[3:4] == ["query"] and int(parts[1]) >= first
    return last_query or "scale" in name


def _optimizer(weights: list[nn.Parameter], settings: Settings) -> torch.optim.Optimizer:
    if settings.ttt_optimizer == "sgd":
        return torch.optim.SGD(weights, lr=settings.ttt_lr, momentum=SGD_MOMENTUM)
    return torch.optim.AdamW(weights, lr=settings.ttt_lr, betas=BETAS, weight_decay=0.0)
