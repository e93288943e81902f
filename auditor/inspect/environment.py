"""The environment variables under which the scored run ran, as far as the submission shows it.

In order of authority: what the logs of the claimed score print of their settings, then the run
lines of README and shell scripts; and where a log has lines that the script prints only behind a
switch, that switch was on. Defaults are the script's own business and are left to it, but for the
few that a small run has to know.

How it can be wrong: a setting that a log prints under the name of another, or rounded. The run is
then of another configuration; what it violates, it violates all the same, and lines of the log
that it does not print keep it from passing.
"""

import ast
import bisect
import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from auditor.errors import CannotMeasure
from auditor.inspect.claims import read_claims
from auditor.inspect.config import Launch, configuration, read_launch
from auditor.inspect.logs import read_logs
from auditor.inspect.source import Module, read_sources
from auditor.inspect.tree import children, walk
from auditor.submission import Submission

OF_THE_MACHINE = re.compile(r"(?:LOCAL_)?RANK|WORLD_SIZE|.*_PATH|.*_DIR|RUN_ID")
MIN_PRINTED = 8
"""Shorter texts stand in any log."""
MAX_LOG_CHARACTERS = 4_000_000
NEEDED = re.compile(
    r".*(?:EPOCHS|CHUNK_TOKENS|TABLE_BITS|LORA_RANK|LORA_ALPHA)|(?:LOOP|PARALLEL)_\w+"
)
"""Defaults that a small run has to know: how often, in which pieces, how large the tables and
adapters, layers by number."""
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{2,60}")
_RUN_BEGINS = re.compile(r"^(?:val_loader|train_loader|model_params|warmup_step|world_size)\b.*\d")
_PAIR = re.compile(
    r"(?<![\w.])\"?(\w{3,60})\"?(?:: |[:=])\"?([^\s,\"'\[\]{}()]{1,200})\"?(?=[\s,}]|$)"
)
_WHOLE_LINE = re.compile(r"\s*(\w{3,60}): ([^\s\"'{}\[\]()]{1,200})\s*")
"""A setting alone on its line, which may be a list with commas."""
_OF_A_PROGRAM = ("def ", "import ", "from ", "class ", "if __name__")
"""What lines begin with that only an echoed source has; settings are printed before or after it."""
_OFF = ("", "0", "false", "none")


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable that sets a name of the script."""

    name: str
    default: str | None


def scored_environment(submission: Submission) -> Mapping[str, str]:
    """Variables by name, with what the scored run had, as far as it is known."""
    launch = read_launch(submission)
    modules = read_sources(submission).modules
    variables = _variables(modules)
    lines = _log_lines(submission)
    logged = {
        variables[name].name: value
        for name, value in _printed(lines, variables).items()
        if _differs(value, variables[name].default)
    }
    environment = {**launch.environment, **logged}
    environment.update(_switches(modules, lines, launch, environment, variables))
    for variable in variables.values():
        if NEEDED.fullmatch(variable.name) and variable.default is not None:
            environment.setdefault(variable.name, variable.default)
    return environment


def _log_lines(submission: Submission) -> list[str]:
    """Lines of the logs that end near the claim, without the source that some echo."""
    logged = read_logs(submission)
    try:
        claims = read_claims(submission)
    except CannotMeasure:
        claims = None
    lines: list[str] = []
    # Where no log is near the claim, all of them are all that is known.
    for log in logged.near(claims.val_bpb if claims else None) or logged.logs:
        text = submission.files[log.file].text[:MAX_LOG_CHARACTERS].splitlines()
        program = [number for number, line in enumerate(text) if line.startswith(_OF_A_PROGRAM)]
        if program:
            del text[program[0] : program[-1] + 1]
        lines += text
    return lines


def _variables(modules: tuple[Module, ...]) -> dict[str, Variable]:
    """Names and attributes that one look-up of one environment variable sets."""
    found: dict[str, set[Variable]] = {}
    for module in modules:
        for node in module.nodes:
            for name, value in _assigned(node):
                looked_up = list(_look_ups(value))
                if len(looked_up) == 1:
                    found.setdefault(name, set()).add(looked_up[0])
    return {name: next(iter(one)) for name, one in found.items() if len(one) == 1}


def _assigned(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    match node:
        case ast.Assign(targets=[ast.Name(id=name) | ast.Attribute(attr=name)], value=value):
            yield name, value
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            yield name, value


def _look_ups(value: ast.expr) -> Iterator[Variable]:
    """Calls such as `os.environ.get("NAME", "1")`, whatever the function that makes them."""
    for node in walk(value):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.args[0].value
            if not isinstance(name, str) or OF_THE_MACHINE.fullmatch(name):
                continue
            if _VARIABLE.fullmatch(name):
                given = node.args[1] if len(node.args) > 1 else None
                literal = given.value if isinstance(given, ast.Constant) else None
                yield Variable(name, None if literal is None else _word(str(literal)))


def _printed(lines: list[str], variables: Mapping[str, Variable]) -> dict[str, str]:
    """Settings that the logs print as `name: value`, `name:value` or JSON, with one value each."""
    seen: dict[str, set[str]] = {}
    for line in lines:
        alone = _WHOLE_LINE.fullmatch(line[:300])
        for name, value in [alone.groups()] if alone else _PAIR.findall(line[:2_000]):
            if name in variables:
                seen.setdefault(name, set()).add(_word(value))
    return {name: next(iter(values)) for name, values in seen.items() if len(values) == 1}


def _word(text: str) -> str:
    """A value as environment variables have it."""
    return {"true": "1", "false": "0", "none": ""}.get(text.lower(), text)


def _differs(value: str, default: str | None) -> bool:
    """Whether a printed value says something: it is of the default's kind, and not the default."""
    if default is None:
        return False
    if (number := _number(default)) is None:
        return value != default and _number(value) is None
    other = _number(value)
    if other is None or (number.is_integer() and "." not in default and "." in value):
        return False
    return other != number


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _switches(
    modules: tuple[Module, ...],
    lines: list[str],
    launch: Launch,
    environment: Mapping[str, str],
    variables: Mapping[str, Variable],
) -> dict[str, str]:
    """Switches that are off, though the logs have lines that are printed only when they are on."""
    config = configuration(modules, dataclasses.replace(launch, environment=environment))
    texts = sorted({line.strip()[:200] for line in lines if len(line.strip()) >= MIN_PRINTED})
    sites: dict[str, list[tuple[ast.expr, ...]]] = {}
    for module in modules:
        for text, tests in _prints(module.tree, ()):
            at = bisect.bisect_left(texts, text)
            if at < len(texts) and texts[at].startswith(text):
                sites.setdefault(text, []).append(tests)
    found: dict[str, str] = {}
    for guards in sites.values():
        off = [[test for test in tests if config.truth(test, {}) is False] for tests in guards]
        if all(off):
            for test in off[0]:
                found.update(_turned_on(test, environment, variables))
    return found


