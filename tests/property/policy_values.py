"""Comparisons of the policy language, one plain function per type: the values half of the oracle.

Written from the specification (`policy-language.md`, sections 3 and 4) and the standards it names: PEP 440, PEP 503,
Semantic Versioning 2.0, VERS, package URLs and SPDX expressions. Slow on purpose, and shares no code with the engine.
None is unknown throughout.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Callable
from datetime import datetime
from functools import cmp_to_key
from typing import Any
from urllib.parse import unquote

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from governance.model.facts import Collection, FactSpec, FactType
from tests.property import policy_versions as orders

Truth = bool | None

SEVERITIES = ["none", "unknown", "low", "medium", "high", "critical"]
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
PEP440, SEMVER = {"pypi", "mlflow"}, {"npm", "cargo", "golang"}
OTHERS = {
    "conda": orders.conda,
    "nuget": orders.nuget,
    "maven": orders.maven,
    "deb": orders.deb,
    "rpm": orders.rpm,
}
LOWER = {
    "huggingface",
    "nuget",
    "github",
    "bitbucket",
    "npm",
    "oci",
    "docker",
    "deb",
    "conda",
    "golang",
    "composer",
    "hex",
}
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


# Names


def name_in(ecosystem: str, name: str) -> str:
    if ecosystem == "pypi":
        return re.sub(r"[-_.]+", "-", name).lower()
    if ecosystem == "cargo":
        return name.replace("_", "-").lower()
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
    """An expression cannot be normalised: where the ecosystem folds names, it fits if it fits a spelling that means the
    same, without regard to case and with one sign between the parts."""
    if re.fullmatch(pattern, name):
        return True
    signs = {"pypi": "-_.", None: "-_.", "cargo": "-_"}.get(ecosystem, "-" if ecosystem in LOWER else "")
    if not signs:
        return False
    spelled = [name] + [name_in(ecosystem or "pypi", name).replace("-", sign) for sign in signs]
    # As Unicode folds cases, these two are letters of their own; Python takes them for an `i`.
    plain = str.maketrans("İı", "\N{REPLACEMENT CHARACTER}" * 2)
    if any(re.fullmatch(pattern, one.translate(plain), re.IGNORECASE) for one in spelled):
        return None if ecosystem is None else True
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


def readers(ecosystem: str | None) -> list[Any]:
    if ecosystem is None:
        return [pep440, semver]
    if ecosystem in PEP440:
        return [pep440]
    if ecosystem in OTHERS:
        return [ecosystem]
    return [semver] if ecosystem in SEMVER else []


def compared(ecosystem: str | None, one: str, other: str, test: Callable[[Any, Any], bool]) -> Truth:
    """The order of two versions. Without an ecosystem, PEP 440 and SemVer must agree on where one lies of the other."""
    found = {order_of(read, one, other) for read in readers(ecosystem)} - {None}
    said = found.pop() if len(found) == 1 else None
    return None if said is None else test(said, 0)


Reader = Callable[[str], Any]


def order_of(read: Reader | str, one: str, other: str) -> int | None:
    """-1, 0 or 1 by a scheme. A version that is written without a local label stands for all that have one."""
    if isinstance(read, str):
        return OTHERS[read](one, other)
    left, right = read(one), read(other)
    if left is None or right is None:
        return None
    if isinstance(right, Version) and right.local is None:
        left = Version(left.public)
    return int(left > right) - int(left < right)


def in_versions(ecosystem: str | None, range_: str, version: str) -> Truth:
    """A PEP 440 specifier, or a VERS. A VERS holds nothing of another ecosystem; a specifier cannot tell of one."""
    if not range_.startswith("vers:"):
        if ecosystem is not None and ecosystem not in PEP440 | {"conda"}:
            return None
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


def vers_holds(read: Any, constraints: str, version: str) -> Truth:
    """Naively: the intervals that the sorted comparators span, minus what `!=` takes out, plus what `=` puts in."""
    if order_of(read, version, version) is None:
        return None
    if constraints == "*":
        return True
    rows: list[tuple[str, str]] = []
    for text in constraints.split("|"):
        found = re.fullmatch(r"(>=|<=|!=|<|>|=)?(.+)", text)
        assert found
        rows.append((found[1] or "=", unquote(found[2])))
    where = {bound: order_of(read, version, bound) or 0 for _, bound in rows}
    if any(sign == "!=" and where[bound] == 0 for sign, bound in rows):
        return False
    if any(sign == "=" and where[bound] == 0 for sign, bound in rows):
        return True
    place_of = cmp_to_key(lambda one, other: order_of(read, str(one), str(other)) or 0)
    bounds = [row for row in rows if row[0] not in {"=", "!="}]
    bounds.sort(key=lambda row: place_of(row[1]))
    if not bounds:
        return any(sign == "!=" for sign, _ in rows) and not any(sign == "=" for sign, _ in rows)
    for place, (sign, bound) in enumerate(bounds):
        after = bounds[place + 1] if place + 1 < len(bounds) else None
        at = where[bound]
        if sign in {"<", "<="} and place == 0 and (at < 0 or (sign == "<=" and at == 0)):
            return True
        above = at > 0 or (sign == ">=" and at == 0)
        if (
            sign in {">", ">="}
            and above
            and (after is None or where[after[1]] < 0 or (after[0] == "<=" and where[after[1]] == 0))
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
    return None if not value[3] else same_version(value[0], value[3], operand[3])


def same_version(kind: str, value: str, written: str) -> Truth:
    """By the order of the ecosystem, where it has one."""
    if value == written:
        return True
    return compared(kind, value, written, lambda a, b: a == b) if readers(kind) else False


def purl_glob(value: tuple[str, ...], pattern: tuple[str, ...]) -> Truth:
    if value[0] != pattern[0] or not glob(
        "/".join(filter(None, pattern[1:3])), "/".join(filter(None, value[1:3]))
    ):
        return False
    if not pattern[3]:
        return True
    if value[3] and not re.search(r"[*?]", pattern[3]):
        return same_version(value[0], value[3], pattern[3])
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
