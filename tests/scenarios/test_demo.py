"""`mlgov demo` as a user runs it: the whole story, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.scenarios.cli import Done, clean, run_cli

DEMO = [sys.executable, "-m", "governance.cli.main", "demo", "--folder"]
SECONDS = 280


def processes_of(folder: Path) -> list[str]:
    """Command lines of running processes that know of the folder, apart from this one."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        if int(entry.name) == os.getpid():
            continue
        try:
            known = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in known:
            found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One whole run: its folder, what was printed, its exit code, and what was seen while its servers stayed up."""

    folder: Path
    text: str
    code: int
    doctor: Done
    pages: int
    outside: tuple[str, ...]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("demo") / "story"
    command = [*DEMO, str(folder), "--keep-running"]
    # Settings of the caller's own must not get in.
    outside = folder.parent.parent / "outside"
    outside.mkdir()
    environment = clean(
        MLGOV_ENVIRONMENT="staging",
        MLFLOW_TRACKING_URI="http://127.0.0.1:9",
        TMPDIR=str(outside),
        HOME=str(outside),
    )
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        timer = threading.Timer(SECONDS, process.kill)
        timer.daemon = True
        timer.start()
        text = ""
        while "MLflow's pages:" not in text:
            line = process.stdout.readline()
            assert line, text
            text += line
        variables = {
            name.removeprefix("export "): value.strip("'")
            for name, _, value in (
                line.partition("=") for line in (folder / "env.sh").read_text().splitlines()
            )
        }
        doctor = run_cli("doctor", "models-local", variables=variables)
        pages = requests.get(variables["MLFLOW_TRACKING_URI"], timeout=30).status_code
        process.send_signal(signal.SIGINT)
        text += process.stdout.read()
        code = process.wait(timeout=60)
        timer.cancel()
    outside_files = tuple(str(path.relative_to(outside)) for path in outside.rglob("*") if path.is_file())
    return Told(folder=folder, text=text, code=code, doctor=doctor, pages=pages, outside=outside_files)


@pytest.mark.parametrize(
    "says",
    [
        "registered       models:/breast-cancer/1",
        "mlgov.signature",
        "is what was signed",
        "plugin.errors.BlockedModelError",
        "plugin.errors.QuarantinedModelError",
        "baseline-models/malicious",
        "CVE-2020-14343",
        "baseline-models/tampered",
        "mlgov waiver request --decision",
        "there is no such file",
        "models:/iris-unscanned/1 predicts",
        "would have been blocked",
        "models:/breast-cancer/1 is now `champion`",
        "promote of model",
        "promote: allow",
        "registered model versions",
        "the audit log proves itself",
        "report/report.html",
    ],
)
def test_the_story_is_told(told: Told, says: str) -> None:
    assert says in told.text


def test_the_servers_stay_up_until_interrupted(told: Told) -> None:
    assert told.pages == 200
    assert told.doctor.code == 0, told.doctor.out
    assert "runs the governance app" in told.doctor.out
    assert told.code == 0, told.text


def test_no_process_is_left(told: Told) -> None:
    assert processes_of(told.folder) == []


def test_everything_lies_in_the_folder(told: Told) -> None:
    folder = told.folder
    assert {path.name for path in folder.iterdir()} >= {
        "artifactory",
        "home",
        "logs",
        "policies",
        "report",
        "audit-export",
    }
    assert not (folder / "PAYLOAD-RAN").exists()
    assert sorted(path.name for path in folder.parent.iterdir()) == ["story"]
    assert not (folder / "tmp").exists()
    assert not [path for path in told.outside if "cache" not in path.lower()]


def test_the_exported_log_proves_itself_without_us(told: Told) -> None:
    export = told.folder / "audit-export"
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(export / "verify_log.py"), str(export)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_report_counts_what_was_told(told: Told) -> None:
    lines = [json.loads(line) for line in (told.folder / "report" / "report.jsonl").read_text().splitlines()]
    text = json.dumps(lines)
    assert "would_block" in text
    assert "quarantine" in text
    html = (told.folder / "report" / "report.html").read_text()
    assert "would have been blocked" in html


def test_no_secret_is_in_logs_or_reports(told: Told) -> None:
    folder, printed = told.folder, told.text
    passphrase = (folder / "home" / "passphrase").read_text()
    texts = [printed, *(path.read_text(errors="replace") for path in folder.glob("logs/*"))]
    texts += [path.read_text(errors="replace") for path in folder.glob("report/*")]
    assert not any(passphrase in text for text in texts)


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        *(pytest.param(each, marks=pytest.mark.long) for each in (signal.SIGTERM, signal.SIGKILL)),
    ],
)
def test_interrupted_it_stops_its_servers(tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "story"
    with subprocess.Popen(
        [*DEMO, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=clean()
    ) as process:
        assert process.stdout is not None
        # The tracking server is starting by now, and the session with it.
        for line in process.stdout:
            if "policies in order" in line:
                break
        process.send_signal(number)
        rest = process.stdout.read()
        code = process.wait(timeout=60)
    assert code == (130 if number is not signal.SIGKILL else -signal.SIGKILL), rest
    deadline = time.monotonic() + 20
    while processes_of(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(folder) == []


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    done = subprocess.run([*DEMO, str(tmp_path)], capture_output=True, text=True, env=clean(), check=False)
    assert done.returncode == 2
    assert "is not the folder of an earlier demo" in done.stderr
    assert (tmp_path / "thesis.tex").exists()
