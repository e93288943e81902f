"""Merkle trees as in RFC 6962 section 2.1: what was said stays said, and in that order.

A log of verdicts is a list of leaves. Its head, a size and a root, stands for all of them: an
inclusion proof shows that one leaf is among them at its place, a consistency proof that a later
head only added to an earlier one. A log that was rewritten has no such proofs.

Hashes are SHA-256, as bytes; leaves and inner nodes are told apart by a first byte.
"""

import hashlib
from collections.abc import Sequence

Hash = bytes


def leaf_hash(data: bytes) -> Hash:
    """Return the hash of a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: Hash, right: Hash) -> Hash:
    """Return the hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(leaves: Sequence[Hash]) -> Hash:
    """Return the root of a tree of leaf hashes; of none it is the hash of nothing."""
    if not leaves:
        return hashlib.sha256().digest()
    level = list(leaves)
    while len(level) > 1:
        pairs = [node_hash(*level[i : i + 2]) for i in range(0, len(level) - 1, 2)]
        # A node without a partner rises: the left part of a tree is always a full one.
        level = pairs + level[len(level) - len(level) % 2 :]
    return level[0]


def inclusion_proof(leaves: Sequence[Hash], index: int) -> list[Hash]:
    """Return the hashes that lead from a leaf to the root, nearest first."""
    if not 0 <= index < len(leaves):
        raise ValueError(f"expected a leaf from 0 to {len(leaves) - 1}, got {index}")
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*inclusion_proof(leaves[:split], index), root_of(leaves[split:])]
    return [*inclusion_proof(leaves[split:], index - split), root_of(leaves[:split])]


def consistency_proof(leaves: Sequence[Hash], first: int) -> list[Hash]:
    """Return the hashes that show the first leaves' root inside the root of all."""
    if not 1 <= first <= len(leaves):
        raise ValueError(f"expected an earlier size from 1 to {len(leaves)}, got {first}")
    return _subproof(leaves, first, is_whole=True)


def _subproof(leaves: Sequence[Hash], first: int, *, is_whole: bool) -> list[Hash]:
    """Where the earlier tree is a whole part of the later one, its root is known already."""
    if first == len(leaves):
        return [] if is_whole else [root_of(leaves)]
    split = _split(len(leaves))
    if first <= split:
        return [
            *_subproof(leaves[:split], first, is_whole=is_whole),
            root_of(leaves[split:]),
        ]
    return [
        *_subproof(leaves[split:], first - split, is_whole=False),
        root_of(leaves[:split]),
    ]


def is_included(leaf: Hash, index: int, size: int, proof: Sequence[Hash], root: Hash) -> bool:
    """Return whether a leaf hash stands at a place of the tree with this head.

    The walk is that of RFC 9162 section 2.1.3.2.
    """
    if not 0 <= index < size:
        return False
    place, last, reached = index, size - 1, leaf
    for other in proof:
        if last == 0:
            return False
        if place % 2 or place == last:
            reached = node_hash(other, reached)
            while place % 2 == 0 and place:
                place, last = place >> 1, last >> 1
        else:
            reached = node_hash(reached, other)
        place, last = place >> 1, last >> 1
    return last == 0 and reached == root


def is_consistent(
    first: int, second: int, proof: Sequence[Hash], first_root: Hash, second_root: Hash
) -> bool:
    """Return whether the later head only added to the earlier one.

    The walk is that of RFC 9162 section 2.1.4.2.
    """
    if not 1 <= first <= second:
        return False
    if first == second:
        return not proof and first_root == second_root
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        return False
    place, last = first - 1, second - 1
    while place % 2:
        place, last = place >> 1, last >> 1
    earlier = later = path[0]
    for other in path[1:]:
        if last == 0:
            return False
        if place % 2 or place == last:
            earlier, later = node_hash(other, earlier), node_hash(other, later)
            while place % 2 == 0 and place:
                place, last = place >> 1, last >> 1
        else:
            later = node_hash(later, other)
        place, last = place >> 1, last >> 1
    return last == 0 and (earlier, later) == (first_root, second_root)


def _split(size: int) -> int:
    """The largest power of two below the size."""
    return 1 << (size - 1).bit_length() - 1
