"""The server's end of the audit log on loopback, without MLflow, and with faults on command."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from governance.audit.entry import EntryKind
from governance.audit.intake import Intake
from governance.audit.log import AuditLog
from governance.audit.memory import MemoryStore
from governance.audit.parcel import ParcelError
from governance.audit.remote import CHECKPOINT, ENTRIES, HEAD, RemoteStore, row_document
from governance.audit.store import AuditStore, Query
from governance.errors import AuditConflictError, AuditQuorumError, AuditUnavailableError
from governance.model.canonical import Json
from governance.model.request import Actor
from governance.transport import Credentials, Transport
from tests.audit_tools import START, make_log, signer

PASSWORDS = {"tester": "secret of tester", "alice": "secret of alice", "bob": "secret of bob"}


class AuditServer:
    """`fault` is what happens to the next POSTs: `lose` the acknowledgement after writing, `page` for a proxy's page, `lie`
    for an acknowledgement of other bytes, `stall` for no answer until `release`, or a status as a number."""

    def __init__(self, store: AuditStore, *, with_login: bool = True) -> None:
        self.store = store
        self.intake = Intake(store, now=lambda: START, objection=lambda: self._objection(self.log))
        self.log = make_log(store, signers=[signer()])
        self._objection: Callable[[AuditLog], AuditQuorumError | None] = lambda _: None
        self.with_login = with_login
        self.fault: str | int | None = None
        self.release = threading.Event()
        self.posts = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                outer.answer(self, self.rfile.read(int(self.headers["Content-Length"])))

            def do_GET(self) -> None:
                outer.answer(self, b"")

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def keep(self, objection: Callable[[AuditLog], AuditQuorumError | None]) -> None:
        """What the acknowledgements say about acts from now on."""
        self._objection = objection

    def client(self, user: str | None = "tester", password: str | None = None, **more: Any) -> RemoteStore:
        """A store that writes here."""
        secret = password or PASSWORDS.get(user or "")
        known = None if user is None else Credentials(user=user, password=secret)
        return RemoteStore(
            lambda: Transport(
                base_url=self.url, service="MLflow", credentials=known, retries=1, read_timeout=5,
                sleep=lambda _: None,
            ),
            **more,
        )  # fmt: skip

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        fault, caller = self.fault, self._caller(handler.headers)
        if caller is None:
            _send(handler, 401, b"not logged in")
            return
        if handler.command == "GET":
            _send(handler, *_as_json(self._read(handler.path, caller)))
            return
        self.posts += 1
        if isinstance(fault, int):
            _send(handler, fault, b"out of order")
        elif fault == "page":
            _send(handler, 200, b"<html>log in first</html>")
        elif fault == "stall":
            self.release.wait(20)
            handler.close_connection = True
        else:
            status, text = _as_json(self._write(body, caller))
            if fault == "lose":
                handler.close_connection = True
                handler.connection.close()
                return
            if fault == "lie":
                text = text.replace(b'"leaf": "', b'"leaf": "0')
            _send(handler, status, text)

    def _caller(self, headers: Message) -> Actor | None:
        if not self.with_login:
            return Actor(name="anonymous")
        coded = (headers.get("Authorization") or "").removeprefix("Basic ")
        user, _, password = base64.b64decode(coded).decode().partition(":")
        good = user in PASSWORDS and PASSWORDS[user] == password
        return Actor(name=user, authentication="basic-auth") if good else None

    def _write(self, body: bytes, caller: Actor) -> tuple[int, Json]:
        try:
            return 200, self.intake.receive(body, caller)
        except ParcelError as error:
            return 400, {"error": str(error)}
        except AuditConflictError as error:
            return 409, {"error": error.message}
        except AuditUnavailableError as error:
            return 503, {"error": error.message}

    def _read(self, path: str, caller: Actor) -> tuple[int, Json]:
        parts = urlsplit(path)
        wanted: dict[str, Any] = dict(parse_qsl(parts.query))
        if parts.path == f"/{HEAD}":
            head = self.store.frontier()
            return 200, {"size": head.size, "frontier": head.to_bytes().hex()}
        if parts.path == f"/{CHECKPOINT}":
            current, proof = self.log.head_since(int(wanted["old"]))
            return 200, {"checkpoint": current.to_bytes().decode(), "proof": [value.hex() for value in proof]}
        if parts.path != f"/{ENTRIES}":
            level, index = int(wanted["level"]), int(wanted["index"])
            return 200, {"hash": self.store.node(level, index).hex()}
        if "id" in wanted:
            row = self.intake.get(wanted["id"], caller)
            return 200, {"entries": [] if row is None else [row_document(row)]}
        if "kind" in wanted:
            wanted["kind"] = EntryKind(wanted["kind"])
        return 200, {"entries": [row_document(row) for row in self.intake.find(Query(**wanted), caller)]}


@contextmanager
def audit_server(store: AuditStore | None = None, *, with_login: bool = True) -> Iterator[AuditServer]:
    """A running server, which is gone at the end."""
    server = AuditServer(store or MemoryStore(), with_login=with_login)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.http.shutdown()
        server.http.server_close()
        thread.join()


def _as_json(answer: tuple[int, Json]) -> tuple[int, bytes]:
    return answer[0], json.dumps(answer[1]).encode()


def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
