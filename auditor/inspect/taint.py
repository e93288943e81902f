"""Follows tokens through a program: into keys, table reads, and from there into scores.

An abstract interpreter over the syntax tree. Statements are taken in order, branches are joined,
loop bodies taken twice, calls of functions of the same files entered with the values of their
arguments. What is not understood passes the values of its parts on, so that a chain is not lost.
"""

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from auditor.inspect.expressions import Asked, Expressions, callee
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


_Call = tuple[int, tuple[Value, ...]]
"""A function, by the identity of its node, and its arguments."""


@dataclass(frozen=True, slots=True)
class _Followed:
    """What following a function gave."""

    returned: Value
    left: Env
    """What its names hold at its end."""
    asked: Asked
    entered: set[int]


class Taint(Expressions):
    """One analysis of a set of modules."""

    def __init__(self, modules: tuple[Module, ...]) -> None:
        """Index the functions by their name."""
        super().__init__()
        self._memo: dict[_Call, _Followed] = {}
        self._before: dict[_Call, _Followed] = {}
        """What the round before found."""
        self._entered: list[set[int]] = [set()]
        """Functions that were entered in one that is followed, the outer ones first."""
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
            self._before, self._memo = self._memo, {}
            self._entered = [set()]
            for module in self._modules:
                self._module = module
                self._active = [None]
                self._block(module.tree.body, self._globals)
            for same_name in list(self.functions.values()):
                for function in same_name:
                    if id(function.node) not in self._entered[0]:
                        self._enter(function, [])
        return self.seen

    # --- statements ----------------------------------------------------------------------------

    def _block(self, body: list[ast.stmt], env: Env) -> Value:
        """Run statements in order; what they may return."""
        return join([self._statement(statement, env) for statement in body])

    def _statement(self, node: ast.stmt, env: Env) -> Value:
        run = _STATEMENTS.get(type(node))
        return NOTHING if run is None else run(self, node, env) or NOTHING

    def _return(self, node: ast.Return, env: Env) -> Value:
        return self.value(node.value, env)

    def _set(self, node: ast.Assign, env: Env) -> None:
        value = self.value(node.value, env)
        for target in node.targets:
            self._assign(target, value, env)

    def _set_typed(self, node: ast.AnnAssign, env: Env) -> None:
        if node.value is not None:
            self._assign(node.target, self.value(node.value, env), env)

    def _expression(self, node: ast.Expr, env: Env) -> None:
        self.value(node.value, env)

    def _if(self, node: ast.If, env: Env) -> Value:
        self.value(node.test, env)
        other = dict(env)
        returned = self._block(node.body, env) | self._block(node.orelse, other)
        _merge(env, other)
        return returned

    def _for(self, node: ast.For | ast.AsyncFor, env: Env) -> Value:
        self._bind(node.target, node.iter, env)
        return self._loop(node.body, node.orelse, env)

    def _while(self, node: ast.While, env: Env) -> Value:
        self.value(node.test, env)
        return self._loop(node.body, node.orelse, env)

    def _with(self, node: ast.With | ast.AsyncWith, env: Env) -> Value:
        for item in node.items:
            self.value(item.context_expr, env)
        return self._block(node.body, env)

    def _try(self, node: ast.Try, env: Env) -> Value:
        handlers = [statement for handler in node.handlers for statement in handler.body]
        return self._block([*node.body, *handlers, *node.orelse, *node.finalbody], env)

    def _class(self, node: ast.ClassDef, env: Env) -> Value:
        return self._block([s for s in node.body if not isinstance(s, FunctionNode)], {})

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
                    part = part._replace(target=False, guessed=False, keys=frozenset())
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
        known = self._memo.get(memo) or self._same_as_before(memo)
        if known is not None:
            self._entered[-1] |= known.entered
            for name, value in known.asked.items():
                self._note(name, value)
            return known.returned, known.left
        self._entered[-1].add(id(function.node))
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
        self._asked.append({})
        self._entered.append({id(function.node)})
        returned = self._block(function.node.body, env)
        self._active.pop()
        self._module = module
        self._memo[memo] = _Followed(returned, env, self._asked.pop(), self._entered.pop())
        self._entered[-1] |= self._memo[memo].entered
        for name, value in self._memo[memo].asked.items():
            self._note(name, value)
        return returned, env

    def _same_as_before(self, memo: "_Call") -> "_Followed | None":
        """What the round before found, where all that it followed from is still so."""
        known = self._before.get(memo)
        if known is None:
            return None
        if any(self._outside(name) != value for name, value in known.asked.items()):
            return None
        self._memo[memo] = known
        return known


_STATEMENTS: dict[type[ast.AST], Callable[[Taint, Any, Env], Value | None]] = {
    ast.Return: Taint._return,
    ast.Assign: Taint._set,
    ast.AnnAssign: Taint._set_typed,
    ast.AugAssign: Taint._augment,
    ast.Expr: Taint._expression,
    ast.If: Taint._if,
    ast.For: Taint._for,
    ast.AsyncFor: Taint._for,
    ast.While: Taint._while,
    ast.With: Taint._with,
    ast.AsyncWith: Taint._with,
    ast.Try: Taint._try,
    ast.ClassDef: Taint._class,
}
"""How each kind of statement is run; the others do nothing here."""


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
