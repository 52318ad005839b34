"""Comparisons of the policy language, one plain function per type: the values half of the oracle.

Written from the specification (`policy-language.md`, sections 3 and 4) and the standards it names: PEP 440, PEP 503,
Semantic Versioning 2.0, VERS, package URLs and SPDX expressions. Slow on purpose, and shares no code with the engine.
None is unknown throughout.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from governance.model.facts import Collection, FactSpec, FactType

Truth = bool | None

SEVERITIES = ["none", "unknown", "low", "medium", "high", "critical"]
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
PEP440, SEMVER = {"pypi", "conda", "mlflow"}, {"npm", "cargo", "golang", "nuget"}
LOWER = {"huggingface", "nuget", "github", "bitbucket", "npm", "oci", "docker", "deb", "conda"}
RENAMED = {
    "gpl-3.0": "gpl-3.0-only",
    "gpl-3.0+": "gpl-3.0-or-later",
    "gpl-2.0": "gpl-2.0-only",
    "agpl-3.0": "agpl-3.0-only",
    "agpl-3.0+": "agpl-3.0-or-later",
}
SPDX = {"mit", "apache-2.0", "gpl-2.0-only", "gpl-2.0-or-later", "gpl-3.0-only", "gpl-3.0-or-later", "agpl-3.0-only",
        "agpl-3.0-or-later", "none", "noassertion"}  # fmt: skip
LATER = {
    "gpl-2.0-or-later": {"gpl-2.0-only", "gpl-3.0-only"},
    "gpl-3.0-or-later": {"gpl-3.0-only"},
    "agpl-3.0-or-later": {"agpl-3.0-only"},
}


def duration(text: str) -> int:
    return int(text[:-1]) * UNITS[text[-1]]


def moment(text: object) -> datetime | None:
    if not isinstance(text, str) or not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def glob(pattern: str, text: str) -> bool:
    """`*` is any text, `?` one character; nothing else is special."""
    return re.fullmatch(fnmatch.translate(pattern.replace("[", "[[]")), text, re.DOTALL) is not None


def negated(truth: Truth) -> Truth:
    return None if truth is None else not truth


def agreed(answers: Sequence[Truth]) -> Truth:
    """What all say; unknown where they differ or nobody says anything."""
    said = {answer for answer in answers if answer is not None}
    return said.pop() if len(said) == 1 else None


# Names


def name_in(ecosystem: str, name: str) -> str:
    if ecosystem == "pypi":
        return re.sub(r"[-_.]+", "-", name).lower()
    return name.lower() if ecosystem in LOWER else name


def same_name(ecosystem: str | None, one: str, other: str) -> Truth:
    """Without an ecosystem, equal if spelled alike and different if no ecosystem could take them for the same."""
    if ecosystem is not None:
        return name_in(ecosystem, one) == name_in(ecosystem, other)
    if one == other:
        return True
    return False if name_in("pypi", one) != name_in("pypi", other) else None


def name_glob(ecosystem: str | None, pattern: str, name: str) -> Truth:
    if ecosystem is not None:
        return glob(name_in(ecosystem, pattern), name_in(ecosystem, name))
    if glob(pattern, name):
        return True
    return False if not glob(name_in("pypi", pattern), name_in("pypi", name)) else None


def name_regex(ecosystem: str | None, pattern: str, name: str) -> Truth:
    """An expression cannot be normalised: it is tried on the name as written, and without regard to case on the normal
    form where the ecosystem folds names."""
    if re.fullmatch(pattern, name):
        return True
    if ecosystem is None:
        return None if re.fullmatch(pattern, name_in("pypi", name), re.IGNORECASE) else False
    if ecosystem == "pypi" or ecosystem in LOWER:
        return re.fullmatch(pattern, name_in(ecosystem, name), re.IGNORECASE) is not None
    return False


# Versions


def pep440(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def semver(text: str) -> Any:
    found = re.fullmatch(r"v?(\d+)\.(\d+)(?:\.(\d+))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?", text)
    if not found:
        return None
    parts = [] if found[4] is None else found[4].split(".")
    if "" in parts:
        return None
    rank = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]
    # A version without pre-release parts comes after all that have some (SemVer 2.0, section 11).
    return (int(found[1]), int(found[2]), int(found[3] or 0), 1 if found[4] is None else 0, rank)


def readers(ecosystem: str | None) -> list[Callable[[str], Any]]:
    if ecosystem is None:
        return [pep440, semver]
    if ecosystem in PEP440:
        return [pep440]
    return [semver] if ecosystem in SEMVER else []


def compared(ecosystem: str | None, one: str, other: str, test: Callable[[Any, Any], bool]) -> Truth:
    """The order of two versions. Without an ecosystem, PEP 440 and SemVer must agree on where one lies of the other."""
    orders = set()
    for read in readers(ecosystem):
        left, right = read(one), read(other)
        if left is not None and right is not None:
            orders.add((left > right) - (left < right))
    return test(orders.pop(), 0) if len(orders) == 1 else None


def in_versions(ecosystem: str | None, range_: str, version: str) -> Truth:
    """A PEP 440 specifier, or a VERS. A range of one ecosystem says nothing of another's versions: that is false."""
    if not range_.startswith("vers:"):
        if ecosystem is not None and ecosystem not in PEP440:
            return False
        known = pep440(version)
        return (
            None
            if known is None
            else within(ecosystem, SpecifierSet(range_).contains(known, prereleases=True))
        )
    scheme, _, constraints = range_.removeprefix("vers:").partition("/")
    if ecosystem not in {None, scheme}:
        return False
    return within(ecosystem, vers_holds(readers(scheme)[0], constraints, version))


