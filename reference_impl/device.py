"""Where the tensors live, and the other processes that train beside this one.

`torchrun` starts one process a GPU; alone, this process is rank 0 of 1.
"""

import contextlib
import os
import resource
import sys
from collections.abc import Iterator

import torch
from torch import Tensor, distributed

from reference_impl.errors import SettingsError, TrainingError


def pick_device() -> torch.device:
    """Return this process's GPU if there is one."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def mixed_precision(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Return the context of a forward pass: 16-bit matrices on a GPU, 32-bit floats on a CPU."""
    if device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()


def finish_work(device: torch.device) -> None:
    """Wait for what a GPU was told to do, so that a clock read afterwards is right."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextlib.contextmanager
def fitting(advice: str) -> Iterator[None]:
    """Turn running out of device memory inside the block into advice, with the device's numbers."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        said = str(error).split(" of which")[0]
        raise TrainingError(f"{advice}: {said}") from None


def peak_memory_mib(device: torch.device) -> tuple[int, int]:
    """Return the most memory allocated and reserved; without a GPU, the process's own peak."""
    if device.type == "cuda":
        allocated = torch.cuda.max_memory_allocated(device)
        return allocated >> 20, torch.cuda.max_memory_reserved(device) >> 20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    mib = peak >> 20 if sys.platform == "darwin" else peak >> 10  # bytes there, KiB elsewhere
    return mib, mib


@contextlib.contextmanager
def joined_ranks(meeting_point: str = "env://") -> Iterator[None]:
    """Join the processes that torchrun started, until the block ends; alone, do nothing."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    device = pick_device()
    if device.type == "cuda":
        if torch.cuda.device_count() <= (device.index or 0):
            raise SettingsError(
                f"each process needs a GPU of its own, got {torch.cuda.device_count()} GPUs for "
                f"process {device.index} and those before it"
            )
        torch.cuda.set_device(device)
    distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=meeting_point,
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
    )
    try:
        yield
        wait_for_all()  # one that leaves early takes the connection from those still working
    finally:
        distributed.destroy_process_group()


@contextlib.contextmanager
def rank_zero_first() -> Iterator[None]:
    """Let rank 0 run the block, which may write files, before the others do."""
    if rank():
        wait_for_all()
    yield
    if rank() == 0:
        wait_for_all()


def rank() -> int:
    """Return which of the processes this is; rank 0 logs and writes."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """Return how many processes there are."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank_share(count: int, of_rank: int | None = None) -> slice:
    """Return which of so many things in a row are this process's, or another's."""
    index = rank() if of_rank is None else of_rank
    return slice(count * index // world_size(), count * (index + 1) // world_size())


def wait_for_all() -> None:
    """Go on only when every process has come this far."""
    if world_size() > 1:
        distributed.barrier()


def from_rank_zero(text: str) -> str:
    """Return what rank 0 has passed in."""
    shared = [text]
    if world_size() > 1:
        distributed.broadcast_object_list(shared)
    return shared[0]


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Replace a tensor by its sum over all processes, and return it."""
    if world_size() > 1:
        distributed.all_reduce(tensor)
    return tensor


def average_over_ranks(tensors: list[Tensor]) -> None:
    """Replace each tensor by its mean over all processes, in one exchange."""
    if world_size() == 1 or not tensors:
        return
    flat = sum_over_ranks(torch.cat([tensor.flatten() for tensor in tensors]))
    flat /= world_size()
    pieces = torch.split(flat, [tensor.numel() for tensor in tensors])
    for tensor, piece in zip(tensors, pieces, strict=True):
        tensor.copy_(piece.view_as(tensor))


def largest_over_ranks(value: float, device: torch.device) -> float:
    """Return the largest of the values that the processes hold."""
    if world_size() == 1:
        return value
    tensor = torch.tensor(value, dtype=torch.float64, device=device)
    distributed.all_reduce(tensor, distributed.ReduceOp.MAX)
    return float(tensor)
