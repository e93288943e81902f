"""Where the tensors live, and what that place needs."""

import contextlib
import resource
import sys

import torch


def pick_device() -> torch.device:
    """Return the GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def mixed_precision(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Return the context of a forward pass: 16-bit matrices on a GPU, 32-bit floats on a CPU."""
    if device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()


def peak_memory_mib(device: torch.device) -> tuple[int, int]:
    """Return the most memory allocated and reserved; without a GPU, the process's own peak."""
    if device.type == "cuda":
        allocated = torch.cuda.max_memory_allocated(device)
        return allocated >> 20, torch.cuda.max_memory_reserved(device) >> 20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    mib = peak >> 20 if sys.platform == "darwin" else peak >> 10  # bytes there, KiB elsewhere
    return mib, mib
