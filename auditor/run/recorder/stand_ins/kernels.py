"""Kernels: triton's by its own interpreter, operators of compiled packages by what they compute.

The interpreter keeps bfloat16 as bare integers, which its matrix product then multiplies as such;
like everywhere else in a run, they are float32.
"""

import functools
import importlib
import importlib.machinery
import subprocess
import sys
import types
from typing import Any

import numpy as np
import torch

from .devices import OnCpu
from .table import Report, after_import, library

OPERATORS = {
    "cutlass_evt::gemm_mul": (
        "(Tensor a, Tensor b, Tensor c) -> Tensor",
        lambda a, b, c: a @ b * c,
    ),
}
"""Operators that compiled packages would register, by what their name says."""
COMPILED_PACKAGES = {"cutlass_evt_fusion": "cutlass_evt"}
"""Packages that only register such operators, and under which name."""


def install(report: Report) -> None:
    """Patch the interpreter once it is imported; define operators; wrap those a script defines."""
    after_import("triton", functools.partial(_interpreter, report))
    _operators(report)
    _custom_operators(report)
    _extensions(report)


def _interpreter(report: Report, triton: Any) -> None:
    interpreter: Any = importlib.import_module("triton.runtime.interpreter")
    language, handle = interpreter.tl, interpreter.TensorHandle
    language.bfloat16 = language.core.bfloat16 = language.float32
    kind = interpreter._get_np_dtype

    def kind_of(wanted: Any) -> Any:
        return np.dtype(np.float32) if wanted == language.float32 else kind(wanted)

    interpreter._get_np_dtype = kind_of
    builder, executor = interpreter.InterpreterBuilder, interpreter.GridExecutor
    execute = executor.__call__

    def reported(self: Any, *args: Any, **kwargs: Any) -> Any:
        report("triton interpreter")
        return execute(self, *args, **kwargs)

    executor.__call__ = reported

    def cast(self: Any, source: Any, wanted: Any) -> Any:
        return handle(source.data.astype(kind_of(wanted)), wanted.scalar)

    def split(self: Any, value: Any) -> Any:
        halves = (np.ascontiguousarray(value.data[..., i]) for i in (0, 1))
        return tuple(handle(half, value.dtype.scalar) for half in halves)

    def transposed(self: Any, value: Any, order: Any) -> Any:
        data = np.ascontiguousarray(np.transpose(value.data, order))
        return handle(data, value.dtype.scalar)

    builder.cast_impl, builder.create_split, builder.create_trans = cast, split, transposed


def _operators(report: Report) -> None:
    """Define what is absent, so that a script's look-up of it finds something."""
    namespaces: dict[str, Any] = {}
    for name, (schema, computed) in OPERATORS.items():
        space, _, operator = name.partition("::")
        kept = namespaces.setdefault(space, library.library.Library(space, "FRAGMENT"))

        def run(*args: Any, _name: str = name, _computed: Any = computed) -> Any:
            report(f"operator {_name}")
            return _computed(*args)

        kept.define(f"{operator}{schema}")
        kept.impl(operator, run, "CompositeExplicitAutograd")
    _KEPT.update(namespaces)
    for package, space in COMPILED_PACKAGES.items():
        module = types.ModuleType(package)
        module.__spec__ = importlib.machinery.ModuleSpec(package, None)
        module.__dict__.update(ops=getattr(torch.ops, space), __path__=[])
        sys.modules.setdefault(package, module)


def _extensions(report: Report) -> None:
    """A build of an extension for a GPU does nothing: what it would register is defined already."""
    process: Any = subprocess.Popen
    begin = process.__init__

    @functools.wraps(begin)
    def begin_here(self: Any, args: Any, *rest: Any, **kwargs: Any) -> None:
        if isinstance(args, list | tuple) and {"setup.py", "build_ext"} <= set(args):
            report("build of an extension")
            args = [sys.executable, "-c", ""]
        begin(self, args, *rest, **kwargs)

    process.__init__ = begin_here


_KEPT: dict[str, Any] = {}
"""A library's definitions live as long as it does."""


def _custom_operators(report: Report) -> None:
    """Inside an operator no mode is entered, so its body enters one itself."""
    define = torch.library.custom_op

    def custom_op(name: str, function: Any = None, /, **words: Any) -> Any:
        report("custom operator")
        words.pop("device_types", None)

        def wrap(body: Any) -> Any:
            @functools.wraps(body)
            def run(*args: Any, **kwargs: Any) -> Any:
                with OnCpu(report):
                    return body(*args, **kwargs)

            return define(name, run, **words)

        return wrap if function is None else wrap(function)

    library.library.custom_op = custom_op
