"""A document whose shape is wrong, read as far as it goes: one slip hides no other mistake.

Promises: what is wrong with the shape is noted, all of it; what comes out has the shape, without the parts that were wrong, and
names them, so that what only follows from one of them is not told as a mistake of its own; a list or mapping under a key that is
nearly a valid one is read as if it stood under that. Does not: make anything that may be used. Where something was left out or
moved a mistake is on record, and nothing that has mistakes is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
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
)
from governance.policy.validation import read_shape

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
    """A shape, the tree it was read from, the paths of what was wrong there and is left out or replaced, and how keys there were
    written that were taken for others, by their paths."""

    shape: S
    tree: Any
    doubtful: tuple[Path, ...] = ()
    written: Mapping[Path, str] = field(default_factory=dict)

    def told(self, mistakes: Iterable[Mistake]) -> list[Mistake]:
        """Of mistakes found in the shape those of its own, which do not follow from a doubtful part, with the paths that were written."""
        # What is within a member of a list says nothing of those beside it, and one slip may stand in each of 20,000 rules.
        near: dict[Path, list[Path]] = {}
        for path in self.doubtful:
            near.setdefault(_member(path), []).append(path)

        def is_own(mistake: Mistake) -> bool:
            at = mistake.path
            if len(at) < _MEMBER:
                return not any(_follows(mistake, path) for path in self.doubtful)
            return not any(_follows(mistake, path) for key in {(), _member(at)} for path in near.get(key, ()))

        return [_as_written(mistake, self.written) for mistake in mistakes if is_own(mistake)]

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
    if read is not None:
        return Repaired(shape=read, tree=tree, doubtful=lacking)
    mended = deepcopy(tree)
    written = _respell(shape, mended, found)
    told = (_as_written(one, written) for one in found.found)
    mistakes.found += [one for one in told if not any(_follows(one, path) for path in lacking)]
    doubtful = dict.fromkeys(_as_read(lacking, written))
    for _ in range(_ROUNDS):
        try:
            read = shape.model_validate(mended)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                _mend(mended, detail, doubtful)
        else:
            return Repaired(shape=read, tree=mended, doubtful=tuple(doubtful), written=written)
    return None


def _respell(shape: type[Shape], tree: Any, found: Mistakes) -> dict[Path, str]:
    """Put lists and mappings under the key for which theirs was meant, where that is free, and add what is wrong within them to
    `found`. Gives the keys as they were written, by their paths now."""
    written: dict[Path, str] = {}
    fresh = found.found
    while True:  # each round is about what the one before it has brought to light, one level below or deeper
        renamed: set[Path] = set()
        for one in fresh:
            if not one.key or one.nearest is None:
                continue
            holder, key = _holder(tree, one.path), one.path[-1]
            if holder is not None and one.nearest not in holder and isinstance(holder.get(key), dict | list):
                holder[one.nearest] = holder.pop(key)
                renamed.add((*one.path[:-1], one.nearest))
                written[*one.path[:-1], one.nearest] = str(key)
        if not renamed:
            return written
        again = Mistakes()
        read_shape(shape, tree, again)
        fresh = [
            one for one in again.found if any(one.path[:end] in renamed for end in range(len(one.path) + 1))
        ]
        found.found += fresh


def _as_written(mistake: Mistake, written: Mapping[Path, str]) -> Mistake:
    path = mistake.path
    return replace(mistake, path=tuple(written.get(path[: end + 1], part) for end, part in enumerate(path)))


def _as_read(paths: Iterable[Path], written: Mapping[Path, str]) -> Iterator[Path]:
    """The inverse, for paths alone."""
    meant = {(*at[:-1], key): at[-1] for at, key in written.items()}
    for path in paths:
        read: Path = ()
        for part in path:
            read = (*read, meant.get((*read, part), part))
        yield read


def _holder(tree: Any, path: Path) -> Any:
    """The mapping or list that holds what stands at a path; None where it was left out or replaced."""
    for part in path[:-1]:
        tree = tree.get(part) if isinstance(tree, dict) else tree[part]
        if not isinstance(tree, dict | list):
            return None
    return tree


def _mend(tree: Any, detail: ErrorDetails, doubtful: dict[Path, None]) -> None:
    """Leave out what is wrong. What may not be left out, or is counted, is replaced by something of the right form."""
    path: Path = tuple(part for part in detail["loc"] if part != "[key]")
    is_known = path in doubtful
    doubtful[path] = None
    holder, last = _holder(tree, path), path[-1]
    if holder is None:
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
