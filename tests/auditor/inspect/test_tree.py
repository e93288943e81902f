import ast
from pathlib import Path

import pytest

from auditor.inspect.tree import children, walk

FILES = sorted((Path(__file__).parents[3] / "auditor").rglob("*.py"))


@pytest.mark.parametrize("part", range(5))
def test_walks_are_those_of_ast_the_second_time_too(part):
    for file in FILES[part::5]:
        tree = ast.parse(file.read_text())
        for _ in range(2):
            assert walk(tree) == list(ast.walk(tree))
        assert all(children(node) == tuple(ast.iter_child_nodes(node)) for node in walk(tree))


def test_what_is_kept_is_no_part_of_the_tree():
    tree = ast.parse("def f(x: int) -> int:\n    return [x, *{1: 2}]\n")
    before = ast.dump(tree, include_attributes=True), ast.unparse(tree)
    walk(tree)
    assert (ast.dump(tree, include_attributes=True), ast.unparse(tree)) == before
