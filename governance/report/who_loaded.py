"""The blast radius of a file, model, package or advisory: who fetched what contains it, when and where.

Promises: each decision told of was read from the log now and checked against its hash, and so was the evidence that ties it to the
question, against its digest. What is contained in some bytes is contained in them always: a decision about an artifact counts
also where its own facts did not say so, such as a load before the advisory was published. Does not: know what nobody recorded;
`LIMITS` says what that is.

1. Candidates: entries that say it, and entries whose facts, findings or list of moved files name it.
2. Each is read and looked at again; the artifacts' digests are collected.
3. All decisions about these digests are added, and with each its outcomes; and all registrations of these bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import orjson

from governance.audit.entry import Entry, EntryKind
from governance.audit.log import Stored
from governance.audit.store import AuditStore, Query
from governance.audit.verify import Problem
from governance.errors import AuditBrokenError
from governance.model.canonical import Json
from governance.model.digest import Sha256, parse_sha256
from governance.model.request import utc_text
from governance.report import contents
from governance.report.fields import Fields
from governance.report.index.lookup import Index
from governance.report.index.terms import ADVISORY, FILE, GONE, PACKAGE, term
from governance.report.question import Question, What
from governance.report.registered import (
    WHOLE_EVENTS,
    RegisteredVersion,
    Registration,
    registration,
    versions_of,
)
from governance.report.search import checked_at, read_rows
from governance.report.words import READERS, body_of

MOST_LOOKED_AT = 20_000
LIMITS = (
    "who went around the gate, straight to Artifactory, is in Artifactory's own log",
    "packages and advisories are known where a decision gathered them: facts that no rule read were not asked for",
    "registered names are known where a request named them, or a tracking server with the `governance` app registered them",
)
_PAGE = 256
_MOST_BROKEN = 256
_REMEMBERED = 4_096


class RadiusLog(Protocol):
    """The part of `AuditLog` that is asked."""

    @property
    def store(self) -> AuditStore:
        """What the entries are kept in."""
        ...

    def get(self, entry_id: str) -> Stored | None:
        """One entry by its id."""
        ...

    def evidence(self, sha256: Sha256) -> bytes | None:
        """A document, checked against its digest."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One decision about an artifact that contains what was asked about, and how it ended."""

    index: int | None
    id: str
    at: str
    actor: str
    is_authenticated: bool
    action: str
    result: str
    environment: str
    instance: str
    host: str
    ref: str
    digest: str | None
    model: str | None
    registered: str | None
    alias: str | None
    ended: tuple[str, ...]
    because: str


@dataclass(slots=True, kw_only=True)
class Radius:
    """The answer. `unknown` counts decisions whose facts are gone, `not_looked_at` candidates beyond the bound."""

    question: Question
    acts: list[Act] = field(default_factory=list)
    registrations: list[Registration] = field(default_factory=list)
    moves: list[Registration] = field(default_factory=list)
    """What became of their aliases on versions of other bytes, and of their models as a whole."""
    since: str | None = None
    unknown: int = 0
    not_looked_at: int = 0
    unchecked: int = 0
    broken: list[Problem] = field(default_factory=list)

    @property
    def fetched(self) -> list[Act]:
        """Loads and downloads that were let through."""
        return [act for act in self.acts if act.action in {"load", "download"} and act.result != "refused"]

    @property
    def registered(self) -> dict[str, set[str]]:
        """Registered model versions that contain it, with the digests by which they were known."""
        found = {name: set(each.digests or {"?"}) for name, each in self.versions.items()}
        for act in self.acts:
            if act.registered is not None:
                found.setdefault(act.registered, set()).add(act.digest or "?")
        return found

    @property
    def versions(self) -> dict[str, RegisteredVersion]:
        """What the log tells of registered versions that contain it: when, by whom, and which aliases they bear."""
        own = {each.id for each in self.registrations}
        every = sorted([*self.registrations, *self.moves], key=lambda each: (each.index or 0, each.id))
        return {name: each for name, each in versions_of(every).items() if each.entries & own}

    @property
    def artifacts(self) -> dict[str, set[str]]:
        """Digests of the artifacts that contain it, and where they lay."""
        found: dict[str, set[str]] = {}
        for act in self.acts:
            found.setdefault(act.digest or "?", set()).add(act.ref)
        return found

    @property
    def promotions(self) -> list[Act]:
        """Promotions that were let through."""
        return [act for act in self.acts if act.action == "promote" and act.result != "refused"]


