"""Reading the bodies of entries without trusting their shape.

A report has to show what is in the log, also when an entry was written by another version of the program. So nothing
here raises: what is not there, or is of another type, reads as None, empty or zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from governance.model.canonical import Json


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON object, read by name and type."""

    body: Mapping[str, Json]

    def text(self, name: str) -> str | None:
        """A string."""
        value = self.body.get(name)
        return value if isinstance(value, str) else None

    def word(self, name: str) -> str:
        """A string that should be there."""
        return self.text(name) or "?"

    def number(self, name: str) -> int | None:
        """A whole number."""
        value = self.body.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def is_set(self, name: str) -> bool:
        """Whether a boolean is there and true."""
        return self.body.get(name) is True

    def sub(self, name: str) -> Fields:
        """An object."""
        value = self.body.get(name)
        # The first is ten times quicker, and mostly true.
        if value.__class__ is dict or isinstance(value, Mapping):
            return Fields(value)
        return Fields({})

    def subs(self, name: str) -> tuple[Fields, ...]:
        """A list of objects."""
        value = self.body.get(name)
        return (
            tuple(Fields(item) for item in value if item.__class__ is dict or isinstance(item, Mapping))
            if isinstance(value, list)
            else ()
        )

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self.body.get(name)
        return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
