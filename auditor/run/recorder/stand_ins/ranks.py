"""Several ranks, or one, over gloo."""

import functools
import os
from collections.abc import Callable
from typing import Any

import torch

from .table import Report, library

COLLECTIVES = (
    *("all_gather", "all_gather_into_tensor", "all_gather_object", "all_reduce", "all_to_all"),
    *("all_to_all_single", "barrier", "broadcast", "broadcast_object_list", "gather"),
    *("gather_object", "reduce", "reduce_scatter", "reduce_scatter_tensor", "scatter"),
)

ALONE = {
    **{"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"},
    **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"},
}
"""What torchrun tells a process that has no others."""


def install(report: Report) -> None:
    """Replace the NCCL back end, and what gloo has no operation for."""
    if not torch.distributed.is_available():
        return
    start = torch.distributed.init_process_group

    def start_gloo(backend: Any = None, *args: Any, **kwargs: Any) -> Any:
        report("gloo")
        kwargs.pop("device_id", None)
        if "RANK" not in os.environ:  # a script that is always launched by torchrun
            os.environ.update(ALONE)
        return start("gloo", *args, **kwargs)

    library.distributed.init_process_group = start_gloo
    for name in ("all_reduce", "reduce_scatter_tensor"):
        setattr(library.distributed, name, _averaging(getattr(torch.distributed, name)))
    parallel: Any = torch.nn.parallel.DistributedDataParallel
    build = parallel.__init__

    @functools.wraps(build)
    def build_here(self: Any, module: Any, *_: Any, **kwargs: Any) -> None:
        # The positional ones are devices; a module on the CPU takes none.
        kwargs = {k: v for k, v in kwargs.items() if k not in ("device_ids", "output_device")}
        # A promise for speed, which breaks where the first backward is not to be shared.
        if kwargs.pop("static_graph", False):
            kwargs["find_unused_parameters"] = True
        build(self, module, **kwargs)

    parallel.__init__ = build_here


def count(called: Callable[[], None]) -> None:
    """Have `called` called before each collective."""
    for name in COLLECTIVES:
        collective = getattr(torch.distributed, name, None)
        if collective is not None:
            setattr(library.distributed, name, _counted(collective, called))


def _counted(collective: Any, called: Callable[[], None]) -> Any:
    @functools.wraps(collective)
    def counted(*args: Any, **kwargs: Any) -> Any:
        called()
        return collective(*args, **kwargs)

    return counted


def _averaging(collective: Any) -> Any:
    """The same with a mean, which is a sum and a division."""

    @functools.wraps(collective)
    def averaging(
        tensor: Any, *args: Any, op: Any = torch.distributed.ReduceOp.SUM, **kw: Any
    ) -> Any:
        rest = list(args)
        for index, value in enumerate(rest):
            if isinstance(value, torch.distributed.ReduceOp.RedOpType):
                op = rest.pop(index)
                break
        if op != torch.distributed.ReduceOp.AVG:
            return collective(tensor, *rest, op=op, **kw)
        work = collective(tensor, *rest, op=torch.distributed.ReduceOp.SUM, **kw)
        ranks = torch.distributed.get_world_size(kw.get("group"))
        if work is None:
            tensor.div_(ranks)
            return None
        return _Mean(work, tensor, ranks)

    return averaging


class _Mean:
    """A sum under way, which is divided when it is there."""

    def __init__(self, work: Any, tensor: Any, ranks: int) -> None:
        self._work, self._tensor, self._ranks = work, tensor, ranks

    def wait(self, *args: Any) -> Any:
        """Wait, and divide once."""
        done = self._work.wait(*args)
        self._tensor.div_(self._ranks)
        self._ranks = 1
        return done

    def __getattr__(self, name: str) -> Any:
        """Everything else is the sum's."""
        return getattr(self._work, name)
