"""The effective configuration of a run.

Defaults in the source, overridden by the run lines of the README, overridden by the settings that a
log of the run prints.

Expressions are evaluated in three values. `UNKNOWN` is what depends on data, on the machine, or on
more Python than is understood here; nothing is executed. A run by `torchrun` defines its own
variables: the number of processes, and rank 0, which is one of them in every run.
"""

import ast
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from auditor.inspect.logs import MAX_LOG_CHARACTERS, is_log_name, read_settings
from auditor.inspect.source import Module
from auditor.submission import Submission

MAX_RUN_LINE = 4_000
MAX_STEPS = 40
"""Names followed from one to the next before giving up."""


class _Unknown:
    """The third truth value."""

    def __repr__(self) -> str:
        """For messages."""
        return "UNKNOWN"


UNKNOWN = _Unknown()
_RUN = re.compile(r"\b(?:torchrun|python3?|accelerate)\b[^\n]{0,600}?\b\w+\.py\b([^\n]{0,600})")
_ASSIGNMENT = re.compile(r"(?<![\w.-])([A-Z][A-Z0-9_]{1,60})=(\"[^\"\n]*\"|'[^'\n]*'|[^\s\\`\"']*)")
_FLAG = re.compile(r"--([\w-]{1,60})(?:[= ]([^\s-][^\s]*))?")
_WORLD = re.compile(r"^[ \t]{0,40}world_size\s?[:=]\s?(\d{1,4})\b", re.MULTILINE)
_WORDS = {"True": True, "False": False, "None": None}
_OF_THE_LAUNCHER = {"WORLD_SIZE", "RANK", "LOCAL_RANK"}
"""Their defaults in the source say nothing: torchrun sets them in every scored run."""
_PROCESSES = re.compile(r"--nproc[_-]per[_-]node[= ](\d{1,4})")
_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
}
_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda item, group: item in group,
    ast.NotIn: lambda item, group: item not in group,
}
_EVALUATED = frozenset(
    {ast.Name, ast.Attribute, ast.BoolOp, ast.UnaryOp, ast.IfExp, ast.Compare, ast.BinOp, ast.Call,
     ast.Tuple, ast.List, ast.Set, ast.Subscript}
)  # fmt: skip
"""Expressions that may have a value, beside constants."""
_CALLS: dict[str, Callable[..., Any]] = {
    "int": int,
    "float": float,
    "bool": bool,
    "str": str,
    "max": max,
    "min": min,
    "len": len,
    "tuple": tuple,
    "set": set,
    "list": list,
}
_METHODS = {"lower", "upper", "strip", "split", "startswith", "endswith"}
_LOOK_UPS = {"get", "getenv", "getattr"}


@dataclass(frozen=True, slots=True)
class Launch:
    """What the README says about how the script was started."""

    environment: Mapping[str, str]
    flags: Mapping[str, str]
    lines: int
    """Run lines that were found."""
    logged: Mapping[str, Any] = field(default_factory=dict)
    """Settings that every log prints with the same value."""


def read_launch(submission: Submission) -> Launch:
    """Run lines of the README and of shell scripts.

    A name set to two values, or by fewer than half of the lines, is left out.
    """
    environment: dict[str, set[str]] = {}
    logged: list[dict[str, Any]] = []
    named: Counter[str] = Counter()
    flags: dict[str, set[str]] = {}
    lines = 0
    for path, file in submission.files.items():
        if "/" not in path and path.lower().endswith((".md", ".sh")):
            text = file.text[:400_000].replace("\\\r\n", " ").replace("\\\n", " ")
            for line in text.splitlines():
                run = _RUN.search(line[:MAX_RUN_LINE])
                if run is None:
                    continue
                lines += 1
                for name, value in _ASSIGNMENT.findall(line[: run.start(1)]):
                    named[name] += 1
                    environment.setdefault(name, set()).add(value.strip("\"'"))
                for name, value in _FLAG.findall(run[1]):
                    flags.setdefault(name.replace("-", "_"), set()).add(value.strip("\"'"))
                if processes := _PROCESSES.search(line):
                    environment.setdefault("WORLD_SIZE", set()).add(processes[1])
        elif is_log_name(path):
            environment.setdefault("WORLD_SIZE", set()).update(
                _WORLD.findall(file.text[:MAX_LOG_CHARACTERS])
            )
            if settings := read_settings(file.text):
                logged.append({name: _literal(value) for name, value in settings.items()})
    # One line of several may be for something else, such as scoring a shipped model again.
    known = {
        name: next(iter(values))
        for name, values in environment.items()
        if len(values) == 1 and (name == "WORLD_SIZE" or 2 * named[name] >= lines)
    }
    if "WORLD_SIZE" in known:
        known |= {"RANK": "0", "LOCAL_RANK": "0"}
    once = {name: next(iter(values)) for name, values in flags.items() if len(values) == 1}
    return Launch(known, once, lines, _agreed(logged))


