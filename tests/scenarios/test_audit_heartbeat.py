"""A tracking server whose log beats by itself, survives callers that hang up, and stops once it is not the log it was."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from governance.audit.entry import Entry, EntryKind, Writer
from governance.audit.parcel import MEDIA_TYPE, pack
from governance.audit.sqlite import SqliteStore
from governance.audit.store import draft_of
from governance.audit_wiring import utc_now
from governance.devserver import DevServer
from governance.errors import AuditBrokenError
from governance.model.request import new_id
from tests.audit_tools import body
from tests.mlflow_tools import Home, TrackingServer, make_home, tracking_server

pytestmark = pytest.mark.long
REPO = "heart-local"


@pytest.fixture
def home(tmp_path: Path, devserver: DevServer) -> Home:
    made = make_home(tmp_path / "home", devserver)
    (made.path / "mlgov.toml").write_text(f'audit_anchors = ["{tmp_path}/kept"]\naudit_heartbeat = 1\n')
    return made


@contextlib.contextmanager
def running(home: Home, devserver: DevServer, folder: Path) -> Iterator[TrackingServer]:
    with tracking_server(
        folder / "server", home.env, f"artifactory://{devserver.host}/artifactory/{REPO}", workers=2
    ) as server:
        yield server


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def parcel(name: str) -> tuple[str, bytes]:
    at = utc_now()
    entry = Entry(
        id=new_id(at),
        at=at,
        kind=EntryKind.OUTCOME,
        writer=Writer(instance="laptop", boot=new_id(at), n=1),
        correlation="c",
        subject="models/a",
        body=body(name),
    )
    return entry.id, pack([draft_of(entry)])


def send(server: TrackingServer, data: bytes) -> requests.Response:
    url = f"{server.url}/gov/audit/entries"
    return requests.post(url, data=data, headers={"Content-Type": MEDIA_TYPE}, timeout=60)


def test_a_running_server(home: Home, devserver: DevServer, tmp_path: Path) -> None:
    log, kept = home.path / "audit.sqlite", tmp_path / "kept"
    with running(home, devserver, tmp_path) as server, contextlib.closing(SqliteStore(log)) as store:
        # Heads leave in quiet times, one for both workers.
        until(lambda: kept.is_dir() and len(list(kept.iterdir())) >= 3)
        kinds = [row.kind for row in store.rows(0, 1000)]
        assert set(kinds) <= {"start", "checkpoint"}

        # A caller who hangs up while the store is blocked: the entry is written all the same.
        entry_id, data = parcel("hung-up")
        url = urlsplit(server.url)
        with (home.path / "audit.sqlite.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with socket.create_connection((str(url.hostname), int(url.port or 0)), timeout=30) as caller:
                caller.sendall(
                    f"POST /gov/audit/entries HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: {MEDIA_TYPE}\r\n"
                    f"Content-Length: {len(data)}\r\n\r\n".encode()
                    + data
                )
                time.sleep(1)
            assert store.get(entry_id) is None
        until(lambda: store.get(entry_id) is not None)

        # Somebody exchanges the log under the running server.
        shutil.copy(log, tmp_path / "copy")
        assert send(server, parcel("before")[1]).status_code == 200
        beats = len(list(kept.iterdir()))
        until(lambda: len(list(kept.iterdir())) >= beats + 2)  # a head has left since, and is remembered
        for name in ("audit.sqlite", "audit.sqlite-wal", "audit.sqlite-shm"):
            (home.path / name).unlink(missing_ok=True)
        shutil.copy(tmp_path / "copy", log)
        until(lambda: send(server, parcel("after")[1]).status_code == 503)
        assert send(server, parcel("after")[1]).status_code == 503

    # Nor does anything else here go on with that log.
    with contextlib.closing(home.assembly()) as parts, pytest.raises(AuditBrokenError, match="rolled back"):
        _ = parts.gate
