"""The terms under which an entry is found: what it says word by word, and what the evidence names that it rests on.

Promises: an entry that `Selection.matches` takes has all the terms of that selection, since both read with the same readers.
Does not: keep texts. A term is 64 bits of a hash, so that what was said cannot be read off the index; two texts with one term
only make a reader look in vain.

What many entries share (the packages of a model, the files of a folder) is one *whole* with a term of its own: its members are
written down once, and each entry has only the term of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from governance.audit.entry import KINDS, EntryKind
from governance.model.canonical import Json
from governance.report import contents
from governance.report.fields import Fields
from governance.report.words import READERS, body_of

PACKAGE, ADVISORY, FILE, GONE, GAP = "package", "advisory", "file", "gone", "gap"
"""Words of what evidence names; `gone` is said of decisions whose facts were not there to be read, and `gap`, with the word of what
would be in it, of those whose list of it was not known to the last."""

UNINDEXED = frozenset({"correlation"})
"""Words by which the stores themselves find entries."""

_MOST_REMEMBERED = 100_000
_WORDS = tuple(word for word in READERS if word not in UNINDEXED)
_OF_FRAME = (
    "kind", "policy", "revision", "decision", "mode", "refused", "would-block", "degraded", "waived", "break-glass", "action",
    "environment", "outcome",
)  # fmt: skip
_OF_ARTIFACT = ("subject", "digest", "model")


_MARKS = (b"cve-", b"pkg:", b"xray-", b"ghsa-", b"pysec-", b"mal-", b"osv-", b"jfsa-")


def term(word: str, value: str) -> int:
    """The term of a word with one value: a signed number of 64 bits."""
    text = f"{word}\0{value}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big", signed=True)


class _Terms(dict[str, int]):
    """The terms of one word, each hashed once."""

    def __init__(self, word: str) -> None:
        self._word = word

    def __missing__(self, value: str) -> int:
        made = self[value] = term(self._word, value)
        return made


class View:
    """An entry as far as its words are read from it; one object is filled anew for each, which is what makes it quick."""

    __slots__ = ("body", "correlation", "kind", "subject")

    kind: EntryKind
    subject: str
    correlation: str
    body: Mapping[str, Json]

    def fill(self, document: Any) -> None:
        """Take over an entry's document. Raises `KeyError` or `TypeError` for what is none."""
        self.kind = KINDS[document["kind"]]
        self.subject = document["subject"]
        self.correlation = document["correlation"]
        self.body = document["body"]


@dataclass(slots=True, eq=False)
class Group:
    """Terms that are always said together, and the places where they were, which whoever writes them down takes away."""

    terms: tuple[int, ...]
    places: list[int] = field(default_factory=list)