def _literal(text: str) -> Any:
    """A printed value: a number, a truth value, nothing, or else a text."""
    if text in _WORDS:
        return _WORDS[text]
    try:
        return float(text) if "." in text or "e" in text else int(text)
    except ValueError:
        return text


def _agreed(logged: list[dict[str, Any]]) -> dict[str, Any]:
    """Settings that all logs give, with one value."""
    if not logged:
        return {}
    first = logged[0]
    return {
        name: value
        for name, value in first.items()
        if all(name in other and other[name] == value for other in logged)
    }


@dataclass(slots=True)
class Config:
    """Evaluates expressions of the source under a launch."""

    launch: Launch
    names: dict[str, list[ast.expr]] = field(default_factory=dict)
    """Module-level and class-level names, and command-line options, with all their values."""
    _depth: int = 0

    def value(self, node: ast.expr | None, local: Mapping[str, list[ast.expr]]) -> Any:
        """The value of an expression, or UNKNOWN."""
        kind = type(node)
        if kind is ast.Constant:
            return node.value  # type: ignore[union-attr]  # a constant has one
        if kind not in _EVALUATED or (kind is ast.Call and not _understood(node)):  # type: ignore[arg-type]  # it is a call
            return UNKNOWN
        self._depth += 1
        try:
            return self._value(node, local) if self._depth <= MAX_STEPS else UNKNOWN
        except (ArithmeticError, TypeError, ValueError, LookupError, MemoryError):
            return UNKNOWN
        finally:
            self._depth -= 1

    def truth(self, node: ast.expr, local: Mapping[str, list[ast.expr]]) -> bool | None:
        """Whether a test holds; None when that is unknown."""
        value = self.value(node, local)
        return None if value is UNKNOWN else bool(value)

    def _value(self, node: ast.expr | None, local: Mapping[str, list[ast.expr]]) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            known = local if node.id in local else self.names
            return self._named(known.get(node.id), local)
        if isinstance(node, ast.Attribute):
            if node.attr in self.names and node.attr in self.launch.logged:
                return self.launch.logged[node.attr]
            return self._named(self.names.get(node.attr), local)
        if isinstance(node, ast.BoolOp):
            return self._logic(node, local)
        if isinstance(node, ast.UnaryOp):
            value = self.value(node.operand, local)
            if value is UNKNOWN:
                return UNKNOWN
            return (not value) if isinstance(node.op, ast.Not) else -value
        if isinstance(node, ast.IfExp):
            test = self.truth(node.test, local)
            return (
                UNKNOWN if test is None else self.value(node.body if test else node.orelse, local)
            )
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            return self._compare(node, local)
        if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            left, right = self.value(node.left, local), self.value(node.right, local)
            small = all(isinstance(v, int | float) and abs(v) < 1e12 for v in (left, right))
            return _BINARY[type(node.op)](left, right) if small else UNKNOWN
        if isinstance(node, ast.Call):
            return self._call(node, local)
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            values = [self.value(item, local) for item in node.elts]
            return UNKNOWN if UNKNOWN in values else tuple(values)
        if isinstance(node, ast.Subscript) and _is_environ(node.value):
            return self._environment([node.slice], local)
        return UNKNOWN

    def _named(self, values: list[ast.expr] | None, local: Mapping[str, list[ast.expr]]) -> Any:
        """The value of a name that is assigned once."""
        if values is None or len(values) != 1:
            return UNKNOWN
        return self.value(values[0], local)

    def _logic(self, node: ast.BoolOp, local: Mapping[str, list[ast.expr]]) -> Any:
        """Three-valued and / or."""
        truths = [self.truth(value, local) for value in node.values]
        decisive = isinstance(node.op, ast.Or)
        if decisive in truths:
            return decisive
        return UNKNOWN if None in truths else not decisive

    def _compare(self, node: ast.Compare, local: Mapping[str, list[ast.expr]]) -> Any:
        """One comparison; a name bound to a call of a class is not None."""
        right_node = node.comparators[0]
        if isinstance(node.ops[0], ast.In | ast.NotIn) and _is_environ(right_node):
            name = self.value(node.left, local)
            if name not in self.launch.environment:
                return UNKNOWN
            return isinstance(node.ops[0], ast.In)
        left, right = self.value(node.left, local), self.value(right_node, local)
        if UNKNOWN in (left, right):
            return UNKNOWN
        return _COMPARE[type(node.ops[0])](left, right)

    def _call(self, node: ast.Call, local: Mapping[str, list[ast.expr]]) -> Any:
        """Environment look-ups, conversions and text methods."""
        function = node.func
        if isinstance(function, ast.Attribute):
            if (
                function.attr == "get" and _is_environ(function.value)
            ) or function.attr == "getenv":
                return self._environment(node.args, local)
            if function.attr in _METHODS:
                text = self.value(function.value, local)
                arguments = [self.value(argument, local) for argument in node.args]
                if isinstance(text, str) and UNKNOWN not in arguments:
                    return getattr(text, function.attr)(*arguments)
            return UNKNOWN
        name = getattr(function, "id", "")
        if name == "getenv":
            return self._environment(node.args, local)
        if name == "getattr" and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
            # What stands in the place of a missing attribute is not known to be used.
            return self.value(ast.Attribute(node.args[0], str(node.args[1].value)), local)
        if name in _CALLS and not node.keywords:
            arguments = [self.value(argument, local) for argument in node.args]
            if UNKNOWN not in arguments:
                return _CALLS[name](*arguments)
        # A class of the file makes an object, and an object is true.
        return OBJECT if name[:1].isupper() else UNKNOWN

    def _environment(self, args: list[ast.expr], local: Mapping[str, list[ast.expr]]) -> Any:
        """A variable as launched, else its default."""
        name = self.value(args[0], local) if args else UNKNOWN
        if not isinstance(name, str):
            return UNKNOWN
        if name in self.launch.environment:
            return self.launch.environment[name]
        if name in _OF_THE_LAUNCHER:
            return UNKNOWN
        return self.value(args[1], local) if len(args) > 1 else None


