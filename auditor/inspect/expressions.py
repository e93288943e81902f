"""Expressions in the taint analysis: what each may hold, and which library calls are known."""

import ast
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from auditor.inspect.source import Module
from auditor.inspect.tree import children, walk
from auditor.inspect.values import NOTHING, PLACED, Env, Function, Place, Seen, Value, join, named

LOSSES = frozenset(
    {"log", "log2", "log10", "log1p", "logaddexp", "logsumexp", "nll_loss", "cross_entropy", "log_"}
)
"""Where a probability becomes a charge."""
READERS = frozenset({"get", "gather", "index_select", "take", "take_along_dim", "embedding"})
MUTATORS = frozenset(
    {"append", "appendleft", "extend", "insert", "copy_", "add_", "masked_scatter_", "index_put_"}
)
ARRAY_LIBRARIES = frozenset({"np", "_np", "numpy", "torch", "F", "int", "math"})
ARRAY_SHAPE = frozenset(
    {"shape", "size", "dtype", "device", "ndim", "numel", "len", "nbytes", "zeros", "ones", "empty",
     "zeros_like", "ones_like", "empty_like", "full", "full_like", "isinstance", "rand", "randint"}
)  # fmt: skip
"""What says nothing of the content."""


Outside = tuple[str, str]
"""A name outside a function: `global`, an `attribute`, or one of its `own` object."""
Asked = dict[Outside, Value]
"""With what they held when they were asked for."""
CHANGED = Value(keys=frozenset({("changed in between", 0)}))
"""No value of a program; what was found twice, and not alike."""


def callee(call: ast.Call) -> str:
    """The last name of what is called."""
    function = call.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _is_array_library(function: ast.expr) -> bool:
    """Whether a function is one of numpy or torch, which keep the elements of their arguments."""
    while isinstance(function, ast.Attribute):
        function = function.value
    return isinstance(function, ast.Name) and function.id in ARRAY_LIBRARIES


def is_range(node: ast.expr) -> bool:
    """Whether a loop runs over the numbers of a vocabulary."""
    if not (isinstance(node, ast.Call) and callee(node) in ("range", "arange")):
        return False
    names = {getattr(n, "attr", getattr(n, "id", "")).lower() for n in walk(node)}
    return bool(names & {"v", "vocab", "vocab_size", "n_vocab", "num_classes"})


