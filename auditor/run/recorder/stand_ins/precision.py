"""torch.compile, autocast, inference mode, attention back ends, forms of optimisers."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from .table import Report, library


def install(report: Report) -> None:
    """Leave out what only makes a script faster."""

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
    _optimisers(report)


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
