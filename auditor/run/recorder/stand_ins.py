"""Lets a script that was written for CUDA run, unmodified, on a CPU.

Nothing here changes what is computed but for the number format: what would be computed in bfloat16
is computed in 32 bits, so that two equal runs are equal and no kernel is missing. float16, in which
scripts store, stays. Each stand-in that a script uses is reported, and the verdict names it.

| asked for | gets |
|---|---|
| a CUDA device, `.cuda()`, pinned memory, streams, events, memory statistics | the CPU |
| bfloat16, autocast | float32 |
| torch.compile | the function itself |
| flash attention, fixed and variable length | scaled dot product attention |
| fused and capturable optimisers | the plain ones |
| inference mode | no gradients (its tensors may meet a gradient later) |
| the NCCL back end | gloo |
| nvidia-smi | a program that prints nothing |
"""

import contextlib
import functools
import importlib.machinery
import os
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

Report = Callable[[str], None]
"""Called with the name of a stand-in when it is used."""

# The library as something whose names may be replaced.
library: Any = torch

DEVICE_WORDS = ("device", "map_location", "device_type")
CPU = torch.device("cpu")
FACTORIES = (
    *("arange", "as_tensor", "empty", "empty_like", "eye", "full", "full_like", "linspace"),
    *("ones", "ones_like", "rand", "randint", "randn", "randperm", "tensor", "zeros", "zeros_like"),
)


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
        if name == "record_stream":
            return None
        if name == "bfloat16":
            return args[0].float()
        if name in ("to", "type", "new_zeros", "new_empty", "new_tensor", "new_full"):
            args = (args[0], *(on_cpu(value) for value in args[1:]))
        return func(*args, **kwargs)


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


def install(report: Report) -> OnCpu | None:
    """Put the stand-ins in place, unless there is a CUDA device; the mode must stay entered."""
    if torch.cuda.is_available():
        return None
    _cuda(report)
    _devices(report)
    _compile_and_precision(report)
    _attention(report)
    _optimisers(report)
    _distributed(report)
    mode = OnCpu(report)
    # Modes are per thread; data loaders and kernels' helpers start their own.
    thread_type: Any = threading.Thread
    run = thread_type.run

    def run_on_cpu(thread: threading.Thread) -> None:
        with OnCpu(report):
            run(thread)

    thread_type.run = run_on_cpu
    mode.__enter__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return mode


def _cuda(report: Report) -> None:
    """torch.cuda as a machine with one device would have it."""
    cuda = library.cuda

    def nothing(*_: Any, **__: Any) -> None:
        return None

    def constant(value: Any) -> Callable[..., Any]:
        # A function of its own each time: torch keeps tables of its functions by identity.
        return lambda *_, **__: value

    class Event:
        """A point in time."""

        def __init__(self, *_: Any, **__: Any) -> None:
            self.seconds = 0.0

        def record(self, *_: Any) -> None:
            self.seconds = time.perf_counter()

        def elapsed_time(self, other: "Event") -> float:
            return (other.seconds - self.seconds) * 1e3

        def query(self) -> bool:
            return True

        synchronize = wait = nothing

    class Stream(contextlib.nullcontext[None]):
        """Everything happens in order already."""

        cuda_stream = 0

        def __init__(self, *_: Any, **__: Any) -> None:
            super().__init__()

        def record_event(self, *_: Any) -> Event:
            return Event()

        synchronize = wait_stream = wait_event = nothing

    properties = types.SimpleNamespace(
        name="CPU", major=9, minor=0, multi_processor_count=1, total_memory=80 << 30
    )
    silent = (
        "empty_cache init ipc_collect manual_seed manual_seed_all reset_max_memory_allocated "
        "reset_peak_memory_stats set_device set_rng_state set_rng_state_all synchronize "
        "set_per_process_memory_fraction"
    )
    answers: dict[str, Any] = {
        **dict.fromkeys(silent.split()),
        **dict.fromkeys(("max_memory_allocated", "max_memory_reserved", "memory_allocated"), 0),
        "is_available": True,
        "device_count": 1,
        "current_device": 0,
        "memory_reserved": 0,
        "memory_stats": {},
        "mem_get_info": (80 << 30, 80 << 30),
        "get_device_name": "CPU",
        "get_device_capability": (9, 0),
        "get_device_properties": properties,
        "is_bf16_supported": True,
        "get_rng_state": torch.zeros(1, dtype=torch.uint8),
    }
    for name, answer in answers.items():
        setattr(cuda, name, constant(answer))
    cuda.Event, cuda.Stream = Event, Stream
    cuda.stream = lambda *_: contextlib.nullcontext()
    cuda.device = lambda *_: contextlib.nullcontext()
    cuda.current_stream = lambda *_: Stream()
    cuda.default_stream = lambda *_: Stream()
    library.Tensor.is_cuda = property(lambda tensor: True)
    report("cuda")


