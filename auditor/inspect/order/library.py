"""What calls of libraries do in the analysis of order: optimisers, files, tables, prints."""

import ast
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from auditor.inspect.config import UNKNOWN, Config
from auditor.inspect.order.memory import Env, Locals, Memory
from auditor.inspect.order.values import NOTHING, VALIDATION, Value, cut, join
from auditor.inspect.order.vocabulary import (
    COPIES,
    COUNTERS,
    GATHERS,
    HISTOGRAMS,
    KEEPERS,
    MINIMA,
    READERS,
    RESETS,
    SERIALISERS,
    SIZES,
    STEPS,
    WEIGHTS,
)
from auditor.inspect.values import Function, Place

_KNOWN = frozenset(
    {"backward", "grad", "step", "zero_grad", "load_state_dict", "deepcopy", "requires_grad_",
     "zeros", "ones", "empty", "randn", "full", "tensor", "where", "gather", "at", "copy_", "fill_"}
).union(SIZES, COPIES, SERIALISERS, READERS, HISTOGRAMS, MINIMA, GATHERS, RESETS, KEEPERS, COUNTERS,
        STEPS)  # fmt: skip
"""Calls that mean something; most mean nothing, and need not be compared with each of these."""


@dataclass(frozen=True, slots=True)
class Report:
    """A line that is printed."""

    place: Place
    text: str
    """Its constant beginning."""
    value: Value
    order: int
    doubts: frozenset[str]


@dataclass(frozen=True, slots=True)
class Saved:
    """Something was serialised."""

    place: Place
    value: Value
    order: int
    names: frozenset[str]
    """Paths and names by which it may be read again."""


