"""What the scenarios of the PostgreSQL log share."""

from __future__ import annotations

from governance.audit.log import AuditLog
from tests.audit_tools import make_log


def open_log(dsn: str, **more: object) -> AuditLog:
    """A log in that database, which is set up where it is new; `more` are the store's settings."""
    from governance.audit.postgres import PostgresStore

    return make_log(PostgresStore(dsn, **more))  # type: ignore[arg-type]


def settled(log: AuditLog) -> AuditLog:
    """The log, once each of its entries has a place."""
    log.store.settle(timeout=30)  # type: ignore[attr-defined]
    return log


def numbers(log: AuditLog) -> list[int]:
    """The writers' own numbers of all entries, in order."""
    return sorted(stored.entry.writer.n for stored in log.find())


def name_of(dsn: str) -> str:
    """The database's name."""
    return dsn.rsplit("/", 1)[1]
