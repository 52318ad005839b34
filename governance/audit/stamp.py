"""Whose word an entry is that came over the network.

A client that writes to the log through a server names the actor itself, and may name anybody. The server knows better:
it puts the caller whom its login vouches for into the entry, and what the client had claimed beside it.

Promises: the same entry and caller give the same bytes, so that a repeat is known as one; no caller can write under
another one's name, nor spend the numbers of another one's writer. Does not: authenticate anybody. A caller without a
login stays a claim, and the entry says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias
from urllib.parse import quote

from governance.audit.bodies import text
from governance.audit.entry import Entry, EntryKind, Writer, evidence_digest
from governance.audit.pseudonyms import Pseudonyms, renamed
from governance.errors import AuditBrokenError
from governance.model.canonical import Json
from governance.model.digest import Sha256
from governance.model.request import Actor, ActorKind

ANONYMOUS = "anonymous"
Documents: TypeAlias = tuple[tuple[Sha256, bytes], ...]
"""Evidence with its digests, as a `Draft` carries it."""
_CLIENT = "client"
_MAX_NAME = 256
_SAFE = (
    "@+"  # beside letters, digits and `_.-~`: neither `/` nor `:`, which have a meaning in a writer's name
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """The caller as the server knows him. `name` is None where not even a claim came with the request; `has_claims`
    is False where names are kept as pseudonyms, and the client's own words would undo that."""

    name: str | None
    authentication: str | None
    has_claims: bool = True

    def apply(self, entry: Entry, documents: Documents) -> tuple[Entry, Documents]:
        """The entry and its documents as they are recorded: with this actor, by a writer of this caller's."""
        if not self.has_claims:
            body, kept = renamed(
                entry.body, [document for _, document in documents], name=self.name or ANONYMOUS
            )
            entry = replace(entry, body=body)
            documents = tuple((evidence_digest(document), document) for document in kept)
        return self._stamped(entry), documents

    def _stamped(self, entry: Entry) -> Entry:
        claimed = _claimed(entry.body) if self.has_claims else None
        name = self.name or claimed or ANONYMOUS
        actor: dict[str, Json] = {
            "name": name,
            "kind": ActorKind.UNKNOWN.value,
            "groups": [],
            "authentication": self.authentication,
        }
        if claimed is not None and claimed != name:
            actor["claimed"] = claimed
        body = {**entry.body, "actor": actor}
        if entry.kind is EntryKind.WAIVER and body.get("event") == "break-glass":
            body["by"] = name
        own, instance = entry.writer.instance, self._instance(entry)
        # A writer's own entries are about it, and a laptop's name is mostly its owner's.
        subject = instance if not self.has_claims and entry.subject == own else entry.subject
        return replace(entry, body=body, subject=subject, writer=replace(entry.writer, instance=instance))

    def to_json(self) -> dict[str, Json]:
        """As the server tells the client."""
        return {"name": self.name, "authentication": self.authentication, "has_claims": self.has_claims}

    def _instance(self, entry: Entry) -> str:
        """A writer is one of its caller's: `alice/laptop`, or `claimed:alice/laptop` where nobody vouches. Under a pseudonym the
        machine's name would undo that, and each run of a writer has its `boot` anyway."""
        owner = quote(self.name or ANONYMOUS, safe=_SAFE)
        prefix = f"{owner}/" if self.authentication else f"claimed:{owner}/"
        own = entry.writer.instance if self.has_claims else _CLIENT
        return own if own.startswith(prefix) else prefix + own


def stamp_of(caller: Actor, pseudonyms: Pseudonyms | None = None) -> Stamp:
    """The stamp for whoever sends a request."""
    is_nobody = not caller.is_authenticated and caller.name == ANONYMOUS
    name = None if is_nobody else text(caller.name, _MAX_NAME)
    if pseudonyms is not None:
        return Stamp(
            name=pseudonyms.of(name or ANONYMOUS), authentication=caller.authentication, has_claims=False
        )
    return Stamp(name=name, authentication=caller.authentication)


def is_stamped(entry: Entry) -> bool:
    """Whether an entry came over the network, so that it is its sender's word and nobody else's. A stamp puts the sender and
    a slash in front of the writer's name, and a log's own writers, named after their hosts, have none."""
    return is_client(entry.writer)


def is_client(writer: Writer) -> bool:
    """Whether a writer is a client, by its name."""
    return "/" in writer.instance


def parse_stamp(document: object) -> Stamp:
    """Read what `to_json` wrote. Raises `AuditBrokenError`."""
    found = document if isinstance(document, dict) else {}
    name, authentication, has_claims = (found.get(key) for key in ("name", "authentication", "has_claims"))
    if not (_is_text_or_none(name) and _is_text_or_none(authentication) and isinstance(has_claims, bool)):
        raise AuditBrokenError("the server does not say who it thinks the caller is")
    return Stamp(name=name, authentication=authentication, has_claims=has_claims)


def is_by(entry: Entry, stamp: Stamp) -> bool:
    """Whether a recorded entry is this caller's own, which only a login can show."""
    actor = entry.body.get("actor")
    return (
        stamp.authentication is not None
        and isinstance(actor, Mapping)
        and actor.get("name") == stamp.name
        and actor.get("authentication") == stamp.authentication
    )


def _claimed(body: Mapping[str, Json]) -> str | None:
    actor = body.get("actor")
    name = actor.get("name") if isinstance(actor, Mapping) else None
    return text(name, _MAX_NAME) if isinstance(name, str) and name else None


def _is_text_or_none(value: object) -> bool:
    return value is None or isinstance(value, str)
