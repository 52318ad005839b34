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
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import orjson

from governance.audit.entry import EntryKind
from governance.audit.log import Stored
from governance.audit.store import AuditStore, Row
from governance.audit.verification import Problem
from governance.errors import AuditBrokenError
from governance.model.canonical import Json
from governance.model.digest import Sha256, parse_sha256
from governance.policy.allocating import collector_paused
from governance.report import contents
from governance.report.acts import Act, act_of, endings
from governance.report.evidence_page import PageOfEvidence
from governance.report.fields import Fields
from governance.report.index.lookup import Index
from governance.report.index.terms import ADVISORY, FILE, GAP, GONE, PACKAGE, term
from governance.report.question import Question, What
from governance.report.registered import (
    WHOLE_EVENTS,
    RegisteredVersion,
    Registration,
    registration,
    versions_of,
)
from governance.report.search import read_rows
from governance.report.seen import Seen, seen, seen_at
from governance.report.words import READERS, body_of, hex_part, object_in

MOST_LOOKED_AT = 20_000
LIMITS = (
    "who went around the gate, straight to Artifactory, is in Artifactory's own log",
    "packages and advisories are known where a decision gathered them: facts that no rule read were not asked for",
    "registered names are known where a request named them, or a tracking server with the `governance` app registered them",
)
_PAGE = 256
_DECISION = EntryKind.DECISION
_DOCUMENT = re.compile(rb'"(?:facts|manifest)":"([0-9a-f]{64})"')
_MOST_BROKEN = 256
_REMEMBERED = 100_000
_ABOUT_ONE = frozenset({EntryKind.DECISION, EntryKind.REGISTRATION})
"""The kinds of entries that are about one artifact, by its digest."""


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


@dataclass(slots=True, kw_only=True)
class Radius:
    """The answer. `unknown` counts decisions whose facts are gone, `not_looked_at` candidates beyond the bound, `incomplete` loads and
    downloads that were let through, are no part of the answer, and might be: what was asked for was not known of them to the last."""

    question: Question
    acts: list[Act] = field(default_factory=list)
    registrations: list[Registration] = field(default_factory=list)
    moves: list[Registration] = field(default_factory=list)
    """What became of their aliases on versions of other bytes, and of their models as a whole."""
    since: str | None = None
    unknown: int = 0
    incomplete: int = 0
    not_looked_at: int = 0
    unchecked: int = 0
    broken: list[Problem] = field(default_factory=list)

    @property
    def fetched(self) -> list[Act]:
        """Loads and downloads that were let through, but for those known to have failed."""
        return [act for act in self.acts if act.is_fetch and not act.has_failed]

    @property
    def failed(self) -> list[Act]:
        """Loads and downloads that were let through and are known to have failed."""
        return [act for act in self.acts if act.is_fetch and act.has_failed]

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
        for each in self.registrations:
            if each.digest is not None:
                found.setdefault(each.digest, set()).add(each.ref)
        return found

    @property
    def promotions(self) -> list[Act]:
        """Promotions that were let through."""
        return [act for act in self.acts if act.is_promotion]


def who_loaded(
    log: RadiusLog,
    question: Question,
    index: Index | None,
    *,
    most: int = MOST_LOOKED_AT,
    ended: int | None = None,
) -> Radius:
    """Answer a question. At most `most` candidates of each step are looked at, the newest first.

    How acts ended is looked up for all of them, or with `ended` for so many of the newest loads and of the newest promotions:
    outcomes are entries of their own, and reading them takes as long as all the rest.
    """
    with collector_paused(worth_it=True):  # thousands of values that stay, and no circles among them
        return _Asked(log, question, index, most).answer(ended)


