"""What is seen in one file, and in several parts of one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What was seen. `skipped` says why (a part of) the file could not be looked into; `broken` why it cannot be what
    it claims to be."""

    format: str
    imports: tuple[str, ...] = ()
    skipped: str | None = None
    broken: str | None = None


def joined(format_: str, parts: Iterable[Inspection]) -> Inspection:
    """All that was seen in the parts of a file, which is of this format."""
    found = list(parts)
    return Inspection(
        format=format_,
        imports=tuple(sorted({name for part in found for name in part.imports})),
        skipped=next((part.skipped for part in found if part.skipped), None),
        broken=next((part.broken for part in found if part.broken), None),
    )
