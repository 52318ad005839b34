"""The PostgreSQL log in a database that others set up: its address and TLS, poolers before it, how many connections it has, defaults of
its roles, rights that are given sparingly."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from governance.audit.log import AuditLog
from governance.errors import AuditBrokenError, AuditUnavailableError, SettingsError
from tests.audit_tools import fill
from tests.listener import listening
from tests.postgres_server import PostgresServer, why_not
from tests.rawserver import make_certificate
from tests.scenarios.postgres_log import name_of, numbers, open_log, settled

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


def test_a_pooler_that_leaves_out_the_options_of_a_session_is_refused(postgres: PostgresServer) -> None:
    """PgBouncer with `ignore_startup_parameters = options`: the log was made among the tables of everybody, once."""
    dsn = postgres.new_database()

    def pool(client: socket.socket) -> None:
        (size,) = struct.unpack("!i", client.recv(4, socket.MSG_WAITALL))
        words = client.recv(size - 4, socket.MSG_WAITALL)[4:].split(b"\0")
        asked = dict(zip(words[::2], words[1::2], strict=False))
        asked.pop(b"options")
        start = b"\0\3\0\0" + b"".join(name + b"\0" + value + b"\0" for name, value in asked.items() if name)
        with (
            contextlib.suppress(OSError, ValueError),  # the listener ends, with this socket
            socket.create_connection(("127.0.0.1", postgres.port)) as server,
        ):
            server.sendall(struct.pack("!i", len(start) + 5) + start + b"\0")
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    if not (data := ready.recv(65_536)):
                        return
                    (server if ready is client else client).sendall(data)

    with listening(pool) as port:
        pooled = dsn.replace(f":{postgres.port}/", f":{port}/") + "?sslmode=disable&gssencmode=disable"
        with pytest.raises(AuditUnavailableError, match="behind a pooler") as caught:
            open_log(pooled)
    assert "Name the database itself" in str(caught.value.hint)
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    assert postgres.run(tables, name_of(dsn)) == [(0,)]


def test_a_pooler_that_refuses_the_options_is_told_of_as_one() -> None:
    def refuse(client: socket.socket) -> None:
        client.recv(4096)
        words = b"SFATAL\0C08P01\0Munsupported startup parameter: options\0\0"
        client.sendall(b"E" + struct.pack("!i", len(words) + 4) + words)

    with listening(refuse) as port, pytest.raises(AuditUnavailableError, match="unsupported") as caught:
        open_log(f"postgresql://u@127.0.0.1:{port}/d?sslmode=disable&gssencmode=disable", timeout=5)
    assert "not PgBouncer" in str(caught.value.hint)


def test_nobody_is_asked_on_a_terminal_for_the_passphrase_of_a_client_key(tmp_path: Path) -> None:
    """A server that was started from a shell waited there for ever; `sslpassword` in the address is for that."""
    make_certificate(tmp_path)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    locked.chmod(0o600)

    def offer_tls(connection: socket.socket) -> None:
        connection.recv(8)
        connection.sendall(b"S")
        connection.recv(1)

    with listening(offer_tls) as port:
        dsn = f"postgresql://u@127.0.0.1:{port}/d?sslmode=require&sslcert={tmp_path}/certificate.pem&sslkey={locked}"
        code = f"from governance.audit.postgres_schema import connect; connect({dsn!r}, timeout=5)"
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, start_new_session=True, check=False,
        )  # fmt: skip
    assert "could not load private key file" in done.stderr
    assert "pass phrase" not in done.stderr


def test_an_unreachable_server_is_said_so_without_the_password() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(AuditUnavailableError) as caught:
        open_log(f"postgresql://ana:hunter2@127.0.0.1:{port}/audit", timeout=3)
    assert "hunter2" not in str(caught.value) + repr(caught.value.__cause__)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql+psycopg2://ana:hunter2@127.0.0.1:1/audit",
        "postgresql://ana:hunter2%@127.0.0.1:1/audit",
        "postgresql://ana:my hunter2@127.0.0.1:1/audit",
        "postgresql://ana:hunter2/x@127.0.0.1:1/audit",
        "postgresql://ana:x@hunter2@127.0.0.1:1/audit",
        "postgresql://ana@127.0.0.1:hunter2/audit",
        "ana:hunter2@127.0.0.1/audit",
        "host=127.0.0.1 port=1 password=x hunter2",
    ],
)
def test_an_address_that_is_none_is_said_so_without_the_password(dsn: str) -> None:
    """libpq quotes what it does not understand: all of an address with a driver, as MLflow has it."""
    with pytest.raises(SettingsError, match="`audit_dsn` is not the address") as caught:
        open_log(dsn, timeout=3)
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in str(error)
        error = error.__cause__ or error.__context__


def test_a_server_whose_certificate_another_authority_signed_is_told_of_as_one(tmp_path: Path) -> None:
    """It was said that the password may be wrong."""
    (tmp_path / "other").mkdir()
    make_certificate(tmp_path / "other")
    context, _ = make_certificate(tmp_path)

    def begin_tls(client: socket.socket) -> None:
        client.recv(8)
        client.sendall(b"S")
        with contextlib.suppress(OSError):
            context.wrap_socket(client, server_side=True)

    tls = f"gssencmode=disable&sslmode=verify-full&sslrootcert={tmp_path}/other/certificate.pem"
    with listening(begin_tls) as port, pytest.raises(AuditUnavailableError, match="verify failed") as caught:
        open_log(f"postgresql://ana:hunter2@127.0.0.1:{port}/d?{tls}", timeout=5)
    assert "signed the server's certificate" in str(caught.value.hint)
    assert "hunter2" not in str(caught.value) + repr(caught.value.__cause__)


def test_a_server_without_tls_where_it_is_asked_for_is_told_of_as_one(postgres: PostgresServer) -> None:
    with pytest.raises(AuditUnavailableError, match="does not support SSL") as caught:
        open_log(f"{postgres.dsn()}?sslmode=require", timeout=5)
    assert "TLS is set in `audit_dsn`" in str(caught.value.hint)


def test_whose_schema_was_made_for_him_needs_no_right_on_the_database(postgres: PostgresServer) -> None:
    dsn = postgres.new_database()
    role = f"owner_{name_of(dsn)}"
    postgres.run(f"CREATE ROLE {role} LOGIN")
    postgres.run(f"CREATE SCHEMA mlgov_audit AUTHORIZATION {role}", name_of(dsn))
    log = open_log(dsn.replace("postgres@", f"{role}@"))
    fill(log, 2)
    assert numbers(settled(log)) == [1, 2, 3]
    log.close()


def test_an_older_program_of_a_writer_is_told_that_it_is_older(postgres: PostgresServer) -> None:
    """It was sent to the owner of the schema, who had brought it up already."""
    dsn = postgres.new_database()
    role = f"old_{name_of(dsn)}"
    open_log(dsn).close()
    postgres.run(f"CREATE ROLE {role} LOGIN")
    postgres.run(
        "INSERT INTO mlgov_audit.migration (version) VALUES (99);"
        f"GRANT USAGE ON SCHEMA mlgov_audit TO {role}; GRANT SELECT ON mlgov_audit.migration TO {role}",
        name_of(dsn),
    )
    with pytest.raises(AuditBrokenError, match="version 99"):
        open_log(dsn.replace("postgres@", f"{role}@"))


def test_a_standby_is_read_and_is_told_of_as_one_when_written_to(postgres: PostgresServer) -> None:
    dsn = postgres.new_database()
    log = open_log(dsn)
    fill(log, 2)
    settled(log).close()
    postgres.run(f"ALTER DATABASE {name_of(dsn)} SET default_transaction_read_only = on")
    log = open_log(dsn)
    assert log.verify().problems == ()
    with pytest.raises(AuditUnavailableError, match="a standby, or set to read-only") as caught:
        fill(log, 1)
    assert "target_session_attrs=read-write" in str(caught.value.hint)
    log.close()


def test_what_a_role_is_given_by_default_changes_nothing(postgres: PostgresServer) -> None:
    """Under `serializable` the leader failed as soon as others wrote, and `local` confirms what a failover loses."""
    from governance.audit.postgres_schema import connect

    dsn = postgres.new_database()
    for default in (
        "default_transaction_isolation = serializable",
        "synchronous_commit = local",
        "search_path = public",
    ):
        postgres.run(f"ALTER DATABASE {name_of(dsn)} SET {default}")
    with connect(dsn + "?options=-c%20work_mem%3D8MB", timeout=30) as connection:
        found = [
            connection.execute(f"SHOW {name}").fetchone()[0]
            for name in ("transaction_isolation", "synchronous_commit", "search_path", "work_mem")
        ]
    assert found == ["read committed", "on", "mlgov_audit", "8MB"]


def test_many_who_read_at_once_share_a_bounded_number_of_connections(postgres: PostgresServer) -> None:
    """There were as many as threads, and with them the server had none left for anybody."""
    log = open_log(postgres.new_database())
    counted = "SELECT count(*), pg_sleep(0.02) FROM pg_stat_activity WHERE datname = current_database()"
    meeting = threading.Barrier(40)

    def read(_: int) -> int:
        meeting.wait()
        return int(log.store._read(counted, ())[0][0])  # type: ignore[attr-defined]

    with ThreadPoolExecutor(40) as threads:
        seen = list(threads.map(read, range(40)))
    assert max(seen) <= 10
    log.close()


def test_who_waits_for_a_connection_does_not_wait_without_end(postgres: PostgresServer) -> None:
    log = open_log(postgres.new_database(), timeout=0.2)
    for _ in range(8):
        log.store._seats.acquire()  # type: ignore[attr-defined]
    with pytest.raises(AuditUnavailableError, match=r"all 8 connections .* were in use for 0\.2 s"):
        log.store.frontier()
    log.store._seats.release(8)  # type: ignore[attr-defined]
    assert log.store.frontier().size == 0
    log.close()


@pytest.fixture(name="crowded")
def whose_role_has_no_connection_left(
    postgres: PostgresServer,
) -> Iterator[tuple[AuditLog, Callable[[], None]]]:
    """A log that was opened before that was so, and how to end it."""
    import psycopg

    dsn = postgres.new_database()
    role = f"few_{name_of(dsn)}"
    postgres.run(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 1")
    postgres.run(f"CREATE SCHEMA mlgov_audit AUTHORIZATION {role}", name_of(dsn))
    dsn = dsn.replace("postgres@", f"{role}@")
    log = open_log(dsn)
    with psycopg.connect(dsn) as other:
        yield log, other.close
    log.close()


def test_a_server_that_has_no_connection_to_spare_is_asked_again(
    crowded: tuple[AuditLog, Callable[[], None]],
) -> None:
    log, make_room = crowded
    leaving = threading.Timer(0.3, make_room)
    leaving.start()
    assert log.store.frontier().size == 0
    leaving.join()


def test_a_server_that_has_no_connection_to_spare_is_told_of_as_one(
    crowded: tuple[AuditLog, Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was said that the password may be wrong."""
    monkeypatch.setattr("governance.audit.postgres._SHORTAGE", 0.0)
    log, _ = crowded
    with pytest.raises(AuditUnavailableError, match="too many connections") as caught:
        log.store.frontier()
    assert "raise `max_connections`" in str(caught.value.hint)