class _Asked:
    def __init__(self, log: RadiusLog, question: Question, index: Index | None, most: int) -> None:
        self._log, self._store, self._index = log, log.store, index
        self._question, self._most = question, most
        self._page = PageOfEvidence(log)
        self._beside: Mapping[int, Row] = {}
        self._ties: dict[str, bool] = {}
        self._named: set[int] = set()
        self._gaps: set[str] = set()
        self._undecided: set[int] = set()
        self._done: set[int] = set()
        self._acts: dict[str, Act] = {}
        self._sequence_of: dict[str, str] = {}
        self._digests: set[str] = set()
        self._registrations: dict[str, Seen] = {}
        self.made = Radius(question=question)

    def answer(self, ended: int | None) -> Radius:
        """Steps 1 to 3, after a look at what could not be read when it was indexed: it may be what is asked for."""
        if self._index is not None:
            for _ in self._read(self._index.broken()[:_MOST_BROKEN]):
                pass
        self._candidates()
        self._same_bytes()
        made = self.made
        made.registrations = [registration(each.stored()) for each in self._registrations.values()]
        made.registrations.sort(key=lambda each: (each.index or 0, each.id))
        made.moves = list(self._moves())
        acts = sorted(self._acts.values(), key=lambda act: (act[0] or 0, act[1]), reverse=True)
        made.acts = self._with_endings(acts, ended)
        first = next(self._store.rows(0, 1), None)
        made.since = None if first is None else first.at
        if self._index is not None:
            made.unknown = len(self._index.places([[term(GONE, "yes")]]))
        made.incomplete = self._count_undecided()
        return made

    def _count_undecided(self) -> int:
        """Fetches whose list of what is asked for has a gap, and which are no part of the answer."""
        word = _GAPS.get(self._question.what)
        if self._index is None or word is None:
            return len(self._undecided - self._done)
        fetches = [term("action", action) for action in ("load", "download")]
        found = self._index.places([[term(GAP, word[0])], fetches, [term("refused", "no")]])
        return found.count_beside(self._done)

    def _with_endings(self, acts: list[Act], most: int | None) -> list[Act]:
        asked = [act for act in acts if act.ended is None]
        if most is not None:
            fetches = itertools.islice((act for act in asked if act.is_fetch), most)
            asked = [*fetches, *itertools.islice((act for act in asked if act.is_promotion), most)]
        found = endings(self._store, {act.id: self._sequence_of[act.id] for act in asked}, self._read)
        return [act._replace(ended=found[act.id]) if act.id in found else act for act in acts]

    def _candidates(self) -> None:
        """Steps 1 and 2."""
        for entry in self._entries(self._terms()):
            if entry.kind is _DECISION:
                self._keep_if_tied(entry)
                continue
            because = self._because(entry)
            if because is None:
                continue
            if entry.kind is EntryKind.REGISTRATION:
                self._keep_registration(entry)
            elif (decision := self._decision_of(entry)) is not None:
                self._keep_decision(decision, because)

    def _keep_if_tied(self, decision: Seen) -> None:
        because = self._because_it_says(decision)
        if because is None and self._question.what is not What.MODEL:
            because = self._in_document(
                body_of(decision).get("facts"), _READS[self._question.what][1], "the facts"
            )
        if because is not None:
            self._keep_decision(decision, because)
        elif body_of(decision).get("facts") in self._gaps and act_of(decision, "").is_fetch:
            self._undecided.add(decision.seq or 0)

    def _same_bytes(self) -> None:
        """Step 3."""
        digests = frozenset(map(hex_part, self._digests))
        for entry in self._entries([term("digest", digest) for digest in sorted(digests)], _ABOUT_ONE):
            if _digest(entry) not in digests:
                continue
            if entry.kind is EntryKind.DECISION:
                self._keep_decision(entry, "the same bytes")
            else:
                self._keep_registration(entry)

    def _keep_decision(self, entry: Seen, because: str) -> None:
        act = self._acts.get(entry.id)
        if act is None:
            act = self._acts[entry.id] = act_of(entry, because)
            self._sequence_of[entry.id] = entry.correlation
        self._keep(entry, act.digest)

    def _keep_registration(self, entry: Seen) -> None:
        self._registrations.setdefault(entry.id, entry)
        self._keep(entry, _digest(entry))

    def _keep(self, entry: Seen, digest: str | None) -> None:
        """An entry that is part of the answer need not be read in a later step."""
        if entry.seq is not None:
            self._done.add(entry.seq)
        if digest is not None:
            self._digests.add(digest)

    def _moves(self) -> Iterator[Registration]:
        """Where the aliases went that some of these bear or bore, and what became of the models."""
        if not self.made.registrations:
            return
        names = {each.name for each in self.made.registrations}
        aliases = {f"{each.name}@{each.alias}" for each in self.made.registrations if each.alias is not None}
        terms = [term("event", event) for event in WHOLE_EVENTS]
        for entry in self._entries([*terms, *(term("model", alias) for alias in sorted(aliases))]):
            if entry.kind is not EntryKind.REGISTRATION or entry.id in self._registrations:
                continue
            told = registration(entry.stored())
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
            return [term("model", asked.normal), term("subject", asked.normal)]
        return [*own, *(inside if self._index is None else self._index.with_wholes(inside))]

    def _entries(self, terms: list[int], kinds: Iterable[EntryKind] = ()) -> Iterator[Seen]:
        """Candidates that are not part of the answer yet, newest first, each checked."""
        if not terms:
            return
        if self._index is None:
            bound = self._store.frontier().size
            numbers: Iterable[int] = range(bound - 1, -1, -1)
        else:
            of_kinds = [term("kind", kind.value) for kind in kinds]
            places = self._index.places([terms, of_kinds] if of_kinds else [terms])
            numbers, bound = places.numbers(newest_first=True), self._most
            self.made.not_looked_at += max(0, len(places) - len(self._done) - bound)
        some = itertools.islice(itertools.filterfalse(self._done.__contains__, numbers), bound)
        while page := list(itertools.islice(some, _PAGE)):
            yield from self._read(page)

    def _read(self, numbers: Sequence[int]) -> Iterator[Seen]:
        """One after the other, so that what was made of one is gone, and its memory at hand, before the next is made."""
        rows = self._beside = read_rows(self._store, numbers)
        for number in numbers:
            try:
                entry = seen_at(number, rows.get(number))
            except AuditBrokenError as error:
                if number not in self._named:
                    self._named.add(number)
                    self.made.broken.append(Problem.of(number, error))
            else:
                yield entry
        self._beside = {}

    def _because(self, entry: Seen) -> str | None:
        """How an entry that is no decision is tied to the question, if it is."""
        because = self._because_it_says(entry)
        if because is None and self._question.what is What.DIGEST and entry.kind is EntryKind.OUTCOME:
            named = object_in(body_of(entry), "moved").get("manifest")
            return self._in_document(named, contents.moved_in, "a file that was moved")
        return because

    def _because_it_says(self, entry: Seen) -> str | None:
        asked = self._question
        if asked.what is What.MODEL:
            if asked.normal in READERS["model"](entry):
                return "its name"
            return "its place" if entry.kind in _ABOUT_ONE and entry.subject == asked.normal else None
        if asked.what is What.DIGEST and asked.normal in READERS["digest"](entry):
            return "its digest"
        said = _READS[asked.what][0] if entry.kind is EntryKind.DECISION else None
        if said is not None and asked.normal in said(Fields(object_in(body_of(entry), "verdict"))):
            return "a finding"
        return None

    def _in_document(self, name: Json, read: Callable[[object], frozenset[str]], because: str) -> str | None:
        if not isinstance(name, str):
            return None
        if name not in self._ties:
            if len(self._ties) >= _REMEMBERED:
                self._ties.clear()
                self._gaps.clear()
            self._ties[name] = self._is_named_in(name, read)
        return because if self._ties[name] else None

    def _is_named_in(self, name: str, read: Callable[[object], frozenset[str]]) -> bool:
        """Whether a document of the evidence names what is asked for. One that is gone does not."""
        if self._beside:  # the first of its page: those of all other entries will be asked for next
            names = [_document_named(row.data) for row in self._beside.values()]
            self._page.load(other for other in names if other not in self._ties)
            self._beside = {}
        try:
            data = self._page.evidence(parse_sha256(name))
            if data is not None:
                document = orjson.loads(data)
                gap = _GAPS.get(self._question.what)
                if self._index is None and gap is not None and gap[1](document):
                    self._gaps.add(name)
                return self._question.normal in read(document)
        except (ValueError, AuditBrokenError) as error:
            self.made.broken.append(Problem(None, f"the evidence {name[:64]}: {error}"))
        self.made.unchecked += 1
        return False

    def _decision_of(self, entry: Seen) -> Seen | None:
        """The decision that an entry belongs to, where it is not part of the answer yet."""
        name = body_of(entry).get("decision")
        if not isinstance(name, str) or name in self._acts:
            return None
        row = self._store.get(name)
        try:
            found = None if row is None else seen(row)
        except AuditBrokenError as error:
            self.made.broken.append(Problem.of(error.index, error))
            return None
        return found if found is not None and found.kind is EntryKind.DECISION else None


def _document_named(data: bytes) -> Sha256 | None:
    """The document that seems to tie an entry to a question: a decision's facts, an outcome's list of files. It is told from
    the bytes before they are parsed, to fetch many at once; what the entry does name is fetched by itself where it is another."""
    found = _DOCUMENT.search(data)
    return None if found is None else Sha256(found[1].decode())


def _digest(entry: Seen) -> str | None:
    """The digest of the artifact that a decision or a registration is about, in hex."""
    return next(iter(READERS["digest"](entry)), None) if entry.kind in _ABOUT_ONE else None


_READS: Mapping[
    What, tuple[Callable[[Fields], frozenset[str]] | None, Callable[[object], frozenset[str]]]
] = {
    What.DIGEST: (None, contents.files_in),
    What.PACKAGE: (contents.packages_said, contents.packages_in),
    What.ADVISORY: (contents.advisories_said, contents.advisories_in),
}
_GAPS: Mapping[What, tuple[str, Callable[[object], bool]]] = {
    What.PACKAGE: (PACKAGE, contents.may_have_more_packages),
    What.ADVISORY: (ADVISORY, contents.may_have_more_advisories),
}
"""What may be in a list that is not known to the last: its word in the index, and whether the facts have such a list."""
