"""torch.cuda as a machine with one device would have it."""

import contextlib
import time
import types
from collections.abc import Callable
from typing import Any

import torch

from .table import Report, library


def install(report: Report) -> None:
    """Replace what talks to a device."""
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
