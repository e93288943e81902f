"""Which functions the entry point gets to, under the effective configuration.

A graph of references by name: a function that is mentioned where the program gets to, it gets to.
Every mention stands under guards: the tests of the `if` statements and conditional expressions
around it, and the negation of those above it that leave the block. A guard is true, false or
unknown; a path is as sure as its least sure guard, a function as its surest path.
"""

import ast
from collections.abc import Callable

from auditor.inspect.config import UNKNOWN, Config
from auditor.inspect.source import FunctionNode, Module
from auditor.inspect.tree import children
from auditor.inspect.units import (
    Guard,
    Reach,
    Unit,
    call_arguments,
    local_names,
)

MAX_ROUNDS = 30
SPECIAL = {"__init__", "__call__", "forward", "__enter__", "__post_init__", "setup_context"}
"""Methods that are called without being named."""


NEVER = Reach(False)


class CallGraph:
    """All units of the program and what they mention."""

    def __init__(
        self,
        modules: tuple[Module, ...],
        config: Config,
        shown: Callable[[Guard], str | None] = lambda guard: None,
    ) -> None:
        """Index the units and resolve parameters that have one value everywhere.

        `shown` says which log line proves that a guarded branch ran; a log knows better than a
        default.
        """
        self.config = config
        self._shown = shown
        self._truths: dict[tuple[int, int], bool | None] = {}
        self.units: list[Unit] = []
        self.classes: set[str] = set()
        self._bases: dict[str, list[str]] = {}
        for module in modules:
            top = Unit("<module>", None, module, module.tree.body, None, None)
            self._collect(top, top.body, None)
        self._by_name: dict[str, list[Unit]] = {}
        for unit in self.units:
            self._by_name.setdefault(unit.name, []).append(unit)
        for unit in self.units:
            unit.local = dict(local_names(unit))
        self._parameters()

    def reach(self) -> dict[int, Reach]:
        """How sure each unit is, by identity."""
        state = {id(unit): NEVER for unit in self.units}
        classes: dict[str, Reach] = {}
        for unit in self.units:
            if unit.node is None:
                state[id(unit)] = Reach(True)
        known = self.classes | self._by_name.keys()
        mentions = {
            id(unit): list(
                dict.fromkeys((n, guards) for n, guards, _ in unit.mentions if n in known)
            )
            for unit in self.units
        }
        for _ in range(MAX_ROUNDS):
            changed = False
            for unit in self.units:
                here = state[id(unit)]
                if here.sure is False:
                    continue
                for name, guards in mentions[id(unit)]:
                    there = self.through(here, unit, guards)
                    changed |= self._arrive(name, there, state, classes)
            if not changed:
                break
        return state

    def through(self, here: Reach, unit: Unit, guards: tuple[Guard, ...]) -> Reach:
        """How sure a place is that stands under these guards of a unit that is reached."""
        open_guards = list(here.open)
        sure = here.sure
        for guard in guards:
            truth = self._truth(guard.test, unit)
            if truth is not guard.wanted and self._shown(guard):
                continue
            if truth is None:
                sure = None if sure is not False else False
                open_guards.append((unit, guard))
            elif truth is not guard.wanted:
                return Reach(False, ((unit, guard),))
        return Reach(sure, tuple(open_guards))

    def _truth(self, test: ast.expr, unit: Unit) -> bool | None:
        """A test in a unit; it is asked for each mention below it."""
        key = id(test), id(unit)
        if key not in self._truths:
            self._truths[key] = self.config.truth(test, unit.local)
        return self._truths[key]

    def unit_at(self, path: str, line: int) -> Unit | None:
        """The innermost unit that holds a line."""
        best = None
        for unit in self.units:
            if unit.module.path != path:
                continue
            node = unit.node
            if node is None:
                best = best or unit
            elif node.lineno <= line <= (node.end_lineno or node.lineno):
                best = unit  # inner units come after outer ones
        return best

    def _arrive(
        self, name: str, there: Reach, state: dict[int, Reach], classes: dict[str, Reach]
    ) -> bool:
        """Note that a name is reached; whether that is news."""
        if there.sure is False:
            for unit in self._by_name.get(name, []):
                if state[id(unit)] == NEVER:
                    state[id(unit)] = there  # only to be able to say which guard it was
            return False
        changed = False
        if name in self.classes:
            for owner in (name, *self._bases.get(name, [])):
                if there.rank > classes.get(owner, NEVER).rank:
                    classes[owner] = there
                    changed = True
                    for unit in self.units:
                        if unit.owner == owner and unit.name in SPECIAL:
                            state[id(unit)] = there
        for unit in self._by_name.get(name, []):
            bound = there
            if unit.owner is not None:
                made = classes.get(unit.owner, NEVER)
                bound = made if made.rank < there.rank else there
            if bound.rank > state[id(unit)].rank:
                state[id(unit)] = bound
                changed = True
        return changed

    def _collect(self, unit: Unit, body: list[ast.stmt], owner: str | None) -> None:
        """Index a unit with those inside it."""
        if unit not in self.units:
            self.units.append(unit)
        self._walk(unit, body, (), owner)

    def _walk(
        self, unit: Unit, body: list[ast.stmt], guards: tuple[Guard, ...], owner: str | None
    ) -> None:
        """Record mentions and guards of a block."""
        for place, statement in enumerate(body):
            for line in range(statement.lineno, (statement.end_lineno or statement.lineno) + 1):
                unit.guards_at[line] = guards
            if isinstance(statement, FunctionNode):
                inner = Unit(statement.name, owner, unit.module, statement.body, statement, unit)
                for decorator in statement.decorator_list:
                    self._mention(unit, decorator, guards)
                self._collect(inner, inner.body, None)
            elif isinstance(statement, ast.ClassDef):
                self.classes.add(statement.name)
                bases = [getattr(base, "id", "") for base in statement.bases]
                self._bases[statement.name] = bases
                self._walk(unit, statement.body, guards, statement.name)
            elif isinstance(statement, ast.If):
                self._mention(unit, statement.test, guards)
                yes = Guard(statement.test, True, tuple(statement.body))
                no = Guard(statement.test, False, tuple(statement.orelse))
                self._walk(unit, statement.body, (*guards, yes), owner)
                self._walk(unit, statement.orelse, (*guards, no), owner)
                if _leaves(statement.body):
                    rest = tuple(body[place + 1 :])
                    guards = (*guards, Guard(statement.test, False, rest))
            else:
                self._children(unit, statement, guards, owner)

    def _children(
        self, unit: Unit, statement: ast.stmt, guards: tuple[Guard, ...], owner: str | None
    ) -> None:
        """Expressions of a statement, and the blocks that it holds."""
        for _, value in ast.iter_fields(statement):
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, ast.ExceptHandler | ast.match_case):
                    self._walk(unit, item.body, guards, owner)
                elif isinstance(item, ast.withitem):
                    self._mention(unit, item.context_expr, guards)
                elif isinstance(item, ast.expr):
                    self._mention(unit, item, guards)
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                self._walk(unit, value, guards, owner)

    def _mention(self, unit: Unit, node: ast.AST, guards: tuple[Guard, ...]) -> None:
        """Every name in an expression, under the tests of conditional expressions too."""
        if isinstance(node, ast.IfExp):
            self._mention(unit, node.test, guards)
            self._mention(unit, node.body, (*guards, Guard(node.test, True)))
            self._mention(unit, node.orelse, (*guards, Guard(node.test, False)))
            return
        if isinstance(node, ast.Name):
            unit.mentions.append((node.id, guards, node))
        elif isinstance(node, ast.Attribute):
            unit.mentions.append((node.attr, guards, node))
        elif isinstance(node, ast.Call):
            # Kept for the values of parameters; names are met below.
            unit.mentions.append(("", guards, node))
        for child in children(node):
            self._mention(unit, child, guards)

    def _parameters(self) -> None:
        """Give a parameter its value where all calls agree on one that is known."""
        calls: dict[str, list[tuple[Unit, ast.Call]]] = {}
        for unit in self.units:
            for name, _, node in unit.mentions:
                if not name and isinstance(node, ast.Call):
                    called = getattr(node.func, "attr", getattr(node.func, "id", ""))
                    calls.setdefault(called, []).append((unit, node))
        for _ in range(3):  # a value may be handed on through a few functions
            for unit in self.units:
                if unit.node is not None and unit.name in calls:
                    for name, given in call_arguments(unit, calls[unit.name]):
                        values = [self.config.value(node, where.local) for where, node in given]
                        first = values[0]
                        if first is not UNKNOWN and all(value == first for value in values):
                            unit.local[name] = [ast.Constant(first)]


def _leaves(body: list[ast.stmt]) -> bool:
    """Whether a block ends by leaving what is around it; a run that raised printed no score."""
    return bool(body) and isinstance(body[-1], ast.Return | ast.Continue | ast.Break)