def within(ecosystem: str | None, truth: Truth) -> Truth:
    """A version of an ecosystem that nobody knows lies in a range only perhaps; outside of it, it is outside anyway."""
    return None if truth and ecosystem is None else truth


def vers_holds(read: Callable[[str], Any], constraints: str, version: str) -> Truth:
    """Naively: the intervals that the sorted comparators span, minus what `!=` takes out, plus what `=` puts in."""
    at = read(version)
    if at is None:
        return None
    if constraints == "*":
        return True
    rows = []
    for text in constraints.split("|"):
        found = re.fullmatch(r"(>=|<=|!=|<|>|=)?(.+)", text)
        assert found
        rows.append((found[1] or "=", read(unquote(found[2]))))
    if any(sign == "!=" and bound == at for sign, bound in rows):
        return False
    if any(sign == "=" and bound == at for sign, bound in rows):
        return True
    bounds = sorted([row for row in rows if row[0] not in {"=", "!="}], key=lambda row: row[1])
    if not bounds:
        return any(sign == "!=" for sign, _ in rows) and not any(sign == "=" for sign, _ in rows)
    for place, (sign, bound) in enumerate(bounds):
        after = bounds[place + 1] if place + 1 < len(bounds) else None
        if sign in {"<", "<="} and place == 0 and (at < bound or (sign == "<=" and at == bound)):
            return True
        above = at > bound or (sign == ">=" and at == bound)
        if (
            sign in {">", ">="}
            and above
            and (after is None or at < after[1] or (after[0] == "<=" and at == after[1]))
        ):
            return True
    return False


# Package URLs


def purl(text: object) -> tuple[str, str, str, str] | None:
    """Type, namespace, name, version; the last may be empty."""
    found = re.fullmatch(
        r"pkg:/*([A-Za-z][A-Za-z0-9.+-]*)/(?:([^?#]*)/)?([^/?#@]+)(?:@([^?#]*))?(?:[?#].*)?", str(text)
    )
    if not isinstance(text, str) or not found:
        return None
    kind = found[1].lower()
    return (
        kind,
        name_in(kind, unquote(found[2] or "")),
        name_in(kind, unquote(found[3])),
        unquote(found[4] or ""),
    )


def same_purl(value: tuple[str, ...], operand: tuple[str, ...]) -> Truth:
    if value[:3] != operand[:3]:
        return False
    if not operand[3]:
        return True
    return None if not value[3] else value[3] == operand[3]


def purl_glob(value: tuple[str, ...], pattern: tuple[str, ...]) -> Truth:
    if value[0] != pattern[0] or not glob(
        "/".join(filter(None, pattern[1:3])), "/".join(filter(None, value[1:3]))
    ):
        return False
    if not pattern[3]:
        return True
    return None if not value[3] else glob(pattern[3], value[3])


# Licences


def licence(text: object) -> Any:
    """`("or"|"and", left, right)` or an id; None for what asserts nothing or is no expression."""
    if not isinstance(text, str) or text.strip().upper() in {"NOASSERTION", ""}:
        return None
    if len(text) > 2000 or re.search(r"[\x00-\x1f/\[\]{}%]", text):
        return None
    tokens = re.findall(r"[()]|[^\s()]+", text)
    try:
        tree, rest = _either(tokens)
    except (IndexError, ValueError):
        return None
    return tree if not rest else None


def _either(tokens: list[str]) -> Any:
    tree, rest = _both(tokens)
    while rest and rest[0].upper() == "OR":
        right, rest = _both(rest[1:])
        tree = ("or", tree, right)
    return tree, rest


def _both(tokens: list[str]) -> Any:
    tree, rest = _atom(tokens)
    while rest and rest[0].upper() == "AND":
        right, rest = _atom(rest[1:])
        tree = ("and", tree, right)
    return tree, rest


