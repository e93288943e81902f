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
| triton kernels | triton's interpreter, in float32 |
| operators of compiled packages | what their name says, in torch |
| `setup.py build_ext` of such a package | nothing |
| wandb and its like | a module that does nothing |
| huggingface_hub | the shards and the tokenizer of the run, under the names that are asked for |
| nvidia-smi, lrzip | programs that print nothing, and that pack in another format |
"""

import threading
from typing import Any

import torch

from . import attention, cuda, devices, kernels, packages, precision, programs, ranks
from .devices import OnCpu
from .table import Report

__all__ = ["install", "programs"]

ON_CPU = (cuda, devices, precision, attention, ranks, kernels)
"""Only where there is no CUDA device."""


def install(report: Report) -> OnCpu | None:
    """Put the stand-ins in place, unless there is a CUDA device; the mode must stay entered."""
    packages.install(report)
    if torch.cuda.is_available():
        return None
    for stand_in in ON_CPU:
        stand_in.install(report)
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
