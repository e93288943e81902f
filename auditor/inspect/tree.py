"""Walks of syntax trees, each node's children found once.

The analyses go over the same functions again and again; the walks of `ast` ask every field of every
node each time. Trees that were read are not changed, so what hangs below a node is kept with it.
"""

import ast


def children(node: ast.AST) -> tuple[ast.AST, ...]:
    """What `ast.iter_child_nodes` yields."""
    found: tuple[ast.AST, ...] | None = node.__dict__.get("_children")
    if found is None:
        below: list[ast.AST] = []
        for name in node._fields:
            child = getattr(node, name, None)
            if isinstance(child, ast.AST):
                below.append(child)
            elif isinstance(child, list):
                below += [one for one in child if isinstance(one, ast.AST)]
        found = node.__dict__["_children"] = tuple(below)
    return found


def walk(node: ast.AST) -> list[ast.AST]:
    """What `ast.walk` yields, in its order."""
    found = [node]
    for one in found:  # which grows meanwhile
        found += children(one)
    return found
