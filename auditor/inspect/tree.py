"""Walks of syntax trees, each node's children found once.

The analyses go over the same functions again and again; the walks of `ast` ask every field of every
node each time. Trees that were read are not changed, so what hangs below a node is kept with it.
Left out are the contexts and operators, which say nothing that their node does not say itself.
"""

import ast

_LEAVES = (ast.expr_context, ast.operator, ast.boolop, ast.unaryop, ast.cmpop)
_PLAIN = frozenset(
    {"ctx", "op", "ops", "id", "attr", "kind", "type_comment", "asname", "module", "level",
     "conversion", "simple", "is_async", "type_ignores", "kwd_attrs"}
)  # fmt: skip
"""Fields that hold no nodes, or leaves alone."""
_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {ast.Constant: ()}
"""Fields of a class of nodes that may hold others."""
_MIXED = frozenset({ast.Dict, ast.arguments, ast.Global, ast.Nonlocal, ast.MatchMapping})
"""Their lists hold more than nodes."""


def children(node: ast.AST) -> tuple[ast.AST, ...]:
    """What `ast.iter_child_nodes` yields, without contexts and operators."""
    kind = type(node)
    fields = _FIELDS.get(kind)
    if fields is None:
        fields = _FIELDS[kind] = tuple(f for f in kind._fields if f not in _PLAIN)
    if not fields:
        return ()
    found: tuple[ast.AST, ...] | None = node.__dict__.get("_children")
    if found is None:
        below: list[ast.AST] = []
        for name in fields:
            child = getattr(node, name, None)
            if type(child) is list:
                mixed = kind in _MIXED
                below += [one for one in child if isinstance(one, ast.AST)] if mixed else child
            elif isinstance(child, ast.AST) and not isinstance(child, _LEAVES):
                below.append(child)
        found = node.__dict__["_children"] = tuple(below)
    return found


def walk(node: ast.AST) -> list[ast.AST]:
    """What `ast.walk` yields, in its order, without contexts and operators."""
    found: list[ast.AST] | None = node.__dict__.get("_below")
    if found is None:
        found = list(children(node))
        for one in found:  # which grows meanwhile
            found += one.__dict__.get("_children") or children(one)
        node.__dict__["_below"] = found
    return [node, *found]  # kept with itself in it, a tree would outlive its last user
