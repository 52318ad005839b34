"""Shared by the audit tests: a clock that obeys, entries to append, and a store that fails on command."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance.audit.bodies import OutcomeStatus, outcome_body
from governance.audit.entry import Entry, EntryKind, Writer
from governance.audit.log import AuditLog
from governance.audit.memory import MemoryStore
from governance.audit.note import NoteSigner, make_signer
from governance.audit.store import AuditStore, Draft, draft_of
from governance.errors import AuditUnavailableError
from governance.model.artifact import FileEntry, parse_relative_path
from governance.model.canonical import Json
from governance.model.digest import Sha256
from governance.model.request import Actor, new_id

VECTORS = Path(__file__).resolve().parents[1].parent / "shared/vectors"
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ORIGIN = "acme.example/audit"


@contextlib.contextmanager
def database_of(path: Path) -> Iterator[apsw.Connection]:
    """The file of a log or an index, as whoever owns it may edit it; each statement is committed. With the copy of SQLite that
    the store uses, since two of them in one process take each other's locks away."""
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(5_000)
    try:
        yield connection
    finally:
        connection.close()


def tamper(path: Path, *statements: str, values: tuple[object, ...] = ()) -> None:
    """Edit the file of a log as somebody would who knows about its triggers; each statement is given `values`."""
    with database_of(path) as connection:
        triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement, values)


class Clock:
    """Advances by a second each time it is asked, unless told otherwise."""

    def __init__(self, at: datetime = START) -> None:
        self.at = at

    def __call__(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at


class StillClock:
    """Tells `at`, which stands still until a test sets it."""

    def __init__(self, at: datetime = START) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at


class FailingStore(MemoryStore):
    """A store whose appends fail on command: before writing, after writing, or by never coming back."""

    def __init__(self) -> None:
        super().__init__()
        self.fail_after: str | None = None
        self.gate = threading.Event()
        self.gate.set()

    def append(self, drafts: Sequence[Draft]) -> Sequence[int | None]:
        self.gate.wait()
        indexes = super().append(drafts)
        if self.fail_after is not None:
            raise AuditUnavailableError(self.fail_after)
        return indexes


def sha(number: int) -> Sha256:
    return Sha256(f"{number:064x}")


def file_entry(path: str, number: int, size: int = 10) -> FileEntry:
    return FileEntry(path=parse_relative_path(path), sha256=sha(number), size=size)


def body(decision: str = "d-1", **more: Json) -> dict[str, Json]:
    return outcome_body(decision=decision, action="upload", status=OutcomeStatus.DONE) | more


def signer(seed: int = 1, name: str = ORIGIN) -> NoteSigner:
    return make_signer(Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32), name=name)


def make_log(store: AuditStore | None = None, **more: object) -> AuditLog:
    settings: dict[str, object] = {"now": Clock(), "instance": "test", "origin": ORIGIN} | more
    return AuditLog(store or MemoryStore(), **settings)  # type: ignore[arg-type]


def fill(log: AuditLog, count: int, *, subject: str = "models/a") -> list[str]:
    return [
        log.append(EntryKind.OUTCOME, body(f"d-{n}"), subject=subject, correlation=f"c-{n}").id
        for n in range(count)
    ]


def draft(number: int, **more: object) -> Draft:
    """A draft as a writer would make it, straight for a store."""
    at = START + timedelta(milliseconds=number)
    fields: dict[str, object] = {
        "id": new_id(at),
        "at": at,
        "kind": EntryKind.OUTCOME,
        "writer": Writer(instance="w", boot="b", n=number),
        "correlation": f"c-{number % 7}",
        "subject": f"models/{number % 3}",
        "body": body(f"d-{number}"),
    }
    return draft_of(Entry(**(fields | more)))  # type: ignore[arg-type]


ALICE = Actor(name="alice", authentication="basic-auth")
BOB = Actor(name="bob", authentication="basic-auth")
NOBODY = Actor(name="anonymous")
BOOT = new_id(START)


def clients_entry(number: int = 1, **more: object) -> Entry:
    """An entry as a laptop sends it."""
    fields: dict[str, object] = {
        "id": new_id(START),
        "at": START,
        "kind": EntryKind.OUTCOME,
        "writer": Writer(instance="laptop", boot=BOOT, n=number),
        "correlation": "c",
        "subject": "models/a",
        "body": body(f"d-{number}"),
    }
    return Entry(**(fields | more))  # type: ignore[arg-type]  # fields by name, which mypy cannot pair


def claim(name: str) -> dict[str, Json]:
    """The body of an outcome, with an actor that nobody vouches for."""
    return body(actor={"name": name, "kind": "human", "groups": ["admins"], "authentication": "basic-auth"})
