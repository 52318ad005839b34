"""The RFC 6962 Merkle tree: hashes, frontier, proofs and their verification.

Promises: pure functions over bytes, with the bytes of RFC 6962 section 2.1 (`leaf = SHA-256(0x00 entry)`,
`node = SHA-256(0x01 left right)`), proofs as RFC 9162 sections 2.1.3 and 2.1.4. Does not: read or write anything. A
consistency proof from size 0 is refused, since the empty tree is consistent with every tree and so proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from governance.errors import AuditBrokenError

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()
# To copy a state costs half of making one, and a log is mostly short strings.
_LEAF = sha256(b"\x00")
_NODE = sha256(b"\x01")

NodeReader = Callable[[int, int], bytes]
"""`node(level, index)`: root of the complete subtree over leaves `index << level` up to `(index + 1) << level`."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one entry."""
    state = _LEAF.copy()
    state.update(entry)
    return state.digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """Hashes of many entries."""
    leaves: list[bytes] = []
    copy, keep = _LEAF.copy, leaves.append
    for entry in entries:
        state = copy()
        state.update(entry)
        keep(state.digest())
    return leaves


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of two subtrees."""
    state = _NODE.copy()
    state.update(left + right)
    return state.digest()


def next_level(nodes: Sequence[bytes]) -> list[bytes]:
    """The parents of an even number of neighbouring nodes."""
    parents: list[bytes] = []
    copy, keep, pairs = _NODE.copy, parents.append, iter(nodes)
    for left, right in zip(pairs, pairs, strict=True):
        state = copy()
        state.update(left + right)
        keep(state.digest())
    return parents


def perfect_root(nodes: Sequence[bytes]) -> bytes:
    """Root over a power of two of neighbouring nodes."""
    level = nodes
    while len(level) > 1:
        level = next_level(level)
    return level[0]


@dataclass(frozen=True, slots=True)
class Frontier:
    """All that is needed to grow a tree: its size, and the roots of its complete subtrees from the largest on."""

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0 or self.size.bit_count() != len(self.hashes):
            raise AuditBrokenError(
                f"a tree of {self.size} leaves has no frontier of {len(self.hashes)} hashes"
            )

    @classmethod
    def from_bytes(cls, size: int, packed: bytes) -> Frontier:
        """Read what `to_bytes` wrote. Raises `AuditBrokenError`."""
        if len(packed) % HASH_SIZE:
            raise AuditBrokenError("a frontier that is not a whole number of hashes")
        cut = range(0, len(packed), HASH_SIZE)
        return cls(size, tuple(packed[at : at + HASH_SIZE] for at in cut))

    def to_bytes(self) -> bytes:
        """The hashes one after another."""
        return b"".join(self.hashes)

    def extend(self, leaves: Iterable[bytes]) -> Frontier:
        """The frontier after appending leaf hashes."""
        size, stack = self.size, list(self.hashes)
        for leaf in leaves:
            node, carry = leaf, size
            while carry & 1:
                node = node_hash(stack.pop(), node)
                carry >>= 1
            stack.append(node)
            size += 1
        return Frontier(size, tuple(stack))

    def extend_subtree(self, level: int, node: bytes) -> Frontier:
        """The frontier after appending a complete subtree of `2 ** level` leaves at a multiple of its own width."""
        if self.size & ((1 << level) - 1):
            raise ValueError(f"a subtree of level {level} does not fit at leaf {self.size}")
        stack, carry = list(self.hashes), self.size >> level
        while carry & 1:
            node = node_hash(stack.pop(), node)
            carry >>= 1
        stack.append(node)
        return Frontier(self.size + (1 << level), tuple(stack))

    def root(self) -> bytes:
        """Root hash of the whole tree."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node_hash(left, root)
        return root


def root_of(node: NodeReader, size: int) -> bytes:
    """Root of the first `size` leaves of a tree whose complete subtrees `node` can read."""
    return _range_root(node, 0, size) if size else EMPTY_ROOT


