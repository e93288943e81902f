"""What the stand-ins share."""

import importlib.abc
import importlib.util
import sys
from collections.abc import Callable
from typing import Any

import torch

Report = Callable[[str], None]
"""Called with the name of a stand-in when it is used."""

# The library as something whose names may be replaced.
library: Any = torch


def after_import(name: str, patch: Callable[[Any], None]) -> None:
    """Call `patch` with a module as soon as somebody has imported it."""

    class Finder(importlib.abc.MetaPathFinder):
        """Finds the module where it is, and has it patched after it ran."""

        def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
            if fullname != name:
                return None
            sys.meta_path.remove(self)
            spec = importlib.util.find_spec(fullname)
            if spec is None or spec.loader is None:
                return None
            loader: Any = spec.loader
            run = loader.exec_module

            def run_and_patch(module: Any) -> None:
                run(module)
                patch(module)

            loader.exec_module = run_and_patch
            return spec

    sys.meta_path.insert(0, Finder())