class Expressions(ABC):
    """Evaluates expressions; statements and calls of own functions are left to the interpreter."""

    def __init__(self) -> None:
        """Start with nothing known."""
        self.seen = Seen()
        self.functions: dict[str, list[Function]] = {}
        self._attributes: Env = {}
        self._globals: Env = {}
        self._active: list[Function | None] = [None]
        self._module: Module | None = None
        self._asked: list[Asked] = [{}]
        """Of every function that is followed, the outer ones first."""

    def _outside(self, name: Outside) -> Value:
        """What a name outside the function holds, or says of itself."""
        found = (self._globals if name[0] == "global" else self._attributes).get(name[1])
        if found is None:
            return NOTHING if name[0] == "attribute" else named(name[1])
        return found

    def _note(self, name: Outside, value: Value) -> None:
        """Keep what a function follows from, to know whether it would still."""
        asked = self._asked[-1]
        found = asked.setdefault(name, value)
        if found is not value and found != value:
            asked[name] = CHANGED

    @abstractmethod
    def _assign(self, target: ast.expr, value: Value, env: Env) -> None:
        """Bind a target to a value."""

    @abstractmethod
    def _mutate(self, node: ast.expr, value: Value, env: Env) -> None:
        """A value was put into what an expression names."""

    @abstractmethod
    def _bind(self, target: ast.expr, iterable: ast.expr, env: Env) -> None:
        """Bind loop variables."""

    @abstractmethod
    def _enter_call(
        self,
        function: Function,
        node: ast.Call,
        args: list[Value],
        keywords: dict[str | None, Value],
        env: Env,
    ) -> Value:
        """What a function of the program returns."""

    def value(self, node: ast.expr | None, env: Env) -> Value:
        """What an expression may hold."""
        kind = _KINDS.get(type(node))
        return self._joined(node, env) if kind is None else kind(self, node, env)  # type: ignore[arg-type]  # None has one

    def _joined(self, node: ast.expr, env: Env) -> Value:
        """Any of the parts of an expression that is not looked into."""
        below = [c for c in children(node) if isinstance(c, ast.expr)]
        return join([self.value(child, env) for child in below])

    def _name(self, node: ast.Name, env: Env) -> Value:
        found = env.get(node.id)
        if found is None:
            found = self._outside(name := ("global", node.id))
            self._note(name, found)
        return found

    def _sum(self, node: ast.BinOp, env: Env) -> Value:
        left, right = self.value(node.left, env), self.value(node.right, env)
        return self._operate(node.op, left, right, node.lineno)

    def _chosen(self, node: ast.IfExp, env: Env) -> Value:
        self.value(node.test, env)
        return self.value(node.body, env) | self.value(node.orelse, env)

    def _group(self, node: ast.Tuple, env: Env) -> Value:
        parts = tuple([self.value(item, env) for item in node.elts])
        return join(parts)._replace(vocab=False, parts=parts)

    def _comprehended(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp, env: Env) -> Value:
        inner = dict(env)
        for generator in node.generators:
            self._bind(generator.target, generator.iter, inner)
        return self.value(node.elt, inner)

    def _named_value(self, node: ast.NamedExpr, env: Env) -> Value:
        value = self.value(node.value, env)
        self._assign(node.target, value, env)
        return value

    def _attribute(self, node: ast.Attribute, env: Env) -> Value:
        if node.attr in ARRAY_SHAPE:
            return NOTHING
        own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        kept = self._outside(name := ("own" if own else "attribute", node.attr))
        self._note(name, kept)
        return kept if own else kept | self.value(node.value, env)

    def _operate(self, op: ast.operator, left: Value, right: Value, line: int) -> Value:
        """Mix two values; target and context mixed by a hashing operation make a key."""
        both = left | right
        mixes = isinstance(op, ast.BitXor) or (
            isinstance(op, ast.Mod | ast.BitAnd | ast.RShift) and left.target and left.context
        )
        if mixes and both.target and both.context and not both.keys and not both.vocab:
            return self._key(both, line)
        return both.apart()

    def _key(self, mixed: Value, line: int) -> Value:
        """An index into which target and context went."""
        place = self._place(line)
        if mixed.guessed:
            self.seen.guessed.add(place)
        return mixed._replace(keys=frozenset({place}), parts=())

    def _compare(self, node: ast.Compare, env: Env) -> Value:
        """A test; equality of an entry with a key shows that the table stores exact keys."""
        sides = [self.value(side, env) for side in (node.left, *node.comparators)]
        if isinstance(node.ops[0], ast.Eq | ast.NotEq) and len(sides) == 2:
            for entry, wanted in (sides, sides[::-1]):
                if entry.reads and wanted.keys and isinstance(node.left, ast.Subscript | ast.Name):
                    self.seen.exact.add(self._where())
        return join(sides).only_reads()

    def _subscript(self, node: ast.Subscript, env: Env) -> Value:
        base = self.value(node.value, env)
        function = self._active[-1]
        if function and function.scored and ast.unparse(node) in function.scored:
            return PLACED
        if isinstance(node.slice, ast.Slice):
            return base
        if base.parts and isinstance(node.slice, ast.Constant):
            place = node.slice.value
            if isinstance(place, int) and -len(base.parts) <= place < len(base.parts):
                return base.parts[place]
        index = self.value(node.slice, env)
        if base.parts and index == NOTHING:
            return base  # an element of a list of tuples that have the same parts
        return self._read(base, index, node.lineno)

    def _read(self, base: Value, index: Value, line: int) -> Value:
        """An entry of a table, or an element of an array of tokens."""
        place = self._place(line)
        if index.context or index.target:
            self.seen.tables.add(place)
        if index.vocab and index.context:
            self.seen.summed.add(self._where())
        if index.keys:
            self.seen.reads.setdefault(place, (self._active[-1], min(index.keys)))
            return Value(reads=base.reads | index.reads | {place})
        return base._replace(reads=base.reads | index.reads, parts=())

    def _call(self, node: ast.Call, env: Env) -> Value:
        name = callee(node)
        args = [self.value(a.value if isinstance(a, ast.Starred) else a, env) for a in node.args]
        keywords = {k.arg: self.value(k.value, env) for k in node.keywords}
        method = isinstance(node.func, ast.Attribute)
        base = self.value(node.func.value, env) if isinstance(node.func, ast.Attribute) else NOTHING
        everything = join([base, *args, *keywords.values()])
        if name in LOSSES:
            self.seen.fed |= everything.reads
            return everything.only_reads() if name in ("cross_entropy", "nll_loss") else everything
        if name in ARRAY_SHAPE:
            return NOTHING
        if name in ("arange", "range"):
            return Value(vocab=True) if is_range(node) else NOTHING
        if name in READERS:
            indices = [*args, *keywords.values()]
            keyed = [value for value in indices if value.keys]
            if keyed or name != "get":
                index = join(keyed or indices[-1:])
                return self._read(base | join(v for v in args if not v.keys), index, node.lineno)
        if name in ("hash", "crc32", "bitwise_xor") and everything.target and everything.context:
            return self._key(everything, node.lineno)
        if name in ("isin", "eq", "ne", "logical_and", "logical_or", "isfinite"):
            return everything.only_reads()
        if method and name in MUTATORS and isinstance(node.func, ast.Attribute):
            self._mutate(node.func.value, join(args), env)
        known = self.functions.get(name, [])
        called = [f for f in known if (f.owner is not None) == method] or known
        if name == "__init__" or not 0 < len(called) <= 4:
            # What is looked up for every token (its piece, its bytes) is no candidate any more.
            vocab = everything.vocab and (base.vocab or _is_array_library(node.func))
            return everything.apart(vocab)
        return join([self._enter_call(function, node, args, keywords, env) for function in called])

    def _place(self, line: int) -> Place:
        return (self._module.path if self._module else "", line)

    def _where(self) -> str:
        """Name of the function that is being followed."""
        function = self._active[-1]
        return function.node.name if function else ""


_KINDS: dict[type, Callable[[Expressions, Any, Env], Value]] = {
    **dict.fromkeys(
        (type(None), ast.Constant, ast.Lambda, ast.JoinedStr), lambda taint, node, env: NOTHING
    ),
    ast.Name: Expressions._name,
    ast.Attribute: Expressions._attribute,
    ast.BinOp: Expressions._sum,
    ast.Subscript: Expressions._subscript,
    ast.Call: Expressions._call,
    ast.Compare: Expressions._compare,
    ast.IfExp: Expressions._chosen,
    ast.Tuple: Expressions._group,
    ast.ListComp: Expressions._comprehended,
    ast.SetComp: Expressions._comprehended,
    ast.GeneratorExp: Expressions._comprehended,
    ast.NamedExpr: Expressions._named_value,
}
"""How each kind of expression is valued; `_joined` does for the others."""
