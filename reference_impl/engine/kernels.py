"""How a function becomes a kernel, and how kernels share the processor's cores."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., object])

BLOCK = 64
"""Look-ups that are begun before the first is waited for; what a block needs stays in L1."""


def kernel(function: Function) -> Function:
    """Compile for this processor at the first call, without the interpreter's lock."""
    return cast(Function, njit(nogil=True, cache=True, error_model="numpy")(function))


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), thread_name_prefix="ngram")


def share(
    work: Callable[..., None], parts: Iterable[tuple[object, ...]], *, together: bool
) -> None:
    """Do the parts, which write to different places; at once if that is worth it."""
    if together and cores() > 1:
        for _ in _pool().map(lambda part: work(*part), parts):
            pass
    else:
        for part in parts:
            work(*part)
