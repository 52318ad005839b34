"""A process that appends to a log and prints the id of each entry that was confirmed. Killed without warning by tests."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog
from governance.audit.sqlite import SqliteStore
from governance.audit.store import AuditStore
from governance.errors import AuditUnavailableError
from tests.audit_tools import body


def open_store(where: str) -> AuditStore:
    if where.startswith("postgresql:"):
        from governance.audit.postgres import PostgresStore

        return PostgresStore(where)
    return SqliteStore(Path(where))


def main() -> None:
    where, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    log = AuditLog(open_store(where), now=lambda: datetime.now(UTC), instance=name)
    for n in range(count):
        entry = body(f"{name}-{n}")
        try:
            receipt = log.append(EntryKind.OUTCOME, entry, subject=f"models/{name}", correlation=f"c-{n}")
        except AuditUnavailableError:
            if "--go-on" in sys.argv:
                continue
            raise
        # One write of one line: a line that arrived whole was confirmed.
        sys.stdout.write(f"{receipt.id}\n")
        sys.stdout.flush()
    log.close()


if __name__ == "__main__":
    main()
