"""`mlgov audit stream` as it is run: killed at any moment, told to end, against receivers that come and go."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from governance.audit.log import AuditLog
from governance.audit.merkle import leaf_hash
from governance.audit.sqlite import SqliteStore
from governance.cli.main import main
from tests.audit_tools import fill, make_log
from tests.mlflow_tools import environment
from tests.rawserver import answer, closed_port, make_certificate, raw_server
from tests.receivers import parse_message, syslog_receiver
from tests.scenarios.cli import clean, run_cli

ORIGIN = "mlgov.local/audit"
SECRET = "whsec_" + "QUJD" * 11


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    path.mkdir()
    secret = path / "secret"
    secret.touch(mode=0o600)
    secret.write_text(SECRET)
    return path


def log_in(home: Path) -> AuditLog:
    return make_log(SqliteStore(home / "audit.sqlite"), origin=ORIGIN)


@contextmanager
def streaming(home: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "governance.cli.main", "audit", "stream", *arguments],
        env=clean(MLGOV_HOME=str(home)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=30)


def cursor_of(home: Path) -> Any:
    found = list((home / "streams").glob("*.json")) if (home / "streams").is_dir() else []
    return json.loads(found[0].read_text()) if found else None


def wait_until(what: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


@pytest.mark.parametrize("kind", ["file", "syslog", "webhook"])
def test_killed_at_any_moment_every_entry_arrives(kind: str, home: Path, tmp_path: Path) -> None:
    log, chance = log_in(home), random.Random(7)
    options: tuple[str, ...]
    leaves: Callable[[], list[bytes]]
    with ExitStack() as stack:
        if kind == "file":
            out = tmp_path / "out.jsonl"
            options, leaves = (
                ("--to", f"file:{out}"),
                lambda: list(out.read_bytes().splitlines()),
            )
        elif kind == "syslog":
            tls, authority = make_certificate(tmp_path)
            receiver = stack.enter_context(syslog_receiver(tls))
            options = ("--to", f"syslog+tls://127.0.0.1:{receiver.port}", "--ca", str(authority))
            leaves = lambda: [parse_message(each).text for each in receiver.messages]  # noqa: E731
        else:
            server = stack.enter_context(raw_server(answer(204)))
            options = ("--to", f"{server.url}/x", "--secret-file", str(home / "secret"))
            leaves = lambda: [line for seen in server.seen for line in seen.body.splitlines()]  # noqa: E731
        for _ in range(2):
            fill(log, 400)
            before = (cursor_of(home) or {"index": 0})["index"]
            with streaming(home, *options) as process:
                wait_until(lambda: (cursor_of(home) or {"index": 0})["index"] > before)  # noqa: B023
                fill(log, 200)
                time.sleep(chance.random() / 20)
                process.send_signal(signal.SIGKILL)
        done = run_cli("audit", "stream", *options, "--once", variables={"MLGOV_HOME": str(home)})
        assert done.code == 0, done.err
        rows = list(log.store.rows(0, log.store.frontier().size))
        got = [leaf_hash(line) for line in leaves()]
    first = list(dict.fromkeys(got))
    assert first == [row.leaf for row in rows]  # every one, and first seen in the order of the log
    assert len(got) - len(first) <= 2 * 2 * 256  # again only what a kill left in doubt
    log.close()


def test_a_follower_ends_properly_when_told(home: Path, tmp_path: Path) -> None:
    log = log_in(home)
    fill(log, 5)
    with streaming(home, "--to", f"file:{tmp_path}/out", "--as", "ocsf") as process:
        wait_until(lambda: (cursor_of(home) or {"index": 0})["index"] == 6)
        fill(log, 2)
        wait_until(lambda: cursor_of(home)["index"] == 8)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 0
    assert "8 entries delivered, up to entry 8" in err
    events = [json.loads(line) for line in (tmp_path / "out").read_bytes().splitlines()]
    assert [event["metadata"]["sequence"] for event in events] == list(range(8))
    log.close()


def test_declared_destinations_run_together_and_doctor_tells_their_lag(home: Path, tmp_path: Path) -> None:
    log = log_in(home)
    fill(log, 9)
    (home / "mlgov.toml").write_text(
        f'[[streams]]\nname = "siem"\nto = "syslog+tcp://127.0.0.1:{closed_port()}"\nas = "ocsf"\n'
        f'[[streams]]\nname = "archive"\nto = "file:{tmp_path}/out"\n'
        f'[[streams]]\nname = "idle"\nto = "file:{tmp_path}/idle"\n'
    )
    variables = {"MLGOV_HOME": str(home)}
    done = run_cli("audit", "stream", "siem", "archive", "--once", "--patience", "1", variables=variables)
    assert done.code == 3
    assert "`archive`: 10 entries delivered, up to entry 10" in done.err
    assert "refused" in done.err
    fill(log, 2)
    seen = {}
    for line in json.loads(run_cli("doctor", "--offline", "--json", variables=variables).out):
        if line["subject"].startswith("stream"):
            seen[line["subject"]] = (line["mark"], line["seen"])
    assert seen["stream siem"][0] == "fail"
    assert "12 entries behind" in seen["stream siem"][1]
    assert "refused" in seen["stream siem"][1]
    assert "2 entries behind" in seen["stream archive"][1]
    assert seen["stream idle"][0] == "warn"
    log.close()


def test_a_cursor_newer_than_the_log_is_an_incident(home: Path, tmp_path: Path) -> None:
    log = log_in(home)
    fill(log, 3)
    (home / "audit.sqlite").with_name("old").write_bytes((home / "audit.sqlite").read_bytes())
    old = SqliteStore(home / "copy")
    fill(make_log(old, origin=ORIGIN), 1)
    old.close()
    variables = {"MLGOV_HOME": str(home)}
    assert run_cli("audit", "stream", "--to", f"file:{tmp_path}/out", "--once", variables=variables).code == 0
    log.close()
    (tmp_path / "swapped.toml").write_text(f'audit_path = "{home / "copy"}"\n')
    swapped = {**variables, "MLGOV_CONFIG": str(tmp_path / "swapped.toml")}
    done = run_cli("audit", "stream", "--to", f"file:{tmp_path}/out", "--once", variables=swapped)
    assert done.code == 4
    assert "ahead of the log: 4 entries were delivered, and it has 2" in done.err
    assert "what to do" in done.err


def test_a_stream_that_has_ended_leaves_signals_to_whom_they_were(home: Path, tmp_path: Path) -> None:
    """As in a program that runs commands in its own process, and must still end when it is told to."""
    log = log_in(home)
    fill(log, 1)
    log.close()
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with environment(clean(MLGOV_HOME=str(home))):
        assert main(["audit", "stream", "--to", f"file:{tmp_path}/o", "--once"]) == 0
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_mistakes_are_said_before_anything_is_sent(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = log_in(home)
    fill(log, 1)
    log.close()
    cases = {
        (): "no destination is named",
        ("nobody",): "is not a declared destination",
        ("--as", "ocsf"): "`--to` is not given",
        ("x", "--to", f"file:{tmp_path}/o"): "exclude each other",
        ("--to", "https://hooks.example.org/SECRET"): "secret_file",
        ("--to", f"file:{tmp_path}/o", "--from", "later"): "from",
        ("--to", f"file:{tmp_path}/o", "--from", "9" * 5_000): "`--from` cannot be",
        ("--to", f"file:{tmp_path}/o", "--as", "xml"): "jsonl",
        ("--to", "syslog+tcp://[::1"): "a destination is",
    }
    with environment(clean(MLGOV_HOME=str(home))):
        for arguments, words in cases.items():
            assert main(["audit", "stream", "--once", *arguments]) == 2
            err = capsys.readouterr().err
            assert words in err
            assert "SECRET" not in err
        with environment(clean(MLGOV_HOME=str(home), MLGOV_STREAMS="SECRET")):
            assert main(["audit", "stream"]) == 2
            err = capsys.readouterr().err
            assert "`MLGOV_STREAMS` in the environment is not JSON" in err
            assert "SECRET" not in err
        (home / "mlgov.toml").write_text('[[streams]]\nname = "a"\nto = "ftp://x"\n')
        assert main(["audit", "stream"]) == 2
        assert "MLGOV_STREAMS.0.to" in capsys.readouterr().err
