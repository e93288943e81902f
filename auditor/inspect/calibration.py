"""Which data a script calibrates its quantisation on.

A calibration is a call of a function that is named for it (`calibrate`, `collect_hessians`) and is
given data: training files, or a loader made of them in the same function. Where every such call of
a script is given training data, a calibration that a log prints was one on training data.
"""

import ast
import re
from collections.abc import Iterable, Iterator

from auditor.evidence import CalibrationData, SourceLine
from auditor.inspect.program import Program
from auditor.inspect.source import Module
from auditor.inspect.tree import walk

_CALIBRATES = re.compile(r"[a-z_]{0,30}(?:calibrat|hessian)[a-z_]{0,30}")
"""A function's name; one with capitals is a class."""
_TRAINING = re.compile(r"train_(?:files|loader|tokens|pattern|glob|shards|data)")


def read_calibration(program: Program) -> CalibrationData:
    """Calls that calibrate, apart by whether what they are given is training data."""
    training: list[SourceLine] = []
    other: list[SourceLine] = []
    for module in program.modules:
        lines = [call.lineno for call in _calls(module.of(ast.Call))]
        for function in _holding(module, lines):
            for call in _calls(walk(function)):
                found = training if _is_given_training(call, function) else other
                line = SourceLine(file=module.path, line=call.lineno, text=module.text(call.lineno))
                found.append(line)
    return CalibrationData(training=tuple(training), other=tuple(other))


def _holding(module: Module, lines: list[int]) -> Iterator[ast.AST]:
    """Functions with one of these lines; a calibration hands on to others what it was given."""
    for function, _ in module.functions if lines else ():
        within = any(function.lineno <= line <= (function.end_lineno or 0) for line in lines)
        if within and not _CALIBRATES.fullmatch(function.name):
            yield function


def _calls(nodes: Iterable[ast.AST]) -> Iterator[ast.Call]:
    """Calls of calibrations."""
    for node in nodes:
        if isinstance(node, ast.Call) and len(node.args) > 1:
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if _CALIBRATES.fullmatch(name):
                yield node


def _is_given_training(call: ast.Call, function: ast.AST) -> bool:
    """Whether an argument speaks of training data, or was last set to something that does."""
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    if any(map(_speaks_of_training, given)):
        return True
    names = {node.id for node in given if isinstance(node, ast.Name)}
    last: dict[str, ast.Assign] = {}
    for node in walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            before = name in names and node.lineno <= call.lineno
            if before and (name not in last or last[name].lineno < node.lineno):
                last[name] = node
    return any(_speaks_of_training(node.value) for node in last.values())


def _speaks_of_training(node: ast.expr) -> bool:
    return any(
        _TRAINING.fullmatch(getattr(part, "attr", getattr(part, "id", ""))) is not None
        for part in walk(node)
    )
