"""Laptops and CI jobs straight at Artifactory, one audit trail at the tracking server: real servers, MLflow's own login."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from governance.audit.entry import EntryKind
from governance.audit.parcel import MAX_PARCEL
from governance.audit.sqlite import SqliteStore
from governance.devserver import DevServer
from governance.errors import AuditUnavailableError
from governance.settings import load_settings
from governance.wiring import build_assembly
from plugin.errors import GovernanceUnavailableError
from tests.mlflow_tools import (
    Home,
    TrackingServer,
    basic_auth,
    bodies,
    environment,
    make_home,
    tracking_server,
)

REPO = "trail-local"
ADMIN = ("boss", "a long admin password")
PASSWORDS = {"alice": "alice has a password", "bob": "bob has one as well"}


class Team:
    """A tracking server with a login and a log of its own, which may be started again, and the homes of its users."""

    def __init__(self, folder: Path, devserver: DevServer, gunicorn: bool) -> None:
        self.folder = folder
        self.devserver = devserver
        self.gunicorn = gunicorn
        self.home = make_home(folder / "server-home", devserver)
        self.stack = ExitStack()
        self.server = self.start()
        for name, password in PASSWORDS.items():
            answer = requests.post(
                f"{self.server.url}/api/2.0/mlflow/users/create",
                json={"username": name, "password": password},
                auth=ADMIN,
                timeout=30,
            )
            answer.raise_for_status()

    def start(self) -> TrackingServer:
        env = {**self.home.env, **basic_auth(self.folder, ADMIN, cached=not self.gunicorn)}
        destination = f"artifactory://{self.devserver.host}/artifactory/{REPO}/proxied"
        return self.stack.enter_context(
            tracking_server(
                self.folder, env, destination, gunicorn=self.gunicorn, workers=2 if self.gunicorn else 1
            )
        )

    @contextmanager
    def user(self, name: str, *, password: str | None = None, url: str | None = None) -> Iterator[Home]:
        """At this user's laptop, whose settings file names the server."""
        folder = self.folder / f"home-{name}"
        made = make_home(folder, self.devserver, key=not (folder / "keys").exists())
        (made.path / "mlgov.toml").write_text(f'audit_url = "{url or self.server.url}"\n')
        login = {
            "MLFLOW_TRACKING_USERNAME": name,
            "MLFLOW_TRACKING_PASSWORD": password or PASSWORDS[name],
        }
        with environment({**made.env, **login}):
            yield made

    def uri(self, path: str) -> str:
        return f"artifactory://{self.devserver.host}/artifactory/{REPO}/{path}"

    def size(self) -> int:
        """Entries in the server's own file, whatever the environment says just now."""
        with contextlib.closing(SqliteStore(self.home.path / "audit.sqlite")) as store:
            return store.frontier().size

    def require_good(self) -> None:
        with contextlib.closing(self.home.assembly()) as parts:
            parts.log.verify().require_good()


@pytest.fixture(scope="module", params=["uvicorn", pytest.param("gunicorn", marks=pytest.mark.long)])
def team(
    request: pytest.FixtureRequest, devserver: DevServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Team]:
    devserver.create_repository(REPO)
    made = Team(tmp_path_factory.mktemp(request.param), devserver, request.param == "gunicorn")
    with made.stack:
        yield made
    devserver.remove_repository(REPO)


def note(folder: Path, name: str) -> str:
    (folder / name).write_text(name)
    return str(folder / name)


def test_two_users_straight_at_artifactory_are_in_one_trail(team: Team, tmp_path: Path) -> None:
    with team.user("alice") as home:
        get_artifact_repository(team.uri("r")).log_artifact(note(tmp_path, "notes.txt"))
        assert not (home.path / "audit.sqlite").exists()
    with team.user("bob"):
        (tmp_path / "out").mkdir()
        get_artifact_repository(team.uri("r")).download_artifacts("notes.txt", str(tmp_path / "out"))
    decisions = bodies(team.home.entries(EntryKind.DECISION, subject=f"{REPO}/r/notes.txt"))
    said = [(body["action"], body["actor"]["name"], body["actor"]["authentication"]) for body in decisions]
    assert said == [("upload", "alice", "basic-auth"), ("download", "bob", "basic-auth")]
    assert all(body["actor"]["claimed"] not in PASSWORDS for body in decisions)
    outcomes = team.home.entries(EntryKind.OUTCOME, subject=f"{REPO}/r/notes.txt")
    assert [body["status"] for body in bodies(outcomes)] == ["done", "done"]
    assert [row.entry.writer.instance.partition("/")[0] for row in outcomes] == ["alice", "bob"]
    with contextlib.closing(team.home.assembly()) as parts:
        assert all(parts.log.evidence(body["facts"]) for body in decisions)
    team.require_good()


def small_model(folder: Path) -> Path:
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}\n")
    note(folder, "weights.txt")
    return folder


def test_a_model_that_a_client_signed_loads_and_may_be_added_to(team: Team, tmp_path: Path) -> None:
    """Its signature is on record by the client's word, so its trusted time is the latest that is possible: now, and not later."""
    model = small_model(tmp_path / "model")
    with team.user("alice"):
        get_artifact_repository(team.uri("s")).log_artifacts(str(model), "model")
        get_artifact_repository(team.uri("s")).log_artifact(note(tmp_path, "more.txt"), "model")
        (tmp_path / "out").mkdir()
        get_artifact_repository(team.uri("s/model")).download_artifacts("", str(tmp_path / "out"))
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"MLmodel", "weights.txt", "more.txt"}


