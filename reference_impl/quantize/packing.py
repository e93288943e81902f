"""From the averaged weights of a run to the model file's bytes, as the settings' scheme says."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from reference_impl.config import Settings
from reference_impl.data import TrainingStream
from reference_impl.device import pick_device
from reference_impl.model.gpt import GPT
from reference_impl.optim.schedule import training_budget_ms
from reference_impl.quantize.artifact import MAX_ARTIFACT_BYTES
from reference_impl.quantize.gptq import quantize_model
from reference_impl.quantize.ladder import Packed, first_fit
from reference_impl.quantize.prune import prune_state
from reference_impl.quantize.rowwise import (
    RowFormat,
    Stored,
    is_embedding,
    is_small,
    quantize_state,
)
from reference_impl.quantize.schemes import SCHEMES, Scheme
from reference_impl.runlog import RunLog

CALIBRATION_BATCHES = 8  # of EVAL_BATCH_SEQS sequences from the start of the training stream


def export_model(
    weights: Mapping[str, Tensor],
    settings: Settings,
    code_bytes: int,
    log: RunLog,
) -> bytes:
    """Return the model file for weights and for code of that many bytes.

    It logs all lines of this stage itself, the sizes included, so a caller adds none. What fits
    depends on the code, so a record calls this with its own code's bytes. ArtifactError where
    nothing fits.
    """
    scheme = SCHEMES[settings.quantization]
    weights = {name: value.detach().cpu() for name, value in weights.items()}
    log(f"Serialized model: {sum(w.numel() * w.element_size() for w in weights.values())} bytes")
    log(f"Code size: {code_bytes} bytes")
    if scheme.prune_fraction:
        weights = prune_state(weights, scheme.prune_fraction, settings.fp16_max_numel)
        log(f"pruning:{100 * scheme.prune_fraction:.1f}% magnitude pruning applied")
    packed = first_fit(
        weights,
        scheme,
        lambda form, members: _quantize(members, form, scheme, settings, log),
        MAX_ARTIFACT_BYTES - code_bytes,
        log,
    )
    model_label, total_label = _labels(packed, scheme)
    log(f"Serialized model {model_label}: {len(packed.blob)} bytes")
    log(f"Total submission size{total_label}: {len(packed.blob) + code_bytes} bytes")
    return packed.blob


def _labels(packed: Packed, scheme: Scheme) -> tuple[str, str]:
    """Return what the published logs call the model and the total; "int6" stands for int5 too."""
    method, level = packed.container.method, packed.container.level
    if scheme.downgrade:
        return f"quant+{method}-{level}", ""
    return f"int6+{method}", f" int6+{method}"


def _quantize(
    members: Mapping[str, Tensor],
    form: RowFormat,
    scheme: Scheme,
    settings: Settings,
    log: RunLog,
) -> dict[str, Stored]:
    largest = settings.fp16_max_numel
    if not scheme.gptq:
        return quantize_state(members, largest, form, scheme.embeddings)
    matrices = [n for n, w in members.items() if not (is_small(w, largest) or is_embedding(n))]
    others = {name: value for name, value in members.items() if name not in matrices}
    model = GPT(settings)
    model.load_state_dict(dict(members))
    device = pick_device()
    stored = quantize_model(
        model.to(device),
        calibration_batches(settings, device),
        matrices,
        form,
        reserve_seconds(settings),
        log,
    )
    log(f"gptq_quantize: {len(stored)} GPTQ layers, 0 naive layers")
    return quantize_state(others, largest, form, scheme.embeddings) | stored


def calibration_batches(settings: Settings, device: torch.device) -> Iterator[Tensor]:
    """Return the first sequences of the training split; validation tokens calibrate nothing."""
    stream = TrainingStream(Path(settings.data_path), settings.vocab_size)
    for _ in range(CALIBRATION_BATCHES):
        tokens = torch.from_numpy(stream.take(settings.eval_batch_seqs * settings.train_seq_len))
        yield tokens.view(-1, settings.train_seq_len).to(device)


def reserve_seconds(settings: Settings) -> float:
    """Return what the training clock keeps for this stage, infinity without a clock."""
    cap = settings.max_wallclock_seconds
    return cap - training_budget_ms(settings) / 1000 if cap else math.inf
