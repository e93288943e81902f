"""Processes that share one pass, as `torchrun` starts them; alone, this is the only one.

Each asks for the windows of its share and reveals everything, so that every charge is what one
process alone would have made. What they exchange is what they charged, through gloo.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from auditor.errors import ToolError

T = TypeVar("T")
N = TypeVar("N", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Ranks:
    """Which of how many processes this is."""

    rank: int = 0
    count: int = 1
    local: int = 0
    """Its number on this machine."""

    def gather(self, mine: T) -> list[T]:
        """Return what each process has, the same everywhere and in order of ranks."""
        if self.count == 1:
            return [mine]
        from torch import distributed

        everyone: list[T | None] = [None] * self.count
        distributed.all_gather_object(everyone, mine)
        return [one for one in everyone if one is not None]

    def add(self, mine: npt.NDArray[N]) -> npt.NDArray[N]:
        """Return the sum over all processes; of what one alone has, every bit stays."""
        if self.count == 1:
            return mine
        import torch
        from torch import distributed

        total = torch.from_numpy(mine.copy())
        distributed.all_reduce(total)
        summed: npt.NDArray[N] = total.numpy()
        return summed


ALONE = Ranks()


@contextmanager
def joined() -> Iterator[Ranks]:
    """Meet the others that torchrun started; ToolError where they cannot be met."""
    try:
        names = ("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0")
        ranks = Ranks(*(int(os.environ.get(name, alone)) for name, alone in names))
    except ValueError as error:
        raise ToolError(f"RANK, WORLD_SIZE and LOCAL_RANK must be numbers ({error})") from error
    if ranks.count == 1:
        yield ALONE
        return
    from torch import distributed

    try:
        distributed.init_process_group("gloo")
    except (ValueError, RuntimeError) as error:
        raise ToolError(f"the other processes cannot be met: {str(error)[:300]}") from error
    try:
        yield ranks
    finally:
        distributed.destroy_process_group()
