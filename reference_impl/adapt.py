"""Test-time training: a few weights learn from each chunk once the chunk has been scored.

Shapes: B sequences, L tokens in a sequence, T positions, V vocabulary.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from reference_impl.config import Settings
from reference_impl.device import mixed_precision
from reference_impl.model.gpt import GPT
from reference_impl.tokenizer import ByteTable

CLIP_NORM = 1.0
BETAS = (0.9, 0.999)


class Adapter:
    """AdamW on the last block's query projection and on every scale vector."""

    def __init__(self, model: GPT, settings: Settings, chunks: int) -> None:
        """Freeze all else."""
        self._model, self._settings, self._chunks = model, settings, chunks
        last_query = f"blocks.{settings.num_layers - 1}.attention.query."
        self._weights = []
        for name, parameter in model.named_parameters():
            adapts = name.startswith(last_query) or "scale" in name
            parameter.requires_grad_(adapts)
            if adapts:
                self._weights.append(parameter)
        self.unfrozen = sum(weight.numel() for weight in self._weights)
        self.frozen = sum(weight.numel() for weight in model.parameters()) - self.unfrozen
        self._optimizer = torch.optim.AdamW(
            self._weights, lr=settings.ttt_lr, betas=BETAS, weight_decay=0.0
        )

    def learn(self, chunk: int, tokens_T: Tensor, table: ByteTable) -> None:
        """Take the steps of one chunk, whose tokens after the first have all been charged."""
        length = self._settings.eval_seq_len
        rows = (len(tokens_T) - 1) // length
        if not rows:
            return
        progress = chunk / max(self._chunks - 1, 1)
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.ttt_lr * 0.5 * (1 + math.cos(math.pi * progress))
        inputs_BL = tokens_T[: rows * length].view(rows, length)
        targets_BL = tokens_T[1 : rows * length + 1].view(rows, length)
        bytes_BL = table.count(targets_BL, inputs_BL)
        batch = self._settings.ttt_batch_seqs
        for _ in range(self._settings.ttt_epochs):
            for first in range(0, rows, batch):
                part = slice(first, first + batch)
                self._step(inputs_BL[part], targets_BL[part], bytes_BL[part])

    def _step(self, inputs_BL: Tensor, targets_BL: Tensor, bytes_BL: Tensor) -> None:
        with mixed_precision(inputs_BL.device):
            logits_BLV = self._model(inputs_BL).logits
        nats_T = functional.cross_entropy(
            logits_BLV.flatten(0, 1), targets_BL.flatten(), reduction="none"
        )
        weight_T = bytes_BL.flatten().to(nats_T.dtype)
        loss = (nats_T * weight_T).sum() / weight_T.sum().clamp(min=1)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        torch.nn.utils.clip_grad_norm_(self._weights, CLIP_NORM)
        self._optimizer.step()
