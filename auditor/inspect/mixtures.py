"""Mixtures of two probabilities of the true token that no mixture of distributions can be.

Searched are sums `(1 - a) * p + a * q`. Since `p` is `exp(-loss)`, what is mixed is the probability
of one token, the one that came. Of such a sum it is asked:

- `weighed`: is the weight made from that same loss? A weight may follow from the context, and from
  losses that came before, but not from how well the answer was predicted.
- `known`: does it stand behind a test whether `q`, a count of the true token divided by that of its
  context, is more than zero? Where the table does not know the token, the other component then
  keeps all of its weight, and the numbers of all tokens add up to more than one.
- `spelled`: is `q` the product of the probabilities of the bytes that spell the token? One token's
  bytes may begin another's, so these products add up to more than one.

How it can be wrong: names are followed within one function, in the order of its lines; what a
method keeps in its object is not. Where a number is divided by the sum over all tokens inside a
function of another name, that is not seen.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from auditor.inspect.source import Module
from auditor.inspect.tree import children, walk

WEIGHED, KNOWN, SPELLED = "weighed", "known", "spelled"
MAX_MIXTURES = 200
"""Of one file; scripts of this benchmark have some twenty."""
MAX_STEPS = 200
"""Names followed from one weight."""
_CASTS = frozenset(
    {"to", "cpu", "numpy", "float", "double", "item", "tolist", "clone", "detach", "astype", "copy",
     "squeeze", "reshape", "view", "flatten", "asarray", "array", "from_numpy", "tensor"}
)  # fmt: skip
"""They give the same numbers."""
_SHAPE = frozenset(
    {"len", "shape", "size", "numel", "dtype", "device", "ndim", "zeros_like", "ones_like",
     "empty_like", "full_like", "isfinite", "isnan", "range", "arange"}
)  # fmt: skip
_PIECES = frozenset({"IdToPiece", "id_to_piece", "encode", "bytes", "bytearray", "piece_to_bytes"})


@dataclass(slots=True)
class Mixtures:
    """Expressions of a program, by the identity of their nodes."""

    weights: set[int] = field(default_factory=set)
    """What a weight is set to where it is made from the loss of the token that it is for."""
    sums: dict[int, frozenset[str]] = field(default_factory=dict)
    """Sums, with what is wrong with each when the program gets there; `weighed` is when it came
    by one of the above."""


@lru_cache(maxsize=2)
def find_mixtures(modules: tuple[Module, ...]) -> Mixtures:
    """Look through every function."""
    found = Mixtures()
    for module in modules:
        lines = [node.lineno for node in module.of(ast.BinOp) if _sum_of(node, ()) is not None]
        for node, _ in module.functions if lines else ():
            if not any(node.lineno <= line <= (node.end_lineno or 0) for line in lines):
                continue
            sums = list(_sums(node))[:MAX_MIXTURES]
            if sums:
                names = _Names(node)
                for one in sums:
                    _judge(one, names, found)
    return found


@dataclass(frozen=True, slots=True)
class _Sum:
    """`(1 - weight) * rest + weight * other`."""

    node: ast.BinOp
    weight: ast.expr
    parts: tuple[ast.expr, ast.expr]
    guards: tuple[ast.expr, ...]
    """Tests that hold there."""


def _sums(function: ast.AST) -> Iterator[_Sum]:
    waiting: list[tuple[ast.AST, tuple[ast.expr, ...]]] = [
        (child, ()) for child in children(function)
    ]
    while waiting:
        node, guards = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If):
            waiting += [(child, (*guards, node.test)) for child in node.body]
            waiting += [(child, guards) for child in (node.test, *node.orelse)]
            continue
        found = _sum_of(node, guards)
        if found is not None:
            yield found
        waiting += [(child, guards) for child in children(node)]


def _sum_of(node: ast.AST, guards: tuple[ast.expr, ...]) -> _Sum | None:
    """A node as such a sum; None for all others."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        for first, second in ((node.left, node.right), (node.right, node.left)):
            whole = _complement(first)
            other = _without(second, whole[0]) if whole else None
            if whole and other is not None:
                return _Sum(node, whole[0], (whole[1], other), guards)
    return None


