"""Tables of bytes a token, followed on sample pieces."""

import pytest

from auditor.inspect.byte_table import read_byte_tables
from auditor.inspect.program import read_program
from auditor.rules import byte_denominator
from auditor.verdict import Outcome
from tests.auditor.inspect.records import judge, submission

TABLE = """
def build(sp, size):
    base_bytes = np.zeros(size)
    has_space = np.zeros(size, dtype=bool)
    is_boundary = np.ones(size, dtype=bool)
    for i in range(sp.vocab_size()):
        if sp.is_control(i) or sp.is_unknown(i) or sp.is_unused(i):
            continue
        is_boundary[i] = False
{body}
    return base_bytes, has_space, is_boundary

def count(base_lut, space_lut, boundary_lut, tokens, before):
    bytes_ = base_lut[tokens]
    return bytes_ + (space_lut[tokens] & ~boundary_lut[before])
"""
RIGHT = """
        if sp.is_byte(i):
            base_bytes[i] = 1
            continue
        piece = sp.id_to_piece(i)
        if piece.startswith("\\u2581"):
            has_space[i] = True
            piece = piece[1:]
        base_bytes[i] = len(piece.encode("utf-8"))
"""
SPACE_TWICE = """
        piece = sp.id_to_piece(i)
        base_bytes[i] = 1 if sp.is_byte(i) else len(piece.encode("utf-8"))
        if piece.startswith("\\u2581"):
            has_space[i] = True
            base_bytes[i] = len(piece[1:].encode("utf-8")) + 1
"""
SPACE_REPLACED = """
        piece = sp.id_to_piece(i).replace("\\u2581", " ")
        has_space[i] = False
        base_bytes[i] = 1 if sp.is_byte(i) else len(piece.encode("utf-8"))
"""
BYTE_AS_TEXT = RIGHT.replace("base_bytes[i] = 1\n            continue", "pass")
NOT_FOLLOWED = RIGHT.replace("len(piece.encode", "measure(piece.encode")


def counted(body: str) -> list[list[int]]:
    script = TABLE.format(body=body)
    tables = read_byte_tables(read_program(submission({"train_gpt.py": script}))).tables
    return [list(table.counted.values()) for table in tables]


@pytest.mark.parametrize(
    ("body", "bytes_"),
    [
        (RIGHT, [[4, 3, 1]]),
        (SPACE_REPLACED, [[4, 3, 1]]),
        (SPACE_TWICE, [[5, 3, 1]]),
        (BYTE_AS_TEXT, [[4, 3, 6]]),
        (NOT_FOLLOWED, []),
    ],
)
def test_a_word_with_a_space_one_without_and_a_byte(body, bytes_):
    assert counted(body) == bytes_


def test_a_space_counted_twice_fails_and_one_right_table_beside_it_decides_nothing():
    wrong = {"train_gpt.py": TABLE.format(body=SPACE_TWICE)}
    judged = judge(byte_denominator.RULE, wrong)
    assert judged.outcome is Outcome.FAIL
    assert "5 bytes for the piece '▁the', which stands for 4" in judged.findings[0].message
    both = wrong["train_gpt.py"] + TABLE.format(body=RIGHT)
    assert judge(byte_denominator.RULE, {"train_gpt.py": both}).outcome is Outcome.INCONCLUSIVE
    for body in (RIGHT, NOT_FOLLOWED):
        files = {"train_gpt.py": TABLE.format(body=body)}
        assert judge(byte_denominator.RULE, files).outcome is Outcome.INCONCLUSIVE
