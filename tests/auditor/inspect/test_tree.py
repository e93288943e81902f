import ast
import gc
import weakref
from pathlib import Path

import pytest

from auditor.inspect.tree import children, walk

FILES = sorted((Path(__file__).parents[3] / "auditor").rglob("*.py"))


LEAVES = (ast.expr_context, ast.operator, ast.boolop, ast.unaryop, ast.cmpop)
RARE = """
def f(a, /, *args, b, c=1, **rest):
    global x, y
    {**a, 1: 2}
    lambda *, k=2: 0
    match a:
        case {"k": 1, **rest}:
            pass
        case C(1, d=2) | [3, *_]:
            pass
"""


def without_leaves(nodes):
    return [node for node in nodes if not isinstance(node, LEAVES)]


@pytest.mark.parametrize("part", range(5))
def test_walks_are_those_of_ast_the_second_time_too(part):
    for text in [RARE, *(file.read_text() for file in FILES[part::5])]:
        tree = ast.parse(text)
        for _ in range(2):
            assert walk(tree) == without_leaves(ast.walk(tree))
        for node in walk(tree):
            assert list(children(node)) == without_leaves(ast.iter_child_nodes(node))


def test_a_tree_that_was_walked_goes_with_its_last_user():
    tree = ast.parse("x = [1, 2]")
    gone = weakref.ref(tree.body[0])
    walk(tree), walk(tree.body[0])
    gc.disable()
    try:
        del tree
        assert gone() is None
    finally:
        gc.enable()


def test_what_is_kept_is_no_part_of_the_tree():
    tree = ast.parse("def f(x: int) -> int:\n    return [x, *{1: 2}]\n")
    before = ast.dump(tree, include_attributes=True), ast.unparse(tree)
    walk(tree)
    assert (ast.dump(tree, include_attributes=True), ast.unparse(tree)) == before