class TermReader:
    """Reads the groups of terms of entries and documents, and remembers those it has seen.

    `members` are the wholes that were met for the first time, with their members' terms; whoever writes them down empties it.
    """

    def __init__(self) -> None:
        self.members: dict[int, frozenset[int]] = {}
        self._terms = {word: _Terms(word) for word in (*READERS, PACKAGE, ADVISORY, FILE, GONE, GAP)}
        self._groups: dict[tuple[Any, ...], Group] = {}
        self._view = View()

    def take_places(self) -> Iterator[Group]:
        """The groups that were met since the last time. What is remembered is dropped where it has become much."""
        yield from (group for group in self._groups.values() if group.places)
        for group in self._groups.values():
            group.places = []
        if len(self._groups) > _MOST_REMEMBERED:
            self._groups.clear()
        for cache in self._terms.values():
            if len(cache) > _MOST_REMEMBERED:
                cache.clear()

    def entry(self, document: Any, data: bytes) -> tuple[Group, ...]:
        """What an entry says, `data` being its bytes. Raises `KeyError`, `TypeError` or `ValueError` for what is no entry."""
        view = self._view
        view.fill(document)
        groups: tuple[Group, ...] | None = None
        try:
            if view.kind is EntryKind.DECISION:
                groups = self._decision(view, document["body"], data)
            elif view.kind is EntryKind.OUTCOME:
                groups = self._outcome(view, document["body"])
        except (KeyError, TypeError, AttributeError):
            groups = None  # a shape that this version does not write
        return groups or (self._read(view, _WORDS), *self._named(view))

    def _decision(self, view: View, body: Any, data: bytes) -> tuple[Group, ...] | None:
        """The same as `_read` of all words, of a decision in its usual shape: few parts of it are new, and the groups of
        the others are known by what their readers look at."""
        verdict, policy, artifact, mlflow = body["verdict"], body["policy"], body["artifact"], body["mlflow"]
        if verdict["waived"] != []:
            return None
        revision, degraded = policy["revision"], verdict["degraded"]
        frame = (
            EntryKind.DECISION, body["action"], body["environment"], policy["digest"], revision, revision.__class__,
            tuple(policy["names"]), verdict["decision"], verdict["mode"], verdict["refused"] is True,
            verdict["would_block"] is True, degraded.__class__,
        )  # fmt: skip
        about = (
            EntryKind.DECISION, view.subject, artifact["digest"], artifact["name"], artifact["version"],
            mlflow.get("model_id"), mlflow.get("model_name"), mlflow.get("model_version"),
        )  # fmt: skip
        actor = ("actor", body["actor"]["name"])
        known = self._groups.get
        groups: tuple[Group, ...] = (
            known(frame) or self._keep(frame, view, _OF_FRAME),
            known(about) or self._keep(about, view, _OF_ARTIFACT),
            known(actor) or self._keep(actor, view, ("actor",)),
        )
        findings, fired = verdict["findings"], verdict["fired"]
        if findings or fired:
            rule = ("rule", tuple(fired), tuple([finding["rule"] for finding in findings]))
            groups = (*groups, known(rule) or self._keep(rule, view, ("rule",)))
        if findings and _may_name(data):
            groups = (*groups, *self._named(view))
        return groups

    def _outcome(self, view: View, body: Any) -> tuple[Group, ...] | None:
        """The same for an outcome."""
        moved = body["moved"]
        if "signature" in body:
            return None
        frame = (EntryKind.OUTCOME, body["action"], body["status"])
        files = tuple([file["sha256"] for file in moved["files"]]) if "files" in moved else ()
        about = (EntryKind.OUTCOME, view.subject, moved.get("digest"), files)
        known = self._groups.get
        return (
            known(frame) or self._keep(frame, view, _OF_FRAME),
            known(about) or self._keep(about, view, _OF_ARTIFACT),
        )

    def _keep(self, key: tuple[Any, ...], view: View, words: Iterable[str]) -> Group:
        return self._group(key, {self._terms[word][value] for word in words for value in READERS[word](view)})

    def _read(self, view: View, words: Iterable[str]) -> Group:
        terms = {self._terms[word][value] for word in words for value in READERS[word](view)}
        return self._group(("terms", *sorted(terms)), terms)

    def _group(self, key: tuple[Any, ...], terms: Iterable[int]) -> Group:
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(tuple(terms))
        return group

    def _named(self, view: View) -> tuple[Group, ...]:
        """The advisories and packages that a decision's findings name."""
        if view.kind is not EntryKind.DECISION:
            return ()
        verdict = Fields(body_of(view)).sub("verdict")
        terms = {self._terms[ADVISORY][each] for each in contents.advisories_said(verdict)}
        terms |= {self._terms[PACKAGE][each] for each in contents.packages_said(verdict)}
        return (self._group(("terms", *sorted(terms)), terms),) if terms else ()

    def facts(self, facts: object) -> tuple[Group, ...]:
        """The wholes in the facts of a decision, and of which there may be more."""
        made = (
            self._whole(PACKAGE, contents.purls(facts), contents.normal_packages),
            self._whole(ADVISORY, contents.advisories(facts), contents.normal_advisories),
            self._whole(FILE, contents.files(facts), frozenset),
            self._gap(PACKAGE) if contents.may_have_more_packages(facts) else None,
            self._gap(ADVISORY) if contents.may_have_more_advisories(facts) else None,
        )
        return tuple([each for each in made if each is not None])

    def moved(self, rows: object) -> tuple[Group, ...]:
        """The whole that was moved."""
        made = self._whole(FILE, tuple(sorted(contents.moved_in(rows))), frozenset)
        return () if made is None else (made,)

    def gone(self) -> tuple[Group, ...]:
        """Said of decisions whose facts were not there, or could not be read."""
        return (self._group((GONE,), (self._terms[GONE]["yes"],)),)

    def _gap(self, word: str) -> Group:
        return self._group((GAP, word), (self._terms[GAP][word],))

    def _whole(
        self, word: str, spelled: tuple[str, ...], normal: Callable[[Iterable[str]], frozenset[str]]
    ) -> Group | None:
        if not spelled:
            return None
        key = (word, spelled)
        known = self._groups.get(key)
        if known is not None:
            return known
        members = normal(spelled)
        if not members:
            return None
        whole, terms = term(f"whole {word}", "\n".join(sorted(members))), self._terms[word]
        self.members[whole] = frozenset(terms[member] for member in members)
        return self._group(key, (whole,))


def _may_name(data: bytes) -> bool:
    """Whether an advisory or a package can stand in an entry at all, which one look at its bytes tells."""
    lowered = data.lower()
    return any(mark in lowered for mark in _MARKS)
