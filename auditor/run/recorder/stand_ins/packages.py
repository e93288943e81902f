"""Packages whose absence has nothing to do with a score: they write logs elsewhere."""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Sequence
from typing import Any

from .table import Report

SILENT = ("wandb", "mlflow", "tensorboard", "tensorboardX", "swanlab", "trackio")


class Nothing:
    """Takes every call and gives itself."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: Any, **__: Any) -> "Nothing":
        return self

    def __enter__(self) -> "Nothing":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __bool__(self) -> bool:
        return False


class Silent(types.ModuleType):
    """A module whose every name does nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing()


class Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Asked last: only for packages that are not installed."""

    def __init__(self, report: Report) -> None:
        """Report each package that is asked for."""
        self._report = report

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """A spec for the packages above and what is in them."""
        if fullname.partition(".")[0] not in SILENT:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """An empty module."""
        self._report(f"package {spec.name}")
        return Silent(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """There is nothing in it."""


def install(report: Report) -> None:
    """Put the finder behind all others."""
    sys.meta_path.append(Absent(report))
