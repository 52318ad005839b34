"""Trusted time of a signature, from the entry that recorded it.

A signature that stands in the log existed when the log took the entry, whatever anybody says later. That is what lets a
key go on vouching for what it signed before it was superseded, revoked or expired (`governance.signing.trust`).

Promises: the time is never earlier than the one at which this log took the entry: of an entry that came over the
network, whose time is its client's word, the latest time is meant that the intake allows for it; what stands ahead of
`now` counts as now. An entry whose bytes are not the hashed ones raises `AuditBrokenError`. Does not: verify the
signature, or walk over the whole log to be sure of it (`mlgov audit verify` does).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

from governance.audit.entry import Entry, EntryKind
from governance.audit.intake import BEHIND
from governance.audit.log import AuditLog, Stored
from governance.audit.stamp import is_stamped
from governance.model.digest import Sha256
from governance.signing.reason import Reason
from governance.signing.report import SignatureReport

Times: TypeAlias = "Callable[[str | None, Sha256, datetime], datetime | None]"
"""Trusted time by artifact (None is any), digest of the signature file, and the time at which it is judged, than which no trusted
time is later; None where there is none."""

_EVENTS = frozenset({"made", "verified"})
_UNTIMELY = frozenset({Reason.EXPIRED, Reason.SUPERSEDED, Reason.COMPROMISED, Reason.CERTIFICATE_TIME})


def verify_in_time(
    verify: Callable[[datetime | None], SignatureReport],
    bundle: bytes,
    *,
    times: Times,
    ref: str | None,
    at: datetime,
) -> SignatureReport:
    """The report of `verify`, which judges as of `at` and is given trusted time. The whole log is asked only where the signature would else
    be refused for its time: it may have been recorded where the model was copied from.
    """
    sha256 = Sha256(hashlib.sha256(bundle).hexdigest())
    here = times(ref, sha256, at) if ref is not None else None
    report = verify(here)
    if report.reason not in _UNTIMELY:
        return report
    anywhere = times(None, sha256, at)
    return report if anywhere in (None, here) else verify(anywhere)


def recorded_time(log: AuditLog, bundle: Sha256, *, now: datetime, ref: str | None = None) -> datetime | None:
    """When the signature file with the digest `bundle` was on record first, or None where it is not.

    `ref` is the artifact that it was recorded for, which an index finds at once; without it every signature on record
    is looked at, as is needed for a model that was copied elsewhere.
    """
    times = [
        _upper(stored, now)
        for stored in log.find(kind=EntryKind.SIGNATURE, subject=ref)
        if stored.entry.body.get("bundle") == bundle and stored.entry.body.get("event") in _EVENTS
    ]
    return min(times, default=None)


def taken_by(entry: Entry) -> datetime:
    """The time by which the log had taken an entry, as far as the entry shows. It may lie ahead."""
    # What a client sent may be dated back so far, and not further.
    return entry.at + BEHIND if is_stamped(entry) else entry.at


def _upper(stored: Stored, now: datetime) -> datetime:
    return min(now, taken_by(stored.entry))