def test_a_client_without_a_key_adds_to_its_own_unsigned_model(team: Team, tmp_path: Path) -> None:
    """The list of the files before lies at the server, and is not asked for."""
    model = small_model(tmp_path / "model")
    with team.user("bob"):
        os.environ |= {
            "MLGOV_HOME": str(tmp_path),
            "MLGOV_SIGNING": "when-key",
            "MLGOV_ENVIRONMENT": "development",
        }
        shutil.copy(team.folder / "home-bob" / "mlgov.toml", tmp_path / "mlgov.toml")
        for _ in range(2):
            get_artifact_repository(team.uri("u")).log_artifacts(str(model), "model")
    outcomes = bodies(team.home.entries(EntryKind.OUTCOME, subject=f"{REPO}/u/model"))
    assert [body["status"] for body in outcomes] == ["done", "done"]


def test_without_an_acknowledgement_nothing_moves(team: Team, tmp_path: Path) -> None:
    before = team.size()
    with team.user("alice", password="not her password"):
        with pytest.raises(GovernanceUnavailableError, match="not authenticated") as caught:
            get_artifact_repository(team.uri("w")).log_artifact(note(tmp_path, "wrong.txt"))
        assert "not her password" not in str(caught.value)
    with team.user("alice", url="http://127.0.0.1:9"), pytest.raises(GovernanceUnavailableError):
        get_artifact_repository(team.uri("w")).log_artifact(note(tmp_path, "nowhere.txt"))
    with team.user("alice", url="http://mlflow.example"), pytest.raises(Exception, match="plain http"):
        get_artifact_repository(team.uri("w")).log_artifact(note(tmp_path, "plain.txt"))
    assert not any(path.startswith("w/") for path in team.devserver.paths(REPO))
    assert team.size() == before


def test_the_login_stays_closed_and_bodies_are_bounded(team: Team) -> None:
    entries = f"{team.server.url}/gov/audit/entries"
    for ask in (requests.get, requests.post):
        assert ask(entries, timeout=30).status_code in {401, 413}
        assert ask(entries, data=b"{}\n", timeout=30).status_code == 401
    assert (
        requests.get(f"{team.server.url}/gov/policy", auth=("bob", PASSWORDS["bob"]), timeout=30).status_code
        == 404
    )
    answer = requests.post(entries, data=b"{}\n", auth=("bob", PASSWORDS["bob"]), timeout=30)
    assert (answer.status_code, "not a header" in answer.text) == (400, True)
    answer = requests.get(entries, params={"id": "a\0b"}, auth=("bob", PASSWORDS["bob"]), timeout=30)
    assert (answer.status_code, "NUL" in answer.text) == (400, True)
    url = urlsplit(team.server.url)
    with socket.create_connection((str(url.hostname), int(url.port or 0)), timeout=30) as sent:
        sent.sendall(
            f"POST /gov/audit/entries HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: {MAX_PARCEL + 1}\r\n\r\n".encode()
        )
        status = sent.recv(64).split()[1]
    assert status in {b"413", b"401"}  # refused by what it announces; not a byte of it was sent


def test_a_caller_sees_the_head_and_his_own_entries(team: Team) -> None:
    with team.user("bob"), contextlib.closing(build_assembly(load_settings())) as parts:
        own = parts.log.append(EntryKind.OUTCOME, _outcome(), subject="models/x", correlation="c").id
        assert parts.log.store.frontier().size == team.size()
        found = parts.log.get(own)
        assert found is not None
        proof = parts.log.prove(int(found.index or 0))
        assert proof.index == found.index
    with team.user("alice"), contextlib.closing(build_assembly(load_settings())) as parts:
        assert parts.log.get(own) is None
        assert list(parts.log.find(subject="models/x")) == []


def test_a_server_killed_between_write_and_acknowledgement_has_the_entry_once(team: Team) -> None:
    with (
        relay(lambda: team.server.url) as between,
        team.user("alice", url=between.url),
        contextlib.closing(build_assembly(load_settings())) as parts,
    ):
        parts.log.append(EntryKind.OUTCOME, _outcome(), subject="models/k", correlation="c")
        written = team.size()
        between.before_answer = lambda: os.killpg(team.server.pid, signal.SIGKILL)
        with pytest.raises(AuditUnavailableError, match="not acknowledged") as caught:
            parts.log.append(EntryKind.OUTCOME, _outcome(), subject="models/k", correlation="c")
        assert team.size() == written + 1
        team.server.stop()
        team.server = team.start()
        parts.log.append(EntryKind.OUTCOME, _outcome(), subject="models/k", correlation="c")
    rows = team.home.entries(EntryKind.OUTCOME, subject="models/k")
    assert len({row.entry.id for row in rows}) == len(rows) == 3
    assert rows[1].entry.id == caught.value.entry_id
    team.require_good()


def _outcome() -> dict[str, Any]:
    return {"decision": "d", "action": "load", "status": "done", "moved": {"count": 0, "bytes": 0}}


class Relay:
    """Stands between client and server. `before_answer` is done once, when the server has answered and before the
    client hears of it; the client then hears nothing."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.before_answer: Callable[[], None] | None = None


@contextmanager
def relay(upstream: Callable[[], str]) -> Iterator[Relay]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.close_connection = True
            try:
                status, answer = self.forward(body)
            except OSError:
                return  # as if nobody listened
            if made.before_answer is not None:
                act, made.before_answer = made.before_answer, None
                act()
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def forward(self, body: bytes) -> tuple[int, bytes]:
            connection = http.client.HTTPConnection(urlsplit(upstream()).netloc, timeout=30)
            with contextlib.closing(connection):
                kept = {name: self.headers[name] for name in ("Authorization", "Content-Type")}
                connection.request("POST", self.path, body, kept)
                answer = connection.getresponse()
                return answer.status, answer.read()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        made = Relay(f"http://127.0.0.1:{listener.server_address[1]}")
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield made
        finally:
            listener.shutdown()
            thread.join()