def _turned_on(
    test: ast.expr, environment: Mapping[str, str], variables: Mapping[str, Variable]
) -> Iterator[tuple[str, str]]:
    """Variables with the value that makes a test hold: `args.x`, or `args.x == "this"`."""
    switches = list(_look_ups(test))
    for node in walk(test):
        if (variable := variables.get(_name(node))) is not None:
            switches.append(variable)
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq):
            variable, value = variables.get(_name(node.left)), node.comparators[0]
            if variable is not None and isinstance(value, ast.Constant):
                yield variable.name, _word(str(value.value))
    for switch in switches:
        if environment.get(switch.name, switch.default or "") in _OFF:
            yield switch.name, "1"


def _name(node: ast.AST) -> str:
    return str(getattr(node, "attr", getattr(node, "id", "")))


def _prints(
    node: ast.AST, tests: tuple[ast.expr, ...]
) -> Iterator[tuple[str, tuple[ast.expr, ...]]]:
    """Beginnings of texts that calls are given, with the tests that they stand behind."""
    waiting: list[tuple[ast.AST, tuple[ast.expr, ...]]] = [(node, tests)]
    while waiting:
        node, tests = waiting.pop()
        if isinstance(node, ast.If):
            waiting += [(child, (*tests, node.test)) for child in node.body]
            waiting += [(child, tests) for child in node.orelse]
            continue
        if isinstance(node, ast.Call):
            for argument in node.args[:1]:
                text = _beginning(argument).strip()
                if len(text) >= MIN_PRINTED:
                    yield text[:100], tests
        waiting += [(child, tests) for child in children(node)]


def _beginning(node: ast.expr) -> str:
    """The constant text that an argument begins with."""
    first = node.values[0] if isinstance(node, ast.JoinedStr) and node.values else node
    value = first.value if isinstance(first, ast.Constant) else ""
    return value if isinstance(value, str) else ""
