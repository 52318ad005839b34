"""One sequence from request to outcome: a decision with all that belongs to it, in the order in which it happened.

Promises: everything told was read from the log or its evidence, and checked against its hash or digest; what is gone or does not
fit is told as such, in its place. Does not: decide what a sequence should have held, or ask any service.

An id may be an entry's, a decision's or a correlation's. Of a decision, what names it is told: its outcomes, signatures, uses of
break-glass and their reviews. Of a correlation, all its entries, and what names one of its decisions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import orjson

from governance.audit.bodies import moved_files
from governance.audit.entry import Entry, EntryKind
from governance.audit.log import Stored
from governance.errors import AuditBrokenError, SettingsError
from governance.model.canonical import Json
from governance.model.digest import Sha256, parse_sha256
from governance.model.request import parse_utc, utc_text
from governance.report.fields import Fields
from governance.report.recorded import NotReplayableError
from governance.report.registered import registration_words
from governance.report.replay import PolicyCache, ReadableLog, replay
from governance.report.words import body_of

_MOST_FILES = 1_000
_MOST_ENTRIES = 10_000


class SequenceLog(ReadableLog, Protocol):
    """The part of `AuditLog` from which a sequence is told."""

    def find(
        self,
        *,
        kind: EntryKind | None = None,
        subject: str | None = None,
        correlation: str | None = None,
        since: datetime | None = None,
    ) -> Iterator[Stored]:
        """Entries by what they are about."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happened. `facts` are rows of name, value, source and age, for the step that gathered them."""

    at: datetime
    what: str
    title: str
    details: tuple[tuple[str, str], ...] = ()
    facts: tuple[tuple[str, str, str, str], ...] = ()
    index: int | None = None
    entry: str | None = None
    is_bad: bool = False

    def to_json(self) -> dict[str, Json]:
        """The step as a tree."""
        tree: dict[str, Json] = {
            "at": utc_text(self.at),
            "what": self.what,
            "title": self.title,
            "details": [[name, value] for name, value in self.details],
        }
        if self.facts:
            tree["facts"] = [
                {"name": name, "value": value, "source": source, "age": age}
                for name, value, source, age in self.facts
            ]
        more = {"index": self.index, "entry": self.entry, "bad": self.is_bad or None}
        return tree | {name: value for name, value in more.items() if value is not None}


@dataclass(slots=True, kw_only=True)
class Timeline:
    """A sequence. `others` counts the entries of the same correlation that are not part of it."""

    correlation: str
    steps: list[Step] = field(default_factory=list)
    others: int = 0

    def to_json(self) -> dict[str, Json]:
        """The sequence as a tree."""
        return {
            "correlation": self.correlation,
            "others": self.others,
            "steps": [step.to_json() for step in self.steps],
        }


def timeline(log: SequenceLog, wanted: str) -> Timeline:
    """The sequence of an id. Raises `SettingsError` where nothing has that id, `AuditBrokenError` where an entry of it is not
    what was recorded."""
    found = log.get(wanted)
    correlation = wanted if found is None else found.entry.correlation
    joined = _first(log.find(correlation=correlation))
    if found is None and not joined:
        raise SettingsError(
            f"no entry and no sequence has the id `{wanted[:200]}`",
            hint="`mlgov audit search` finds ids; the refusal of a request names its decision's.",
        )
    decision = None if found is None else _decision_of(log, found)
    if decision is not None:
        own = [each for each in joined if _belongs(each.entry, decision)]
        made = Timeline(correlation=correlation, others=len(joined) - len(own))
    else:
        own, made = joined, Timeline(correlation=correlation)
    entries = {each.entry.id: each for each in [*own, *_later(log, own), *([found] if found else [])]}
    policies = PolicyCache(log)
    # By place in the log: clocks of different hosts may disagree, and a request was made before it was decided.
    for stored in sorted(entries.values(), key=lambda each: (each.index is None, each.index or 0)):
        made.steps += _steps(log, stored, policies)
    made.steps.sort(key=lambda step: step.what == "replay")
    return made


def _first(found: Iterator[Stored]) -> list[Stored]:
    joined = []
    for stored in found:
        joined.append(stored)
        if len(joined) > _MOST_ENTRIES:
            raise SettingsError(
                f"the sequence has more than {_MOST_ENTRIES} entries",
                hint="Ask for one of its decisions; `mlgov audit search correlation:ID` lists them.",
            )
    return joined


def _decision_of(log: SequenceLog, found: Stored) -> str | None:
    """The decision that an entry belongs to, if to one."""
    if found.entry.kind is EntryKind.DECISION:
        return found.entry.id
    body = Fields(body_of(found.entry))
    named = body.text("waiver" if body.text("event") in {"break-glass", "reviewed"} else "decision")
    known = None if named is None else log.get(named)
    return None if known is None or known.entry.kind is not EntryKind.DECISION else named


def _belongs(entry: Entry, decision: str) -> bool:
    body = body_of(entry)
    return entry.id == decision or decision in (body.get("decision"), body.get("waiver"))


