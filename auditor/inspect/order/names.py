"""Names that the text of a program sets, imports and gives defaults to, before it is run."""

import ast
from itertools import chain

from auditor.inspect.source import FunctionNode, Module
from auditor.inspect.tree import walk


def imported(modules: tuple[Module, ...]) -> tuple[set[str], set[str]]:
    """Names by which a program imports its own files, and all others."""
    stems = {module.path.rsplit("/", 1)[-1].removesuffix(".py") for module in modules}
    names: tuple[set[str], set[str]] = set(), set()
    for module in modules:
        aliases = [node.names for node in module.of(ast.Import)]
        aliases += [node.names for node in module.of(ast.ImportFrom)]
        for alias in chain.from_iterable(aliases):
            others = alias.name.rsplit(".", 1)[-1] not in stems
            names[others].add(alias.asname or alias.name.split(".", 1)[0])
    return names


def targets(node: ast.AST) -> list[ast.expr]:
    """What an assignment assigns to; nothing for any other node."""
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, ast.AnnAssign | ast.AugAssign) else []


def attributes_set(node: FunctionNode) -> set[str]:
    """Attributes, of whatever object, that a function assigns."""
    return {
        target.attr
        for inner in walk(node)
        for target in targets(inner)
        if isinstance(target, ast.Attribute)
    }


def assigned_names(body: list[ast.stmt]) -> set[str]:
    """Names that statements assign."""
    return {
        node.id
        for statement in body
        for node in walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def defaults(node: FunctionNode) -> list[tuple[str, ast.expr]]:
    """Arguments that have a default, each with it."""
    arguments = node.args
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
    positional = list(zip(names[::-1], arguments.defaults[::-1], strict=False))
    named = [
        (a.arg, default)
        for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if default is not None
    ]
    return positional + named
