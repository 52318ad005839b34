"""Actors under names that only a key can join to people.

Promises: one person has one pseudonym under one key, however the name is spelled (`governance.model.people`), so that reports still
tell actors apart, and whoever broke the glass from whoever reviewed it; without the key nobody can test a guess, and once the key is destroyed nobody can at all, while every hash in the log stands. The name goes from the
entry, from the findings in it, and from the facts kept beside it, and so do the names in facts about others (`_PEOPLE`), so that a
decision can still be judged once more: a rule that asks for a person's name or group is then the one thing that answers
differently. Does not: look into the names that others gave (paths, properties, waivers' signed files), or into the certificate
of a signer.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence

from governance.model.canonical import CanonicalError, Json, canonical_bytes, parse_canonical
from governance.model.people import is_same_person, person

_MIN_KEY = 32
_PSEUDONYM = re.compile(r"p:[0-9a-f]{32}")
_PEOPLE = ("artifact.created_by", "property.mlgov.user")
"""Facts that name somebody: who stored the artifact, as Artifactory has it and as this plugin wrote it there."""
_CLAIMED = "claimed:"
_BY = frozenset({"break-glass", "reviewed"})
"""Events of a waiver that name a person in `by` who must not be the same in both."""


class Pseudonyms:
    """HMAC-SHA256 under a key that is kept apart from the log."""

    def __init__(self, key: bytes) -> None:
        if len(key) < _MIN_KEY:
            raise ValueError(f"a pseudonym key has at least {_MIN_KEY} bytes")
        self._key = key

    def of(self, name: str) -> str:
        """The pseudonym of a name."""
        digest = hmac.new(self._key, person(name).encode("utf-8", "backslashreplace"), hashlib.sha256)
        return f"p:{digest.hexdigest()[:32]}"

    def apply(
        self, body: Mapping[str, Json], documents: Sequence[bytes] = ()
    ) -> tuple[Mapping[str, Json], Sequence[bytes]]:
        """A body and its documents in which the actor bears a pseudonym."""
        actor = body.get("actor")
        if isinstance(actor, Mapping):
            return renamed(body, documents, name=self.of(str(actor.get("name"))), others=self.of)
        if body.get("event") in _BY and isinstance(body.get("by"), str):
            return {**body, "by": self.of(str(body["by"]))}, documents
        return body, documents


def may_be_same(one: str, other: str) -> bool:
    """Whether two names on record are of one person, or it cannot be told: of a pseudonym and a name it cannot."""
    return is_same_person(one, other) or is_pseudonym(one) != is_pseudonym(other)


def is_pseudonym(name: str) -> bool:
    """Whether a name on record is a pseudonym."""
    return _PSEUDONYM.fullmatch(name) is not None


def withheld(_name: str) -> str:
    """What stands for a name where there is no key to make a pseudonym."""
    return "(withheld)"


def renamed(
    body: Mapping[str, Json],
    documents: Sequence[bytes],
    *,
    name: str,
    others: Callable[[str], str] = withheld,
) -> tuple[Mapping[str, Json], Sequence[bytes]]:
    """A body and its documents in which the actor is called `name`, and everybody else whom facts name what `others` says. Groups go,
    since a small one is as good as a name."""
    actor = body.get("actor")
    if not isinstance(actor, Mapping):
        return body, documents
    changed: dict[str, Json] = {**body, "actor": {**actor, "name": name, "groups": []}}
    called = {str(actor.get("name")): name}
    kept = []
    for document in documents:
        digest = hashlib.sha256(document).hexdigest()
        if digest == body.get("facts"):
            document, more = _facts(document, name, others)  # noqa: PLW2901 - the document under other names
            called = more | called
            changed["facts"] = hashlib.sha256(document).hexdigest()
        kept.append(document)
    called = {known: word for known, word in called.items() if known not in ("", word)}
    if called and "verdict" in body:
        longest = sorted(called, key=len, reverse=True)
        known = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest))})(?!\w)")
        changed["verdict"] = _without(body["verdict"], known, called)
    return changed, kept


def _facts(document: bytes, name: str, others: Callable[[str], str]) -> tuple[bytes, dict[str, str]]:
    """The facts of a decision without the actor's own name and groups and the names of others, and what became of each of these.
    Raises `ValueError` for what are no facts."""
    facts = parse_canonical(document)
    if not isinstance(facts, dict):
        raise CanonicalError("facts that are not an object")
    called: dict[str, str] = {}
    values: dict[str, Json] = {"actor.name": name, "actor.groups": []}
    for fact in _PEOPLE:
        row = facts.get(fact)
        told = row.get("value") if isinstance(row, dict) else None
        if isinstance(told, str) and told:
            known = told.removeprefix(_CLAIMED)
            called[known] = others(known)
            values[fact] = told[: len(told) - len(known)] + called[known]
    for fact, value in values.items():
        row = facts.get(fact)
        if isinstance(row, dict) and "value" in row:
            facts[fact] = {**row, "value": value}
    return canonical_bytes(facts), called


def _without(value: Json, known: re.Pattern[str], called: Mapping[str, str]) -> Json:
    """A verdict in whose findings each that is `known` is `called` otherwise, and no group is told."""
    if isinstance(value, str):
        return known.sub(lambda found: called[found[0]], value)
    if isinstance(value, Mapping):
        about = value.get("fact")
        changed = {key: _without(member, known, called) for key, member in value.items()}
        return changed | {"value": withheld("")} if about == "actor.groups" else changed
    if isinstance(value, list | tuple):
        return [_without(member, known, called) for member in value]
    return value
