"""Fields of items and criteria over them, as AQL has them.

Promises that an unknown field or operator is refused in words. Does not read queries (`aql`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fnmatch import translate
from functools import lru_cache
from typing import Any
from zlib import crc32

from governance.devserver.items import Item, iso
from governance.devserver.problems import Problem, Shape

Predicate = Callable[[Item], bool]
_MAX_DEPTH = 32


def _sum(name: str) -> Callable[[Item], str | None]:
    return lambda item: item.digests.by_name()[name] if item.digests else None


def _claimed(name: str) -> Callable[[Item], str | None]:
    actual = _sum(name)
    return lambda item: item.claimed.get(name) or actual(item)


FIELDS: dict[str, Callable[[Item], Any]] = {
    "repo": lambda item: item.repo,
    "path": lambda item: item.parent or ".",  # the root of a repository
    "name": lambda item: item.name,
    "type": lambda item: "folder" if item.folder else "file",
    "size": lambda item: item.digests.size if item.digests else 0,
    "created": lambda item: iso(item.created),
    "created_by": lambda item: item.created_by,
    "modified": lambda item: iso(item.modified),
    "modified_by": lambda item: item.modified_by,
    "updated": lambda item: iso(item.modified),
    "id": lambda item: crc32(item.label.encode()),
    "depth": lambda item: item.path.count("/") + 1,
    "original_md5": _claimed("md5"),
    "actual_md5": _sum("md5"),
    "original_sha1": _claimed("sha1"),
    "actual_sha1": _sum("sha1"),
    "sha256": _sum("sha256"),
}
DEFAULT_FIELDS = tuple(FIELDS)[:10]
ALL_FIELDS = tuple(FIELDS)


def refuse(text: str) -> Problem:
    """A refusal as AQL words it: 400 with bare text."""
    return Problem(400, text, shape=Shape.TEXT)


def compile_criteria(tree: Mapping[str, Any], depth: int = 0) -> Predicate:
    """A predicate for a criteria object; its members must all hold."""
    if depth > _MAX_DEPTH:
        raise refuse("The criteria are nested too deeply.")
    parts = [_criterion(name, value, depth) for name, value in tree.items()]
    return lambda item: all(part(item) for part in parts)


def _criterion(name: str, value: Any, depth: int) -> Predicate:
    if name in ("$and", "$or"):
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise refuse(f"{name} needs a list of criteria")
        parts = [compile_criteria(each, depth + 1) for each in value]
        test = all if name == "$and" else any
        return lambda item: test(part(item) for part in parts)
    if name.startswith("@"):
        return _property(name[1:], value)
    if name in ("property.key", "property.value"):
        return _property_part(name, value)
    if name not in FIELDS:
        raise refuse(f"Unknown field or operator in criteria: {name}")
    if name == "type" and value == "any":
        return lambda _: True
    tests = _comparators(value)
    field = FIELDS[name]
    return lambda item: all(test(field(item)) for test in tests)


def _property(key: str, value: Any) -> Predicate:
    tests = _comparators(value)
    negative = isinstance(value, dict) and set(value) <= {"$ne", "$nmatch"}

    def holds(item: Item) -> bool:
        values = item.properties.get(key)
        if values is None:
            return negative
        return (all if negative else any)(all(test(each) for test in tests) for each in values)

    return holds


def _property_part(name: str, value: Any) -> Predicate:
    tests = _comparators(value)
    if name == "property.key":
        return lambda item: any(all(test(key) for test in tests) for key in item.properties)
    return lambda item: any(
        all(test(each) for test in tests) for values in item.properties.values() for each in values
    )


@lru_cache(maxsize=256)
def _wildcard(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern.replace("[", "[[]")))


def _comparators(value: Any) -> list[Callable[[Any], bool]]:
    if not isinstance(value, dict):
        return [_comparator("$eq", value)]
    return [_comparator(operator, operand) for operator, operand in value.items()]


def _comparator(operator: str, operand: Any) -> Callable[[Any], bool]:
    if operator in ("$match", "$nmatch", "$matchic"):
        text = str(operand).lower() if operator == "$matchic" else str(operand)
        pattern, wanted = _wildcard(text), operator != "$nmatch"
        fold = operator == "$matchic"
        return lambda value: bool(pattern.match(str(value).lower() if fold else str(value))) is wanted
    if operator == "$eqic":
        return lambda value: str(value).lower() == str(operand).lower()
    if operator in ("$eq", "$ne"):
        wanted = operator == "$eq"
        return lambda value: (str(value) == str(operand)) is wanted
    if operator in ("$gt", "$gte", "$lt", "$lte"):
        return lambda value: _ordered(operator, value, operand)
    raise refuse(f"Unknown comparator in criteria: {operator}")


def _ordered(operator: str, value: Any, operand: Any) -> bool:
    left: Any = value
    right: Any = operand
    if isinstance(value, int):
        try:
            right = int(operand)
        except (TypeError, ValueError) as error:
            raise refuse(f"{operand} is not a number") from error
    else:
        left, right = str(value), str(operand)
    return bool(
        {"$gt": left > right, "$gte": left >= right, "$lt": left < right, "$lte": left <= right}[operator]
    )
