"""The database under the PostgreSQL store: its schema by versions, how it is reached, and what its errors mean.

Promises: migrations run once, in order, by one process at a time; a database that would lose what it confirmed
(`fsync = off`) is refused; no message holds the connection string.
"""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from governance.errors import AuditBrokenError, AuditUnavailableError, NewerLogError, SettingsError

SCHEMA = "mlgov_audit"
INDEXED = 500
"""Characters of a text that are indexed, of up to four bytes each."""
LEADER_LOCK = 0x6D6C_676F_7601
_GRACE = 5.0  # in which the server says that it ended a statement
_MIGRATION_LOCK = 0x6D6C_676F_7602
_NO_POOLER = "Name the database itself in `audit_dsn`, and not PgBouncer or another pooler: the log has sessions of its own, few of them."

_SHORTAGE = re.compile(
    r"too many (clients|connections)|connection slots are reserved|no more connections allowed"
)
_STARTING = re.compile(
    r"database system is (starting up|in recovery mode|not yet accepting connections)"
    r"|terminating connection (due to administrator command|because of crash)"
)
_TLS = re.compile(r"\bSSL\b|certificate|private key|\bsslmode\b")

MIGRATIONS = (
    """
    CREATE TABLE entry (
        ticket bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        seq bigint UNIQUE,
        id text NOT NULL UNIQUE,
        at text NOT NULL,
        kind text NOT NULL,
        subject text NOT NULL,
        correlation text NOT NULL,
        leaf bytea NOT NULL,
        data bytea NOT NULL
    );
    COMMENT ON TABLE entry IS 'Audit entries. seq is the leaf index; null until the leader has given the entry its place.';
    CREATE INDEX entry_waiting ON entry (ticket) WHERE seq IS NULL;
    CREATE INDEX entry_subject ON entry (subject, ticket);
    CREATE INDEX entry_correlation ON entry (correlation, ticket);
    CREATE INDEX entry_kind ON entry (kind, ticket);
    CREATE TABLE tile (
        level integer NOT NULL, number bigint NOT NULL, root bytea NOT NULL, nodes bytea NOT NULL,
        PRIMARY KEY (level, number)
    );
    ALTER TABLE tile ALTER COLUMN nodes SET STORAGE EXTERNAL;
    CREATE TABLE head (one integer PRIMARY KEY CHECK (one = 1), size bigint NOT NULL, frontier bytea NOT NULL);
    INSERT INTO head VALUES (1, 0, '');
    CREATE TABLE evidence (
        sha256 text PRIMARY KEY, category text NOT NULL, at text NOT NULL, size bigint NOT NULL, body bytea
    );
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'the audit log is append-only: % on %', TG_OP, TG_TABLE_NAME; END $$;
    CREATE TRIGGER entry_update BEFORE UPDATE ON entry FOR EACH ROW
        WHEN (OLD.seq IS NOT NULL OR NEW.seq IS NULL
            OR (NEW.ticket, NEW.id, NEW.at, NEW.kind, NEW.subject, NEW.correlation, NEW.leaf, NEW.data)
            IS DISTINCT FROM (OLD.ticket, OLD.id, OLD.at, OLD.kind, OLD.subject, OLD.correlation, OLD.leaf, OLD.data))
        EXECUTE FUNCTION refuse();
    CREATE TRIGGER entry_delete BEFORE DELETE OR TRUNCATE ON entry EXECUTE FUNCTION refuse();
    CREATE TRIGGER tile_change BEFORE UPDATE OR DELETE OR TRUNCATE ON tile EXECUTE FUNCTION refuse();
    CREATE TRIGGER head_update BEFORE UPDATE ON head FOR EACH ROW WHEN (NEW.size < OLD.size) EXECUTE FUNCTION refuse();
    CREATE TRIGGER head_delete BEFORE DELETE OR TRUNCATE ON head EXECUTE FUNCTION refuse();
    CREATE TRIGGER evidence_update BEFORE UPDATE ON evidence FOR EACH ROW
        WHEN (NEW.sha256 <> OLD.sha256 OR (OLD.body IS NOT NULL AND NEW.body IS NOT NULL)) EXECUTE FUNCTION refuse();
    CREATE TRIGGER evidence_delete BEFORE DELETE OR TRUNCATE ON evidence EXECUTE FUNCTION refuse();
    """,
    # An index takes at most a third of a page, and an entry's subject may be longer: it was refused again and again, with
    # everything that its writer had to write after it.
    f"""
    DROP INDEX entry_subject;
    DROP INDEX entry_correlation;
    CREATE INDEX entry_subject ON entry (left(subject, {INDEXED}), ticket);
    CREATE INDEX entry_correlation ON entry (left(correlation, {INDEXED}), ticket);
    """,
)


