"""Devices and number formats of torch calls, redirected."""

import functools
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from .table import Report, library

DEVICE_WORDS = ("device", "map_location", "device_type")
CPU = torch.device("cpu")
FACTORIES = (
    *("arange", "as_tensor", "empty", "empty_like", "eye", "full", "full_like", "linspace"),
    *("ones", "ones_like", "rand", "randint", "randn", "randperm", "tensor", "zeros", "zeros_like"),
)

TOPK = ("input", "k", "dim", "largest", "sorted")
"""Arguments of `topk`, in order."""


def on_cpu(value: Any) -> Any:
    """A device or number format as the CPU run has it."""
    if isinstance(value, torch.device):
        return CPU if value.type == "cuda" else value
    if isinstance(value, str) and value.split(":")[0] == "cuda":
        return "cpu"
    if value is torch.bfloat16:
        return torch.float32
    return value


class OnCpu(TorchFunctionMode):
    """Redirects devices and number formats in every torch call."""

    def __init__(self, report: Report) -> None:
        """Report what is redirected."""
        super().__init__()
        self._report = report

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call with the CPU's devices."""
        kwargs = _redirected(kwargs or {}, self._report)
        name = getattr(func, "__name__", "")
        if name in ("cuda", "pin_memory"):
            return args[0]
        if name == "bfloat16":
            return args[0].float()
        if name == "topk":
            args, kwargs = _within(args, kwargs, self._report)
        if name in ("to", "type", "new_zeros", "new_empty", "new_tensor", "new_full"):
            args = (args[0], *(on_cpu(value) for value in args[1:]))
        return func(*args, **kwargs)


def _within(args: Any, kwargs: dict[str, Any], report: Report) -> tuple[Any, dict[str, Any]]:
    """`topk` of no more than there are: a thousand of a vocabulary of 384 are all of it."""
    named = dict(zip(TOPK, args, strict=False)) | kwargs
    size, dim = named["input"].shape, named.get("dim", -1)
    if not size or named["k"] <= size[dim]:
        return args, kwargs
    report("topk of all there are")
    return (named.pop("input"),), named | {"k": size[dim]}


def _redirected(kwargs: dict[str, Any], report: Report) -> dict[str, Any]:
    """Keyword arguments of a call, for the CPU."""
    changed = dict(kwargs)
    for word in (*DEVICE_WORDS, "dtype"):
        if word in changed:
            changed[word] = on_cpu(changed[word])
            if changed[word] is not kwargs[word]:
                report("device" if word in DEVICE_WORDS else "float32")
    if changed.get("pin_memory"):
        changed["pin_memory"] = False
    return changed


def install(report: Report) -> None:
    """Ways to name a device that a function mode does not see."""
    library.Tensor.cuda = library.Tensor.pin_memory = lambda tensor, *_, **__: tensor
    # No mode sees a call with a stream that is not torch's own.
    library.Tensor.record_stream = lambda *_: None
    module = library.nn.Module
    move = module.to

    def to(self: Any, *args: Any, **kwargs: Any) -> Any:
        return move(self, *map(on_cpu, args), **_redirected(kwargs, report))

    module.to = to
    module.cuda = lambda self, *_: self
    module.bfloat16 = lambda self: self.float()
    # Factories called outside the mode, for example in a thread that a library started.
    for name in FACTORIES:
        made = getattr(torch, name)

        def factory(*args: Any, _made: Any = made, **kwargs: Any) -> Any:
            return _made(*args, **_redirected(kwargs, report))

        setattr(torch, name, functools.update_wrapper(factory, made))
    load = torch.load

    def load_here(*args: Any, **kwargs: Any) -> Any:
        # Older versions of torch read any pickle by default, and scripts wrote for them.
        return load(*args, **{"weights_only": False, **kwargs, "map_location": "cpu"})

    library.load = load_here

    class Generator(torch.Generator):
        """Stays a class, because scripts write it in annotations."""

        def __new__(cls, device: Any = "cpu") -> Any:
            return torch._C.Generator(on_cpu(device))

    library.Generator = Generator
