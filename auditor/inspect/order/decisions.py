"""Tests in the analysis of order: which branches they let run, and what they ask for."""

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from auditor.inspect.config import UNKNOWN, Config
from auditor.inspect.order.expressions import Expressions
from auditor.inspect.order.memory import Env, Locals
from auditor.inspect.order.values import NOTHING
from auditor.inspect.order.vocabulary import SIZES
from auditor.inspect.tree import walk
from auditor.inspect.units import Guard

Decided = tuple[bool, bool, str | None]
"""Whether the body runs, whether the other branch does, and what could not be decided."""


@dataclass(frozen=True, slots=True)
class _Words:
    """What a test asks for that does not change."""

    environment: bool
    """It looks a setting up itself."""
    names: frozenset[str]
    open_settings: frozenset[str]
    """Names of the configuration whose value is not known."""


class Decisions(Expressions):
    """What tests come to."""

    def __init__(
        self,
        config: Config,
        classes: Mapping[str, list[str]],
        shown: Callable[[Guard], str | None],
    ) -> None:
        """`shown` says which log line proves that a branch ran."""
        super().__init__(config, classes)
        self._shown = shown
        self._words_of: dict[int, _Words] = {}
        self._measured: dict[int, bool] = {}

    def decide(self, node: ast.If, env: Env) -> Decided:
        """Which branches run, by the configuration, the logs, or for want of either."""
        truth = self.config.truth(node.test, Locals(env))
        if truth is True:
            return True, False, None
        proof = self._shown(Guard(node.test, True, tuple(node.body)))
        if truth is False:
            # A log knows better than a default; what else would have printed that line?
            return (True, True, None) if proof else (False, True, None)
        if proof:
            return True, bool(node.orelse), None
        if not self._setting(node.test, env):
            return True, True, None
        where = f"{self.place(node.lineno)[0]}:{node.lineno}"
        return True, True, f"whether `{ast.unparse(node.test)[:120]}` holds ({where})"

    def _setting(self, test: ast.expr, env: Env) -> bool:
        """Whether a test is open because of the configuration, and not of the data alone."""
        known = self._words_of.get(id(test))
        if known is None:
            known = self._words_of[id(test)] = self._asks(test)
        if known.environment:
            return True
        for name in known.names:
            if name in env and env[name].is_setting:
                return True
        return any(name not in env for name in known.open_settings)

    def _asks(self, test: ast.expr) -> _Words:
        """What a test asks for."""
        names: set[str] = set()
        settings: set[str] = set()
        for node in walk(test):
            name = getattr(node, "attr", getattr(node, "id", None))
            if name in ("environ", "getenv", "args") and not isinstance(node, ast.Attribute):
                return _Words(True, frozenset(), frozenset())
            if isinstance(node, ast.Name):
                names.add(node.id)
            if name in self.config.names and self.config.value(node, {}) is UNKNOWN:  # type: ignore[arg-type]  # a name
                settings.add(str(name))
        return _Words(False, frozenset(names), frozenset(settings))

    def asks_for_the_smaller(self, test: ast.expr, env: Env) -> bool:
        """Whether a test compares two losses."""
        value = self.value(test, env)
        if not isinstance(test, ast.Compare) or len(test.ops) != 1 or value is NOTHING:
            return False
        sides = (self.value(side, env) for side in (test.left, test.comparators[0]))
        return isinstance(test.ops[0], ast.Lt | ast.Gt | ast.LtE | ast.GtE) and all(
            side.loss for side in sides
        )

    def measures(self, node: ast.expr) -> bool:
        """Whether an expression asks how much there is of something, or if a file is there."""
        known = self._measured.get(id(node))
        if known is None:
            calls = [part.func for part in walk(node) if isinstance(part, ast.Call)]
            names = [getattr(call, "attr", getattr(call, "id", "")) for call in calls]
            known = self._measured[id(node)] = not SIZES.isdisjoint(names)
        return known
