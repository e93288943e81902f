"""Several ranks, or one, over gloo."""

from typing import Any

import torch

from .table import Report, library


def install(report: Report) -> None:
    """Replace the NCCL back end."""
    if not torch.distributed.is_available():
        return
    start = torch.distributed.init_process_group

    def start_gloo(backend: Any = None, *args: Any, **kwargs: Any) -> Any:
        report("gloo")
        kwargs.pop("device_id", None)
        return start("gloo", *args, **kwargs)

    library.distributed.init_process_group = start_gloo
