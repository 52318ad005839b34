"""Whether enough of the places for the log's heads have kept one of late. The log itself knows.

What became of each attempt to send a head out is an entry of the log, so every process and host that shares the log knows
it, and a restart does not forget.

Promises: a head counts by the places that the settings name now, whatever quorum the attempt itself asked for, and never by
an entry that a client sent or one of a later time than now. What cannot be read does not count as kept. Does not: send anything
(`governance.audit.anchor`), or decide what a quorum that is not met means; with `max_age`, `require` is what stops an act.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from governance.audit.bodies import text
from governance.audit.checkpoint import Checkpoint
from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog
from governance.audit.store import KeptElsewhere
from governance.errors import AuditQuorumError
from governance.model.canonical import Json
from governance.model.request import parse_utc, utc_text

_MOST_NAMED = 64
_SAME_AGAIN = timedelta(hours=1)
_TOLD = timedelta(seconds=10)
_RESTORE = (
    "Fix these places. The governance app of a tracking server tries again each minute, and `mlgov audit checkpoint` at "
    "once. The log can be read and verified meanwhile."
)
_ELSEWHERE = "The log of the tracking server's process, and `mlgov doctor` there, say which places these are."


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A head that was sent out: the names of the places that kept it, and of those that did not, with the type of error."""

    at: datetime
    kept: tuple[str, ...]
    failed: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """A place that did not keep the last head. `since` is when it last kept one, None for never."""

    name: str
    since: datetime | None
    error: str

    def __str__(self) -> str:
        when = "never kept one" if self.since is None else f"kept none since {utc_text(self.since)}"
        return f"{self.name}: {when} ({self.error})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How things are: when a quorum last kept a head, when one was last sent, and the places that did not keep that one."""

    met_at: datetime | None
    sent_at: datetime | None
    lacks: tuple[Lack, ...]


class Quorum:
    """`needed` of the places with these `names` must keep a head. With `max_age`, an act needs one that they kept no longer
    ago. Safe to share between threads."""

    def __init__(
        self,
        log: AuditLog,
        names: Sequence[str],
        *,
        needed: int,
        max_age: timedelta | None,
        now: Callable[[], datetime],
    ) -> None:
        self._log = log
        self._names = Counter(names)
        self._needed = needed
        self._max_age = max_age
        self._now = now
        self._met_at: datetime | None = None
        self._told: tuple[datetime, Standing] | None = None

    def require(self) -> None:
        """Raise `AuditQuorumError` where no act is permitted. Reads the log only once the last head known of is too old."""
        objection = self.objection()
        if objection is not None:
            raise objection

    def objection(self) -> AuditQuorumError | None:
        """What `require` raises, for whoever has to tell somebody else."""
        if self._max_age is None or self.is_met_within(self._max_age):
            return None
        return self._error(self._max_age)

    def is_met_within(self, age: timedelta) -> bool:
        """Whether a quorum kept a head no longer ago. One from the future, of a clock that was set back since, does not
        count."""
        now = self._now()
        if self._met_at is not None and timedelta() <= now - self._met_at <= age:
            return True
        found = [
            each.at for each in attempts(self._log, since=now - age) if each.at <= now and self._is_met(each)
        ]
        if found:
            self._met_at = max(found)
        return bool(found)

    def standing(self) -> Standing:
        """Walks over all that is on record, so it is for people and for errors."""
        now, met_at, sent = self._now(), None, None
        last_kept: dict[str, datetime] = {}
        for each in attempts(self._log):
            if each.at > now:
                continue
            sent = each
            last_kept |= dict.fromkeys(each.kept, each.at)
            met_at = each.at if self._is_met(each) else met_at
        missing = [] if sent is None else [name for name in self._names if name not in sent.kept]
        return Standing(
            met_at=met_at,
            sent_at=None if sent is None else sent.at,
            lacks=tuple(
                Lack(name=name, since=last_kept.get(name), error=sent.failed.get(name, "not asked"))
                for name in missing
                if sent is not None
            ),
        )

    def _is_met(self, attempt: Attempt) -> bool:
        # Counted, since two places may have one name: what one of them kept must not stand for both.
        return (Counter(attempt.kept) & self._names).total() >= self._needed

    def _error(self, max_age: timedelta) -> AuditQuorumError:
        standing = self._standing_lately()
        count = f"{self._needed} of {self._names.total()} places"
        if standing.met_at is None:
            what = f"no head of the audit log was ever kept by {count}"
        else:
            what = (
                f"the last head of the audit log that {count} kept is of {utc_text(standing.met_at)}, and "
                f"{max_age.total_seconds():g} s is the most"
            )
        lines = [f"no act is permitted: {what}", *(f"  {lack}" for lack in standing.lacks)]
        if not standing.lacks:
            when = (
                "none was sent" if standing.sent_at is None else f"the last left {utc_text(standing.sent_at)}"
            )
            lines.append(f"  nobody refuses heads, {when}: is the process that sends them running?")
        return AuditQuorumError(
            "\n".join(lines),
            since=standing.met_at,
            failed=tuple(lack.name for lack in standing.lacks),
            max_age=max_age.total_seconds(),
            hint=_RESTORE,
        )

    def _standing_lately(self) -> Standing:
        """Many are refused at once, and each is told; the log is walked for the first of them."""
        now = self._now()
        if self._told is None or not timedelta() <= now - self._told[0] <= _TOLD:
            self._told = now, self.standing()
        return self._told[1]