def _later(log: SequenceLog, own: Iterable[Stored]) -> Iterator[Stored]:
    """What names a decision under another correlation: reviews of break-glass, and erasures of its facts."""
    decisions = {each.entry.id for each in own if each.entry.kind is EntryKind.DECISION}
    broken = {
        str(body_of(each.entry).get("waiver"))
        for each in own
        if body_of(each.entry).get("event") == "break-glass"
    }
    if broken & decisions:
        for stored in log.find(kind=EntryKind.WAIVER):
            if body_of(stored.entry).get("waiver") in decisions:
                yield stored
    gone = {
        str(facts) for each in own
        if each.entry.kind is EntryKind.DECISION and (facts := body_of(each.entry).get("facts")) and _document(log, facts) is None
    }  # fmt: skip
    if gone:
        for stored in log.find(kind=EntryKind.ERASURE):
            if gone & {*Fields(body_of(stored.entry)).texts("digests")}:
                yield stored


def _steps(log: SequenceLog, stored: Stored, policies: PolicyCache) -> Iterator[Step]:
    entry, body = stored.entry, Fields(body_of(stored.entry))
    match entry.kind:
        case EntryKind.DECISION:
            yield from _decision(log, stored, body, policies)
        case EntryKind.OUTCOME:
            yield _outcome(log, stored, body)
        case EntryKind.REGISTRATION:
            rows = tuple(
                (name, _shown(value)) for name, value in sorted(body.body.items()) if value is not None
            )
            yield _step(stored, entry.kind.value, f"{entry.kind.value}: {registration_words(body)}", rows)
        case _:
            words = [word for word in ("event", "reason") if body.text(word)]
            rows = tuple(
                (name, _shown(value)) for name, value in sorted(body.body.items()) if value is not None
            )
            title = " ".join(body.word(word) for word in words) or entry.subject
            yield _step(stored, entry.kind.value, f"{entry.kind.value}: {title}", rows)


def _decision(log: SequenceLog, stored: Stored, body: Fields, policies: PolicyCache) -> Iterator[Step]:
    actor, artifact, verdict, policy = (body.sub(name) for name in ("actor", "artifact", "verdict", "policy"))
    document = _document(log, body.body.get("facts"))
    facts = _tree(document)
    asked = _asked_at(facts) or stored.entry.at
    proven = (
        f"proven by {actor.text('authentication')}" if actor.text("authentication") else "claimed, not proven"
    )
    yield Step(
        at=asked,
        what="request",
        title=f"{actor.word('name')} asks to {body.word('action')} {stored.entry.subject}",
        details=_known(
            ("actor", f"{actor.word('name')} ({proven})"),
            ("groups", ", ".join(actor.texts("groups"))),
            ("artifact", f"{artifact.word('kind')} {artifact.word('name')} {artifact.text('version') or ''}".rstrip()),
            ("digest", artifact.text("digest")),
            ("at", artifact.text("host")),
            ("environment", body.text("environment")),
            ("asked of", stored.entry.writer.instance),
            *((name, _shown(value)) for name, value in body.sub("mlflow").body.items()),
        ),
        index=stored.index,
        entry=stored.entry.id,
    )  # fmt: skip
    yield _gathered(stored, body, document, facts, asked)
    yield _judged(stored, verdict, policy)
    refused, would = verdict.is_set("refused"), verdict.is_set("would_block")
    door = "refused: the door stayed shut" if refused else "let through"
    if would:
        door += " against the verdict" + (
            ", by break-glass" if verdict.text("mode") == "enforce" else f", since the policy is in {verdict.word('mode')} mode"
        )  # fmt: skip
    yield _step(stored, "refusal" if refused else "permit", door, (), is_bad=refused)
    yield _replayed(log, stored, policies)


def _gathered(
    stored: Stored, body: Fields, document: bytes | None, facts: Mapping[str, Json], asked: datetime
) -> Step:
    if document is None:
        digest = body.text("facts")
        return _step(
            stored,
            "facts",
            "the facts are not in the evidence any more, or were never kept",
            _known(("digest", digest)),
            is_bad=True,
        )
    rows = []
    sources: dict[str, list[int]] = {}
    for name, fact in facts.items():
        row = Fields(fact if isinstance(fact, Mapping) else {})
        source, age = row.text("source") or "", _age(asked, row.text("at"))
        rows.append((name, _fact(row), source, "" if age is None else _span(age)))
        sources.setdefault(source or "no source", []).append(0 if age is None else age)
    details = tuple(
        (source, f"{len(ages)} fact{'s' if len(ages) > 1 else ''}, {_span(max(ages))} old at most")
        for source, ages in sorted(sources.items())
    )
    title = f"{len(facts)} facts gathered"
    for word, member in (("unknown", "unknown"), ("incomplete", "missing")):
        count = sum(1 for fact in facts.values() if isinstance(fact, Mapping) and member in fact)
        title += f", {count} {word}" if count else ""
    return Step(
        at=stored.entry.at, what="facts", title=title, details=(*details, ("digest", body.word("facts"))),
        facts=tuple(rows), index=stored.index, entry=stored.entry.id,
    )  # fmt: skip


