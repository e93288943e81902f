"""Table sizes written into the source are scaled with the stream, and said.

What decides whether a hashed table collides is its load, tokens per bucket. A stream of 50,000
tokens in the table of a 62-million-token run would meet no collision at all. Powers of two from
2^18 to 2^28, written as integers, shifts, powers or digit strings, are sizes of tables or of
chunks; everything else is left alone.
"""

import ast
from collections.abc import Callable

SMALLEST, LARGEST = 2**18, 2**28
FLOOR = 256

Report = Callable[[str, int, int, int], None]
"""Called with file, line, old and new value."""


class Scale(ast.NodeTransformer):
    """Replaces large powers of two in a syntax tree."""

    def __init__(self, factor: float, file: str, report: Report) -> None:
        """Multiply by `factor`, to the nearest power of two."""
        self._factor = factor
        self._file = file
        self._report = report

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        """Integers, and strings of digits as they stand in defaults of environment variables."""
        if type(node.value) is int and self._is_size(node.value):
            return ast.copy_location(ast.Constant(self._scaled(node.value, node.lineno)), node)
        if isinstance(node.value, str) and node.value.isdecimal() and len(node.value) < 12:
            value = int(node.value)
            if self._is_size(value):
                return ast.copy_location(ast.Constant(str(self._scaled(value, node.lineno))), node)
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """`1 << 22` and `2 ** 22`."""
        base, power = _whole(node.left), _whole(node.right)
        if base is not None and power is not None and 0 <= power <= 64:
            value = 0
            if isinstance(node.op, ast.LShift):
                value = base << power
            elif isinstance(node.op, ast.Pow):
                value = int(base**power)
            if self._is_size(value):
                return ast.copy_location(ast.Constant(self._scaled(value, node.lineno)), node)
        return self.generic_visit(node)

    @staticmethod
    def _is_size(value: int) -> bool:
        return SMALLEST <= value <= LARGEST and value & (value - 1) == 0

    def _scaled(self, value: int, line: int) -> int:
        smaller = scaled(value, self._factor)
        if smaller != value:
            self._report(self._file, line, value, smaller)
        return smaller


def scaled(value: int, factor: float) -> int:
    """The nearest power of two, neither below the floor nor above the value itself."""
    target = max(value * factor, FLOOR)
    below = 1 << (int(target).bit_length() - 1)
    return min(value, below if target / below < 2**0.5 else 2 * below)


def _whole(node: ast.expr) -> int | None:
    """The value of an integer literal."""
    return node.value if isinstance(node, ast.Constant) and type(node.value) is int else None
