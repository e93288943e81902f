"""Follows tokens through a program: into keys, table reads, and from there into scores.

An abstract interpreter over the syntax tree. Statements are taken in order, branches are joined,
loop bodies taken twice, calls of functions of the same files entered with the values of their
arguments. What is not understood passes the values of its parts on, so that a chain is not lost.
"""

import ast
from dataclasses import replace

from auditor.inspect.expressions import Expressions, callee
from auditor.inspect.source import FunctionNode, Module
from auditor.inspect.values import (
    CONTEXT,
    NOTHING,
    Env,
    Function,
    Seen,
    Value,
    is_context_name,
    join,
    named,
    scored_elements,
    token_lines,
)

MAX_CALL_DEPTH = 24
MAX_VISITS = 6_000
"""Bodies entered in one analysis; more is a program written to be slow, and ends it."""


class TooLong(Exception):  # noqa: N818 - a limit, not a fault
    """The program is too large to be followed."""


class Taint(Expressions):
    """One analysis of a set of modules."""

    def __init__(self, modules: tuple[Module, ...]) -> None:
        """Index the functions by their name."""
        super().__init__()
        self._memo: dict[tuple[int, tuple[Value, ...]], tuple[Value, Env]] = {}
        self._entered: set[int] = set()
        self._module = modules[0] if modules else None
        self._visits = 0
        self._modules = modules
        for module in modules:
            lines = token_lines(module)
            for node, owner in module.functions:
                indexed = any(node.lineno <= line <= (node.end_lineno or 0) for line in lines)
                scored = scored_elements(node) if indexed else set()
                function = Function(module, node, owner, scored)
                self.functions.setdefault(node.name, []).append(function)

    def run(self) -> Seen:
        """Analyse every module, then each function that no analysed call entered."""
        for _ in range(2):  # attributes set late are read early in the second round
            self._memo.clear()
            self._entered.clear()
            for module in self._modules:
                self._module = module
                self._active = [None]
                self._block(module.tree.body, self._globals)
            for same_name in list(self.functions.values()):
                for function in same_name:
                    if id(function.node) not in self._entered:
                        self._enter(function, [])
        return self.seen

    # --- statements ----------------------------------------------------------------------------

    def _block(self, body: list[ast.stmt], env: Env) -> Value:
        """Run statements in order; what they may return."""
        return join([self._statement(statement, env) for statement in body])

    def _statement(self, node: ast.stmt, env: Env) -> Value:
        if isinstance(node, ast.Return):
            return self.value(node.value, env)
        if isinstance(node, ast.Assign):
            value = self.value(node.value, env)
            for target in node.targets:
                self._assign(target, value, env)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            self._assign(node.target, self.value(node.value, env), env)
        elif isinstance(node, ast.AugAssign):
            self._augment(node, env)
        elif isinstance(node, ast.Expr):
            self.value(node.value, env)
        elif isinstance(node, ast.If):
            self.value(node.test, env)
            other = dict(env)
            returned = self._block(node.body, env) | self._block(node.orelse, other)
            _merge(env, other)
            return returned
        elif isinstance(node, ast.For | ast.AsyncFor):
            self._bind(node.target, node.iter, env)
            return self._loop(node.body, node.orelse, env)
        elif isinstance(node, ast.While):
            self.value(node.test, env)
            return self._loop(node.body, node.orelse, env)
        elif isinstance(node, ast.With | ast.AsyncWith):
            for item in node.items:
                self.value(item.context_expr, env)
            return self._block(node.body, env)
        elif isinstance(node, ast.Try):
            handlers = [statement for handler in node.handlers for statement in handler.body]
            return self._block([*node.body, *handlers, *node.orelse, *node.finalbody], env)
        elif isinstance(node, ast.ClassDef):
            return self._block([s for s in node.body if not isinstance(s, FunctionNode)], {})
        return NOTHING

    def _loop(self, body: list[ast.stmt], orelse: list[ast.stmt], env: Env) -> Value:
        """A body twice, so that what the first turn leaves is seen by the second."""
        before = dict(env)
        self._block(body, env)
        _merge(env, before)
        returned = self._block(body, env)
        _merge(env, before)
        return returned | self._block(orelse, env)

    def _assign(self, target: ast.expr, value: Value, env: Env) -> None:
        if isinstance(target, ast.Name):
            env[target.id] = value if value.vocab or value.keys else value | named(target.id)
        elif isinstance(target, ast.Tuple | ast.List):
            parts = value.parts if len(value.parts) == len(target.elts) else ()
            for place, item in enumerate(target.elts):
                inner = item.value if isinstance(item, ast.Starred) else item
                part = parts[place] if parts else value
                # Which part of an unknown pair is the target, the names must say.
                if not parts and isinstance(inner, ast.Name) and part.target:
                    part = replace(part, target=False, guessed=False, keys=frozenset())
                self._assign(inner, part, env)
        elif isinstance(target, ast.Attribute):
            old = self._attributes.get(target.attr, NOTHING)
            self._attributes[target.attr] = old | value
        elif isinstance(target, ast.Subscript):
            index = self.value(target.slice, env)
            # An index made of tokens writes a table's entry; the table does not become the value.
            if not (index.keys or index.target or index.context):
                self._mutate(target.value, value, env)

    def _augment(self, node: ast.AugAssign, env: Env) -> None:
        """`a op= b`: for a name the same as `a = a op b`; a table's entry is only updated."""
        right = self.value(node.value, env)
        if isinstance(node.target, ast.Name):
            left = env.get(node.target.id, named(node.target.id))
            value = self._operate(node.op, left, right, node.lineno)
            env[node.target.id] = value
        else:
            self._assign(node.target, right, env)

    def _mutate(self, node: ast.expr, value: Value, env: Env) -> None:
        """A value was put into what an expression names."""
        if isinstance(node, ast.Name):
            env[node.id] = env.get(node.id, named(node.id)) | value
        elif isinstance(node, ast.Attribute):
            self._attributes[node.attr] = self._attributes.get(node.attr, NOTHING) | value
        elif isinstance(node, ast.Subscript):
            self._mutate(node.value, value, env)

    def _bind(self, target: ast.expr, iterable: ast.expr, env: Env) -> None:
        """Loop variables: `zip` and `enumerate` element by element."""
        name = callee(iterable) if isinstance(iterable, ast.Call) else ""
        if isinstance(iterable, ast.Call) and isinstance(target, ast.Tuple):
            values = [self.value(argument, env) for argument in iterable.args]
            if name == "enumerate" and len(target.elts) == 2 and values:
                self._assign(target.elts[0], NOTHING, env)
                return self._assign(target.elts[1], values[0], env)
            if name == "zip" and len(values) == len(target.elts):
                for item, value in zip(target.elts, values, strict=True):
                    self._assign(item, value, env)
                return None
        self._assign(target, self.value(iterable, env), env)
        return None

    # --- calls ---------------------------------------------------------------------------------

    def _enter_call(
        self,
        function: Function,
        node: ast.Call,
        args: list[Value],
        keywords: dict[str | None, Value],
        env: Env,
    ) -> Value:
        """Enter a function with these arguments, and take back what it put into them."""
        names = function.parameters
        given = dict(zip(names, args, strict=False))
        given.update({name: value for name, value in keywords.items() if name})
        values = [given.get(name, NOTHING) for name in names]
        result, left = self._enter(function, values)
        for name, argument in zip(names, node.args, strict=False):
            put = left.get(name, NOTHING)
            if put.reads - given.get(name, NOTHING).reads:
                self._mutate(argument, Value(reads=put.reads), env)
        return result

    def _enter(self, function: Function, values: list[Value]) -> tuple[Value, Env]:
        """What a function returns for these arguments, and what its parameters hold at the end."""
        names = function.parameters
        values = values or [NOTHING] * len(names)
        memo = (id(function.node), tuple(values))
        if memo in self._memo:
            return self._memo[memo]
        self._entered.add(id(function.node))
        if len(self._active) > MAX_CALL_DEPTH or function in self._active:
            return NOTHING, {}
        self._visits += 1
        if self._visits > MAX_VISITS:
            raise TooLong
        # A candidate of the vocabulary is no target, whatever the parameter is called.
        env = {
            name: value if value.vocab or value.target else value | _parameter(name, value)
            for name, value in zip(names, values, strict=True)
        }
        module, self._module = self._module, function.module
        self._active.append(function)
        returned = self._block(function.node.body, env)
        self._active.pop()
        self._module = module
        self._memo[memo] = returned, env
        return self._memo[memo]


def _parameter(name: str, value: Value) -> Value:
    """What a parameter's name adds; a context is not made a target by the way it is called."""
    said = named(name)
    return said if value is NOTHING or not is_context_name(name) else CONTEXT


def _merge(env: Env, other: Env) -> None:
    """Join another branch into an environment."""
    for name, value in other.items():
        old = env.get(name)
        if old is not value:
            env[name] = value if old is None else old | value
