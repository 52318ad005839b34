"""`mlgov audit checkpoint` and `witness`: heads that leave the machine, and what is demanded to bear signatures of others."""

from __future__ import annotations

import http.server
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from governance.audit.anchor import head_name
from governance.audit.log import AuditLog
from governance.audit.memory import MemoryStore
from governance.audit.tsa import TimestampAnchor
from governance.devserver import DevServer
from governance.errors import AuditUnavailableError
from governance.transport import Transport
from tests.scenarios.audit_keeper import Keeper
from tests.scenarios.witness import witness_process
from tests.unit.test_signing_certificate import DAY, issue, stamp


def test_heads_are_kept_in_a_folder_and_another_repository(
    keeper: Keeper, tmp_path: Path, devserver: DevServer, repo: str, ci_token: str
) -> None:
    keeper.key()
    keeper.fill(5)
    assert keeper.run("checkpoint").code == 2  # nowhere is no place
    place = f"artifactory://{devserver.host}/artifactory/{repo}/heads"
    keeper.settings(f'audit_anchors = ["{tmp_path}/kept", "{place}"]\naudit_quorum = 2')
    access = {"MLGOV_ARTIFACTORY_URL": devserver.artifactory_url, "ARTIFACTORY_AUTH_TOKEN": ci_token}
    done = keeper.run("checkpoint", **access)
    assert (done.code, "at least 2 of 2" in done.out) == (0, True), done.err
    (kept,) = (tmp_path / "kept").iterdir()
    (path,) = devserver.paths(repo)
    assert devserver.read(repo, path) == kept.read_bytes()
    assert keeper.run("checkpoint", **access).code == 0  # in quiet times too
    assert len(list((tmp_path / "kept").iterdir())) == 2
    assert json.loads(keeper.run("verify", "--json").out)["compared"] == 2
    # One place fails: an alarm where the quorum is not met.
    (tmp_path / "file").write_text("")
    keeper.settings(f'audit_anchors = ["{tmp_path}/file/x", "{place}"]')
    done = keeper.run("checkpoint", **access)
    assert (done.code, "kept by 1 of 2 anchors, 2 are demanded" in done.err) == (4, True)
    assert keeper.run("checkpoint", "--quorum", "1", **access).code == 0
    # A log that was rewritten, and this machine's memory with it, is told by the folder.
    (keeper.home / "audit.sqlite").unlink()
    shutil.rmtree(keeper.home / "audit-heads")
    keeper.fill(30, subject="models/b")
    keeper.settings(f'audit_anchors = ["{tmp_path}/kept"]')
    done = keeper.run("checkpoint")
    assert (done.code, "are not those seen before" in done.err) == (4, True)
    assert keeper.run("verify").code == 4


def test_a_witness_in_another_process(keeper: Keeper, tmp_path: Path) -> None:
    vkey = keeper.key()
    keeper.fill(5)
    shutil.copy(keeper.home / "audit.sqlite", tmp_path / "old.sqlite")
    with witness_process(tmp_path / "elsewhere", vkey) as (place, _):
        keeper.settings(f'audit_anchors = ["{place}"]')
        assert keeper.run("checkpoint").code == 0
        keeper.fill(5)
        assert keeper.run("checkpoint").code == 0
    done = keeper.run("checkpoint")
    assert (done.code, "0 of 1 anchors" in done.err) == (4, True)  # nobody is there
    with witness_process(tmp_path / "elsewhere", vkey) as (again, process):
        # Started anew, it knows what it saw.
        assert again.partition("=")[2] == place.partition("=")[2]
        keeper.settings(f'audit_anchors = ["{again}"]')
        assert keeper.run("checkpoint").code == 0
        for name in ("audit.sqlite", "audit.sqlite-wal", "audit.sqlite-shm"):
            (keeper.home / name).unlink(missing_ok=True)
        shutil.rmtree(keeper.home / "audit-heads")
        shutil.copy(tmp_path / "old.sqlite", keeper.home / "audit.sqlite")
        done = keeper.run("checkpoint")
        assert (done.code, "of this log, which now ends at" in done.err) == (4, True)
        assert process.poll() is None
    assert process.returncode == 130  # as the shell says of Ctrl-C