def inclusion_proof(node: NodeReader, index: int, size: int) -> list[bytes]:
    """The audit path of leaf `index` in the tree of `size` leaves (RFC 9162, section 2.1.3.1). Raises `ValueError` without such a leaf."""
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    proof: list[bytes] = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            proof.append(_range_root(node, middle, stop))
            stop = middle
        else:
            proof.append(_range_root(node, start, middle))
            start = middle
    return proof[::-1]


def consistency_proof(node: NodeReader, old: int, new: int) -> list[bytes]:
    """Proof that the tree of `new` leaves begins with the tree of `old` (RFC 9162, section 2.1.4.1). Raises `ValueError` unless
    `0 < old <= new`."""
    if not 0 < old <= new:
        raise ValueError(f"no consistency proof leads from size {old} to {new}")
    proof: list[bytes] = []
    start, stop, is_known = 0, new, True  # is_known: the verifier holds the hash of this part as the old root
    while old != stop:
        middle = start + _split(stop - start)
        if old <= middle:
            proof.append(_range_root(node, middle, stop))
            stop = middle
        else:
            proof.append(_range_root(node, start, middle))
            start, is_known = middle, False
    if not is_known:
        proof.append(_range_root(node, start, stop))
    return proof[::-1]


def verify_inclusion(*, index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Demand that `leaf` is entry `index` of the tree of `size` leaves under `root` (RFC 9162, section 2.1.3.2).

    Raises `AuditBrokenError`. The caller must still know from elsewhere that `size` and `root` are the log's.
    """
    _check_lengths([leaf, root, *proof])
    if not 0 <= index < size:
        raise AuditBrokenError(f"there is no leaf {index} in a tree of {size}", index=index)
    first, last, current = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise AuditBrokenError("the inclusion proof is too long", index=index)
        if first & 1 or first == last:
            current = node_hash(sibling, current)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            current = node_hash(current, sibling)
        first, last = first >> 1, last >> 1
    if last != 0:
        raise AuditBrokenError("the inclusion proof is too short", index=index)
    if current != root:
        raise AuditBrokenError(f"entry {index} is not in the tree with that root", index=index)


def verify_consistency(
    *, old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Demand that the tree of `new` leaves begins with the tree of `old` (RFC 9162, section 2.1.4.2).

    Raises `AuditBrokenError`. The caller must still know from elsewhere that `old_root` was the log's.
    """
    if not 0 < old <= new:
        raise AuditBrokenError(f"no consistency can be shown from size {old} to {new}")
    if old == new:
        if proof or old_root != new_root:
            raise AuditBrokenError(f"two different trees of {old} entries: the log is forked")
        return
    _check_lengths([old_root, new_root, *proof])
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not proof:
        raise AuditBrokenError("the consistency proof is empty")
    _walk_consistency(old - 1, new - 1, path, old_root, new_root)


def _walk_consistency(first: int, last: int, path: list[bytes], old_root: bytes, new_root: bytes) -> None:
    while first & 1:
        first, last = first >> 1, last >> 1
    old_hash = new_hash = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise AuditBrokenError("the consistency proof is too long")
        if first & 1 or first == last:
            old_hash, new_hash = node_hash(sibling, old_hash), node_hash(sibling, new_hash)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            new_hash = node_hash(new_hash, sibling)
        first, last = first >> 1, last >> 1
    if last != 0:
        raise AuditBrokenError("the consistency proof is too short")
    if old_hash != old_root or new_hash != new_root:
        raise AuditBrokenError("the newer tree does not begin with the older one: the log was rewritten")


def _range_root(node: NodeReader, start: int, stop: int) -> bytes:
    """Root over leaves `start` to `stop`, where `start` is a multiple of a power of two not below their number."""
    count = stop - start
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return node(level, start >> level)
    middle = start + _split(count)
    return node_hash(_range_root(node, start, middle), _range_root(node, middle, stop))


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << ((count - 1).bit_length() - 1)


def _check_lengths(hashes: Iterable[bytes]) -> None:
    if any(len(value) != HASH_SIZE for value in hashes):
        raise AuditBrokenError(f"a hash that is not {HASH_SIZE} bytes long")
