"""The values written in policy files, read by the type of the fact they are compared with.

Each literal has one normal form (a duration is whole seconds, a time is RFC 3339 in UTC with six digits, a licence its
SPDX id in lower case), so that two spellings of one policy have one digest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeAlias

from governance.model.canonical import MAX_INT
from governance.model.facts import CATALOGUE, FactSpec, FactType
from governance.model.request import parse_utc, utc_text
from governance.model.verdict import Severity
from governance.policy.environments import normal_environment
from governance.policy.licences import known_licences, parse_expression, parse_licence
from governance.policy.names import parse_purl

Literal: TypeAlias = "str | int | float | bool"

DURATION_PATTERN = "^([0-9]{1,9}s|[0-9]{1,8}m|[0-9]{1,6}h|[0-9]{1,5}d|[0-9]{1,4}w)$"
"""The written form. It ends at about 270 years, so that no time that is reckoned with one leaves the calendar."""

_DURATION = re.compile(DURATION_PATTERN)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
TIME_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z$"
"""A time in UTC, for the JSON Schema too; that there is such a day is for the loader to see."""
_TIME = re.compile(TIME_PATTERN)
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
MAX_TEXT = 1000
_ENVIRONMENT = CATALOGUE["environment"]
WHOLE_FORM = f"a whole number of at most {MAX_INT}"
DURATION_FORM = "a duration such as `12h` or `7d`, of at most 99999d"
SEVERITIES = tuple(severity.word for severity in Severity)

_BOUNDED = frozenset((
    FactType.INTEGER, FactType.SCORE, FactType.DURATION, FactType.SEVERITY, FactType.TIME, FactType.STRINGS,
))  # fmt: skip
_FREE = frozenset({FactType.LICENCE, FactType.PURL, FactType.VERSION, FactType.NAME})
"""Types whose facts may be any text in a fixture, as a scanner's may be: policies are tested on odd input too."""


class LiteralError(ValueError):
    """A value that does not suit the fact. `expected` says what does; `among` are the valid names, if they are few."""

    def __init__(self, expected: str, among: Sequence[str] = ()) -> None:
        super().__init__(expected)
        self.expected = expected
        self.among = among


def is_free(spec: FactSpec) -> bool:
    """Whether a fixture may have any text for the fact."""
    return spec.type in _FREE or spec.form is not None


def parse_literal(spec: FactSpec, value: object) -> Literal:
    """`value` in the normal form of the fact's type. Raises `LiteralError`."""
    kind = spec.type
    if kind is FactType.BOOLEAN:
        if isinstance(value, bool):
            return value
        raise LiteralError("`true` or `false`")
    if kind in {FactType.INTEGER, FactType.SCORE}:
        return _number(spec, value)
    if not isinstance(value, str) or not value or len(value) > MAX_TEXT:
        raise LiteralError(_TEXT_FORMS.get(kind, "a text in quotes"))
    if spec.values and value not in spec.values:
        raise LiteralError(f"one of {', '.join(spec.values)}", spec.values)
    if spec.form is not None:
        return _formed(spec.form, value)
    if spec == _ENVIRONMENT:
        return normal_environment(value)
    return _from_text(kind, value)


def parse_duration(value: object) -> int:
    """Whole seconds of `90s`, `15m`, `12h`, `7d`, `2w`. Raises `LiteralError`."""
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise LiteralError(DURATION_FORM)
    return int(found[1][:-1]) * _UNITS[found[1][-1]]


def duration_text(seconds: int) -> str:
    """The shortest text that `parse_duration` reads as `seconds`."""
    for unit in ("w", "d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            # Weeks are read and not written: people count in days.
            return f"{seconds // _UNITS['d']}d" if unit == "w" else f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds}s"


def parse_time(value: object) -> datetime:
    """`2026-11-20T00:00:00Z`. Raises `LiteralError`."""
    if isinstance(value, str) and _TIME.fullmatch(value):
        whole, _, fraction = value[:-1].partition(".")
        try:
            return parse_utc(f"{whole}.{fraction.ljust(6, '0')}Z")
        except ValueError:
            pass
    raise LiteralError("a time in UTC such as `2026-11-20T00:00:00Z`")


def time_key(value: str) -> datetime | None:
    """A fact's time, or None where it is not RFC 3339, or lies outside the calendar once its offset is taken off."""
    if not _RFC3339.fullmatch(value):
        return None
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def has_bounds(spec: FactSpec) -> bool:
    """Whether a fact can be known in part: to be at least something, or to hold at least some texts."""
    return spec.type in _BOUNDED


