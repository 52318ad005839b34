"""What people are told: values, made from entries and waivers without reading anything.

Promises: a pure part; texts from outside are cut and hold no control character, so that a notice can forge neither a
header nor a line of its own. `key` is the same for the same news, by which it is told once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from governance.audit.entry import EntryKind
from governance.audit.log import Stored
from governance.model.canonical import Json
from governance.model.request import utc_text
from governance.notify.rules import NewBlock, VerdictChanged, WaiverExpiring
from governance.report.entries import REFUSING
from governance.report.fields import Fields

_MOST_RULES = 5
_MAX_TEXT = 300
_OWN = frozenset({"decision", "before", "log index", "expires", "last used"})  # no words of others in these
_USES = frozenset({"load", "download"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One piece of news. `rows` are ours by name, and only their values may be from outside; `findings` are rules and what they say.
    `quiet` is for how many seconds it is not told again; None is for ever."""

    kind: str
    key: str
    title: str
    rows: tuple[tuple[str, str], ...]
    at: datetime
    findings: tuple[tuple[str, str], ...] = ()
    quiet: int | None = None

    def to_json(self) -> dict[str, Json]:
        """As a webhook gets it."""
        rows: dict[str, Json] = dict(self.rows)
        data: dict[str, Json] = {"title": self.title, "key": self.key, **rows}
        if self.findings:
            data["findings"] = [{"rule": rule, "message": message} for rule, message in self.findings]
        return {"type": f"mlgov.{self.kind}", "timestamp": utc_text(self.at), "data": data}

    def text(self) -> str:
        """As people read it."""
        # Named as what it is: a client may record a rule that is called `actor`.
        rows = [*self.rows, *((f"rule {rule}", message) for rule, message in self.findings)]
        width = max((len(name) for name, _ in rows), default=0)
        lines = [f"{name.ljust(width)}  {value}" for name, value in rows]
        return "\n".join([self.title, "", *lines, ""])


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveWaiver:
    """A waiver that counts now."""

    name: str
    rule: str
    ref: str
    reason: str
    expires: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a recorded decision said about some bytes. `was_used` says that they were let through to be used."""

    id: str
    at: datetime
    decision: str
    policy: str | None
    was_used: bool


def new_block(rule: NewBlock, stored: Stored) -> Notice | None:
    """News of a refusal, or None where the entry is none that the rule is about."""
    if stored.entry.kind is not EntryKind.DECISION:
        return None
    body = Fields(stored.entry.body)
    verdict, environment = body.sub("verdict"), body.word("environment")
    word = verdict.word("decision")
    is_wanted = verdict.is_set("refused") or (rule.observed and verdict.is_set("would_block"))
    if (
        environment not in rule.environments
        or not is_wanted
        or (word == "quarantine" and not rule.quarantine)
    ):
        return None
    findings = verdict.subs("findings")
    refusing = {each.word("rule") for each in findings if each.word("effect") in REFUSING}
    names = sorted(refusing) or ["no rule allows it"]
    digest = body.sub("artifact").text("digest") or "-"
    done = "is blocked" if word == "block" else "is quarantined"
    if not verdict.is_set("refused"):
        done = "would have been blocked" if word == "block" else "would have been quarantined"
    rows = [
        ("artifact", stored.entry.subject),
        ("digest", digest),
        ("environment", environment),
        ("action", body.word("action")),
        ("actor", body.sub("actor").word("name")),
        ("decision", stored.entry.id),
        ("log index", str(stored.index)),
    ]
    return Notice(
        kind=rule.on,
        key=_key(rule.name, environment, stored.entry.subject, digest, *names),
        title=plain(f"{stored.entry.subject} {done} in {environment}: {', '.join(names[:_MOST_RULES])}", 200),
        rows=_plain(rows),
        findings=_plain([(each.word("rule"), each.word("message")) for each in findings[:_MOST_RULES]]),
        at=stored.entry.at,
        quiet=rule.quiet,
    )  # fmt: skip


def judged(stored: Stored) -> Judged | None:
    """What a decision about the use of known bytes said; None for any other entry."""
    body = Fields(stored.entry.body)
    if question(stored) is None:
        return None
    verdict = body.sub("verdict")
    return Judged(
        id=stored.entry.id,
        at=stored.entry.at,
        decision=verdict.word("decision"),
        policy=body.sub("policy").text("digest"),
        was_used=not verdict.is_set("refused"),
    )


def question(stored: Stored) -> tuple[str, str, str, str] | None:
    """What a decision was about: artifact, digest, environment and action. None for any other entry, and for a decision
    in an outage, which says more about the outage."""
    if stored.entry.kind is not EntryKind.DECISION:
        return None
    body = Fields(stored.entry.body)
    digest, action = body.sub("artifact").text("digest"), body.word("action")
    if digest is None or action not in _USES or body.sub("verdict").text("degraded") is not None:
        return None
    return stored.entry.subject, digest, body.word("environment"), action


def verdict_changed(
    rule: VerdictChanged, stored: Stored, last: Judged, last_use: datetime | None
) -> Notice | None:
    """News that the same bytes got another verdict than `last`, where they were used lately enough."""
    now, asked = judged(stored), question(stored)
    if now is None or asked is None or asked[2] not in rule.environments or now.decision == last.decision:
        return None
    if last_use is None or now.at - last_use > timedelta(seconds=rule.in_use):
        return None
    subject, digest, environment, action = asked
    verdict = Fields(stored.entry.body).sub("verdict")
    names = [finding.word("rule") for finding in verdict.subs("findings")][:_MOST_RULES]
    rows = [
        ("artifact", subject),
        ("digest", digest),
        ("environment", environment),
        ("action", action),
        ("verdict", f"{last.decision}, now {now.decision}"),
        ("rules", ", ".join(names) or "none"),
        (
            "policy",
            "changed since" if now.policy != last.policy else "the same: what is known of the bytes changed",
        ),
        ("last used", utc_text(last_use)),
        ("decision", now.id),
        ("before", last.id),
    ]
    return Notice(
        kind=rule.on,
        key=_key(rule.name, now.id),
        title=plain(f"{subject}, in use in {environment}, was {last.decision} and is {now.decision}", 200),
        rows=_plain(rows),
        at=now.at,
    )


def waiver_expiring(rule: WaiverExpiring, waiver: LiveWaiver, now: datetime) -> Notice | None:
    """News that a waiver ends soon, for the shortest of the rule's times that it is within."""
    left = (waiver.expires - now).total_seconds()
    due = [each for each in sorted(rule.before) if left <= each]
    if left <= 0 or not due:
        return None
    rows = [
        ("waiver", waiver.name),
        ("rule", waiver.rule),
        ("artifact", waiver.ref),
        ("expires", utc_text(waiver.expires)),
        ("reason", waiver.reason),
    ]
    return Notice(
        kind=rule.on,
        key=_key(rule.name, waiver.name, utc_text(waiver.expires), str(due[0])),
        title=plain(f"waiver {waiver.name} for {waiver.rule} ends in {_time(left)}", 200),
        rows=_plain(rows),
        at=now,
    )


def bare(notice: Notice, why: str) -> Notice:
    """The same news without a word from outside, for a server that does not take these words: a filter of spam or viruses
    that a name was made for must not keep the news, and all after it, from its readers."""
    return replace(
        notice,
        title=f"news of kind {notice.kind}, {why}",
        rows=tuple((name, value) for name, value in notice.rows if name in _OWN),
        findings=(),
    )


def plain(text: str, most: int = _MAX_TEXT) -> str:
    """Text from outside on one line: cut, and without anything that does not print."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return "".join(char if char.isprintable() else "\ufffd" for char in cut)


def _plain(rows: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((plain(name, 100), plain(value)) for name, value in rows)


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()[:40]


def _time(seconds: float) -> str:
    return f"{seconds / 86_400:.0f} days" if seconds >= 2 * 86_400 else f"{seconds / 3_600:.0f} hours"