def attempts(log: AuditLog, *, since: datetime | None = None) -> Iterator[Attempt]:
    """The heads that were sent out, as the log has it, in its order. What only says that one would be is left out, and so is
    what this program did not write."""
    for stored in log.witnessed(kind=EntryKind.CHECKPOINT, since=since):
        kept, failed = stored.entry.body.get("kept"), stored.entry.body.get("failed")
        if isinstance(kept, list) and isinstance(failed, list):
            rows = [row for row in failed if isinstance(row, Mapping)]
            yield Attempt(
                at=stored.entry.at,
                kept=tuple(str(name) for name in kept),
                failed={str(row.get("anchor")): str(row.get("error")) for row in rows},
            )


def record_attempt(
    log: AuditLog,
    head: Checkpoint,
    *,
    kept: Sequence[str],
    failed: Mapping[str, str],
    quorum: int,
    is_routine: bool = False,
) -> None:
    """Put on record what became of a head. With `is_routine`, for a quorum that is the settings' own and tried each minute, a
    failure is recorded once an hour while nothing about it changes."""
    if is_routine and len(kept) < quorum:
        earlier = list(attempts(log, since=log.now() - _SAME_AGAIN))
        if earlier and (earlier[-1].kept, earlier[-1].failed) == (tuple(kept), failed):
            return
    body: dict[str, Json] = {
        "size": head.size,
        "root": head.root.hex(),
        "kept": [text(name) for name in kept[:_MOST_NAMED]],
        "failed": [
            {"anchor": text(name), "error": text(error)} for name, error in [*failed.items()][:_MOST_NAMED]
        ],
        "quorum": quorum,
    }
    log.append(EntryKind.CHECKPOINT, body, subject=log.origin, correlation=log.origin)


def unkept_document(error: AuditQuorumError) -> dict[str, Json]:
    """What a server that keeps the log for others says of it: since when, and no place's name."""
    return {"since": None if error.since is None else utc_text(error.since)}


def unkept_words(document: object) -> str:
    """The other end of `unkept_document`. Whatever cannot be read says no as well."""
    since = None
    if isinstance(document, Mapping):
        with suppress(TypeError, ValueError):
            since = utc_text(parse_utc(document["since"])) if document.get("since") is not None else None
    when, end = ("so far ", "") if since is None else ("", f" since {since}")
    return (
        f"no act is permitted: {when}too few places have kept a head of the tracking server's audit log{end}"
    )


def require_keeper(log: AuditLog) -> None:
    """Raise `AuditQuorumError` where the server that keeps this log said, with its last acknowledgement, that it permits no
    act. It says so with each, and a decision is acknowledged before its act."""
    store = log.store
    objection = store.objection() if isinstance(store, KeptElsewhere) else None
    if objection is not None:
        raise AuditQuorumError(objection, since=None, failed=(), max_age=None, hint=_ELSEWHERE)
