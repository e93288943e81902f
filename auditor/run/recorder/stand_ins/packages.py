"""Packages whose absence has nothing to do with a score: they write logs elsewhere, or fetch data.

What a script would fetch is the challenge's shards and tokenizer in some form; it gets those of the
run.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import types
from collections.abc import Sequence
from typing import Any

from .table import Report

SILENT = ("wandb", "mlflow", "tensorboard", "tensorboardX", "swanlab", "trackio")
HUB = "huggingface_hub"


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


class Hub(types.ModuleType):
    """A hub of data sets that has ours under every name."""

    def snapshot_download(self, *_: Any, local_dir: Any = None, **__: Any) -> str:
        """The folder of the shards and the tokenizer, or these in another one."""
        ours = os.environ["DATA_PATH"]
        if local_dir is None:
            return ours
        for name in sorted(os.listdir(ours)):
            self._link(os.path.join(ours, name), local_dir, name)
        return str(local_dir)

    def hf_hub_download(
        self, repo_id: Any = None, filename: Any = "", *_: Any, local_dir: Any = None, **__: Any
    ) -> str:
        """The shard or the tokenizer that a name is for; FileNotFoundError for any other name."""
        name = os.path.basename(filename)
        if name.endswith(".model"):
            ours = os.environ["TOKENIZER_PATH"]
        elif name.endswith(".bin") and ("train" in name or "val" in name):
            split = "train" if "train" in name else "val"
            ours = os.path.join(os.environ["DATA_PATH"], f"fineweb_{split}_000000.bin")
        else:
            raise FileNotFoundError(f"{repo_id}: {filename} cannot be downloaded in a run")
        return ours if local_dir is None else self._link(ours, local_dir, filename)

    @staticmethod
    def _link(ours: str, folder: Any, name: str) -> str:
        path = os.path.join(str(folder), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not os.path.lexists(path):
            os.symlink(ours, path)
        return path


class Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Asked last: only for packages that are not installed."""

    def __init__(self, report: Report) -> None:
        """Report each package that is asked for."""
        self._report = report

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """A spec for the packages above and what is in them."""
        if fullname.partition(".")[0] not in (*SILENT, HUB):
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """An empty module, or our hub."""
        self._report(f"package {spec.name}")
        return Hub(spec.name) if spec.name == HUB else Silent(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """There is nothing to execute."""


def install(report: Report) -> None:
    """Put the finder behind all others."""
    sys.meta_path.append(Absent(report))