def _devices(report: Report) -> None:
    """Ways to name a device that a function mode does not see."""
    library.Tensor.cuda = library.Tensor.pin_memory = lambda tensor, *_, **__: tensor
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
        return load(*args, **{**kwargs, "map_location": "cpu"})

    library.load = load_here

    class Generator(torch.Generator):
        """Stays a class, because scripts write it in annotations."""

        def __new__(cls, device: Any = "cpu") -> Any:
            return torch._C.Generator(on_cpu(device))

    library.Generator = Generator


def _compile_and_precision(report: Report) -> None:
    """torch.compile, autocast, inference mode, attention back ends."""

    def compile_nothing(model: Any = None, *_: Any, **__: Any) -> Any:
        report("torch.compile")
        return model if model is not None else (lambda function: function)

    library.compile = compile_nothing

    class Autocast(contextlib.ContextDecorator):
        """Changes no number format."""

        def __init__(self, *_: Any, **__: Any) -> None:
            report("autocast")

        def __enter__(self) -> "Autocast":
            return self

        def __exit__(self, *_: Any) -> None:
            return None

    library.autocast = library.amp.autocast = library.cuda.amp.autocast = Autocast

    class NoGradients(torch.no_grad):
        """Inference mode whose tensors may still meet a gradient later."""

        def __new__(cls, mode: Any = True) -> Any:
            return torch.no_grad()(mode) if callable(mode) else super().__new__(cls)

        def __init__(self, mode: bool = True) -> None:
            super().__init__()
            self._on = mode

        def __enter__(self) -> None:
            if self._on:
                super().__enter__()
            else:
                self.prev = torch.is_grad_enabled()

    library.inference_mode = NoGradients

    @contextlib.contextmanager
    def any_back_end(*_: Any, **__: Any) -> Iterator[None]:
        yield

    library.backends.cuda.sdp_kernel = any_back_end
    library.nn.attention.sdpa_kernel = any_back_end


def _attention(report: Report) -> None:
    """The flash attention packages, as modules that can be imported."""

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


def _optimisers(report: Report) -> None:
    """Fused and capturable forms exist on CUDA only."""
    for kind in (library.optim.Adam, library.optim.AdamW, library.optim.SGD):
        made = kind.__init__

        def plain(self: Any, *args: Any, _made: Any = made, **kwargs: Any) -> None:
            if kwargs.get("fused"):
                report("plain optimiser")
            kept = {k: v for k, v in kwargs.items() if k not in ("fused", "capturable")}
            _made(self, *args, **kept)

        kind.__init__ = plain


def _distributed(report: Report) -> None:
    """Several ranks, or one, over gloo."""
    if not torch.distributed.is_available():
        return
    start = torch.distributed.init_process_group

    def start_gloo(backend: Any = None, *args: Any, **kwargs: Any) -> Any:
        report("gloo")
        kwargs.pop("device_id", None)
        return start("gloo", *args, **kwargs)

    library.distributed.init_process_group = start_gloo


def programs(folder: str) -> None:
    """Programs that scripts call for their log, in a folder that is on the path."""
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "nvidia-smi")
    with open(path, "w") as file:
        file.write("#!/bin/sh\nexit 0\n")
    os.chmod(path, 0o755)