class Library(Memory):
    """Calls whose meaning is known."""

    def __init__(self, config: Config, classes: Mapping[str, list[str]]) -> None:
        """Start with nothing printed and nothing written."""
        super().__init__(config, classes)
        self.reports: list[Report] = []
        self.serialised: list[Saved] = []

    @abstractmethod
    def enter(
        self, function: Function, args: list[Value], keywords: dict[str, Value], own: Value
    ) -> Value:
        """Run a function of the program."""

    def library(
        self,
        node: ast.Call,
        name: str,
        on: Value,
        args: list[Value],
        keywords: dict[str, Value],
        env: Env,
    ) -> Value | None:
        """Calls whose meaning is known; None for all others."""
        if name not in _KNOWN and not name[:1].isupper() and not name.startswith("reset"):
            return None
        given = join([*args, *keywords.values()]).whole()
        if name in SIZES:
            return ((on | given).number()).but(constant=UNKNOWN)
        if name == "backward":
            self.backward(node, on | given)
            return NOTHING
        if name == "grad" and given.loss:
            return Value(
                marks=frozenset(self.learning("step", node.lineno, given.regions | given.through))
            )
        if name == "step" and (on.refs or given.refs or given.functions):
            for function in in_order(given.functions):
                self.enter(function, [], {}, NOTHING)
            self.step(on.refs | given.refs)
            return NOTHING
        if name == "zero_grad":
            for ref in on.refs:
                self.heap[ref].pending = frozenset()
            return NOTHING
        if name == "load_state_dict":
            self.take_over(on, given, node.lineno)
            return NOTHING
        if name == "deepcopy":
            return self.copied(given)
        if name in COPIES and on.refs and not on.regions:
            return Value(marks=self.learnt_by(on), turns=on.turns, deps=on.refs)
        if name == "requires_grad_" and not on.refs and not on.regions:
            return self._fresh(node, env)
        if name == "Parameter" or (
            name[:1].isupper()
            and getattr(node.func, "value", None) is not None
            and ast.unparse(node.func.value) in ("nn", "torch.nn")  # type: ignore[attr-defined]  # has a value
        ):
            return self.allocate(marks=self.learnt_by(given))
        if name in ("zeros", "ones", "empty", "randn", "full", "tensor") and not given.regions:
            wants = keywords.get("requires_grad", NOTHING).constant is True
            return self.allocate() if wants else Value(turns=given.turns, notes=given.notes)
        if name in SERIALISERS:
            return self._serialise(node, on | given, env)
        if name in READERS and not given.regions:
            return self._read_back(node, given, env)
        if name in HISTOGRAMS and given.regions:
            return Value(marks=frozenset(self.learning("table", node.lineno, given.regions)))
        if name in MINIMA or name == "where":
            return self._smaller(node, name, [on, *args])
        return self._write(node, name, on, args, given, env)

    def _write(
        self,
        node: ast.Call,
        name: str,
        on: Value,
        args: list[Value],
        given: Value,
        env: Env,
    ) -> Value | None:
        """Calls that change what they are called on."""
        base = node.func.value if isinstance(node.func, ast.Attribute) else None
        if name in GATHERS and len(args) > 1:
            self.mutate(node.args[0], args[1], env)
            return NOTHING
        if (
            name == "gather"
            and len(args) > 1
            and getattr(base, "id", "") in ("dist", "distributed")
        ):
            self.mutate(node.args[1], args[0], env)
            return NOTHING
        if name == "at" and node.args:
            self.write(node.args[0], join(args[1:2]).whole(), join(args[2:]).whole(), node, env)
            return NOTHING
        if base is None:
            return None
        if name == "copy_" and on.refs:
            self.take_over(on, given, node.lineno)
            return on
        if name == "fill_" and getattr(base, "attr", None) not in (None, *WEIGHTS):
            return on  # a setting that a model holds, such as a temperature
        if (name in RESETS or name.startswith("reset")) and on.refs:
            for ref in on.refs:
                self.heap[ref].marks = frozenset()
                self.heap[ref].pending = frozenset()
            return on
        if name in KEEPERS or name in COUNTERS or name in STEPS:
            if on.refs and any(self.heap[ref].pending for ref in on.refs):
                self.step(on.refs)
            if name not in COUNTERS:
                self.mutate(base, given, env)
            else:
                self.write(base, given, given, node, env)
            return on
        return None

    def _smaller(self, node: ast.Call, name: str, args: list[Value]) -> Value | None:
        # The smaller of two sums, such as the best of several evaluations, is no choice a token.
        if name == "min" and getattr(getattr(node.func, "value", None), "id", "") != "torch":
            return None
        losses = [value for value in args if value.loss]
        if len(losses) < (3 if name == "where" else 2):
            return None
        value = self.used(node.lineno, *args)
        return value.noted("chosen", {self.place(node.lineno)})

    def _fresh(self, node: ast.Call, env: Env) -> Value:
        made = self.allocate()
        base = node.func.value if isinstance(node.func, ast.Attribute) else None
        if isinstance(base, ast.Name):
            self.set(env, base.id, made)
        return made

    # --- files and prints ----------------------------------------------------------------------

    def _serialise(self, node: ast.Call, value: Value, env: Env) -> Value:
        self.clock += 1
        holds = value.refs or value.deps or value.marks or value.regions or value.through
        if value.charges or not holds:  # losses and counts of them, for a report
            return NOTHING
        marks = self.learnt_by(value) | frozenset(self.learning("data", node.lineno, value.regions))
        # What is written is paid for, whatever text of training it was made from.
        paid = frozenset(mark for mark in marks if mark.region.split == VALIDATION)
        kept = Value(marks=cut(paid), deps=value.deps | value.refs)
        place, names = self.place(node.lineno), self._file_names(node, env)
        self.serialised.append(Saved(place, kept, self.clock, names))
        return kept

    def _read_back(self, node: ast.Call, given: Value, env: Env) -> Value:
        """What was written under the same name, or else what was written last."""
        if given.marks or given.deps:
            return Value(marks=given.marks, deps=given.deps)
        names = self._file_names(node, env)
        same = [saved for saved in self.serialised if saved.names & names]
        found = (same or self.serialised)[-1].value if self.serialised else NOTHING
        return found.noted("stored", given.places("stored"))

    def _file_names(self, node: ast.Call, env: Env) -> frozenset[str]:
        """Paths and names among the arguments of a call."""
        constants = (self.config.value(argument, Locals(env)) for argument in node.args)
        words = (
            ast.unparse(argument)
            for argument in node.args
            if isinstance(argument, ast.Name | ast.Attribute)
        )
        return frozenset([*(one for one in constants if isinstance(one, str)), *words])

    def print(self, node: ast.Call, value: Value, env: Env) -> None:
        self.clock += 1
        text = self._beginning(node.args[0], env).strip().split("\n")[0]
        place = self.place(node.lineno)
        self.reports.append(Report(place, text, value, self.clock, frozenset(self.doubts)))

    def _beginning(self, node: ast.expr, env: Env) -> str:
        """What a printed text is known to begin with."""
        if not isinstance(node, ast.JoinedStr):
            while isinstance(node, ast.BinOp):
                node = node.left
            text = self.config.value(node, Locals(env))
            return text if isinstance(text, str) else ""
        known = ""
        for part in node.values:
            inner = part.value if isinstance(part, ast.FormattedValue) else part
            text = self.config.value(inner, Locals(env))
            if not isinstance(text, str):
                break
            known += text
        return known


def in_order(functions: frozenset[Function]) -> list[Function]:
    """As they stand in the source, so that two analyses go the same way."""
    return sorted(functions, key=lambda function: (function.module.path, function.node.lineno))
