"""Large documents beside the log, made smaller where the store's database does not do that itself.

Promises: what is inflated has the size that was recorded of it and no more than a document may have, whatever the stored bytes
hold; a small document, and one that does not get smaller, is stored as it is. Whether stored bytes were deflated is told by
their length alone: the size on record is the document's own. Does not: say that they are the right ones, which their digest
does; bytes that do not inflate to that size are handed out as they lie, and fit no digest.
"""

from __future__ import annotations

import zlib
from typing import Final

from governance.audit.store import MAX_EVIDENCE

SMALL: Final = 16 << 10
"""Documents below this size, in bytes, are stored as they are: facts of an ordinary model, which are written all the time."""
_LEVEL: Final = 1  # a third smaller is what the best level gives, for twice the time


def deflated(document: bytes) -> bytes:
    """The bytes to store: those of zlib (RFC 1950) where these are fewer."""
    if len(document) < SMALL:
        return document
    packed = zlib.compress(document, _LEVEL)
    return packed if len(packed) < len(document) else document


def inflated(stored: bytes, size: int) -> bytes:
    """The document of `size` bytes that was stored so."""
    if not len(stored) < size <= MAX_EVIDENCE:
        return stored
    stream = zlib.decompressobj()
    try:
        document = stream.decompress(stored, size + 1)
    except zlib.error:
        return stored
    is_whole = stream.eof and not stream.unused_data and len(document) == size
    return document if is_whole else stored
