"""How many bytes a script counts for a token, found by following its table on sample tokens.

Scripts build a table of bytes a token from the pieces of a sentencepiece model, in a loop over all
of them, and add a byte for the leading space when they score. The loop is followed, never executed,
for a word with a leading space, a word without, and a single byte. What is more than assignments,
tests and operations on one text is not understood, and gives no answer.

A script that counts nothing may divide bits by a constant number of bytes a token instead; such
quotients are listed.
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from auditor.evidence import ByteTable, ByteTables, FixedBytes
from auditor.inspect.program import Program
from auditor.inspect.source import Module
from auditor.inspect.tree import walk

SAMPLES: Mapping[str, tuple[str, int]] = {
    "▁the": ("a word with a leading space", 4),
    "the": ("a word without", 3),
    "<0x41>": ("a single byte", 1),
}
"""Piece -> what it is, and the bytes of text that it stands for."""
_PER_TOKEN = re.compile(r"bytes?_?per_?tok", re.IGNORECASE)
_COUNTED = re.compile(r"bytes_lut|byte_count|token_bytes|total_bytes_val|num_bytes|id_to_piece")
_LN_2 = ("math.log(2)", "math.log(2.0)", "np.log(2)", "np.log(2.0)", "LN2", "ln2")
_BUILTINS: Mapping[str, Callable[..., Any]] = {
    "len": len,
    "int": int,
    "bool": bool,
    "max": max,
    "min": min,
}
_KINDS = {"is_control": "", "is_unknown": "", "is_unused": "", "is_byte": "<0x41>"}


class _NotUnderstoodError(Exception):
    """The loop does something that is not followed here."""


@dataclass(slots=True)
class _Loop:
    """One turn of the loop over pieces, for one sample."""

    piece: str
    names: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, Any] = field(default_factory=dict)
    """Table -> what was written for this token."""

    def run(self, body: list[ast.stmt]) -> bool:
        """Follow statements; whether the turn is over."""
        for node in body:
            if isinstance(node, ast.Continue):
                return True
            if isinstance(node, ast.If):
                if self.run(node.body if self.value(node.test) else node.orelse):
                    return True
            elif isinstance(node, ast.Assign) and len(node.targets) == 1:
                self._store(node.targets[0], self.value(node.value))
            elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
                self._store(node.target, self.value(node.target) + self.value(node.value))
            elif not isinstance(node, ast.Pass | ast.Expr):
                raise _NotUnderstoodError
        return False

    def _store(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            self.names[target.id] = value
        elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            self.tables[target.value.id] = value
        else:
            raise _NotUnderstoodError

    def value(self, node: ast.expr) -> Any:
        """What an expression is for this token."""
        match node:
            case ast.Constant():
                return node.value
            case ast.Name() if node.id in self.names:
                return self.names[node.id]
            case ast.Subscript(value=ast.Name(id=name)) if name in self.tables:
                return self.tables[name]
            case ast.Subscript(slice=ast.Slice(lower=lower, upper=None, step=None)):
                return self.value(node.value)[0 if lower is None else self.value(lower) :]
            case ast.BoolOp():
                values = (self.value(one) for one in node.values)
                return any(values) if isinstance(node.op, ast.Or) else all(values)
            case ast.UnaryOp(op=ast.Not()):
                return not self.value(node.operand)
            case ast.BinOp(op=ast.Add()):
                return self.value(node.left) + self.value(node.right)
            case ast.BinOp(op=ast.Sub()):
                return self.value(node.left) - self.value(node.right)
            case ast.IfExp():
                return self.value(node.body if self.value(node.test) else node.orelse)
            case ast.Compare(ops=[ast.Eq()]):
                return self.value(node.left) == self.value(node.comparators[0])
            case ast.Call():
                return self._call(node)
        raise _NotUnderstoodError

    def _call(self, node: ast.Call) -> Any:
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in ("id_to_piece", "IdToPiece"):
            return self.piece
        if name in _KINDS:
            return _KINDS[name] == self.piece
        if name in _BUILTINS and isinstance(node.func, ast.Name):
            return _BUILTINS[name](*map(self.value, node.args))
        if isinstance(node.func, ast.Attribute):
            text = self.value(node.func.value)
            arguments = [self.value(argument) for argument in node.args]
            if isinstance(text, str) and name in ("startswith", "endswith", "replace", "lstrip"):
                return getattr(text, name)(*arguments)
            if isinstance(text, str) and name == "encode":
                return text.encode()
        raise _NotUnderstoodError


def read_byte_tables(program: Program) -> ByteTables:
    """Every loop that fills such a table, with what it counts for the samples."""
    adds = any(_adds_space(module) for module in program.modules)
    found = []
    for module in program.modules:
        for loop in _loops(module):
            counted = {piece: _counted(loop, piece, adds) for piece in SAMPLES}
            if None not in counted.values():
                found.append(
                    ByteTable(
                        file=module.path,
                        line=loop.lineno,
                        text=module.text(loop.lineno),
                        counted={piece: int(bytes_ or 0) for piece, bytes_ in counted.items()},
                        expected={piece: bytes_ for piece, (_, bytes_) in SAMPLES.items()},
                    )
                )
    return ByteTables(tables=tuple(found), fixed=tuple(_fixed(program)))


def _fixed(program: Program) -> Iterator[FixedBytes]:
    """Quotients `nats / ln 2 / constant`, where nothing counts the bytes of tokens."""
    if any(_COUNTED.search(line) for module in program.modules for line in module.lines):
        return
    for module in program.modules:
        constants = _constants(module)
        for node in module.nodes:
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
                factors = list(_factors(node.right))
                if isinstance(node.left, ast.BinOp) and isinstance(node.left.op, ast.Div):
                    factors += _factors(node.left.right)
                if not any(ast.unparse(factor) in _LN_2 for factor in factors):
                    continue
                for factor in factors:
                    name = getattr(factor, "attr", getattr(factor, "id", ""))
                    value = constants.get(name)
                    if value is not None and _PER_TOKEN.search(name):
                        text = module.text(node.lineno)
                        yield FixedBytes(
                            file=module.path, line=node.lineno, text=text, bytes_per_token=value
                        )


def _factors(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        yield from _factors(node.left)
        yield from _factors(node.right)
    else:
        yield node


def _constants(module: Module) -> dict[str, float]:
    """Names that are set once in the file, to a number."""
    values: dict[str, list[ast.expr | None]] = {}
    for node in module.nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                values.setdefault(name, []).append(value)
            case ast.Name(id=name, ctx=ast.Store()):
                values.setdefault(name, [])
    return {
        name: float(given[0].value)
        for name, given in values.items()
        if len(given) == 1
        and isinstance(given[0], ast.Constant)
        and isinstance(given[0].value, float)
    }


def _loops(module: Module) -> Iterator[ast.For]:
    """Loops over the pieces of a tokenizer."""
    for node in module.of(ast.For):
        if isinstance(node.target, ast.Name):
            called = {
                getattr(one.func, "attr", "") for one in walk(node) if isinstance(one, ast.Call)
            }
            if called & {"id_to_piece", "IdToPiece"} and "encode" in called:
                yield node


def _counted(loop: ast.For, piece: str, adds: bool) -> int | None:
    """Bytes counted for a token that follows another word; None where that is not understood."""
    turn = _Loop(piece, {getattr(loop.target, "id", ""): 7})
    try:
        turn.run(loop.body)
    except (_NotUnderstoodError, TypeError, ValueError, AttributeError, RecursionError):
        return None
    sizes = [value for name, value in turn.tables.items() if _is_size(name, value)]
    if len(sizes) != 1:
        return None
    spaces = [value for name, value in turn.tables.items() if "space" in name]
    return int(sizes[0]) + (1 if adds and any(spaces) else 0)


def _is_size(name: str, value: Any) -> bool:
    return "byte" in name and isinstance(value, int | float) and not isinstance(value, bool)


def _adds_space(module: Module) -> bool:
    """Whether scoring adds a byte for a leading space that follows no boundary."""
    for node in module.of(ast.BinOp):
        if isinstance(node.op, ast.BitAnd):
            words = {getattr(part, "id", getattr(part, "attr", "")) for part in walk(node)}
            text = " ".join(words)
            if "space" in text and "boundary" in text:
                return True
    return False
