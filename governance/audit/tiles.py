"""How stores keep the hashes of complete subtrees: 256 neighbouring nodes and the 7 levels above them in one piece.

A tile of height 8 at level `h` and number `n` packs the nodes of tree levels `8h` to `8h + 7` over its 256 leftmost
children, one level after another: 256 hashes, then 128, 64 and so on down to 2. Its root belongs to level `8h + 8`. So one
read finds any hash, at 64 bytes an entry. Tiles are written once, when they are full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from governance.audit.merkle import HASH_SIZE, next_level, node_hash, perfect_root

WIDTH = 256
HEIGHT = 8

Children = Callable[[int, int, int], Sequence[bytes]]
"""`children(height, start, count)`: neighbouring nodes of tree level `8 * height`: leaves, or roots of tiles below."""


def pack_tile(nodes: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Root and packed hashes of a full tile."""
    levels = [list(nodes)]
    while len(levels[-1]) > 2:
        levels.append(next_level(levels[-1]))
    return node_hash(*levels[-1]), b"".join(value for level in levels for value in level)


def full_tiles(old: int, new: int) -> Iterator[tuple[int, int]]:
    """Height and number of each tile that becomes full as the tree grows from `old` to `new` leaves, lowest first."""
    height = 0
    while new >= WIDTH:
        old, new = old // WIDTH, new // WIDTH
        yield from ((height, number) for number in range(old, new))
        height += 1


def place_of(level: int, index: int) -> tuple[int, int, int]:
    """Height and number of the tile that packs a node, and the node's offset in it in bytes."""
    height, above = divmod(level, HEIGHT)
    width = WIDTH >> above
    number, place = divmod(index, width)
    return height, number, (2 * WIDTH - 2 * width + place) * HASH_SIZE


def node_of_growing_tile(children: Children, level: int, index: int) -> bytes:
    """A complete node whose tile is not full yet, from the tile's children."""
    height, above = divmod(level, HEIGHT)
    return perfect_root(children(height, index << above, 1 << above))
