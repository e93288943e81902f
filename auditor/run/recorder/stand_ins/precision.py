"""torch.compile, autocast, inference mode, attention back ends, forms of optimisers."""

import contextlib
import importlib
import importlib.machinery
import sys
import types
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
    Dynamo.install()

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


class Dynamo(types.ModuleType):
    """torch's compiler, which every optimiser loads for two calls that do nothing uncompiled.

    Loading takes as long as torch itself; it is done once something else of it is asked for.
    """

    def __init__(self) -> None:
        """Look like a package whose modules have not been imported yet."""
        super().__init__("torch._dynamo")
        self.__spec__ = importlib.machinery.ModuleSpec("torch._dynamo", None)
        self.config = Settings(self)

    @staticmethod
    def install() -> None:
        """Stand in for it, unless it is loaded already."""
        if "torch._dynamo" not in sys.modules:
            sys.modules["torch._dynamo"] = library._dynamo = Dynamo()

    @staticmethod
    def graph_break(*_: Any, **__: Any) -> None:
        """Nothing is compiled, so nothing breaks."""

    @staticmethod
    def reset() -> None:
        """Nothing is kept."""

    @staticmethod
    def disable(function: Any = None, *_: Any, **__: Any) -> Any:
        """The function as it is, or a decorator that leaves it so."""
        return function if function is not None else (lambda function: function)

    @property
    def __path__(self) -> Any:  # type: ignore[override]  # nobody sets it
        """Asked for by imports of modules in it, which need the real one."""
        return self.real().__path__

    def __getattr__(self, name: str) -> Any:
        """Anything else is the real one's."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.real(), name)

    def real(self) -> Any:
        """Load it, into the place of this."""
        if sys.modules.get("torch._dynamo") is self:
            del sys.modules["torch._dynamo"], library._dynamo
        return importlib.import_module("torch._dynamo")


class Settings:
    """Takes every setting of a compiler that compiles nothing."""

    def __init__(self, dynamo: Dynamo) -> None:
        """Read what was not set from the real settings."""
        self.__dict__["_dynamo"] = dynamo

    def __getattr__(self, name: str) -> Any:
        """Only asked for what was not set."""
        return getattr(self.__dict__["_dynamo"].real().config, name)


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