class _Connection(psycopg.Connection[Any]):  # type: ignore[misc]  # its types are not looked at
    """Gives up on a server that says nothing for `patience` seconds: it ends statements itself, where it is able to. One
    that was stopped, or hangs behind a pooler, takes what is sent to it and would be waited for without end."""

    patience = math.inf

    def wait(self, gen: Any, *more: Any, **named: Any) -> Any:
        """As the base has it, with an end."""
        return super().wait(self._bounded(gen, time.monotonic() + self.patience), *more, **named)

    def _bounded(self, gen: Any, end: float) -> Generator[Any, Any, Any]:
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > end:
                    self.pgconn.finish()  # nobody knows what the session is at
                    raise psycopg.OperationalError(f"no answer within {self.patience:g} s")
                wanted = gen.send(ready)
        except StopIteration as done:
            return done.value


def connect(dsn: str, *, timeout: float) -> Any:
    """A connection that commits each statement by itself outside `transaction()`, confirms nothing that is not
    flushed, and waits for no answer without end, nor for somebody to type a client key's passphrase. Raises `SettingsError` for
    a `dsn` that is none."""
    if (address := _parsed(dsn)) is None:
        raise SettingsError(
            "`audit_dsn` is not the address of a PostgreSQL",
            hint="It is `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`, without a driver as in MLflow's `postgresql+psycopg2://`, and what is "
            "no letter or digit in the password is written as `%` and its code: `%40` for `@`, `%2F` for `/`, `%25` for `%`. What "
            "follows `?` are parameters that libpq knows, such as `sslmode`.",
        )
    if {"service", "sslpassword"}.isdisjoint(address):
        # With any word at all, OpenSSL does not ask on the terminal.
        dsn = make_conninfo(dsn, sslpassword="none")
    connection = _Connection.connect(
        dsn,
        autocommit=True,
        connect_timeout=max(2, int(timeout)),
        keepalives=1,
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=int(timeout * 1000),  # what was sent and is not acknowledged has no keepalives
        application_name="mlgov-audit",
        client_encoding="utf8",
        options=f"{address.get('options') or ''} -c search_path={SCHEMA} -c statement_timeout={int(timeout * 1000)}"
        r" -c default_transaction_isolation=read\ committed",
    )
    connection.patience = timeout + _GRACE
    try:
        _demand_own_session(connection)
        _demand_durability(connection)
        _demand_unicode(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _parsed(dsn: str) -> dict[str, Any] | None:
    """The parameters of a connection string, or None: libpq's errors quote it with its password, also where a sign in the password
    ends what it takes for the user's part, and a rest of it counts as host or port."""
    try:
        address = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        return None
    host, port = str(address.get("host", "")), str(address.get("port", ""))
    return None if "@" in host or not re.fullmatch(r"[0-9,]*", port) else address


def _demand_own_session(connection: Any) -> None:
    """A pooler that leaves out what a session is opened with would have the log made and looked for in any schema, wait for answers
    without end, and with sessions shared keep the leader's lock for nobody."""
    if _setting(connection, "search_path") != SCHEMA:
        raise AuditUnavailableError(
            "the audit database is behind a pooler that leaves out the `options` of a session",
            hint=_NO_POOLER,
        )


def _demand_durability(connection: Any) -> None:
    if _setting(connection, "synchronous_commit") not in {"on", "remote_apply"}:
        connection.execute("SET synchronous_commit = on")
    if _setting(connection, "fsync") != "on":
        raise AuditUnavailableError(
            "the audit database runs with `fsync = off` and would lose what it confirmed",
            hint="Set `fsync = on` in the server's configuration.",
        )


def _demand_unicode(connection: Any) -> None:
    """A name that the database cannot hold would be refused for ever, with all that its writer has to write after it."""
    encoding = _setting(connection, "server_encoding")
    if encoding != "UTF8":
        raise AuditUnavailableError(
            f"the audit database's encoding is {encoding}, which cannot hold every name",
            hint="Make one with `CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0`.",
        )


def migrate(connection: Any, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Bring the schema up to the last of `migrations`, all of it or nothing. Safe to call from many processes at once.
    Where nothing is to be done no right is needed but to read: neither who writes nor who only reads owns the database."""
    if (version := _known_version(connection, migrations)) == len(migrations):
        return
    try:
        _bring_up(connection, migrations)
    except psycopg.errors.InsufficientPrivilege as error:
        if version == 0:
            raise
        raise AuditUnavailableError(
            f"the audit database is of version {version}, this program writes {len(migrations)}, and this user may not bring it up",
            hint="Have the user who owns the schema open the log once with this version of the program.",
        ) from error


def _bring_up(connection: Any, migrations: Sequence[str]) -> None:
    # An index over a long log takes its time, and whoever runs this is there to look.
    connection.patience = math.inf
    with connection.transaction():
        connection.execute("SET LOCAL statement_timeout = 0")
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
        if connection.execute("SELECT to_regnamespace(%s)", (SCHEMA,)).fetchone()[0] is None:
            # Apart, since `IF NOT EXISTS` asks for the right on the database also where the schema is there.
            connection.execute(f"CREATE SCHEMA {SCHEMA}")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migration (version integer PRIMARY KEY, at timestamptz DEFAULT now())"
        )
        version = _known_version(connection, migrations)
        for number, script in enumerate(migrations[version:], version + 1):
            connection.execute(script)
            connection.execute("INSERT INTO migration (version) VALUES (%s)", (number,))


def _known_version(connection: Any, migrations: Sequence[str]) -> int:
    """What the schema is of; 0 where there is none. Raises `AuditBrokenError` where `migrations` do not go that far."""
    if connection.execute("SELECT to_regclass(%s)", (f"{SCHEMA}.migration",)).fetchone()[0] is None:
        return 0
    version = int(connection.execute("SELECT coalesce(max(version), 0) FROM migration").fetchone()[0])
    if version > len(migrations):
        raise NewerLogError(
            f"the audit database is of version {version}; this program knows up to {len(migrations)}"
        )
    return version


def _setting(connection: Any, name: str) -> str:
    return str(connection.execute("SELECT current_setting(%s)", (name,)).fetchone()[0])


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Where errors of the database become errors of ours."""
    try:
        yield
    except (
        psycopg.errors.DataCorrupted,
        psycopg.errors.IndexCorrupted,
        psycopg.errors.RaiseException,
    ) as error:
        raise AuditBrokenError(f"the audit database is damaged: {_first_line(error)}") from error
    except psycopg.errors.DiskFull as error:
        raise AuditUnavailableError(
            "no space is left on the audit database's disk",
            hint="Free space there; nothing was let through meanwhile.",
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise AuditUnavailableError(
            f"the audit database refuses this user: {_first_line(error)}",
            hint=f"Grant the rights on schema {SCHEMA} as docs/audit.md lists them.",
        ) from error
    except psycopg.errors.ReadOnlySqlTransaction as error:
        raise AuditUnavailableError(
            "the audit database takes no writes: it is a standby, or set to read-only",
            hint="Name the primary in `audit_dsn`; of several hosts `target_session_attrs=read-write` chooses it.",
        ) from error
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
        raise AuditUnavailableError(
            f"the audit database no longer has its tables: {_first_line(error)}",
            hint=f"The schema {SCHEMA} was there when the log was opened: it was renamed or dropped since. Put it back in its place.",
        ) from error
    except psycopg.Error as error:
        raise AuditUnavailableError(
            f"the audit database cannot be used: {_first_line(error)}", hint=_hint(error)
        ) from error


def is_shortage(error: Exception) -> bool:
    """Whether the server refused a connection since there are as many as it, the database or the role may have. libpq hands on no
    SQLSTATE of what fails before a session begins, so it is read from the words of PostgreSQL, as they are in English."""
    return isinstance(error, psycopg.OperationalError) and _SHORTAGE.search(str(error)) is not None


def is_starting(error: Exception) -> bool:
    """Whether the server refused a connection since it is about to start, or starts again after one of its processes was killed, or ended
    the session while it was opened."""
    return isinstance(error, psycopg.OperationalError) and _STARTING.search(str(error)) is not None


def _hint(error: psycopg.Error) -> str:
    if "unsupported startup parameter" in str(error):
        return _NO_POOLER
    if is_shortage(error):
        return (
            "Each process that writes to the log has up to ten connections: raise `max_connections`, or the limit of the database or the "
            "role, or run fewer processes. Nothing was let through; try again."
        )
    if _TLS.search(str(error)):
        return (
            "TLS is set in `audit_dsn`, as `?sslmode=verify-full&sslrootcert=FILE`: the file, a whole path, holds the authority that signed "
            "the server's certificate, and the host is one of the certificate's names."
        )
    return "Check that it runs, can be reached, has connections to spare, and takes the user and password of `audit_dsn`."


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
