"""A document whose shape is wrong, read as far as it goes: one slip hides no other mistake.

Promises: what is wrong with the shape is noted, all of it; what comes out has the shape, without the parts that were wrong, and
names them, so that what only follows from one of them is not told as a mistake of its own. Does not: make anything that may be
used. Where something was left out a mistake is on record, and nothing that has mistakes is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from governance.policy.mistakes import Mistake, Mistakes, Path, nearest
from governance.policy.schema import (
    DIGEST_PATTERN,
    ENVIRONMENT_PATTERN,
    NAME_PATTERN,
    RULE_PATTERN,
    WAIVER_PATTERN,
    Shape,
    read_shape,
)

S = TypeVar("S", bound=Shape)

_ROUNDS = 16
"""A missing mapping takes two rounds for itself, and as many for each level below it."""

_MEMBER = 3
"""How many parts has the path of a rule, a layer, a binding or a case."""

_FORMED: Mapping[str, str] = {
    NAME_PATTERN: "unread",
    WAIVER_PATTERN: "unread",
    ENVIRONMENT_PATTERN: "unread",
    RULE_PATTERN: "unread/unread",
    DIGEST_PATTERN: f"sha256:{'0' * 64}",
}
_STAND_INS: Mapping[str, object] = {
    "model_type": {},
    "model_attributes_type": {},
    "dict_type": {},
    "list_type": [None],
    "too_short": [None],
}
_LEAN: Mapping[str, frozenset[str]] = {
    "effect": frozenset({"no message", "grace", "retryAfter"}),
    "condition": frozenset({"no when"}),
    "action": frozenset({"maxAge", "no maxAge"}),
    "starts": frozenset({"expires"}),
    "requestedBy": frozenset({"approvedBy"}),
    "rule": frozenset({"approvedBy"}),
    "void": frozenset({"rule", "artifact", "expires", "approvedBy"}),
}
"""Which keys, or their absence, are judged by another one beside them: nothing is known of them where that one was wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired(Generic[S]):
    """A shape, the tree it was read from, and the paths of what was wrong there and is left out or replaced."""

    shape: S
    tree: Any
    doubtful: tuple[Path, ...] = ()

    def told(self, mistakes: Iterable[Mistake]) -> list[Mistake]:
        """Of mistakes found in the shape those of its own, which do not follow from a doubtful part."""
        # What is within a member of a list says nothing of those beside it, and one slip may stand in each of 20,000 rules.
        near: dict[Path, list[Path]] = {}
        for path in self.doubtful:
            near.setdefault(_member(path), []).append(path)

        def is_own(mistake: Mistake) -> bool:
            at = mistake.path
            if len(at) < _MEMBER:
                return not any(_follows(mistake, path) for path in self.doubtful)
            return not any(_follows(mistake, path) for key in {(), _member(at)} for path in near.get(key, ()))

        return [mistake for mistake in mistakes if is_own(mistake)]

    def knows(self, path: Path) -> bool:
        """Whether nothing at `path`, above or below it is doubtful."""
        return not any(path[: len(one)] == one[: len(path)] for one in self.doubtful)


def read_repaired(
    shape: type[S], tree: Any, mistakes: Mistakes, lacking: tuple[Path, ...] = ()
) -> Repaired[S] | None:
    """`tree` as `shape` after noting every mistake of form; None where too little of it is right. `lacking` is where the tree is
    not what was written, of which a mistake is on record."""
    found = Mistakes()
    read = read_shape(shape, tree, found)
    mistakes.found += [one for one in found.found if not any(_follows(one, path) for path in lacking)]
    if read is not None:
        return Repaired(shape=read, tree=tree, doubtful=lacking)
    mended, doubtful = deepcopy(tree), dict.fromkeys(lacking)
    for _ in range(_ROUNDS):
        try:
            read = shape.model_validate(mended)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                _mend(mended, detail, doubtful)
        else:
            return Repaired(shape=read, tree=mended, doubtful=tuple(doubtful))
    return None


def _mend(tree: Any, detail: ErrorDetails, doubtful: dict[Path, None]) -> None:
    """Leave out what is wrong. What may not be left out, or is counted, is replaced by something of the right form."""
    path: Path = tuple(part for part in detail["loc"] if part != "[key]")
    is_known = path in doubtful
    doubtful[path] = None
    holder, last = tree, path[-1]
    for part in path[:-1]:
        holder = holder.get(part) if isinstance(holder, dict) else holder[part]
        if not isinstance(holder, dict | list):
            return  # in this round all of it was left out or replaced, for a mistake of its own
    if "[key]" in detail["loc"]:
        holder.pop(last, None)
    elif detail["type"] == "missing":
        # Beside this effect every other key may stand.
        holder[last] = "quarantine" if last == "effect" else None
    elif isinstance(holder, dict) and last not in holder:
        return  # left out already, as above
    elif is_known or isinstance(last, int) or detail["type"] in {"model_type", "model_attributes_type"}:
        holder[last] = _stand_in(detail)
    else:
        holder.pop(last, None)


def _stand_in(detail: ErrorDetails) -> object:
    context = detail.get("ctx", {})
    if detail["type"] == "literal_error":
        return str(context["expected"]).split("'")[1]
    if detail["type"] == "string_pattern_mismatch":
        return _FORMED.get(str(context["pattern"]), "1d")
    return deepcopy(_STAND_INS.get(detail["type"], "*"))


def _member(path: Path) -> Path:
    """The member of a list, such as a rule, at or within which a path leads; empty where it is none."""
    return path[:_MEMBER] if len(path) >= _MEMBER and isinstance(path[_MEMBER - 1], int) else ()


def _follows(mistake: Mistake, doubtful: Path) -> bool:
    at = mistake.path
    if at[: len(doubtful)] == doubtful or (doubtful[:2] == ("spec", "fixtures") and at[-1:] == ("from",)):
        return True
    if at == doubtful[: len(at)] and len(at) < len(doubtful) and isinstance(doubtful[len(at)], int):
        # It is about a list: of which a member is doubtful, or what others may call it.
        return len(doubtful) == len(at) + 1 or doubtful[-1] == "name"
    beside, key = doubtful[:-1], doubtful[-1]
    if at[: len(beside)] != beside or isinstance(key, int):
        return False
    if key == "<<":
        return at == beside  # it lacks what would have been merged
    if len(at) > len(beside):
        about, missing = str(at[len(beside)]), None
    else:
        about = missing = mistake.expected.partition("the key `")[2].partition("`")[0]
    if not about:
        return mistake.expected.startswith("at least one key")
    return about == key or f"no {missing}" in _LEAN.get(key, ()) or about in _LEAN.get(key, ()) or (
        nearest(key, [about]) is not None
    )  # fmt: skip
