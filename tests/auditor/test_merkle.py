"""Merkle trees: known roots and proofs, and that no other leaf, place, size or history passes."""

import hashlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from auditor.merkle import (
    consistency_proof,
    inclusion_proof,
    is_consistent,
    is_included,
    leaf_hash,
    root_of,
)

# The eight leaves, and roots, of the reference tests of Certificate Transparency.
LEAVES = [
    leaf_hash(bytes.fromhex(text))
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_the_reference_tests(size):
    assert root_of(LEAVES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize(
    ("index", "size", "proof"),
    [
        (0, 1, []),
        (
            0,
            8,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            5,
            8,
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    ],
)
def test_inclusion_proofs_are_those_of_the_reference_tests(index, size, proof):
    assert [node.hex() for node in inclusion_proof(LEAVES[:size], index)] == proof


@pytest.mark.parametrize(
    ("first", "second", "proof"),
    [
        (1, 1, []),
        (
            1,
            8,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            6,
            8,
            [
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
    ],
)
def test_consistency_proofs_are_those_of_the_reference_tests(first, second, proof):
    assert [node.hex() for node in consistency_proof(LEAVES[:second], first)] == proof


def tree(size: int) -> list[bytes]:
    return [leaf_hash(index.to_bytes(4)) for index in range(size)]


@given(st.data(), st.integers(1, 70))
def test_a_leaf_is_included_at_its_place_and_no_other(data, size):
    leaves = tree(size)
    index = data.draw(st.integers(0, size - 1))
    proof, root = inclusion_proof(leaves, index), root_of(leaves)
    assert is_included(leaves[index], index, size, proof, root)
    other = data.draw(st.integers(-1, size))
    assert is_included(leaves[index], other, size, proof, root) == (other == index)
    assert not is_included(leaf_hash(b"another"), index, size, proof, root)
    assert not is_included(leaves[index], index, size, [*proof, root], root)
    assert not is_included(leaves[index], index, size, proof[:-1], root) or not proof
    assert not is_included(leaves[index], index, size, proof, hashlib.sha256(root).digest())


@given(st.data(), st.integers(1, 70))
def test_a_longer_log_holds_the_shorter_one_and_a_rewritten_one_does_not(data, second):
    leaves = tree(second)
    first = data.draw(st.integers(1, second))
    proof, roots = consistency_proof(leaves, first), (root_of(leaves[:first]), root_of(leaves))
    assert is_consistent(first, second, proof, *roots)
    changed = data.draw(st.integers(0, first - 1))
    rewritten = [*leaves]
    rewritten[changed] = leaf_hash(b"another")
    theirs = consistency_proof(rewritten, first)
    assert not is_consistent(first, second, theirs, roots[0], root_of(rewritten))
    assert not is_consistent(first, second, proof, roots[0], root_of(rewritten))
    assert not is_consistent(first, second, [*proof, roots[0]], *roots)
    assume(first < second and proof)
    assert not is_consistent(first, second, proof[:-1], *roots)
    place = data.draw(st.integers(0, len(proof) - 1))
    proof[place] = hashlib.sha256(proof[place]).digest()
    assert not is_consistent(first, second, proof, *roots)


def test_what_there_is_no_proof_of_is_refused():
    for index in (-1, 3):
        with pytest.raises(ValueError, match=f"a leaf from 0 to 2, got {index}"):
            inclusion_proof(tree(3), index)
    for first in (0, 4):
        with pytest.raises(ValueError, match=f"an earlier size from 1 to 3, got {first}"):
            consistency_proof(tree(3), first)
    assert not is_consistent(0, 3, [], root_of([]), root_of(tree(3)))
    assert not is_consistent(4, 3, [], root_of(tree(4)), root_of(tree(3)))
