"""Registered model versions as the log tells of them: what became of each, and the words for it.

Promises: reads any body, of whatever shape; a version is what its registration says, and a later deletion or move of an alias
is told with it. Does not: know MLflow's registry, which may have been changed by somebody whom this log did not see.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from governance.audit.log import Stored
from governance.model.request import utc_text
from governance.report.fields import Fields
from governance.report.words import body_of

WHOLE_EVENTS = ("removed", "renamed")
"""What is done to a model with all of its versions."""

_WORDS = {
    "created": "{what} registered",
    "deleted": "{what} deleted",
    "alias-set": "alias `{alias}` set on {what}",
    "alias-removed": "alias `{alias}` removed from {what}",
    "stage-set": "{what} moved to stage {stage}",
    "renamed": "{before} renamed to {what}",
    "removed": "{what} removed with all versions",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One entry about a registered model. `version` is None where all of them are meant."""

    index: int | None
    id: str
    at: str
    event: str
    name: str
    version: str | None
    actor: str
    is_authenticated: bool
    alias: str | None
    stage: str | None
    before: str | None
    digest: str | None
    ref: str
    words: str

    @property
    def registered(self) -> str:
        """`name/version`."""
        return f"{self.name}/{self.version}" if self.version else self.name


@dataclass(slots=True, kw_only=True)
class RegisteredVersion:
    """What is known about one version of a registered model. `entries` are the ids of those that told it."""

    name: str
    version: str
    entries: set[str] = field(default_factory=set)
    digests: set[str] = field(default_factory=set)
    at: str | None = None
    by: str | None = None
    aliases: list[str] = field(default_factory=list)
    stage: str | None = None
    deleted: str | None = None

    @property
    def registered(self) -> str:
        """`name/version`."""
        return f"{self.name}/{self.version}"


def registration(stored: Stored) -> Registration:
    """What an entry of that kind says."""
    body = Fields(body_of(stored.entry))
    actor = body.sub("actor")
    return Registration(
        index=stored.index,
        id=stored.entry.id,
        at=utc_text(stored.entry.at),
        event=body.word("event"),
        name=body.word("name"),
        version=body.text("version"),
        actor=actor.word("name"),
        is_authenticated=actor.text("authentication") is not None,
        alias=body.text("alias"),
        stage=body.text("stage"),
        before=body.text("before"),
        digest=body.sub("artifact").text("digest"),
        ref=stored.entry.subject,
        words=registration_words(body),
    )


def registration_words(body: Fields) -> str:
    """One line that says what became of what, such as "alias `champion` set on fraud/3"."""
    version = body.text("version")
    what = body.word("name") + (f"/{version}" if version else "")
    form = _WORDS.get(body.word("event"))
    if form is None:
        return f"{what}: {body.word('event')}"
    names = {name: body.word(name) for name in ("alias", "stage", "before")}
    return form.format(what=what, **names)


def versions_of(registrations: Iterable[Registration]) -> dict[str, RegisteredVersion]:
    """The versions that entries tell of, which are in the order of the log, by their names at the end."""
    found: dict[str, RegisteredVersion] = {}
    for each in registrations:
        if each.event == "renamed" and each.before is not None:
            found = _renamed(found, each.before, each.name)
        if each.event == "removed":
            for version in _of(found, each.name):
                version.deleted, version.aliases = version.deleted or each.at, []
        if each.version is not None:
            _apply(found, each, each.version)
    return found


def _of(found: dict[str, RegisteredVersion], name: str) -> list[RegisteredVersion]:
    return [each for each in found.values() if each.name == name]


def _renamed(found: dict[str, RegisteredVersion], before: str, name: str) -> dict[str, RegisteredVersion]:
    for version in _of(found, before):
        version.name = name
    return {each.registered: each for each in found.values()}


def _apply(found: dict[str, RegisteredVersion], each: Registration, version: str) -> None:
    known = found.setdefault(each.registered, RegisteredVersion(name=each.name, version=version))
    known.entries.add(each.id)
    if each.digest is not None:
        known.digests.add(each.digest)
    match each.event:
        case "created":
            by = each.actor if each.is_authenticated else f"{each.actor} (claimed)"
            known.at, known.by, known.deleted = each.at, by, None
        case "deleted":
            known.deleted, known.aliases = each.at, []
        case "stage-set":
            known.stage = each.stage
        case "alias-set" | "alias-removed" if each.alias is not None:
            # An alias points at one version of a model at a time.
            for other in _of(found, each.name):
                if each.alias in other.aliases:
                    other.aliases.remove(each.alias)
            if each.event == "alias-set":
                known.aliases.append(each.alias)
        case _:
            pass
