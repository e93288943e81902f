"""Table sizes in the source, scaled in the syntax tree."""

import pytest

from auditor.grammar import lowered
from auditor.run.recorder.sources import Sources

FACTOR = 50_000 / 62_021_632


def value_of(expression: str) -> tuple[object, list[tuple[int, int]]]:
    seen: list[tuple[int, int]] = []
    sources = Sources("/s", FACTOR, lambda file, line, old, new: seen.append((old, new)), lowered)
    code = sources.compiled(f"x = {expression}", "/s/a.py")
    names: dict[str, object] = {}
    exec(code, names)
    return names["x"], seen


@pytest.mark.parametrize(
    "expression", ["4_194_304", "1 << 22", "2 ** 22", "int('4194304')", "4194304 * 1"]
)
def test_a_table_keeps_its_load(expression):
    assert value_of(expression) == (4096, [(4_194_304, 4096)])


@pytest.mark.parametrize(
    "expression", ["131_072", "2 ** 29", "1_000_000", "'4194305'", "1 << 3", "True"]
)
def test_other_numbers_are_left_alone(expression):
    assert value_of(expression) == (eval(expression), [])


def test_a_table_is_never_made_smaller_than_the_floor():
    assert value_of("2 ** 18")[0] == 256
