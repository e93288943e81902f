"""The flash attention packages, as modules that can be imported."""

import importlib.machinery
import sys
import types
from typing import Any

import torch
from torch.nn import functional

from .table import Report

BLOCK = 64
"""Queries that are taken together: they need the keys of their documents, not of a whole batch."""


def install(report: Report) -> None:
    """Put the modules where an import finds them."""

    def fixed(q: Any, k: Any, v: Any, *_: Any, **words: Any) -> Any:
        report("flash attention")
        length, keys = q.shape[1], k.shape[1]
        seen = _visible(torch.arange(length) + keys - length, torch.arange(keys), words)
        return _attend(q, k, v, seen, words.get("softmax_scale"))

    def variable(q: Any, k: Any, v: Any, *args: Any, **words: Any) -> Any:
        report("flash attention")
        given = ("cu_seqlens_q", "cu_seqlens_k", "max_seqlen_q")
        words = {**dict(zip(given, args, strict=False)), **words}
        bounds: Any = torch.cat([words["cu_seqlens_q"].long(), torch.tensor([0, len(q)])])
        bounds = bounds.unique()
        longest = max(int(words.get("max_seqlen_q") or 0), int(bounds.diff().max()))
        before = min(-(-longest // BLOCK), -(-len(q) // BLOCK)) * BLOCK
        after = BLOCK if words.get("causal") else BLOCK + before
        # Queries in blocks, with as many keys for each as the longest document may need: what comes
        # later changes no shape, and so no bit of what was before.
        start = torch.arange(0, len(q), BLOCK)[:, None]
        query, key = start + torch.arange(BLOCK), start + torch.arange(-before, after)
        inside = (key >= 0) & (key < len(q))
        query, key = query.clamp(max=len(q) - 1), key.clamp(0, len(q) - 1)
        document = torch.searchsorted(bounds, torch.arange(len(q)), right=True)
        seen = _visible(query, key, words) & inside[:, None, :]
        seen &= document[query][:, :, None] == document[key][:, None, :]
        attended = _attend(q[query], k[key], v[key], seen[:, None], words.get("softmax_scale"))
        return attended.flatten(0, 1)[: len(q)]

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
    query, key = query[..., :, None], key[..., None, :]
    seen = torch.ones_like(key <= query)
    if words.get("causal"):
        seen &= key <= query
    if left >= 0:
        seen &= key >= query - left
    if right >= 0:
        seen &= key <= query + right
    return seen


def _attend(q: Any, k: Any, v: Any, seen: Any, scale: float | None) -> Any:
    """Attention over (batch, position, head, width), keys and values repeated for grouped heads."""
    group = q.shape[2] // k.shape[2]
    heads = [part.transpose(1, 2) for part in (q, k, v)]
    q, k, v = heads[0], *(part.to(q.dtype).repeat_interleave(group, 1) for part in heads[1:])
    attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=scale)
    return attended.transpose(1, 2)