def _judged(stored: Stored, verdict: Fields, policy: Fields) -> Step:
    rows: list[tuple[str, str | None]] = [
        ("policy", f"{', '.join(policy.texts('names')) or '?'} ({policy.word('digest')})"),
        ("revision", _shown(policy.body.get("revision"))),
        ("degraded", verdict.text("degraded")),
    ]
    for finding in verdict.subs("findings"):
        rows.append(
            (
                f"{finding.word('effect')} {finding.word('rule')}",
                f"[{finding.word('severity')}] {finding.word('message')}",
            )
        )
        rows += [
            ("  rests on", " ".join(filter(None, (f"{item.word('fact')} = {item.word('value')}", item.text("source") and f"({item.text('source')}, {item.text('at') or '?'})"))))
            for item in finding.subs("evidence")
        ]  # fmt: skip
        rows.append(("  remedy", finding.text("remediation")))
    rows += [("waived", f"{row.word('rule')} by {row.word('waiver')}") for row in verdict.subs("waived")]
    omitted = verdict.number("findings_omitted")
    rows.append(("left out", f"{omitted} findings for want of room" if omitted else None))
    title = f"verdict {verdict.word('decision')}, in {verdict.word('mode')} mode, of {verdict.number('rules') or 0} rules"
    return _step(stored, "verdict", title, _known(*rows))


def _replayed(log: SequenceLog, stored: Stored, policies: PolicyCache) -> Step:
    try:
        done = replay(log, stored.entry, policies=policies)
    except NotReplayableError as error:
        return _step(stored, "replay", f"cannot be replayed now: {error.message}", (), is_bad=True)
    except AuditBrokenError as error:
        return _step(stored, "replay", f"the replay breaks off: {error.message}", (), is_bad=True)
    title = (
        "replayed now: the same verdict, byte for byte"
        if done.is_same
        else "replayed now: ANOTHER verdict than recorded"
    )
    return _step(stored, "replay", title, (), is_bad=not done.is_same)


def _outcome(log: SequenceLog, stored: Stored, body: Fields) -> Step:
    moved, signature = body.sub("moved"), body.sub("signature")
    rows: list[tuple[str, str | None]] = [
        ("error", body.text("error")),
        ("moved", f"{moved.number('count') or 0} files, {moved.number('bytes') or 0} bytes"),
        ("digest", moved.text("digest")),
        ("signed with", signature.text("key_id")),
        ("bundle", signature.text("bundle")),
    ]
    is_bad = body.text("status") != "done"
    try:
        files = moved_files(stored.entry.body, lambda digest: log.evidence(digest) or b"")
        rows += [
            (f"  {file.path}", f"sha256:{file.sha256}" if file.sha256 else "no digest")
            for file in files[:_MOST_FILES]
        ]
    except AuditBrokenError:
        rows.append(("  files", "the list of files is not in the evidence any more"))
    return _step(
        stored, "outcome", f"{body.word('action')} {body.word('status')}", _known(*rows), is_bad=is_bad
    )


def _step(
    stored: Stored, what: str, title: str, details: tuple[tuple[str, str], ...], *, is_bad: bool = False
) -> Step:
    return Step(
        at=stored.entry.at, what=what, title=title, details=details, index=stored.index, entry=stored.entry.id, is_bad=is_bad
    )  # fmt: skip


def _known(*rows: tuple[str, str | None]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in rows if value)


def _document(log: ReadableLog, digest: Json) -> bytes | None:
    """A document of the evidence. Raises `AuditBrokenError` where it was changed."""
    try:
        name: Sha256 = parse_sha256(str(digest))
    except ValueError:
        return None
    return log.evidence(name)


def _tree(document: bytes | None) -> Mapping[str, Json]:
    try:
        tree = orjson.loads(document or b"{}")
    except ValueError:
        return {}
    return tree if isinstance(tree, dict) else {}


def _asked_at(facts: Mapping[str, Json]) -> datetime | None:
    stated = Fields(facts).sub("environment").text("at")
    try:
        return None if stated is None else parse_utc(stated)
    except ValueError:
        return None


def _age(asked: datetime, at: str | None) -> int | None:
    try:
        return None if at is None else max(0, int((asked - parse_utc(at)).total_seconds()))
    except ValueError:
        return None


def _span(seconds: int) -> str:
    return str(timedelta(seconds=seconds)) if seconds else "0 s"


def _fact(row: Fields) -> str:
    if "unknown" in row.body:
        known = _shown(row.body.get("at_least"))
        return f"at least {known}: {row.word('unknown')}" if known else f"unknown: {row.word('unknown')}"
    if "items" in row.body:
        return f"{len(row.subs('items'))} items" + (
            f", maybe more: {row.word('missing')}" if row.text("missing") else ""
        )
    return _shown(row.body.get("value"))


def _shown(value: Json) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value[:2_000]
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()[:2_000]
