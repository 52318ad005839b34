"""What stands in the PostgreSQL database: the schema and its versions, who has which rights, and what is changed beneath the log."""

from __future__ import annotations

import contextlib
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog
from governance.audit.merkle import leaf_hash
from governance.errors import AuditBrokenError, AuditUnavailableError
from tests.audit_tools import body, fill
from tests.postgres_server import PostgresServer, running_postgres, why_not
from tests.scenarios.postgres_log import name_of, numbers, open_log, settled

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entry SET data = '' WHERE seq = 1", "UPDATE entry SET seq = NULL WHERE seq = 1", "DELETE FROM entry",
        "TRUNCATE entry", "DELETE FROM head", "UPDATE head SET size = 0", "DELETE FROM evidence", "DELETE FROM tile",
        "UPDATE evidence SET body = 'x'",
    ],
)  # fmt: skip
def test_triggers_stop_mistakes(tampered: str, postgres: PostgresServer, statement: str) -> None:
    import psycopg

    with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        postgres.run(f"SET search_path = mlgov_audit; {statement}", name_of(tampered))


@pytest.fixture(name="tampered", scope="module")
def database_with_entries(postgres: PostgresServer) -> str:
    dsn = postgres.new_database()
    log = open_log(dsn)
    fill(log, 4)
    log.append(EntryKind.OUTCOME, body(), subject="s", correlation="c", evidence=[b"facts"])
    settled(log).close()
    return dsn


def test_edits_by_the_owner_show(postgres: PostgresServer) -> None:
    dsn = postgres.new_database()
    log = open_log(dsn)
    fill(log, 4)
    settled(log)
    name = name_of(dsn)
    (row,) = log.store.rows(2, 3)
    forged = row.data.replace(b'"done"', b'"nope"')
    postgres.run(
        "SET search_path = mlgov_audit; ALTER TABLE entry DISABLE TRIGGER USER;"
        f"UPDATE entry SET data = '\\x{forged.hex()}' WHERE seq = 2",
        name,
    )
    assert "entry 2: its bytes are not those that were recorded" in str(log.verify().problems[0])
    postgres.run(
        f"SET search_path = mlgov_audit; UPDATE entry SET leaf = '\\x{leaf_hash(forged).hex()}' WHERE seq = 2",
        name,
    )
    assert "another root" in str(log.verify().problems[0])
    postgres.run("SET search_path = mlgov_audit; DELETE FROM entry WHERE seq = 4", name)
    assert log.verify().problems[0].index is None
    with pytest.raises(AuditUnavailableError, match="no place"):
        _append_and_settle(log)
    log.close()


def _append_and_settle(log: AuditLog) -> None:
    fill(log, 1)
    log.store.settle(timeout=1)  # type: ignore[attr-defined]