def closed_values(spec: FactSpec) -> tuple[bool | str, ...] | None:
    """All values that a fact can have, where the catalogue or its type lists them; None where any value may be."""
    if spec.type is FactType.BOOLEAN:
        return (True, False)
    if spec.type is FactType.SEVERITY:
        return SEVERITIES
    return spec.values or None


def severity_rank(word: str) -> int:
    """The place of a severity in the order, `unknown` included: `gte: unknown` is all but `none`."""
    return _RANKS[word]


def severity_key(value: object) -> int | None:
    """The rank of a fact's severity, or None where it is no severity or itself says `unknown`."""
    rank = _RANKS.get(value) if isinstance(value, str) else None
    return None if rank == Severity.UNKNOWN else rank


_RANKS = {severity.word: int(severity) for severity in Severity}

_TEXT_FORMS = {
    FactType.DURATION: DURATION_FORM,
    FactType.SEVERITY: f"one of {', '.join(SEVERITIES)}",
    FactType.VERSION: "a version in quotes, such as `'3.10'` (a number would lose its last zero)",
    FactType.LICENCE: "an SPDX licence id such as `Apache-2.0`",
    FactType.PURL: "a package URL such as `pkg:pypi/name`",
    FactType.TIME: "a time in UTC such as `2026-11-20T00:00:00Z`",
}


_HEX = "[0-9a-fA-F]"
FORMS = {
    "sha256": (f"^{_HEX}{{64}}$", "a SHA-256: 64 hex digits"),
    "digest": (
        f"^([sS][hH][aA]256|[dD][iI][rR][hH][aA][sS][hH]1):{_HEX}{{64}}$",
        "a digest: `sha256:` or `dirhash1:` and 64 hex digits",
    ),
    "commit": (f"^({_HEX}{{40}}|{_HEX}{{64}})$", "a full commit: 40 or 64 hex digits"),
}
"""What each form of `FactSpec` looks like, as a pattern that JSON Schema knows too, and in words. Capitals are read."""

WRITTEN_OUT = {
    FactType.NAME: "a name as it is written; a `*` has a meaning in `matches: {glob: ...}` alone",
    FactType.VERSION: "a version as it is written; a `*` has a meaning in `matches: {glob: ...}` alone",
    FactType.PURL: "a package URL without wildcards; a `*` has a meaning in `matches: {purl: ...}` alone",
}
"""No name, version or package has a `*`: an entry with one would be met by nothing."""


def _formed(form: str, value: str) -> str:
    pattern, expected = FORMS[form]
    if not re.fullmatch(pattern, value):
        raise LiteralError(expected)
    return value.lower()


def _number(spec: FactSpec, value: object) -> int | float:
    kind = spec.type
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise LiteralError("a whole number" if kind is FactType.INTEGER else "a number")
    if kind is FactType.INTEGER:
        if not isinstance(value, int):
            raise LiteralError("a whole number")
        if abs(value) > MAX_INT:  # canonical JSON, of which the policy's digest is, has none beyond
            raise LiteralError(WHOLE_FORM)
        return value
    if spec.bounds is not None and not spec.bounds[0] <= value <= spec.bounds[1]:
        raise LiteralError(f"a number from {spec.bounds[0]:g} to {spec.bounds[1]:g}")
    return float(value)


def _from_text(kind: FactType, value: str) -> Literal:
    if kind in WRITTEN_OUT and "*" in value:
        raise LiteralError(WRITTEN_OUT[kind])
    if kind is FactType.DURATION:
        return parse_duration(value)
    if kind is FactType.TIME:
        return utc_text(parse_time(value))
    if kind is FactType.SEVERITY and value not in SEVERITIES:
        raise LiteralError(_TEXT_FORMS[kind], SEVERITIES)
    if kind is FactType.LICENCE:
        licence = parse_licence(value)
        if licence is None:
            several = "" if isinstance(parse_expression(value), str | None) else "; list each licence alone"
            raise LiteralError(f"an SPDX licence id or `LicenseRef-...`{several}", known_licences())
        return licence
    if kind is FactType.PURL:
        purl = parse_purl(value)
        if purl is None:
            raise LiteralError(_TEXT_FORMS[kind])
        return purl.text
    return value