def who_loaded(
    log: RadiusLog, question: Question, index: Index | None, *, most: int = MOST_LOOKED_AT
) -> Radius:
    """Answer a question. At most `most` candidates of each step are looked at, the newest first."""
    return _Asked(log, question, index, most).answer()


class _Asked:
    def __init__(self, log: RadiusLog, question: Question, index: Index | None, most: int) -> None:
        self._log, self._store, self._index = log, log.store, index
        self._question, self._most = question, most
        self._documents: dict[str, object] = {}
        self._named: set[int] = set()
        self._decisions: dict[str, tuple[Stored, str]] = {}
        self._registrations: dict[str, Stored] = {}
        self.made = Radius(question=question)

    def answer(self) -> Radius:
        """Steps 1 to 3, after a look at what could not be read when it was indexed: it may be what is asked for."""
        if self._index is not None:
            for _ in self._read(self._index.broken()[:_MOST_BROKEN]):
                pass
        self._candidates()
        self._same_bytes()
        made = self.made
        made.registrations = [registration(each) for each in self._registrations.values()]
        made.registrations.sort(key=lambda each: (each.index or 0, each.id))
        made.moves = list(self._moves())
        made.acts = sorted(
            (self._act(stored, because) for stored, because in self._decisions.values()),
            key=lambda act: (act.index or 0, act.id),
            reverse=True,
        )
        first = next(self._store.rows(0, 1), None)
        made.since = None if first is None else first.at
        if self._index is not None:
            made.unknown = len(self._index.places([[term(GONE, "yes")]]))
        return made

    def _candidates(self) -> None:
        """Steps 1 and 2."""
        for stored in self._entries(self._terms()):
            because = self._because(stored.entry)
            if because is None:
                continue
            if stored.entry.kind is EntryKind.REGISTRATION:
                self._registrations[stored.entry.id] = stored
                continue
            decision = self._decision(stored)
            if decision is not None:
                self._decisions.setdefault(decision.entry.id, (decision, because))

    def _same_bytes(self) -> None:
        """Step 3."""
        known = (*(each for each, _ in self._decisions.values()), *self._registrations.values())
        digests = {digest for each in known if (digest := _digest(each.entry)) is not None}
        if not digests and self._question.what is What.MODEL:
            return
        for stored in self._entries([term("digest", digest) for digest in sorted(digests)]):
            if _digest(stored.entry) not in digests:
                continue
            if stored.entry.kind is EntryKind.DECISION:
                self._decisions.setdefault(stored.entry.id, (stored, "the same bytes"))
            else:
                self._registrations.setdefault(stored.entry.id, stored)

    def _moves(self) -> Iterator[Registration]:
        """Where the aliases went that some of these bear or bore, and what became of the models."""
        if not self.made.registrations:
            return
        names = {each.name for each in self.made.registrations}
        aliases = {f"{each.name}@{each.alias}" for each in self.made.registrations if each.alias is not None}
        terms = [term("event", event) for event in WHOLE_EVENTS]
        for stored in self._entries([*terms, *(term("model", alias) for alias in sorted(aliases))]):
            if stored.entry.kind is not EntryKind.REGISTRATION or stored.entry.id in self._registrations:
                continue
            told = registration(stored)
            is_whole = told.event in WHOLE_EVENTS and names & {told.name, told.before}
            if is_whole or f"{told.name}@{told.alias}" in aliases:
                yield told

    def _terms(self) -> list[int]:
        asked = self._question
        if asked.what is What.DIGEST:
            own, inside = [term("digest", asked.normal)], [term(FILE, asked.normal)]
        elif asked.what is What.PACKAGE:
            own, inside = [], [term(PACKAGE, asked.normal)]
        elif asked.what is What.ADVISORY:
            own, inside = [], [term(ADVISORY, asked.normal)]
        else:
            return [term("model", asked.normal)]
        return [*own, *(inside if self._index is None else self._index.with_wholes(inside))]

    def _entries(self, terms: list[int]) -> Iterator[Stored]:
        """Candidates, newest first, each checked."""
        if not terms:
            return
        if self._index is None:
            size = self._store.frontier().size
            numbers: Iterable[int] = range(size - 1, -1, -1)
            bound = size
        else:
            places = self._index.places([terms])
            numbers, bound = places.numbers(newest_first=True), self._most
            self.made.not_looked_at += max(0, len(places) - bound)
        some = itertools.islice(numbers, bound)
        while wanted := list(itertools.islice(some, _PAGE)):
            yield from self._read(wanted)

    def _read(self, numbers: Sequence[int]) -> Iterator[Stored]:
        rows = read_rows(self._store, numbers)
        for number in numbers:
            try:
                yield checked_at(number, rows.get(number))
            except AuditBrokenError as error:
                if number not in self._named:
                    self._named.add(number)
                    self.made.broken.append(Problem(number, error.message))

    def _because(self, entry: Entry) -> str | None:
        """How the entry is tied to the question, if it is."""
        asked = self._question
        body = Fields(body_of(entry))
        if asked.what is What.MODEL:
            return "its name" if asked.normal in READERS["model"](entry) else None
        if asked.what is What.DIGEST and asked.normal in READERS["digest"](entry):
            return "its digest"
        if entry.kind is EntryKind.OUTCOME:
            return self._in_document(
                body.sub("moved").body.get("manifest"), contents.moved_in, "a file that was moved"
            )
        if entry.kind is not EntryKind.DECISION:
            return None
        said, read = _READS[asked.what]
        if said is not None and asked.normal in said(body.sub("verdict")):
            return "a finding"
        return self._in_document(body.body.get("facts"), read, "the facts")

    def _in_document(self, name: Json, read: Callable[[object], frozenset[str]], because: str) -> str | None:
        if self._question.what is not What.DIGEST and read is contents.moved_in:
            return None
        document = self._document(name)
        if document is None:
            return None
        return because if self._question.normal in read(document) else None

    def _document(self, name: Json) -> object:
        """A document of the evidence, or None where it is gone."""
        if not isinstance(name, str):
            return None
        if name in self._documents:
            return self._documents[name]
        try:
            data = self._log.evidence(parse_sha256(name))
            document = None if data is None else orjson.loads(data)
        except (ValueError, AuditBrokenError) as error:
            self.made.broken.append(Problem(None, f"the evidence {name[:64]}: {error}"))
            document = None
        if document is None:
            self.made.unchecked += 1
        if len(self._documents) >= _REMEMBERED:
            self._documents.clear()
        self._documents[name] = document
        return document

    def _decision(self, stored: Stored) -> Stored | None:
        """The decision that an entry belongs to."""
        if stored.entry.kind is EntryKind.DECISION:
            return stored
        name = body_of(stored.entry).get("decision")
        try:
            known = self._log.get(name) if isinstance(name, str) else None
        except AuditBrokenError as error:
            self.made.broken.append(Problem(error.index, error.message))
            return None
        return known if known is not None and known.entry.kind is EntryKind.DECISION else None

    def _act(self, stored: Stored, because: str) -> Act:
        entry, body = stored.entry, Fields(body_of(stored.entry))
        actor, artifact, verdict, mlflow = (
            body.sub(name) for name in ("actor", "artifact", "verdict", "mlflow")
        )
        name, version = mlflow.text("model_name"), mlflow.text("model_version")
        refused = verdict.is_set("refused")
        return Act(
            index=stored.index,
            id=entry.id,
            at=utc_text(entry.at),
            actor=actor.word("name"),
            is_authenticated=actor.text("authentication") is not None,
            action=body.word("action"),
            result="refused" if refused else verdict.word("decision"),
            environment=body.word("environment"),
            instance=entry.writer.instance,
            host=artifact.word("host"),
            ref=entry.subject,
            digest=artifact.text("digest"),
            model=artifact.text("name"),
            registered=name and (f"{name}/{version}" if version else name),
            alias=mlflow.text("alias"),
            ended=() if refused else tuple(self._ended(entry)),
            because=because,
        )

    def _ended(self, decision: Entry) -> Iterator[str]:
        query = Query(kind=EntryKind.OUTCOME, correlation=decision.correlation)
        for row in self._store.find(query):
            if row.seq is None:
                continue
            try:
                body = Fields(body_of(checked_at(row.seq, row).entry))
            except AuditBrokenError as error:
                self.made.broken.append(Problem(row.seq, error.message))
                continue
            if body.text("decision") == decision.id:
                yield body.word("status")


def _digest(entry: Entry) -> str | None:
    """The digest of the artifact that a decision or a registration is about, in hex."""
    about_one = entry.kind in {EntryKind.DECISION, EntryKind.REGISTRATION}
    return next(iter(READERS["digest"](entry)), None) if about_one else None


_READS: Mapping[
    What, tuple[Callable[[Fields], frozenset[str]] | None, Callable[[object], frozenset[str]]]
] = {
    What.DIGEST: (None, contents.files_in),
    What.PACKAGE: (contents.packages_said, contents.packages_in),
    What.ADVISORY: (contents.advisories_said, contents.advisories_in),
}