def _complement(node: ast.expr) -> tuple[ast.expr, ast.expr] | None:
    """The weight and what it is taken from, of `(1 - weight) * rest` or `0.9 * rest`."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        for factor, rest in ((node.left, node.right), (node.right, node.left)):
            match factor:
                case ast.BinOp(left=ast.Constant(value=1), op=ast.Sub(), right=weight):
                    return weight, rest
                case ast.Constant(value=float(share)) if 0 < share < 1:
                    return ast.Constant(round(1 - share, 9)), rest
    return None


def _without(node: ast.expr, weight: ast.expr) -> ast.expr | None:
    """The other factor of `weight * other`."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        for factor, rest in ((node.left, node.right), (node.right, node.left)):
            if ast.unparse(factor) == ast.unparse(weight):
                return rest
    return None


class _Names:
    """What the names of one function are set to, line by line."""

    def __init__(self, function: ast.AST) -> None:
        """Read all assignments."""
        self.set: dict[str, list[tuple[int, ast.expr]]] = {}
        self.added: dict[str, list[ast.expr | None]] = {}
        """Name -> what the innermost loop goes over in which something is added to it."""
        waiting: list[tuple[ast.AST, ast.expr | None]] = [(function, None)]
        while waiting:
            node, loop = waiting.pop()
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self.set.setdefault(name, []).append((node.lineno, value))
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    self.set.setdefault(name, []).append((node.lineno, value))
                case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                    for target, value in zip(names, values, strict=False):
                        if isinstance(target, ast.Name):
                            self.set.setdefault(target.id, []).append((node.lineno, value))
                case ast.AugAssign(target=ast.Name(id=name), op=ast.Add()):
                    self.added.setdefault(name, []).append(loop)
            inner = node.iter if isinstance(node, ast.For) else loop
            waiting += [(child, inner) for child in children(node)]

    def before(self, name: str, line: int) -> list[tuple[int, ast.expr]]:
        """What a name was set to on earlier lines."""
        return [one for one in self.set.get(name, []) if one[0] < line]

    def last(self, name: str, line: int) -> tuple[int, ast.expr] | None:
        """The last of them."""
        return max(self.before(name, line), key=lambda one: one[0], default=None)


def _judge(one: _Sum, names: _Names, found: Mixtures) -> None:
    line = one.node.lineno
    wrong: set[str] = set()
    for part, other in (one.parts, one.parts[::-1]):
        exponent = _exponent(part, names, line)
        if exponent is None:
            continue
        loss = _negated(exponent, names, line)
        if loss is not None:
            weights = list(_made_from(one.weight, loss, names, line))
            found.weights.update(map(id, weights))
            wrong |= {WEIGHED} if weights else set()
            wrong |= {KNOWN} if _asks_whether_known(one.guards, other, names, line) else set()
        second = _exponent(other, names, line)
        if second is not None and _spelled(second, names, line):
            wrong.add(SPELLED)
    if wrong:
        found.sums[id(one.node)] = frozenset(wrong)


def _plain(node: ast.expr) -> ast.expr:
    """An expression without casts, and without an index into what they give."""
    while True:
        match node:
            case ast.Call(func=ast.Attribute(value=inner, attr=name)) if name in _CASTS:
                # `np.asarray(x)` gives its argument, `x.cpu()` what it is called on.
                library = isinstance(inner, ast.Name) and inner.id in ("np", "numpy", "torch")
                node = node.args[0] if library and node.args else inner
            case ast.Call(func=ast.Name(id="float"), args=[inner]):
                node = inner
            case ast.IfExp(body=inner, orelse=ast.Constant()):
                node = inner
            case _:
                return node


def _exponent(node: ast.expr, names: _Names, line: int) -> ast.expr | None:
    """What a probability is the exponential of."""
    node = _plain(node)
    if isinstance(node, ast.Subscript):
        node = _plain(node.value)
    if isinstance(node, ast.Name):
        last = names.last(node.id, line)
        if last is None:
            return None
        node = _plain(last[1])
    if isinstance(node, ast.Call) and node.args:
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name.lstrip("_") == "exp":
            return _plain(node.args[0])
    return None


def _negated(node: ast.expr, names: _Names, line: int) -> ast.expr | None:
    """The loss of which an exponent is the negative."""
    if isinstance(node, ast.Name):
        last = names.last(node.id, line)
        node = _plain(last[1]) if last else node
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return _plain(node.operand)
    return None


