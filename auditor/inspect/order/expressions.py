"""Expressions in the analysis of order: what each may be, and which functions it calls."""

import ast
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from auditor.inspect.config import UNKNOWN, Config
from auditor.inspect.mixtures import WEIGHED, Mixtures
from auditor.inspect.order.library import Library, in_order
from auditor.inspect.order.memory import Env, Locals
from auditor.inspect.order.values import NOTHING, SETTING, VALIDATION, Value, cut, join
from auditor.inspect.order.vocabulary import (
    BYTES,
    CONFIGURATIONS,
    LOSSES,
    MANY,
    PRINTERS,
    RANDOM,
    SIZES,
    STORED,
    ZEROES,
    literal,
    named,
    names_length,
    parts,
    root,
    small,
)
from auditor.inspect.tree import children, walk
from auditor.inspect.values import Function, Place


class Expressions(Library):
    """Values of expressions."""

    def __init__(self, config: Config, classes: Mapping[str, list[str]]) -> None:
        """Start with no function known."""
        super().__init__(config, classes)
        self.functions: dict[str, list[Function]] = {}
        self.mixtures = Mixtures()
        self.choosing: list[Place] = []
        """Tests around this place that ask which of two losses is smaller."""
        self.own_modules: set[str] = set()
        """Names by which the program knows its own files."""
        self.libraries: set[str] = set()
        """And those of all others: `torch.load` is not its own `load`."""
        self.closures: dict[int, Env] = {}
        """Where a function of a function was defined, by the identity of its node."""
        self._lambdas: dict[int, Function] = {}
        self._words: dict[int, tuple[str, list[str]]] = {}
        """Text of a slice, and the names in it."""
        self._slices: dict[tuple[object, ...], Place] = {}
        self.class_level: dict[str, Value] = {}
        """Attributes that the bodies of classes set."""

    @abstractmethod
    def construct(self, name: str, args: list[Value], keywords: dict[str, Value]) -> Value:
        """Make an object of a class of the program."""

    @abstractmethod
    def comprehension(self, node: ast.expr, env: Env) -> Value:
        """Run a comprehension."""

    def value(self, node: ast.expr | None, env: Env) -> Value:
        """What an expression may be."""
        if node is None:
            return NOTHING
        kind = _KINDS.get(type(node))
        return self._joined(node, env) if kind is None else kind(self, node, env)

    def _joined(self, node: ast.expr, env: Env) -> Value:
        """Any of the parts of an expression that is not looked into."""
        parts = [self.value(part, env) for part in children(node) if isinstance(part, ast.expr)]
        return join(parts).whole()

    def _sum(self, node: ast.BinOp, env: Env) -> Value:
        left, right = self.value(node.left, env), self.value(node.right, env)
        value = self._spread(node, self.used(node.lineno, left, right), left)
        return self._mixed(node, value) if id(node) in self.mixtures.sums else value

    def _group(self, node: ast.Tuple | ast.List, env: Env) -> Value:
        # Items of items are not kept apart: doubling them forty times is one line of code.
        items = tuple([self.value(item, env).whole() for item in node.elts])
        if isinstance(node, ast.Tuple) and len(items) <= 12:
            return join(items).whole().but(items=items) if items else NOTHING
        return join(items).whole()

    def _chosen(self, node: ast.IfExp, env: Env) -> Value:
        truth = self.config.truth(node.test, Locals(env))
        if truth is not None:
            return self.value(node.body if truth else node.orelse, env)
        return self.value(node.body, env) | self.value(node.orelse, env)

    def _named_value(self, node: ast.NamedExpr, env: Env) -> Value:
        value = self.value(node.value, env)
        self.set(env, node.target.id, value)
        return value

    def _function(self, node: ast.Lambda, env: Env) -> Value:
        return Value(functions=frozenset({self._lambda(node, env)}))

    def _comprehended(self, node: ast.expr, env: Env) -> Value:
        return self.comprehension(node, env)

    def _spread(self, node: ast.BinOp, value: Value, left: Value) -> Value:
        """Mark the share of a byte in the log of a token's probability, or its root."""
        if not left.through and not left.loss:
            return value
        place = {self.place(node.lineno)}
        if left.loss and isinstance(node.op, ast.Div) and names_length(node.right):
            return value.noted("spread", place)
        power = node.right if isinstance(node.op, ast.Pow) else None
        root = isinstance(power, ast.BinOp) and isinstance(power.op, ast.Div)
        if root and names_length(power.right):  # type: ignore[union-attr]  # root says what it is
            return value.noted("rooted", place)
        return value

    def _compared(self, node: ast.Compare, env: Env) -> Value:
        """A truth value; one is kept in mind that says where a file has the answers."""
        sides = [self.value(part, env) for part in (node.left, *node.comparators)]
        value = join(sides).number()
        if len(sides) == 2 and isinstance(node.ops[0], ast.Eq):
            for stored, tokens in (sides, sides[::-1]):
                asks = stored.places("stored") and not stored.regions and not stored.through
                if asks and any(region.split == VALIDATION for region in tokens.regions):
                    return value.noted("agreed", {self.place(node.lineno)})
        return value

    def _mixed(self, node: ast.BinOp, value: Value) -> Value:
        """Mark a mixture with what is wrong with it, by the branches that were taken."""
        for kind in sorted(self.mixtures.sums[id(node)]):
            if kind != WEIGHED or value.places("own-loss"):
                value = value.noted(kind, {self.place(node.lineno)})
        return value

    def _text(self, node: ast.JoinedStr, env: Env) -> Value:
        values = [
            self.value(part.value if isinstance(part, ast.FormattedValue) else part, env)
            for part in node.values
        ]
        return join(values).whole()

    def _lambda(self, node: ast.Lambda, env: Env) -> Function:
        """A function without a name, as one that returns its expression."""
        if id(node) not in self._lambdas:
            body: list[ast.stmt] = [ast.copy_location(ast.Return(node.body), node)]
            made = ast.FunctionDef("<lambda>", node.args, body, [])
            module = self.module
            assert module is not None
            self._lambdas[id(node)] = Function(module, ast.copy_location(made, node), None, set())
        function = self._lambdas[id(node)]
        self.closures[id(function.node)] = env
        return function

    def _name(self, node: ast.Name, env: Env) -> Value:
        name = node.id
        for names in env.maps:
            if name in names:
                return names[name]
        if name in self.functions:
            plain = [one for one in self.functions[name] if one.owner is None]
            if plain:
                return Value(functions=frozenset(plain[-1:]))
        return named(name)

    def _attribute(self, node: ast.Attribute, env: Env) -> Value:
        base = self.value(node.value, env).whole()
        if node.attr in SIZES:
            return base.number()
        found = [
            self.heap[ref].attributes[node.attr]
            for ref in base.refs
            if node.attr in self.heap[ref].attributes
        ]
        if found:
            value = join(found)
        elif node.attr in self.class_level:
            value = self.class_level[node.attr]
        else:
            value = named(node.attr)
            if value is NOTHING:
                callable_ = base.functions or base.classes
                value = base.but(functions=frozenset(), classes=frozenset()) if callable_ else base
            if value.is_nothing and (root(node) == "args" or node.attr in self.config.names):
                value = Value(notes=frozenset({SETTING}))
        if node.attr in self.moving:
            value = value.but(turns=cut(value.turns | self.now()))
        return value

    # --- slices --------------------------------------------------------------------------------

    def _subscript(self, node: ast.Subscript, env: Env) -> Value:
        base, index = self.value(node.value, env), self.value(node.slice, env)
        if BYTES.search(getattr(node.value, "attr", getattr(node.value, "id", ""))):
            return (base.whole() | index.whole()).number()
        number = index.constant
        if isinstance(number, int) and -len(base.items) <= number < len(base.items):
            return base.items[number]
        return self.sliced(base.whole(), index.whole(), node, env)

    def sliced(self, base: Value, index: Value, node: ast.Subscript, env: Env) -> Value:
        """A part of tokens, or the entry of a table."""
        place, site = self.place(node.lineno), None
        if base.regions:
            place, site = self._slice_place(node, env)
        if base.regions and (index.turns or not small(node.slice)):
            # What an ended loop left in a list is some element of it.
            turns = frozenset(turn for turn in index.turns if turn[0] in self.loops.running)
            regions = frozenset(region.sliced(place, turns, site) for region in base.regions)
            base = base.but(regions=regions)
        if base.extent and not base.regions and not parts(node.slice):
            base = base.but(extent=False)
        if index.regions and not base.regions:
            return self.used(node.lineno, base, index.but(refs=frozenset(), deps=frozenset()))
        return base if not index.turns else base.but(turns=cut(base.turns | index.turns))

    def _slice_place(self, node: ast.Subscript, env: Env) -> tuple[Place, object]:
        """Where a slice was first written, and its site.

        The same words of unchanged names are the same slice.
        """
        if id(node) not in self._words:
            names = sorted({part.id for part in walk(node) if isinstance(part, ast.Name)})
            self._words[id(node)] = ast.unparse(node), names
        text, names = self._words[id(node)]
        versions = (
            next(
                (
                    (id(known), self.versions.get((id(known), name), 0))
                    for known in env.maps
                    if name in known
                ),
                None,
            )
            for name in names
        )
        site = self._serials.get(id(env.maps[0]), 0), text
        return self._slices.setdefault((text, *versions), self.place(node.lineno)), site

    # --- calls ---------------------------------------------------------------------------------

    def _call(self, node: ast.Call, env: Env) -> Value:
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        on = self.value(function.value, env) if isinstance(function, ast.Attribute) else NOTHING
        args = self._arguments(node, env)
        keywords = {k.arg or "": self.value(k.value, env) for k in node.keywords}
        given = [*args, *keywords.values()]
        if name in PRINTERS and node.args:
            self.print(node, join(given).whole(), env)
        entered = self._entered(node, name, on, args, keywords, env)
        if entered is not None:
            return entered
        if name == "getattr" and self._looks_up(node):
            constant = self.config.value(node, Locals(env))
            return Value(constant=constant, notes=frozenset({SETTING}))
        everything = [on, *given]
        special = self.library(node, name, on.whole(), args, keywords, env)
        if special is not None:
            return special
        result = self.used(node.lineno, *everything)
        if name in ("exp", "exp2") and result.notes:
            result = result.noted("rooted", result.places("spread"))
        if name in STORED and not result.regions:
            result = result.noted("stored", {self.place(node.lineno)})
        if name in ZEROES and any(value.constant == 0 for value in given):
            result = self.covered(result, node.lineno)
        if name in RANDOM:
            result = result.but(turns=cut(result.turns | self.now()))
        tokens = result.regions or result.through
        if tokens and (
            name in LOSSES or (on.refs and sum(bool(value.regions) for value in given) > 1)
        ):
            result = result.but(loss=True)
        constant = UNKNOWN if tokens else self.config.value(node, Locals(env))
        return result if constant is result.constant else result.but(constant=constant)

    def _looks_up(self, node: ast.Call) -> bool:
        """Whether a call of `getattr` asks for a setting."""
        attribute = node.args[1] if len(node.args) > 1 else None
        if not isinstance(attribute, ast.Constant):
            return False
        return root(node.args[0]) in CONFIGURATIONS or attribute.value in self.config.names

    def covered(self, value: Value, line: int) -> Value:
        """Mark what was set to nothing where a file agrees with the tokens."""
        return value.noted("covered", {self.place(line)} if value.places("agreed") else ())

    def _arguments(self, node: ast.Call, env: Env) -> list[Value]:
        values: list[Value] = []
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                value = self.value(argument.value, env)
                values += value.items or (value.whole(),) * MANY
            else:
                values.append(self.value(argument, env))
        return values

    def _entered(
        self,
        node: ast.Call,
        name: str,
        on: Value,
        args: list[Value],
        keywords: dict[str, Value],
        env: Env,
    ) -> Value | None:
        """The value of a call of the program's own code; None when it is none."""
        if isinstance(node.func, ast.Name):
            known = env.get(name)
            if known is not None and known.functions:
                functions = in_order(known.functions)
                return join(self._run(one, node, args, keywords, NOTHING, env) for one in functions)
            if known is not None and known.refs:
                value = self.used(node.lineno, known, *args, *keywords.values())
                return value.but(loss=sum(bool(a.regions) for a in args) > 1)
            if name in self.classes:
                return self.construct(name, args, keywords)
            plain = [one for one in self.functions.get(name, []) if one.owner is None]
            if not plain or known is not None:
                return None
            return self._run(plain[-1], node, args, keywords, NOTHING, env)
        if not isinstance(node.func, ast.Attribute):
            functions = in_order(self.value(node.func, env).functions)
            if not functions:
                return None
            return join(self._run(one, node, args, keywords, NOTHING, env) for one in functions)
        if name not in self.functions and name not in self.classes:
            return None
        methods = [one for one in self.functions.get(name, []) if one.owner is not None]
        own = [one for one in methods if one.owner in on.classes]
        first = root(node.func.value)
        if first in self.own_modules:
            plain = [one for one in self.functions.get(name, []) if one.owner is None]
            if plain:
                return self._run(plain[-1], node, args, keywords, NOTHING, env)
            if name in self.classes:
                return self.construct(name, args, keywords)
        elif first not in self.libraries and not own and not on.refs and not on.regions:
            own = methods if len(methods) == 1 and not self.opaque(methods[0].owner) else []
        own = [
            one
            for one in own
            if not (self.opaque(one.owner) and name.startswith(("forward", "__")))
        ]
        if not own or (name in ("step", "backward", "state_dict") and self.opaque(own[0].owner)):
            return None
        return join(self._run(one, node, args, keywords, on.whole(), env) for one in own)

    def _run(
        self,
        function: Function,
        node: ast.Call,
        args: list[Value],
        keywords: dict[str, Value],
        own: Value,
        env: Env,
    ) -> Value:
        """Run a function, and take back what it put into its arguments."""
        result = self.enter(function, args, keywords, own)
        left, self.left = self.left, {}
        if left and not any(isinstance(argument, ast.Starred) for argument in node.args):
            given = dict(zip(function.parameters, node.args, strict=False))
            given.update({one.arg: one.value for one in node.keywords if one.arg})
            for name, value in left.items():
                if name in given:
                    self.mutate(given[name], value, env)
        return result


_KINDS: dict[type[ast.AST], Callable[[Expressions, Any, Env], Value]] = {
    ast.Constant: lambda machine, node, env: literal(node),
    ast.Name: Expressions._name,
    ast.Attribute: Expressions._attribute,
    ast.Subscript: Expressions._subscript,
    ast.Call: Expressions._call,
    ast.BinOp: Expressions._sum,
    ast.Tuple: Expressions._group,
    ast.List: Expressions._group,
    ast.IfExp: Expressions._chosen,
    ast.ListComp: Expressions._comprehended,
    ast.GeneratorExp: Expressions._comprehended,
    ast.SetComp: Expressions._comprehended,
    ast.DictComp: Expressions._comprehended,
    ast.Compare: Expressions._compared,
    ast.NamedExpr: Expressions._named_value,
    ast.Lambda: Expressions._function,
    ast.JoinedStr: Expressions._text,
}
"""How each kind of expression is valued; `_joined` does for the others."""