def _atom(tokens: list[str]) -> Any:
    if tokens[0] == "(":
        tree, rest = _either(tokens[1:])
        if rest[0] != ")":
            raise ValueError("a parenthesis that is never closed")
        return tree, rest[1:]
    if tokens[0].upper() in {"AND", "OR", "WITH", ")"}:
        raise ValueError("an operator where a licence should stand")
    name = RENAMED.get(tokens[0].lower(), tokens[0].lower())
    if len(tokens) > 2 and tokens[1].upper() == "WITH":
        known = name in SPDX and tokens[2].lower() == "classpath-exception-2.0"
        return f"{name} with {tokens[2].lower()}" if known else "noassertion", tokens[3:]
    # What is not of SPDX may be any licence.
    return name if name in SPDX or re.fullmatch(r"licenseref-[a-z0-9.-]+", name) else "noassertion", tokens[
        1:
    ]


def satisfied(tree: Any, allowed: set[Any]) -> Truth:
    return _over(tree, allowed, any_of="or")


def requires(tree: Any, denied: set[Any]) -> Truth:
    return _over(tree, denied, any_of="and")


def _over(tree: Any, listed: set[Any], any_of: str) -> Truth:
    """What `NOASSERTION` stands for may be any licence. `or-later` is a choice of versions, each of which may be denied."""
    if not isinstance(tree, tuple):
        all_denied = any_of == "and" and tree in LATER and LATER[tree] <= listed
        return None if tree == "noassertion" else tree in listed or all_denied
    parts = [_over(part, listed, any_of) for part in tree[1:]]
    decisive = tree[0] == any_of
    return decisive if decisive in parts else None if None in parts else not decisive


# All together


ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
}


def number(spec: FactSpec, value: object) -> float | None:
    """Scores are any number, counts and seconds whole ones."""
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return None
    return value if spec.type is FactType.SCORE or isinstance(value, int) else None


def severity(value: object) -> int | None:
    """A severity that says `unknown` is unknown."""
    return SEVERITIES.index(value) if value in SEVERITIES and value != "unknown" else None


def equal(spec: FactSpec, value: Any, operand: Any, ecosystem: str | None) -> Truth:
    kind = spec.type
    if kind is FactType.BOOLEAN:
        return value == operand if isinstance(value, bool) else None
    if kind in {FactType.INTEGER, FactType.SCORE}:
        return None if number(spec, value) is None else value == operand
    if kind is FactType.DURATION:
        return None if number(spec, value) is None else value == duration(operand)
    if not isinstance(value, str):
        return None
    if kind is FactType.NAME:
        return same_name(ecosystem, operand, value)
    if kind is FactType.SEVERITY:
        return True if value == operand else None if severity(value) is None else False
    if kind is FactType.VERSION:
        return value == operand or compared(ecosystem, value, operand, lambda one, other: one == other)
    if kind is FactType.LICENCE:
        return None if licence(value) is None else satisfied(licence(value), {licence(operand)})
    if kind is FactType.PURL:
        return same_purl(purl(value), purl(operand)) if purl(value) else None  # type: ignore[arg-type]
    if kind is FactType.TIME:
        return None if moment(value) is None else moment(value) == moment(operand)
    if spec.values and value not in spec.values:
        return None
    return bool(value == operand)


def ordered(spec: FactSpec, operator: str, value: Any, operand: Any, ecosystem: str | None) -> Truth:
    test = ORDERS[operator]
    if spec.type is FactType.VERSION:
        return compared(ecosystem, value, operand, test) if isinstance(value, str) else None
    if spec.type is FactType.SEVERITY:
        rank = severity(value)
        return None if rank is None else test(rank, SEVERITIES.index(operand))
    if spec.type is FactType.TIME:
        at = moment(value)
        return None if at is None else test(at, moment(operand))
    if number(spec, value) is None:
        return None
    return test(value, duration(operand) if spec.type is FactType.DURATION else operand)


def matching(spec: FactSpec, how: str, value: Any, operand: Any, ecosystem: str | None) -> Truth:
    if not isinstance(value, str):
        return None
    if how == "purl":
        known = purl(value)
        return None if known is None else purl_glob(known, purl(operand))  # type: ignore[arg-type]
    if how == "versions":
        return in_versions(ecosystem, operand, value)
    if how == "requires":
        tree = licence(value)
        return None if tree is None else requires(tree, {licence(one) for one in operand})
    if spec.type is FactType.NAME:
        return (name_glob if how == "glob" else name_regex)(ecosystem, operand, value)
    if spec.values and value not in spec.values:
        return None
    return glob(operand, value) if how == "glob" else re.fullmatch(operand, value) is not None


def exists(spec: FactSpec, value: Any) -> Truth:
    """There is a value; of a set or collection, at least one. A value of the wrong sort is unknown."""
    if value is None:
        return False
    if not fits(spec, value):
        return None
    if isinstance(value, Collection):
        return True if value.items else None if value.missing is not None else False
    return bool(value) if isinstance(value, tuple) else True


def fits(spec: FactSpec, value: Any) -> bool:
    """Whether a value is of the sort that the catalogue promises: a collection, a set of texts, or neither."""
    if spec.type is FactType.COLLECTION:
        return value is None or isinstance(value, Collection)
    if spec.type is FactType.STRINGS:
        return value is None or isinstance(value, tuple)
    return not isinstance(value, Collection | tuple)
