"""Laws of the tree, over all small sizes and random larger ones."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.audit import merkle
from governance.audit.memory import MemoryStore
from governance.audit.tiles import WIDTH, full_tiles, pack_tile, place_of
from governance.errors import AuditBrokenError
from tests.audit_tools import draft


def reference_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + reference_root(leaves[:split]) + reference_root(leaves[split:])).digest()


LEAVES = [merkle.leaf_hash(bytes([n & 255, n >> 8])) for n in range(600)]


def node(level: int, index: int) -> bytes:
    return merkle.perfect_root(LEAVES[index << level : (index + 1) << level])


def test_frontier_and_tree_agree_with_the_rfc() -> None:
    tree = merkle.Frontier()
    for size in range(130):
        assert tree.root() == reference_root(LEAVES[:size]) == merkle.root_of(node, size)
        assert merkle.Frontier.from_bytes(size, tree.to_bytes()) == tree
        tree = tree.extend([LEAVES[size]])


def test_every_proof_of_every_small_tree_verifies() -> None:
    roots = [merkle.root_of(node, size) for size in range(71)]
    for size in range(1, 71):
        for index in range(size):
            proof = merkle.inclusion_proof(node, index, size)
            merkle.verify_inclusion(index=index, size=size, leaf=LEAVES[index], proof=proof, root=roots[size])
        for old in range(1, size + 1):
            proof = merkle.consistency_proof(node, old, size)
            merkle.verify_consistency(
                old=old, new=size, old_root=roots[old], new_root=roots[size], proof=proof
            )


@given(st.integers(2, 600), st.data())
def test_every_leaf_is_bound_by_a_consistency_proof(new: int, data: st.DataObject) -> None:
    """GHSA-672p-m5jq-mrh8: a proof that leaves part of the newer tree unchecked."""
    old = data.draw(st.integers(1, new - 1))
    changed = data.draw(st.integers(0, new - 1))
    other = list(LEAVES[:new])
    other[changed] = sha256(b"other").digest()

    def forged(level: int, index: int) -> bytes:
        return merkle.perfect_root(other[index << level : (index + 1) << level])

    honest_old, forged_new = merkle.root_of(node, old), merkle.root_of(forged, new)
    proof = merkle.consistency_proof(forged, old, new)
    if changed < old:
        with pytest.raises(AuditBrokenError):
            merkle.verify_consistency(old=old, new=new, old_root=honest_old, new_root=forged_new, proof=proof)
    else:
        honest_new = merkle.root_of(node, new)
        with pytest.raises(AuditBrokenError):
            merkle.verify_consistency(old=old, new=new, old_root=honest_old, new_root=honest_new, proof=proof)


@given(st.integers(1, 600), st.data())
def test_a_proof_with_any_bit_changed_is_refused(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(node, index, size)
    parts = [LEAVES[index], *proof]
    place = data.draw(st.integers(0, len(parts) - 1))
    bit = data.draw(st.integers(0, 255))
    parts[place] = (int.from_bytes(parts[place]) ^ (1 << bit)).to_bytes(32)
    with pytest.raises(AuditBrokenError):
        merkle.verify_inclusion(
            index=index, size=size, leaf=parts[0], proof=parts[1:], root=merkle.root_of(node, size)
        )


def test_a_consistency_proof_from_nothing_is_refused() -> None:
    with pytest.raises(AuditBrokenError, match="from size 0"):
        merkle.verify_consistency(old=0, new=1, old_root=merkle.EMPTY_ROOT, new_root=LEAVES[0], proof=[])
    with pytest.raises(ValueError, match="from size 0"):
        merkle.consistency_proof(node, 0, 1)


@given(st.integers(0, 200_000), st.integers(0, 70_000))
def test_full_tiles_are_each_named_once(old: int, more: int) -> None:
    named = list(full_tiles(old, old + more))
    wanted = [
        (height, number)
        for height in range(3)
        for number in range(old // WIDTH ** (height + 1), (old + more) // WIDTH ** (height + 1))
    ]
    assert named == wanted


def test_a_tile_holds_every_node_at_its_place() -> None:
    root, packed = pack_tile(LEAVES[256:512])
    assert root == node(8, 1)
    for level in range(8):
        for index in range(256 >> level, 512 >> level):
            height, number, offset = place_of(level, index)
            assert (height, number) == (0, 1)
            assert packed[offset : offset + 32] == node(level, index)


def test_the_memory_store_grows_the_same_tree() -> None:
    store = MemoryStore()
    drafts = [draft(n) for n in range(1, 70)]
    for one in drafts:
        store.append([one])
        assert store.frontier().root() == reference_root(
            [made.leaf for made in drafts[: store.frontier().size]]
        )
