"""How many ranks a run needs for the mechanisms of the scored run.

Mostly one: what several ranks do is the same work, divided. But some scripts switch a mechanism on
by the number of ranks (`"1" if world_size > 1 else "0"`, as the default of a setting), so that one
rank alone would leave it out, unless the scored run gave the setting itself.

How it can be wrong: a switch in other words is not found; then the mechanism stays off, and lines
of the log that the run does not print keep it from passing.
"""

import ast
from collections.abc import Mapping

from auditor.inspect.source import read_sources
from auditor.inspect.tree import walk
from auditor.submission import Submission

RANKS = 2
"""As good as eight for a switch, and what two cores can run."""


def ranks_of_a_run(submission: Submission, launch: Mapping[str, str]) -> int:
    """RANKS where several were launched and a default that was not overridden asks; else one."""
    if int(launch.get("WORLD_SIZE") or 1) <= 1:
        return 1
    nodes = [node for module in read_sources(submission).modules for node in module.nodes]
    names = {
        target.id
        for node in nodes
        if isinstance(node, ast.Assign) and _asks(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in nodes:
        if isinstance(node, ast.Call) and len(node.args) == 2 and _is_look_up(node, launch):
            default = node.args[1]
            if _asks(default) or (isinstance(default, ast.Name) and default.id in names):
                return RANKS
    return 1


def _is_look_up(node: ast.Call, launch: Mapping[str, str]) -> bool:
    """`os.environ.get("NAME", ...)`, or a helper of that shape, of what the launch leaves open."""
    name = getattr(node.args[0], "value", None)
    return isinstance(name, str) and name.isupper() and name not in launch


def _asks(value: ast.expr) -> bool:
    """One of two constants, by the number of ranks."""
    return (
        isinstance(value, ast.IfExp)
        and isinstance(value.body, ast.Constant)
        and isinstance(value.orelse, ast.Constant)
        and any("world_size" in _word(node) for node in walk(value.test))
    )


def _word(node: ast.AST) -> str:
    """A name, an attribute or a text."""
    said = getattr(node, "id", getattr(node, "attr", getattr(node, "value", "")))
    return said.lower() if isinstance(said, str) else ""
