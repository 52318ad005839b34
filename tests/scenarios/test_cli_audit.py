"""`mlgov audit` as those use it who keep a log, check one, or watch another's."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog
from governance.audit.sqlite import SqliteStore
from governance.cli.main import main
from governance.devserver import DevServer
from tests.audit_tools import Clock, body, fill, make_log
from tests.scenarios.cli import Done, clean
from tests.scenarios.witness import witness_process
from tests.unit.test_signing_certificate import DAY, issue, stamp

ORIGIN = "team.example/audit"


@dataclass(frozen=True)
class Keeper:
    """`mlgov audit ARGUMENTS` of one user, whose log is a file in their home."""

    home: Path
    run: Callable[..., Done]

    def settings(self, text: str) -> None:
        (self.home / "mlgov.toml").write_text(f'audit_origin = "{ORIGIN}"\n{text}\n')

    def log(self, now: Callable[[], datetime] | None = None) -> AuditLog:
        return make_log(SqliteStore(self.home / "audit.sqlite"), origin=ORIGIN, now=now or Clock())

    def fill(self, count: int, subject: str = "models/a") -> list[str]:
        with closing(self.log()) as log:
            return fill(log, count, subject=subject)

    def key(self) -> str:
        done = self.run("key", "--unencrypted")
        assert done.code == 0, done.err
        return done.out.split()[-1]


@pytest.fixture
def keeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Keeper:
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "home"
    home.mkdir()

    def run(*arguments: str, **variables: str) -> Done:
        environment = clean(MLGOV_HOME=str(home), **variables)
        for name in set(os.environ) - set(environment):
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        code = main(["audit", *arguments])
        printed = capsys.readouterr()
        return Done(code=code, out=printed.out, err=printed.err)

    made = Keeper(home, run)
    made.settings("")
    return made


def tamper(keeper: Keeper, statement: str) -> None:
    with closing(sqlite3.connect(keeper.home / "audit.sqlite")) as database, database:
        for (trigger,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            database.execute(f"DROP TRIGGER {trigger}")
        database.execute(statement)


# -- verify, export


def test_the_whole_log_and_a_part_of_it(keeper: Keeper) -> None:
    keeper.fill(30)
    done = keeper.run("verify")
    assert (done.code, "proves itself: 31 entries" in done.out) == (0, True)
    done = keeper.run("verify", "--entries", "10:20")
    assert (done.code, "entries 10 to 19" in done.out) == (0, True)
    for wrong in ("20:10", "x", "0:99"):
        assert keeper.run("verify", "--entries", wrong).code == 2
    tamper(
        keeper,
        "UPDATE entry SET data = CAST(replace(CAST(data AS TEXT), 'd-14', 'd-41') AS BLOB) WHERE seq = 15",
    )
    assert keeper.run("verify", "--entries", "0:15").code == 0
    done = keeper.run("verify", "--entries", "10:20")
    assert (done.code, "entry 15: its bytes are not those" in done.err) == (4, True)
    assert keeper.run("verify").code == 4


def test_an_exported_folder_is_checked_without_the_log(keeper: Keeper, tmp_path: Path) -> None:
    vkey = keeper.key()
    keeper.fill(300)
    assert keeper.run("export", "out", "--tiles").code == 0
    (keeper.home / "audit.sqlite").unlink()
    done = keeper.run("verify", "out", "--key", vkey)
    assert done.code == 0, done.err
    assert f"303 entries and 0 documents of the log `{ORIGIN}`" in done.out
    assert (tmp_path / "out/tile/entries/000").stat().st_size > 256 * 100
    assert len((tmp_path / "out/tile/0/000").read_bytes()) == 256 * 32
    # The one command that the folder names, as an auditor runs it.
    alone = [sys.executable, "out/verify_log.py", "out", "--key", vkey]
    assert "Good: 303 entries" in subprocess.run(alone, capture_output=True, text=True, check=True).stdout
    other = vkey.replace("team.example", "other.example")
    assert keeper.run("verify", "out", "--key", other).code == 2
    lines = (tmp_path / "out/entries.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "out/entries.jsonl").write_bytes(b"".join([*lines[:7], lines[8], lines[7], *lines[9:]]))
    done = keeper.run("verify", "out")
    assert (done.code, "entry 7" in done.err) == (4, True)
    assert keeper.run("verify", "home").code == 2


def test_the_head_seen_last_is_remembered(keeper: Keeper) -> None:
    """The log is held against it, and a copy from before is no longer the log."""
    keeper.fill(5)
    shutil.copy(keeper.home / "audit.sqlite", keeper.home / "old.sqlite")
    keeper.fill(5)
    for compared in (0, 1):
        result = json.loads(keeper.run("verify", "--json").out)
        assert (result["size"], result["compared"]) == (12, compared)
    for name in ("audit.sqlite", "audit.sqlite-wal", "audit.sqlite-shm"):
        (keeper.home / name).unlink(missing_ok=True)
    shutil.copy(keeper.home / "old.sqlite", keeper.home / "audit.sqlite")
    done = keeper.run("verify")
    assert (done.code, "a remembered tree had 12 entries; the log now ends at 6" in done.err) == (4, True)
    done = keeper.run("checkpoint", "--print")
    assert (done.code, "it was rolled back: it had 12 entries and has 6" in done.err) == (4, True)


def test_kept_checkpoints_are_what_the_log_must_continue(keeper: Keeper, tmp_path: Path) -> None:
    vkey = keeper.key()
    keeper.fill(5)
    (tmp_path / "head").write_text(keeper.run("checkpoint", "--print").out)
    keeper.fill(5)
    assert keeper.run("verify", "--earlier", "head", "--key", vkey).code == 0
    other = keeper.log()
    shutil.move(keeper.home / "audit.sqlite", keeper.home / "aside.sqlite")
    shutil.rmtree(keeper.home / "audit-heads")
    other.close()
    keeper.fill(11, subject="models/b")
    done = keeper.run("verify", "--earlier", "head")
    assert (done.code, "not the one remembered with 6 entries: it was rewritten" in done.err) == (4, True)
    assert keeper.run("verify", "--earlier", "nowhere").code == 2


def test_heads_that_are_none_are_not_passed_over(keeper: Keeper, tmp_path: Path) -> None:
    """Whoever names a head wants the log held against it: an empty folder, an empty file and a wrong one are no reason to say
    that all is well, and a head from before the key is no break of the log."""
    keeper.fill(5)
    (tmp_path / "unsigned").write_text(keeper.run("checkpoint", "--print").out)
    vkey = keeper.key()
    assert keeper.run("export", "out").code == 0
    (tmp_path / "none").mkdir()
    (tmp_path / "empty").write_text("")
    (tmp_path / "other").write_text("export A=1\n")
    (tmp_path / "large").write_bytes(b"x" * 200_000)
    for folder in ([], ["out"]):
        for name in ("none", "empty", "other", "large"):
            done = keeper.run("verify", *folder, "--earlier", name)
            assert (done.code in {2, 3}, f"`{name}`" in done.err) == (True, True), done.err
    done = keeper.run("verify", "--earlier", "unsigned", "--key", vkey)
    assert (done.code, "`unsigned`: a checkpoint that is not a signed note" in done.err) == (4, True)
    done = keeper.run("verify", "out", "--earlier", "unsigned", "--json")
    assert (done.code, json.loads(done.out)["compared"], json.loads(done.out)["good"]) == (0, 1, True)
    (tmp_path / "out/entries.jsonl").write_bytes((tmp_path / "out/entries.jsonl").read_bytes()[:-9])
    done = keeper.run("verify", "out", "--json")
    assert (done.code, json.loads(done.out)["good"]) == (4, False)
    (tmp_path / "out/leaves.txt").unlink()
    done = keeper.run("verify", "out")
    assert (done.code, "leaves.txt` cannot be read" in done.err) == (2, True)


def test_what_was_changed_is_neither_exported_nor_proven(keeper: Keeper, tmp_path: Path) -> None:
    """The tree still has the hash of what was recorded, so that both would be made, and fail at whoever checks them."""
    keeper.key()
    keeper.fill(30)
    tamper(
        keeper,
        "UPDATE entry SET data = CAST(replace(CAST(data AS TEXT), 'd-14', 'd-41') AS BLOB) WHERE seq = 15",
    )
    done = keeper.run("export", "out")
    assert (done.code, "entry 15: its bytes are not those of its hash" in done.err) == (4, True)
    done = keeper.run("prove", "15", "--output", "proof")
    assert (done.code, "entry 15 cannot be proven" in done.err) == (4, True)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "proof").exists()
    assert keeper.run("prove", "16", "--output", "proof").code == 0


def test_the_single_file_tells_a_wrong_argument_from_a_bad_log(keeper: Keeper, tmp_path: Path) -> None:
    keeper.key()
    keeper.fill(3)
    assert keeper.run("export", "out").code == 0
    (tmp_path / "empty").write_text("")
    for given in (
        ["--key", ""],
        ["--key", "typo"],
        ["--key", "a+b+"],
        ["--witness", "typo"],
        ["--earlier", "empty"],
    ):
        done = subprocess.run(
            [sys.executable, "out/verify_log.py", "out", *given], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout.startswith("Could not be checked: ")) == (2, True), done


# -- key, prove, receipt


def test_a_key_has_a_passphrase_or_says_that_it_has_none(keeper: Keeper) -> None:
    assert keeper.run("key").code == 2
    (keeper.home / "secret").write_text("a long passphrase\n")
    keeper.settings(f'audit_key_passphrase_file = "{keeper.home}/secret"')
    assert keeper.run("key", "--unencrypted").code == 2
    done = keeper.run("key")
    assert (done.code, ORIGIN in done.out) == (0, True)
    path = keeper.home / "keys/audit.pem"
    assert "ENCRYPTED" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    keeper.fill(1)
    assert f"— {ORIGIN} " in keeper.run("checkpoint", "--print").out
    assert keeper.run("key").code == 2  # no key is overwritten
    keeper.settings("")
    assert keeper.run("checkpoint", "--print").code == 2  # a key that cannot be used is not left out


def test_a_receipt_is_checked_without_the_log(keeper: Keeper, tmp_path: Path) -> None:
    vkey = keeper.key()
    ids = keeper.fill(20)
    done = keeper.run("prove", ids[7], "-o", "proof")
    assert done.code == 0, done.err
    assert keeper.run("prove", "8", "-o", "again").code == 0
    assert (tmp_path / "proof/receipt.tlog-proof").read_bytes() == (
        tmp_path / "again/receipt.tlog-proof"
    ).read_bytes()
    (keeper.home / "audit.sqlite").unlink()
    done = keeper.run("receipt", "proof", "--key", vkey)
    assert (done.code, "number 8 of the 21" in done.out, "outcome about models/a" in done.out) == (
        0,
        True,
        True,
    )
    entry = tmp_path / "proof/entry.json"
    entry.write_bytes(entry.read_bytes().replace(b"d-7", b"d-8"))
    assert keeper.run("receipt", "proof", "--key", vkey).code == 4
    for wrong in (["99", "-o", "x"], [ids[0][:-1] + "0", "-o", "x"], ["1", "-o", "proof"]):
        assert keeper.run("prove", *wrong).code in {2, 4}


# -- checkpoint, witness


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
    with witness_process(tmp_path / "elsewhere", vkey) as (
        again,
        process,
    ):  # started anew, it knows what it saw
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


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not there")
def test_a_head_is_stamped_with_the_time(keeper: Keeper, tmp_path: Path) -> None:
    pytest.importorskip("rfc3161_client")
    keeper.key()
    keeper.fill(3)
    with authority(tmp_path) as url:
        assert keeper.run("checkpoint", "--to", f"tsa+{url}/tsr").code == 2  # whose stamps count was not said
        keeper.settings(f'audit_tsa_ca = "{tmp_path}/root.pem"\naudit_anchors = ["tsa+{url}/tsr"]')
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


# -- hold, erase


def test_what_is_over_its_term_is_erased_unless_it_is_held(keeper: Keeper) -> None:
    old = datetime.now(UTC) - timedelta(days=800)
    with closing(keeper.log(Clock(old))) as log:
        for name in ("a", "b"):
            facts = f"facts of {name}".encode()
            more = {"note": f"sha256:{hashlib.sha256(facts).hexdigest()}"}
            log.append(
                EntryKind.OUTCOME, body(**more), subject=f"models/{name}", correlation="c", evidence=[facts]
            )
    assert keeper.run("hold", "models/a", "--reason", "a dispute").code == 0
    done = keeper.run("erase", "outcome", "--older-than", "730d", "--dry-run")
    assert (done.code, "1 document(s) would be erased" in done.out) == (0, True)
    assert (
        "1 document(s) were erased"
        in keeper.run("erase", "outcome", "--older-than", "730d", "--reason", "term").out
    )
    with closing(keeper.log()) as log:
        assert sorted(info.is_erased for info in log.store.evidence_list()) == [False, True]
    assert keeper.run("hold", "models/a", "--reason", "settled", "--lift").code == 0
    assert keeper.run("hold", "models/a", "--reason", "settled", "--lift").code == 2
    assert (
        "1 document(s) were erased"
        in keeper.run("erase", "outcome", "--older-than", "730d", "--reason", "term").out
    )
    assert keeper.run("verify").code == 0
    assert keeper.run("export", "out").code == 0
    assert keeper.run("verify", "out").code == 0
    assert "it is not said why" in keeper.run("erase", "outcome", "--older-than", "730d").err
    assert keeper.run("erase", "outcome", "--older-than", "soon", "--reason", "term").code == 2
    assert keeper.run("erase", "gossip", "--older-than", "1d", "--reason", "term").code == 2


def test_a_hold_on_what_is_not_on_record_is_warned_about(keeper: Keeper) -> None:
    keeper.fill(3)
    assert keeper.run("hold", "models/a", "--reason", "case 7").err == ""
    done = keeper.run("hold", "models/aa", "--reason", "case 7")
    assert (done.code, "no entry is about `models/aa` so far: look at its spelling" in done.err) == (0, True)
    assert (
        "no entry is about" in keeper.run("hold", "models/aa", "--reason", "case 7").err
    )  # its hold is not about it


@pytest.mark.parametrize(
    ("subject", "reason"),
    [("", "x"), ("a\x1b[31mb", "x"), ("a\nb", "x"), ("a" * 5_000, "x"), ("models/a", " ")],
)
def test_a_hold_that_cannot_be_recorded_is_refused_in_words(
    keeper: Keeper, subject: str, reason: str
) -> None:
    keeper.fill(1)
    done = keeper.run("hold", subject, "--reason", reason)
    assert (done.code, "what to do: " in done.err) == (2, True)
    assert "unexpected" not in done.err


# -- settings


@pytest.mark.parametrize("name", ["MLGOV_AUDIT_DSN", "mlgov_audit_path", "MLGOV_AUDIT_ANCHORS"])
def test_no_variable_leads_the_log_elsewhere(keeper: Keeper, name: str) -> None:
    keeper.fill(1)
    done = keeper.run("verify", **{name: "postgresql://someone:s3cret@example/other"})
    assert (done.code, "settings file alone" in done.err, "s3cret" in done.err) == (2, True, False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('audit_path = ""', "names no audit log"),
        ('audit_dsn = ""', "audit_dsn"),
        ('audit_path = "a"\naudit_dsn = "postgresql://x"', "more than one audit log"),
        ('audit_anchors = ["heads"]\naudit_quorum = 2', "a quorum of 2 among 1"),
        ('audit_anchors = ["ftp://example/heads"]', "cannot be sent to `ftp:`"),
        ('audit_anchors = ["https://witness.example"]', "public key"),
        ('audit_pseudonym_key = "short"', "pseudonym key"),
    ],
)
def test_settings_without_sense_are_refused(keeper: Keeper, text: str, said: str, tmp_path: Path) -> None:
    keeper.fill(1)
    (tmp_path / "a").touch()
    (tmp_path / "short").write_bytes(b"x" * 31)
    keeper.settings(text)
    done = keeper.run("checkpoint")
    assert (done.code, said in done.err) == (2, True), done.err