def test_what_leaves_can_be_demanded_to_be_cosigned(keeper: Keeper, tmp_path: Path) -> None:
    vkey = keeper.key()
    keeper.fill(5)
    assert keeper.run("prove", "2", "-o", "none", "--cosigned").code == 2  # no witness is configured
    with (
        witness_process(tmp_path / "one", vkey) as (first, _),
        witness_process(tmp_path / "two", vkey) as (second, _),
    ):
        keeper.settings(f'audit_anchors = ["{first}", "{second}"]')
        assert keeper.run("prove", "2", "-o", "proof", "--cosigned").code == 0
        assert keeper.run("export", "out", "--cosigned").code == 0
    assert keeper.run("prove", "2", "-o", "alone").code == 0
    done = keeper.run("prove", "2", "-o", "gone", "--cosigned")
    assert (done.code, "witness witness.example/w1 does not sign" in done.err) == (4, True)
    kept = keeper.run("tail", "--kind", "export", "--json").out
    done = keeper.run("export", "gone", "--cosigned")
    assert (done.code, "witness witness.example/w1 does not sign" in done.err) == (4, True)
    assert (
        keeper.run("tail", "--kind", "export", "--json").out == kept
    )  # nothing was handed out, and the log says nothing else
    assert not (tmp_path / "gone").exists()
    witnesses = [place.partition("=")[2] for place in (first, second)]
    both = [word for each in witnesses for word in ("--witness", each)]
    done = keeper.run("receipt", "proof", "--key", vkey, *both)
    assert (done.code, done.out.count("witness.example/w1")) == (0, 2), done.err
    done = keeper.run("receipt", "alone", "--key", vkey, *both)
    assert (done.code, "is not cosigned by `witness.example/w1`" in done.err) == (4, True)
    assert keeper.run("receipt", "proof", "--key", vkey, "--witness", vkey).code == 2  # the log's own key
    done = keeper.run("verify", "out", "--key", vkey, *both)
    assert (done.code, "cosigned by witness.example/w1" in done.out) == (0, True), done.err
    assert keeper.run("verify", *both).code == 2
    program = [sys.executable, "out/verify_log.py", "out", "--key", vkey, *both]
    ended = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout.count("cosigned by")) == (0, 2), ended.stdout
    head = tmp_path / "out/checkpoint"
    lines = head.read_text().splitlines(keepends=True)
    head.write_text("".join(lines[:-1]))  # the second witness's line taken away
    ended = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, "not signed by witness.example/w1" in ended.stdout) == (1, True)
    forged = lines[-1].rpartition(" ")[0] + " " + lines[-2].rpartition(" ")[2]
    head.write_text("".join([*lines[:-1], forged]))  # the first one's signature under both
    assert keeper.run("verify", "out", "--key", vkey, *both).code == 4


@contextmanager
def authority(folder: Path) -> Iterator[str]:
    """A time stamp authority: `openssl ts` behind HTTP. Yields its address; its certificate is `root.pem`."""
    today = datetime.now(UTC)
    root = issue("tsa root", is_authority=True, start=today - DAY, end=today + DAY)
    own = issue("tsa", root, usage=(ExtendedKeyUsageOID.TIME_STAMPING,), start=today - DAY, end=today + DAY)
    (folder / "root.pem").write_text(root.pem)
    work = folder / "tsa"
    work.mkdir()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = self.rfile.read(int(self.headers["Content-Length"]))
            good = self.path == "/tsr" and self.headers["Content-Type"] == "application/timestamp-query"
            reply = stamp(work, request, own) if good else b"no"
            self.send_response(200)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def _require_no_head_without_stamp(url: str, folder: Path) -> None:
    log = AuditLog(MemoryStore(), now=lambda: datetime.now(UTC), instance="host")
    anchor = TimestampAnchor(
        Transport(base_url=url, service="authority", credentials=None),
        "/tsr",
        authority=(folder / "root.pem").read_bytes(),
        folder=folder / "stamps",
    )
    head = log.checkpoint()
    in_the_way = folder / "stamps" / f"{head_name(head)}.tsr"
    in_the_way.mkdir(parents=True)
    with pytest.raises(AuditUnavailableError, match="cannot be kept"):
        anchor.publish(log, head)
    assert list((folder / "stamps").iterdir()) == [in_the_way]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not there")
def test_a_head_is_stamped_with_the_time(keeper: Keeper, tmp_path: Path) -> None:
    pytest.importorskip("rfc3161_client")
    keeper.key()
    keeper.fill(3)
    with authority(tmp_path) as url:
        assert keeper.run("checkpoint", "--to", f"tsa+{url}/tsr").code == 2  # whose stamps count was not said
        keeper.settings(f'audit_tsa_ca = "{tmp_path}/root.pem"\naudit_anchors = ["tsa+{url}/tsr"]')
        _require_no_head_without_stamp(url, tmp_path)
        done = keeper.run("checkpoint")
        assert done.code == 0, done.err
        done = keeper.run("checkpoint", "--to", f"tsa+{url}/elsewhere")
        assert (done.code, "no good time stamp" in done.err) == (4, True)
        today = datetime.now(UTC)
        stranger = issue("stranger", is_authority=True, start=today - DAY, end=today + DAY)
        (tmp_path / "root2.pem").write_text(stranger.pem)
        keeper.settings(f'audit_tsa_ca = "{tmp_path}/root2.pem"\naudit_anchors = ["tsa+{url}/tsr"]')
        assert keeper.run("checkpoint").code == 4
    first = min((keeper.home / "audit-timestamps").glob("*.checkpoint"))
    check = [
        *("openssl", "ts", "-verify", "-in", f"{first}.tsr", "-data", str(first)),
        *("-CAfile", str(tmp_path / "root.pem")),
    ]
    assert subprocess.run(check, capture_output=True, check=False).returncode == 0
    first.write_bytes(first.read_bytes() + b"x")
    assert subprocess.run(check, capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize(
    "place", ["", " ", "https://[::1", "https://127.0.0.1:99999=KEY", "https://127.0.0.1:x=KEY"]
)
def test_what_is_no_place_for_heads_is_refused_in_words(keeper: Keeper, place: str) -> None:
    keeper.fill(1)
    key = keeper.key()
    done = keeper.run("checkpoint", "--to", place.replace("KEY", key))
    assert (done.code, "what to do: " in done.err, "unexpected" in done.err) == (2, True, False)
    assert not list(Path.cwd().glob("*.checkpoint")), "an empty place is not the folder one is in"


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\x1b[31m"])
def test_what_cannot_name_a_witness(keeper: Keeper, tmp_path: Path, name: str) -> None:
    done = keeper.run("witness", str(tmp_path / "w"), "--log", keeper.key(), "--name", name, "--port", "0")
    assert (done.code, "cannot name a note's key" in done.err) == (2, True)
