"""What a record consists of, before anything is trained."""

import torch

from reference_impl.config import Settings
from reference_impl.model.gpt import GPT
from reference_impl.model.rotary import rope_base
from reference_impl.quantize.artifact import MAX_ARTIFACT_BYTES
from reference_impl.quantize.rowwise import is_embedding, is_small
from reference_impl.quantize.schemes import SCHEMES

Shape = tuple[int, ...]
COUNT_BYTES = 4  # of each n-gram counter
SCALE_BYTES = 2  # of each row's scale
STORED_BYTES = {"int5": 1, "int6": 1, "int8": 1, "fp16": 2}
# What compression leaves of a value, as the sizes logged for #779 and #940 suggest; a network that
# trained for fewer steps, as #924's did, ends up smaller.
COMPRESSED_BITS = {"int5": 3.55, "int6": 4.6, "int8": 6.0, "fp16": 15.0}
SCHEDULE = (
    "iterations",
    "warmup_steps",
    "warmdown_iters",
    "max_wallclock_seconds",
    "train_reserve_seconds",
    "train_batch_tokens",
    "train_seq_len",
    "embed_lr",
    "matrix_lr",
    "scalar_lr",
    "weight_decay",
    "grad_clip_norm",
    "ema_decay",
    "muon_momentum_warmup_steps",
    "late_qat_threshold",
    "late_qat_min_step",
    "crown_q_lambda",
    "mixture_loss_weight",
    "complement_alpha",
)


def describe(settings: Settings) -> dict[str, object]:
    """Return the record's sizes, schedule and storage as plain values."""
    shapes = tensor_shapes(settings)
    kinds = {name: stored_kind(name, shape, settings) for name, shape in shapes.items()}
    values = settings.as_dict()
    groups: dict[str, int] = {}
    for name, shape in shapes.items():
        group = group_of(name)
        groups[group] = groups.get(group, 0) + _numel(shape)
    orders = settings.ngram_max_order - 1
    return {
        "parameters": {"total": sum(groups.values()), "groups": groups},
        "tensors": {
            name: {"shape": list(shape), "stored": kinds[name]} for name, shape in shapes.items()
        },
        "rotary_base": rope_base(settings.eval_seq_len, settings.head_rope_dims),
        "schedule": {name: values[name] for name in SCHEDULE},
        "quantization": SCHEMES[settings.quantization].describe(),
        "ngram_tables": {
            "tables": 2 * orders,  # of contexts, and of contexts with their target
            "buckets": settings.ngram_buckets,
            "bytes": 2 * orders * settings.ngram_buckets * COUNT_BYTES,
        },
        "artifact": {
            "model_bytes_before_compression": sum(
                _stored_bytes(shape, kinds[name]) for name, shape in shapes.items()
            ),
            "model_bytes_estimate": round(
                sum(_numel(shape) * COMPRESSED_BITS[kinds[name]] for name, shape in shapes.items())
                / 8
            ),
            "limit_bytes": MAX_ARTIFACT_BYTES,
        },
    }


def tensor_shapes(settings: Settings) -> dict[str, Shape]:
    """Return the shape of every tensor, without the memory that it would take."""
    with torch.device("meta"):
        model = GPT(settings)
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def group_of(name: str) -> str:
    """Return the component that a tensor belongs to."""
    top, *rest = name.split(".")
    if top != "blocks":
        return top
    return rest[1] if rest[1] in {"attention", "mlp"} else "block_scales"


def stored_kind(name: str, shape: Shape, settings: Settings) -> str:
    """Return how a tensor is stored where the first attempt fits."""
    if is_small(torch.empty(shape, device="meta"), settings.fp16_max_numel):
        return "fp16"
    scheme = SCHEMES[settings.quantization]
    return (scheme.embeddings if is_embedding(name) else scheme.matrices).kind


def _stored_bytes(shape: Shape, kind: str) -> int:
    scales = 0 if kind == "fp16" else shape[0] * SCALE_BYTES
    return _numel(shape) * STORED_BYTES[kind] + scales


def _numel(shape: Shape) -> int:
    return torch.Size(shape).numel()
