"""Since when the audit log knows each advisory: what `grace` in a policy is counted from.

The log is the memory: the first decision to which an advisory comes is preceded by an entry of kind `advisory`, so that the
day is as hard to change as the log, the same for every process that shares it, and outlives the decision's evidence.

Promises: an advisory is never called newer than its first entry; where the log cannot be read its age is unknown, which
ends every grace. Does not: record anything for a dry run, or date an advisory by its publication.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Final

from governance.audit.bodies import MAX_ADVISORY, advisory_body, text
from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog
from governance.errors import AuditError
from governance.forking import ForkLock
from governance.model.facts import Collection, Facts, ItemValue, Unknown
from governance.model.request import Request, utc_text

_SUBJECT: Final = "advisories"
_AT_ONCE: Final = 100


class AdvisoryHistory:
    """One per process, over one log. Safe to use from many threads."""

    def __init__(self, log: Callable[[], AuditLog]) -> None:
        """`log` is asked for when the first advisory comes, so that reading policies alone opens none."""
        self._log = log
        self._known: dict[str, datetime] = {}
        self._lock = ForkLock()

    def first_seen(self, advisories: frozenset[str], request: Request) -> Mapping[str, ItemValue]:
        """When each advisory first reached the log, as RFC 3339; the time of the request, where it has not yet."""
        try:
            self._look_for(map(_key, advisories))
        except AuditError as error:
            return dict.fromkeys(
                advisories, Unknown(f"the log cannot tell since when it knows it: {error.message}")
            )
        # What another process recorded a moment after this request was made is not in this request's future.
        return {
            advisory: utc_text(min(self._known.get(_key(advisory), request.at), request.at))
            for advisory in advisories
        }

    def record(self, request: Request, facts: Facts) -> None:
        """Put the advisories among the facts on record that the log does not know. Raises `AuditError`."""
        named = sorted(_advisories(facts))
        if all(advisory in self._known for advisory in named):
            return
        try:
            self._look_for(named)
        except AuditError:
            return  # a log that cannot be read cannot tell what is new; the decision itself is still written to it
        fresh = [advisory for advisory in named if advisory not in self._known]
        for start in range(0, len(fresh), _AT_ONCE):
            some = fresh[start : start + _AT_ONCE]
            self._log().append(
                EntryKind.ADVISORY, advisory_body(some), subject=_SUBJECT, correlation=request.correlation
            )
            self._know(dict.fromkeys(some, request.at))

    def _look_for(self, keys: Iterable[str]) -> None:
        """Read the log again where one of these is not known yet: another process may have met it."""
        if all(key in self._known for key in keys):
            return
        found: dict[str, datetime] = {}
        for stored in self._log().find(kind=EntryKind.ADVISORY):
            named = stored.entry.body["advisories"]
            for advisory in named if isinstance(named, list | tuple) else ():
                at = stored.entry.at
                found[str(advisory)] = min(found.get(str(advisory), at), at)
        self._know(found)

    def _know(self, found: Mapping[str, datetime]) -> None:
        with self._lock:
            for advisory, at in found.items():
                self._known[advisory] = min(self._known.get(advisory, at), at)


def _advisories(facts: Facts) -> frozenset[str]:
    rows = facts.get("vulnerabilities")
    if not isinstance(rows, Collection):
        return frozenset()
    return frozenset(
        _key(advisory) for row in rows.items if isinstance(advisory := row.get("id"), str) and advisory
    )


def _key(advisory: str) -> str:
    """An id as the log writes it."""
    return text(advisory, MAX_ADVISORY)
