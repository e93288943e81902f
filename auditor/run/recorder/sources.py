"""Source of the submission on its way to become code: newer grammar lowered, table sizes scaled.

That happens to the script, to modules of its folder when they are imported, and to text that the
script unpacks and gives to `compile` or `exec` itself. Such text gets a file name, so that events,
tracebacks and kernels that ask for their own source find it; globals and future features stay those
of the caller.
"""

import __future__

import ast
import builtins
import functools
import importlib.machinery
import linecache
import operator
import os
import re
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from . import scaling

FEATURES = functools.reduce(
    operator.or_, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
)
MAX_NAMED = 100
"""Texts that get a file name; a script that executes more of them is not unpacking itself."""


class Sources:
    """Compiles what lies in the submission's folder, or comes out of it."""

    def __init__(
        self,
        folder: str,
        factor: float,
        report: scaling.Report,
        lowered: Callable[[str], str],
        seen: Callable[[str | bytes], None] = lambda source: None,
    ) -> None:
        """Scale tables by `factor`; `lowered` puts newer grammar into an older one.

        `seen` is called with each source before it is compiled.
        """
        self._inside = os.path.join(os.path.realpath(folder), "")
        self._factor = factor
        self._report = report
        self._lowered = lowered
        self._seen = seen
        self._named: set[str] = set()

    def compiled(self, source: str | bytes, path: str, flags: int = 0) -> CodeType:
        """Compile a file of the submission, or text out of it, as a module."""
        self._seen(source)
        tree = self._tree(source, path, flags)
        scaling.Scale(self._factor, self._relative(path), self._report).visit(tree)
        code: CodeType = compile(tree, path, "exec", flags, dont_inherit=True)
        return code

    def _tree(self, source: str | bytes, path: str, flags: int) -> ast.Module:
        def parsed(text: str | bytes) -> ast.Module:
            tree = compile(text, path, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
            assert isinstance(tree, ast.Module)
            return tree

        try:
            return parsed(source)
        except SyntaxError:
            text = source.decode() if isinstance(source, bytes) else source
            try:
                older = self._lowered(text.removeprefix("\ufeff"))
            except Exception:  # noqa: BLE001 - its own kind cannot be imported here
                older = text
            if older == text:
                raise
            return parsed(older)

    def _relative(self, path: str) -> str:
        return path.removeprefix(self._inside)

    def install(self) -> None:
        """Stand before `compile`, `exec` and imports from the folder."""
        self._watch_builtins()
        self._watch_imports()

    def _watch_builtins(self) -> None:
        plain_compile, plain_exec = builtins.compile, builtins.exec

        def compile_ours(
            source: Any,
            filename: Any,
            mode: str,
            flags: int = 0,
            dont_inherit: bool = False,
            optimize: int = -1,
            **words: Any,
        ) -> Any:
            frame = sys._getframe(1)
            if not dont_inherit:
                flags |= frame.f_code.co_flags & FEATURES
            text = isinstance(source, str | bytes | bytearray) and mode == "exec"
            ours = self._is_ours(frame) or str(filename).startswith(self._inside)
            if not text or not ours or flags & ast.PyCF_ONLY_AST:
                return plain_compile(source, filename, mode, flags, True, optimize, **words)
            return self.compiled(_text(source), self._name(_text(source), filename, frame), flags)

        def exec_ours(
            source: Any, globals: Any = None, locals: Any = None, /, **words: Any
        ) -> None:
            frame = sys._getframe(1)
            if globals is None:
                globals = frame.f_globals
                locals = frame.f_locals if locals is None else locals
            if isinstance(source, str | bytes | bytearray):
                flags = frame.f_code.co_flags & FEATURES
                text = _text(source)
                if self._is_ours(frame):
                    source = self.compiled(text, self._name(text, "<string>", frame), flags)
                else:
                    source = plain_compile(text, "<string>", "exec", flags, True)
            if locals is None or locals is globals:
                plain_exec(source, globals, **words)
            else:
                plain_exec(source, globals, locals, **words)

        builtins.compile = compile_ours
        builtins.exec = exec_ours

    def _is_ours(self, frame: FrameType) -> bool:
        return frame.f_code.co_filename.startswith(self._inside)

    def _name(self, text: str | bytes, given: Any, frame: FrameType) -> str:
        """A file name below the folder: that of the packing script, with the layer."""
        path = os.fsdecode(given)
        if not path.startswith("<") or len(self._named) >= MAX_NAMED:
            return path
        packing, depth = frame.f_code.co_filename, 1
        if found := re.fullmatch(r"(.*) \(layer (\d+)(?:, part \d+)?\)", packing):
            packing, depth = found[1], int(found[2]) + 1
        path, part = f"{packing} (layer {depth})", 1
        while path in self._named:
            part += 1
            path = f"{packing} (layer {depth}, part {part})"
        self._named.add(path)
        lines = (text.decode() if isinstance(text, bytes) else text).splitlines(keepends=True)
        linecache.cache[path] = (sum(map(len, lines)), None, lines, path)
        return path

    def _watch_imports(self) -> None:
        """Modules of the folder are compiled here; bytecode is neither read nor written."""
        sources, inside = self, self._inside

        class Loader(importlib.machinery.SourceFileLoader):
            """Compiles files below the folder ourselves."""

            def get_code(self, fullname: str) -> CodeType | None:
                path = self.get_filename(fullname)
                if os.path.realpath(path).startswith(inside):
                    return sources.compiled(self.get_data(path), path)
                return super().get_code(fullname)

        details: list[Any] = [(Loader, importlib.machinery.SOURCE_SUFFIXES)]
        extensions = (
            importlib.machinery.ExtensionFileLoader,
            importlib.machinery.EXTENSION_SUFFIXES,
        )
        hook = importlib.machinery.FileFinder.path_hook(extensions, *details)

        def only_inside(path: str) -> Any:
            if not os.path.join(os.path.realpath(path), "").startswith(inside):
                raise ImportError(path)
            return hook(path)

        sys.path_hooks.insert(0, only_inside)
        sys.path_importer_cache.clear()


def _text(source: Any) -> str | bytes:
    return bytes(source) if isinstance(source, bytearray) else source
