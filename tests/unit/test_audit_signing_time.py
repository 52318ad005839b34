"""Trusted time of signatures: what the log says, and whose word that is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from governance.audit.bodies import signature_body
from governance.audit.entry import EntryKind
from governance.audit.intake import BEHIND
from governance.audit.log import AuditLog
from governance.audit.memory import MemoryStore
from governance.audit.signing_time import recorded_time, verify_in_time
from governance.audit.stamp import stamp_of
from governance.audit.store import draft_of
from governance.model.digest import Sha256
from governance.model.request import Actor
from governance.signing.reason import Reason
from governance.signing.report import SignatureReport
from tests.audit_tools import StillClock

NOW = datetime(2026, 11, 20, tzinfo=UTC)
DAY = timedelta(days=1)
BUNDLE = Sha256("ab" * 32)


@pytest.fixture
def clock() -> StillClock:
    return StillClock(NOW)


@pytest.fixture
def log(clock: StillClock) -> Iterator[AuditLog]:
    made = AuditLog(MemoryStore(), now=clock, instance="here")
    yield made
    made.close()


def record(log: AuditLog, ref: str = "r/m", *, event: str = "made", bundle: Sha256 = BUNDLE) -> None:
    body = signature_body(event=event, digest="dirhash1:" + "0" * 64, key_id="k", bundle=bundle)
    log.append(EntryKind.SIGNATURE, body, subject=ref, correlation="c")


def test_the_first_record_counts(log: AuditLog, clock: StillClock) -> None:
    assert recorded_time(log, BUNDLE, now=NOW) is None
    record(log)
    clock.at = NOW + DAY
    record(log)
    record(log, bundle=Sha256("cd" * 32))
    assert recorded_time(log, BUNDLE, now=clock.at, ref="r/m") == NOW


def test_a_refused_signature_is_no_record_of_it(log: AuditLog) -> None:
    record(log, event="rejected")
    assert recorded_time(log, BUNDLE, now=NOW) is None


def test_a_copy_is_found_without_its_name(log: AuditLog) -> None:
    record(log, "r/original")
    assert recorded_time(log, BUNDLE, now=NOW, ref="r/copy") is None
    assert recorded_time(log, BUNDLE, now=NOW) == NOW


def test_a_record_from_the_future_counts_as_now(log: AuditLog, clock: StillClock) -> None:
    clock.at = NOW + DAY
    record(log)
    assert recorded_time(log, BUNDLE, now=NOW) == NOW


def test_a_client_cannot_date_its_signature_back(log: AuditLog, clock: StillClock) -> None:
    # Somebody with a stolen key and a login sends an entry dated before the key was revoked, as far as it is taken.
    record(log)
    (row,) = log.find(kind=EntryKind.SIGNATURE)
    stamped = stamp_of(Actor(name="mallory", authentication="basic-auth")).apply(row.entry, ())[0]
    over = AuditLog(MemoryStore(), now=clock, instance="server")
    over.store.append([draft_of(stamped)])
    assert recorded_time(over, BUNDLE, now=NOW + 2 * BEHIND) == NOW + BEHIND
    assert recorded_time(over, BUNDLE, now=NOW + DAY) == NOW + DAY


def report(reason: Reason | None) -> SignatureReport:
    return SignatureReport(valid=reason is None, reason=reason)


@pytest.mark.parametrize(
    "reason", [Reason.EXPIRED, Reason.SUPERSEDED, Reason.COMPROMISED, Reason.CERTIFICATE_TIME]
)
def test_the_whole_log_is_asked_where_time_is_the_objection(reason: Reason) -> None:
    asked: list[str | None] = []

    def times(ref: str | None, bundle: Sha256, at: datetime) -> datetime | None:
        assert at == NOW
        assert bundle == hashlib.sha256(b"bundle").hexdigest()
        asked.append(ref)
        return None if ref else NOW

    found = verify_in_time(
        lambda at: report(None if at else reason), b"bundle", times=times, ref="r/copy", at=NOW
    )
    assert found.valid
    assert asked == ["r/copy", None]


@pytest.mark.parametrize("reason", [None, Reason.BAD_SIGNATURE, Reason.SCOPE, Reason.FILES])
def test_and_nowhere_else(reason: Reason | None) -> None:
    asked: list[str | None] = []

    def times(ref: str | None, _bundle: Sha256, _at: datetime) -> None:
        asked.append(ref)

    assert verify_in_time(lambda _: report(reason), b"b", times=times, ref="r/m", at=NOW) == report(reason)
    assert asked == ["r/m"]
