"""Functions of a program, what they mention, and the guards around it."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from auditor.inspect.config import UNKNOWN
from auditor.inspect.source import FunctionNode, Module
from auditor.inspect.tree import walk

Locals = dict[str, list[ast.expr]]


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """A test that must come out in one way."""

    test: ast.expr
    wanted: bool
    branch: tuple[ast.stmt, ...] = ()
    """What runs only then, where that is a block of its own."""


@dataclass(slots=True, eq=False)
class Unit:
    """A function, or the top level of a module."""

    name: str
    owner: str | None
    module: Module
    body: list[ast.stmt]
    node: FunctionNode | None
    parent: "Unit | None"
    guards_at: dict[int, tuple[Guard, ...]] = field(default_factory=dict)
    """Line -> guards of the statement that stands there."""
    mentions: list[tuple[str, tuple[Guard, ...], ast.AST]] = field(default_factory=list)
    local: Locals = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reach:
    """How sure it is that the program gets somewhere, and the guards that are in the way."""

    sure: bool | None
    open: tuple[tuple[Unit, Guard], ...] = ()
    """Guards that are unknown, or the one that is false."""

    @property
    def rank(self) -> int:
        """For comparison: false, unknown, true."""
        return {False: 0, None: 1, True: 2}[self.sure]


def call_arguments(
    unit: Unit, calls: list[tuple[Unit, ast.Call]]
) -> Iterator[tuple[str, list[tuple[Unit, ast.expr]]]]:
    """Parameters of a function with what every call gives for them."""
    assert unit.node is not None
    arguments = unit.node.args
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
    defaults: Mapping[str, ast.expr] = {
        **dict(zip(names[::-1], arguments.defaults[::-1], strict=False)),
        **{
            a.arg: default
            for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
            if default is not None
        },
    }
    positional = names[1:] if unit.owner is not None and names[:1] == ["self"] else names
    for name in [*positional, *(a.arg for a in arguments.kwonlyargs)]:
        given: list[tuple[Unit, ast.expr]] = []
        for where, call in calls:
            keyword = next((k.value for k in call.keywords if k.arg == name), None)
            place = positional.index(name) if name in positional else len(call.args)
            node = call.args[place] if place < len(call.args) else keyword or defaults.get(name)
            spread = any(k.arg is None for k in call.keywords)
            if node is None or spread or any(isinstance(a, ast.Starred) for a in call.args):
                break
            given.append((where, node))
        else:
            yield name, given


def local_names(unit: Unit) -> Iterator[tuple[str, list[ast.expr]]]:
    """Names that a unit assigns, with all values; a parameter has none that is known yet."""
    if unit.node is None:
        return
    found: Locals = {}
    if unit.parent is not None and unit.parent.node is not None:
        found.update({name: list(values) for name, values in local_names(unit.parent)})
    for argument in walk(unit.node.args):
        if isinstance(argument, ast.arg):
            found[argument.arg] = []
    own: Locals = {}
    for node in walk(unit.node):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                for name in walk(target):
                    if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                        simple = isinstance(target, ast.Name)
                        own.setdefault(name.id, []).append(
                            node.value if simple else ast.Constant(UNKNOWN)  # type: ignore[arg-type]  # our own mark
                        )
        elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr | ast.For):
            for bound in walk(node.target):
                if isinstance(bound, ast.Name) and isinstance(bound.ctx, ast.Store):
                    own.setdefault(bound.id, []).append(ast.Constant(UNKNOWN))  # type: ignore[arg-type]  # our own mark
    for key, values in own.items():
        # A parameter that is assigned as well has no single value.
        found[key] = [*values, *values] if key in found and not found[key] else values
    yield from found.items()
