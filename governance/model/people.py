"""Whether two names are one person: for whoever counts approvals, of which one person has one.

Promises: names that differ in case, white space, characters that cannot be seen, the form of an accent or width, or a `user:`
before them, are one. Two people may be taken for one, who then has one voice; never one for two by such a spelling. Does
not: know who people are; a name and an address of one person are two names.
"""

from __future__ import annotations

import unicodedata

_USER = "user:"
_UNSEEN = frozenset({"Cc", "Cf"})


def person(name: str) -> str:
    """The form in which names of people are compared."""
    shown = "".join(
        " " if sign.isspace() else sign
        for sign in unicodedata.normalize("NFKC", name)
        if sign.isspace() or unicodedata.category(sign) not in _UNSEEN
    )
    folded = unicodedata.normalize("NFKC", shown.casefold())
    return " ".join(folded.split()).removeprefix(_USER).strip()


def is_same_person(one: str, other: str) -> bool:
    """Whether both are names of one person."""
    return person(one) == person(other)
