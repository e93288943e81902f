"""The flash attention packages, as modules that can be imported."""

import importlib.machinery
import sys
import types
from typing import Any

import torch
from torch.nn import functional

from .table import Report


def install(report: Report) -> None:
    """Put the modules where an import finds them."""

    def fixed(q: Any, k: Any, v: Any, *_: Any, **words: Any) -> Any:
        report("flash attention")
        length, keys = q.shape[1], k.shape[1]
        seen = _visible(torch.arange(length) + keys - length, torch.arange(keys), words)
        return _attend(q, k, v, seen, words.get("softmax_scale"))

    def variable(q: Any, k: Any, v: Any, *args: Any, **words: Any) -> Any:
        report("flash attention")
        bounds: Any = words["cu_seqlens_q"] if "cu_seqlens_q" in words else args[0]
        place = torch.arange(q.shape[0])
        document = torch.searchsorted(bounds.long().contiguous(), place, right=True)
        seen = _visible(place, place, words) & (document[:, None] == document)
        return _attend(q[None], k[None], v[None], seen, words.get("softmax_scale"))[0]

    def packed(qkv: Any, *args: Any, **words: Any) -> Any:
        return fixed(*qkv.unbind(2), *args, **words)

    names = {
        "flash_attn_func": fixed,
        "flash_attn_varlen_func": variable,
        "flash_attn_qkvpacked_func": packed,
        "__version__": "3.0.0",
    }
    for name in ("flash_attn_interface", "flash_attn", "flash_attn.flash_attn_interface"):
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        module.__dict__.update(names, __path__=[])
        sys.modules.setdefault(name, module)


def _visible(query: Any, key: Any, words: dict[str, Any]) -> Any:
    """Which keys each query may look at: causal, and within the window."""
    left, right = words.get("window_size") or (-1, -1)
    seen = torch.ones(len(query), len(key), dtype=torch.bool)
    if words.get("causal"):
        seen &= key <= query[:, None]
    if left >= 0:
        seen &= key >= query[:, None] - left
    if right >= 0:
        seen &= key <= query[:, None] + right
    return seen


def _attend(q: Any, k: Any, v: Any, seen: Any, scale: float | None) -> Any:
    """Attention over (batch, position, head, width), keys and values repeated for grouped heads."""
    group = q.shape[2] // k.shape[2]
    heads = [part.transpose(1, 2) for part in (q, k, v)]
    q, k, v = heads[0], *(part.to(q.dtype).repeat_interleave(group, 1) for part in heads[1:])
    attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=scale)
    return attended.transpose(1, 2)