def test_a_database_that_would_lose_what_it_confirmed_is_refused() -> None:
    with running_postgres() as server:
        server.run("ALTER SYSTEM SET fsync = off")
        server.run("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 30
        while server.run("SHOW fsync") != [("off",)]:
            assert time.monotonic() < deadline, "the server was told, and does not do it"
        with pytest.raises(AuditUnavailableError, match="fsync"):
            open_log(server.new_database())


def test_a_schema_that_is_taken_away_is_named(postgres: PostgresServer) -> None:
    dsn = postgres.new_database()
    database = name_of(dsn)
    log = open_log(dsn)
    settled(log)
    fill(log, 1)
    postgres.run("ALTER SCHEMA mlgov_audit RENAME TO elsewhere", database)
    with pytest.raises(AuditUnavailableError, match="no longer has its tables") as caught:
        fill(log, 1)
    assert "renamed or dropped" in str(caught.value.hint)
    postgres.run("ALTER SCHEMA elsewhere RENAME TO mlgov_audit", database)
    fill(log, 1)
    assert numbers(settled(log)) == [1, 2, 3, 4, 5]
    log.close()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_hold_every_name_is_refused(postgres: PostgresServer, encoding: str) -> None:
    """Later the first such name would be, for ever, and everything after it."""
    name = f"of_{encoding.lower()}"
    postgres.run(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}'")
    with pytest.raises(AuditUnavailableError, match=f"encoding is {encoding}"):
        open_log(postgres.dsn(name))


def test_the_rights_that_the_docs_list_are_enough(postgres: PostgresServer) -> None:
    """Another role than the one that made the schema: one writes and leads, one reads alone, one may do nothing."""
    dsn = postgres.new_database()
    database = name_of(dsn)
    fill(made := open_log(dsn), 2)
    settled(made).close()
    grants = re.findall(r"^GRANT .*;$", (ROOT / "docs" / "audit.md").read_text(), re.MULTILINE)
    for role in ("log_writer", "log_reader", "stranger"):
        postgres.run(f"CREATE ROLE {role} LOGIN")
    for statement in grants:
        postgres.run(statement, database)

    writer = open_log(dsn.replace("postgres@", "log_writer@"))
    fill(writer, 300)  # a tile among them
    assert settled(writer).verify().problems == ()
    reader = open_log(dsn.replace("postgres@", "log_reader@"))
    assert reader.verify().size == 2 + 1 + 301
    with pytest.raises(AuditUnavailableError, match="permission denied for table entry"):
        fill(reader, 1)
    with pytest.raises(AuditUnavailableError, match="permission denied for schema"):
        open_log(dsn.replace("postgres@", "stranger@"))
    writer.close()
    reader.close()


def test_a_newer_schema_is_refused(postgres: PostgresServer) -> None:
    dsn = postgres.new_database()
    open_log(dsn).close()
    postgres.run("INSERT INTO mlgov_audit.migration (version) VALUES (99)", name_of(dsn))
    with pytest.raises(AuditBrokenError, match="version 99"):
        open_log(dsn)


def test_the_schema_is_brought_up_by_versions_once_and_whole(postgres: PostgresServer) -> None:
    """Many processes at once bring a log with entries to the next version; one that fails leaves it as it was."""
    from governance.audit.postgres_schema import MIGRATIONS, connect, migrate

    dsn = postgres.new_database()
    database = name_of(dsn)
    log = open_log(dsn)
    kept = fill(log, 20)
    newer = (
        *MIGRATIONS,
        "ALTER TABLE entry ADD COLUMN later text; CREATE INDEX entry_later ON entry (later)",
    )
    broken = (*newer, "CREATE TABLE half (x int); SELECT 1 / 0")

    def work(_: int) -> None:
        with contextlib.closing(connect(dsn, timeout=30)) as connection:
            migrate(connection, newer)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    with (
        contextlib.closing(connect(dsn, timeout=30)) as connection,
        pytest.raises(Exception, match="division"),
    ):
        migrate(connection, broken)
    assert postgres.run(
        "SELECT array_agg(version ORDER BY version) FROM mlgov_audit.migration", database
    ) == [(list(range(1, len(newer) + 1)),)]
    assert postgres.run("SELECT to_regclass('mlgov_audit.half')", database) == [(None,)]
    kept += fill(log, 5)  # who was at work goes on
    assert settled(log).verify().problems == ()
    assert set(kept) <= {stored.entry.id for stored in log.find()}
    log.close()
    with pytest.raises(AuditBrokenError, match=f"of version {len(newer)}; this program knows up to"):
        open_log(dsn)


def test_a_writer_who_is_upgraded_before_the_owner_is_told_who_has_to_come_first(
    postgres: PostgresServer,
) -> None:
    """It said that the rights of docs/audit.md are to be granted, which this user has, and which are not enough for that."""
    from governance.audit.postgres_schema import MIGRATIONS, connect, migrate

    dsn = postgres.new_database()
    database = name_of(dsn)
    with contextlib.closing(connect(dsn, timeout=30)) as connection:
        migrate(connection, MIGRATIONS[:1])
    role = f"early_{database}"
    for statement in (
        f"CREATE ROLE {role} LOGIN",
        f"GRANT USAGE ON SCHEMA mlgov_audit TO {role}",
        f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA mlgov_audit TO {role}",
    ):
        postgres.run(statement, database)
    with pytest.raises(AuditUnavailableError, match="of version 1, this program writes 2") as caught:
        open_log(dsn.replace("postgres@", f"{role}@"))
    assert "the user who owns the schema" in (caught.value.hint or "")
    open_log(dsn).close()
    open_log(dsn.replace("postgres@", f"{role}@")).close()