OBJECT = ("an object of a class of the file",)
"""What a constructor call evaluates to: true, and not None."""


def configuration(modules: tuple[Module, ...], launch: Launch) -> Config:
    """Collect the names that module level, classes and argument parsers define."""
    config = Config(launch)
    for module in modules:
        for node in module.of(ast.ClassDef):
            for name, value in _assignments(node.body):
                config.names.setdefault(name, []).append(value)
        for call in module.of(ast.Call):
            if getattr(call.func, "attr", "") == "add_argument":
                for name, value in _option(call, launch):
                    config.names.setdefault(name, []).append(value)
        for name, value in _assignments(module.tree.body):
            config.names.setdefault(name, []).append(value)
    return config


def _assignments(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """Simple assignments of a body."""
    for statement in body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            yield statement.targets[0].id, statement.value
        elif (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and statement.value is not None
        ):
            yield statement.target.id, statement.value


def _option(node: ast.Call, launch: Launch) -> Iterator[tuple[str, ast.expr]]:
    """A command-line option with its value as launched, else its default."""
    for argument in node.args:
        if isinstance(argument, ast.Constant) and str(argument.value).startswith("--"):
            name = str(argument.value)[2:].replace("-", "_")
            keywords = {keyword.arg: keyword.value for keyword in node.keywords}
            action = getattr(keywords.get("action"), "value", None)
            if name in launch.flags:
                text = launch.flags[name]
                numeric = getattr(keywords.get("type"), "id", "") in ("int", "float")
                given: str | float = text or action != "store_false"
                if numeric and text.replace(".", "").isdigit():
                    given = float(text)
                yield name, ast.Constant(given)
            elif action in ("store_true", "store_false"):
                yield name, ast.Constant(action == "store_false")
            elif "default" in keywords:
                yield name, keywords["default"]


def _understood(node: ast.Call) -> bool:
    """Whether a call may have a value."""
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    return name in _CALLS or name in _METHODS or name in _LOOK_UPS or name[:1].isupper()


def _is_environ(node: ast.expr) -> bool:
    """Whether an expression is the environment."""
    return getattr(node, "attr", getattr(node, "id", "")) in ("environ", "env")
