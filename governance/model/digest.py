r"""Digests and the two forms in which they are written.

A file's identity is `sha256:<hex>`. A folder's is `dirhash1:<hex>`: SHA-256 over the sorted lines `<sha256>  <name>\\n`
(in-toto's DigestSet name `dirHash1`; Go's `dirhash.Hash1`, whose base64 form `h1:` holds the same 32 bytes), so that
names are bound as well as bytes. `sha256sum` and `sort` give the same value by hand.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import NewType

Sha256 = NewType("Sha256", str)
"""64 lower-case hex digits. Made by `parse_sha256` alone."""

Digest = NewType("Digest", str)
"""`sha256:<hex>` of a file, or `dirhash1:<hex>` of a folder. Made by `file_digest`, `tree_digest`, `parse_digest`."""

_HEX = re.compile(r"[0-9a-f]{64}")


def parse_sha256(text: str) -> Sha256:
    """Check and normalise a SHA-256 in hex (either case). Raises `ValueError`."""
    lowered = text.lower()
    if not _HEX.fullmatch(lowered):
        raise ValueError(f"`{text[:80]}` is not a SHA-256 in hex")
    return Sha256(lowered)


def parse_digest(text: str) -> Digest:
    """Check `sha256:<hex>` or `dirhash1:<hex>`. Raises `ValueError`."""
    algorithm, _, value = text.partition(":")
    if algorithm not in {"sha256", "dirhash1"}:
        raise ValueError(f"`{text[:80]}` does not start with `sha256:` or `dirhash1:`")
    return Digest(f"{algorithm}:{parse_sha256(value)}")


def file_digest(sha256: Sha256) -> Digest:
    """The identity of one file."""
    return Digest(f"sha256:{sha256}")


def tree_digest(entries: Iterable[tuple[str, Sha256]]) -> Digest:
    """The identity of a folder, from the relative names and SHA-256 of its files. Order does not matter.

    Raises `ValueError` on a name with a newline, which the line format cannot carry.
    """
    hasher = hashlib.sha256()
    for name, sha256 in sorted(entries):
        if "\n" in name:
            raise ValueError(f"file name {name!r} holds a newline")
        hasher.update(f"{sha256}  {name}\n".encode())
    return Digest(f"dirhash1:{hasher.hexdigest()}")
