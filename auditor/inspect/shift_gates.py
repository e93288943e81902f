"""Gates that mix a position with the one before, and whether a mask closes them at a document."""

import ast
import re

from auditor.evidence import ShiftGates, SourceLine
from auditor.inspect.program import Program
from auditor.inspect.source import Module

_FIRST = re.compile(r"\w+\[:, :1\]")
_BEFORE = re.compile(r"\w+\[:, :-1\]")
_MASK = re.compile(r"bos|doc|boundary|cu_seqlens|segment", re.IGNORECASE)


def read_shift_gates(program: Program) -> ShiftGates:
    """Look at every call that joins a first column with a mixture of shifted ones."""
    masked: list[SourceLine] = []
    open_gates: list[SourceLine] = []
    for module in program.modules:
        for node in module.of(ast.Call):
            if _joins_shifted(node):
                around = _around(module, node.lineno)
                text = module.text(node.lineno)
                line = SourceLine(file=module.path, line=node.lineno, text=text)
                (masked if _MASK.search(around) else open_gates).append(line)
    return ShiftGates(masked=tuple(masked), open=tuple(open_gates))


def _around(module: Module, line: int) -> str:
    """Text of the innermost function that holds a line."""
    inside = [
        (function.lineno, function.end_lineno or function.lineno)
        for function, _ in module.functions
        if function.lineno <= line <= (function.end_lineno or function.lineno)
    ]
    first, last = max(inside, default=(line, line))
    return "\n".join(module.lines[first - 1 : last])


def _joins_shifted(node: ast.Call) -> bool:
    """`cat([x[:, :1], ... x[:, :-1] ...])`."""
    if getattr(node.func, "attr", "") not in ("cat", "concat", "concatenate") or not node.args:
        return False
    parts = getattr(node.args[0], "elts", [])
    if len(parts) != 2 or not _FIRST.fullmatch(ast.unparse(parts[0])):
        return False
    mixed = ast.unparse(parts[1])
    return bool(_BEFORE.search(mixed)) and "[:, 1:]" in mixed