def _made_from(weight: ast.expr, loss: ast.expr, names: _Names, line: int) -> Iterator[ast.expr]:
    """What a weight is set to, where that is made from the loss after it was last set."""
    root = loss.value if isinstance(loss, ast.Subscript) else loss
    if not isinstance(root, ast.Name):
        return
    last = names.last(root.id, line)
    since = last[0] if last else 0
    if isinstance(weight, ast.Subscript):
        weight = weight.value
    if isinstance(weight, ast.Name):
        for at, value in names.before(weight.id, line):
            if at > since and _depends(value, loss, names, at, since):
                yield value


def _depends(node: ast.expr, loss: ast.expr, names: _Names, line: int, since: int) -> bool:
    """Whether an expression is made from a loss, over names that were set since."""
    wanted = ast.unparse(loss)
    waiting = [(node, line)]
    seen: set[str] = set()
    while waiting and len(seen) < MAX_STEPS:
        here, at = waiting.pop()
        for part in _parts(here):
            if ast.unparse(part) == wanted:
                return True
            if isinstance(part, ast.Name) and part.id not in seen:
                seen.add(part.id)
                earlier = names.before(part.id, at)
                waiting += [(value, place) for place, value in earlier if place > since]
    return False


def _parts(node: ast.expr) -> Iterator[ast.expr]:
    """Names and elements in an expression; a slice of other elements is not the same loss."""
    waiting: list[ast.AST] = [node]
    while waiting:
        here = waiting.pop()
        if isinstance(here, ast.Subscript):
            yield here
            if not isinstance(here.slice, ast.Slice | ast.BinOp | ast.UnaryOp):
                waiting += [here.value, here.slice]
            continue
        if isinstance(here, ast.Name):
            yield here
        called = here.func if isinstance(here, ast.Call) else here
        if getattr(called, "attr", getattr(called, "id", "")) in _SHAPE:
            continue
        waiting += list(children(here))


def _asks_whether_known(
    guards: tuple[ast.expr, ...], share: ast.expr, names: _Names, line: int
) -> bool:
    """Whether a test on the way asks if the count of the token is more than zero."""
    share = _plain(share)
    if not isinstance(share, ast.Name):
        return False
    asked = False
    for guard in guards:
        for test in guard.values if isinstance(guard, ast.BoolOp) else [guard]:
            match test:
                case ast.Compare(
                    left=ast.Name(id=name), ops=[ast.Gt()], comparators=[ast.Constant(value=least)]
                ) if name == share.id and least == 0:
                    asked = True
    values = [
        value for _, value in names.before(share.id, line) if not isinstance(value, ast.Constant)
    ]
    return asked and bool(values) and all(_counts(value, names, line) for value in values)


def _counts(value: ast.expr, names: _Names, line: int) -> bool:
    """Whether a share is a count that may be none, divided by another."""
    if not isinstance(value, ast.BinOp) or not isinstance(value.op, ast.Div):
        return False
    count = _plain(value.left)
    if isinstance(count, ast.Name):
        last = names.last(count.id, line)
        count = _plain(last[1]) if last else count
    match count:
        case ast.Call(func=ast.Attribute(attr="get"), args=[_, ast.Constant(value=none)]):
            return bool(none == 0)
    return False


def _spelled(exponent: ast.expr, names: _Names, line: int) -> bool:
    """Whether a log of a probability is summed up over the bytes of a token, and nothing else."""
    if not isinstance(exponent, ast.Name) or exponent.id not in names.added:
        return False
    if not all(isinstance(value, ast.Constant) for _, value in names.before(exponent.id, line)):
        return False
    loops = names.added[exponent.id]
    return all(loop is not None and _is_bytes(loop, names) for loop in loops)


def _is_bytes(node: ast.expr, names: _Names) -> bool:
    """Whether something is the bytes of a piece that a tokenizer gives for a number."""
    waiting = [node]
    seen: set[str] = set()
    while waiting and len(seen) < MAX_STEPS:
        for part in walk(waiting.pop()):
            if isinstance(part, ast.Call):
                if getattr(part.func, "attr", getattr(part.func, "id", "")) in _PIECES:
                    return True
            elif isinstance(part, ast.Name) and part.id not in seen:
                seen.add(part.id)
                waiting += [value for _, value in names.set.get(part.id, [])]
    return False
