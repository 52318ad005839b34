"""Selections: which entries of the audit log are meant, as a value, as a text and as the command that shows them.

Promises: `matches` is pure and total, whatever an entry's body holds; `parse_selection(str(selection)) == selection`; the values
of one word are alternatives, different words must all hold, and the empty selection means every entry. Does not: read a log
(see `governance.report.search`), or look into evidence, which an entry only names.

    kind:decision decision:block,quarantine environment:production since:2026-01-01T00:00:00Z

What each word means is the table in `governance.report.words`; `since` and `until` (exclusive) are about the writers' clocks.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from governance.audit.bodies import OutcomeStatus
from governance.audit.entry import Entry, EntryKind
from governance.model.digest import parse_digest, parse_sha256
from governance.model.request import Action
from governance.model.verdict import Effect, Mode
from governance.policy.environments import normal_environment
from governance.report.selection_text import SelectionError, join, moment_text, no_such, parse_moment, split
from governance.report.words import NO, READERS, YES, hex_part, registered_name

__all__ = ["WORDS", "Selection", "SelectionError", "parse_selection"]

MOST_VALUES = 200
_REVISION = re.compile(r"0|[1-9]\d{0,15}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Filters over entries. An empty tuple or None leaves a word open. Values are brought to their normal form and checked:
    raises `SelectionError`."""

    kinds: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    revisions: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    refused: bool | None = None
    would_block: bool | None = None
    degraded: bool | None = None
    waived: bool | None = None
    break_glass: bool | None = None
    actions: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    waivers: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    correlations: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        for name, word in _WORD_OF.items():
            value = getattr(self, name)
            if isinstance(value, tuple):
                normal = _NORMAL.get(word, _any_text)
                values = tuple(dict.fromkeys(normal(each) for each in value))
                if len(values) > MOST_VALUES:
                    raise SelectionError(
                        f"`{word}` has {len(values)} values; at most {MOST_VALUES} are taken"
                    )
                object.__setattr__(self, name, values)
        for at in (self.since, self.until):
            if at is not None and at.tzinfo is None:
                raise SelectionError("a time without a zone")

    def matches(self, entry: Entry) -> bool:
        """Whether the entry is meant."""
        return self.matcher()(entry)

    def matcher(self) -> Callable[[Entry], bool]:
        """`matches`, ready to be asked of many entries."""
        since, until = self.since, self.until
        all_wanted = [(READERS[word], wanted) for word, wanted in self.wanted()]

        def matches(entry: Entry) -> bool:
            if since is not None and entry.at < since:
                return False
            if until is not None and entry.at >= until:
                return False
            return all(any(said in wanted for said in read(entry)) for read, wanted in all_wanted)

        return matches

    def wanted(self) -> Iterator[tuple[str, frozenset[str]]]:
        """Each word that is not left open, with what its reader in `governance.report.words` must say one of."""
        for name, word in _WORD_OF.items():
            value = getattr(self, name)
            if isinstance(value, bool):
                yield word, frozenset({YES if value else NO})
            elif isinstance(value, tuple) and value:
                yield word, frozenset(map(hex_part, value) if word == "digest" else value)

    def __str__(self) -> str:
        return join(self._rows())

    def as_command(self) -> str:
        """The line for a shell that shows the entries."""
        return shlex.join(["mlgov", "audit", "search", *(join([row]) for row in self._rows())])

    def _rows(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        for name, word in _WORD_OF.items():
            value = getattr(self, name)
            if isinstance(value, bool):
                yield word, (YES if value else NO,)
            elif isinstance(value, datetime):
                yield word, (moment_text(value),)
            elif value:
                yield word, value


def parse_selection(text: str) -> Selection:
    """Read what `str(selection)` writes. Raises `SelectionError` with the position, and what was probably meant."""
    chosen: dict[str, Any] = {}
    for part in split(text):
        name = _FIELD_OF.get(part.word)
        if name is None:
            raise no_such("a word of a selection", part.word, _FIELD_OF, position=part.word_at)
        try:
            value = _read(part.word, part.value)
        except SelectionError as error:
            raise SelectionError(error.message, hint=error.hint, position=part.value_at) from None
        if isinstance(value, str):
            chosen[name] = (*chosen.get(name, ()), value)
        elif name in chosen and chosen[name] != value:
            raise SelectionError(f"`{part.word}` is given twice", position=part.word_at)
        else:
            chosen[name] = value
    return Selection(**chosen)


def _read(word: str, value: str) -> str | bool | datetime:
    if word in {"since", "until"}:
        return parse_moment(value)
    if word in _FLAGS:
        if value not in {YES, NO}:
            raise SelectionError(f"`{word}` is `yes` or `no`, got `{value[:80]}`")
        return value == YES
    return _NORMAL.get(word, _any_text)(value)


def _one_of(what: str, among: Iterable[str]) -> Callable[[str], str]:
    known = tuple(among)

    def normal(value: str) -> str:
        if value not in known:
            raise no_such(what, value, known)
        return str(value)

    return normal


def _digest(value: str) -> str:
    try:
        return parse_digest(value) if ":" in value else parse_sha256(value)
    except ValueError as error:
        raise SelectionError(f"{error}", hint="`sha256:HEX`, `dirhash1:HEX` or 64 hex digits.") from None


def _policy(value: str) -> str:
    try:
        return parse_sha256(value.removeprefix("sha256:"))
    except ValueError:
        return _any_text(value)


def _revision(value: str) -> str:
    if not _REVISION.fullmatch(value):
        raise SelectionError(
            f"`{value[:80]}` is not a revision", hint="A whole number, as `mlgov policy` shows it."
        )
    return value


def _any_text(value: str) -> str:
    if not value:
        raise SelectionError("an empty value matches nothing")
    return value


_NORMAL: Mapping[str, Callable[[str], str]] = MappingProxyType({
    "kind": _one_of("a kind of entry", EntryKind),
    "digest": _digest,
    "model": lambda value: _any_text(registered_name(value)),
    "policy": _policy,
    "revision": _revision,
    "decision": _one_of("a decision", (effect.word for effect in Effect)),
    "mode": _one_of("a mode", Mode),
    "action": _one_of("an action", Action),
    "environment": lambda value: _any_text(normal_environment(value)),
    "outcome": _one_of("an outcome", OutcomeStatus),
})  # fmt: skip

_TABLE = (
    ("kinds", "kind", "kind of entry"),
    ("digests", "digest", "artifact or file: `sha256:HEX`, `dirhash1:HEX` or `HEX`"),
    ("models", "model", "registered model or artifact: `NAME`, `NAME/VERSION`, `NAME@ALIAS`"),
    ("subjects", "subject", "what the entry is about: `REPOSITORY/PATH`"),
    ("actors", "actor", "who asked, or who did it"),
    ("rules", "rule", "rule that objected, fired or was waived: `POLICY/RULE`"),
    ("policies", "policy", "policy in force: its digest in hex, or a policy's name"),
    ("revisions", "revision", "revision of the policy set"),
    ("decisions", "decision", "verdict: `allow`, `warn`, `quarantine`, `block`"),
    ("modes", "mode", "how it was applied: `observe`, `warn`, `enforce`"),
    ("refused", "refused", "whether the door stayed shut"),
    ("would_block", "would-block", "whether it was let through against the verdict"),
    ("degraded", "degraded", "whether a source of facts gave no answer"),
    ("waived", "waived", "whether a waiver was used"),
    ("break_glass", "break-glass", "whether it went through by break-glass"),
    ("actions", "action", "`download`, `load`, `upload`, `delete`, `promote`"),
    ("environments", "environment", "environment of the deciding side"),
    ("outcomes", "outcome", "how the act ended: `done`, `failed`, `refused`, `incomplete`"),
    ("events", "event", "what happened to a signature, key, waiver, registered model or hold"),
    ("waivers", "waiver", "name of a waiver"),
    ("keys", "key", "key id"),
    ("correlations", "correlation", "sequence of entries"),
    ("since", "since", "from this time on (RFC 3339; UTC without a zone)"),
    ("until", "until", "up to, and without, this time"),
)
_WORD_OF: Mapping[str, str] = MappingProxyType({name: word for name, word, _ in _TABLE})
_FIELD_OF: Mapping[str, str] = MappingProxyType({word: name for name, word in _WORD_OF.items()})
_FLAGS = frozenset({"refused", "would-block", "degraded", "waived", "break-glass"})

WORDS: Mapping[str, str] = MappingProxyType({word: meaning for _, word, meaning in _TABLE})
"""Every word of the text form, with what it means."""
