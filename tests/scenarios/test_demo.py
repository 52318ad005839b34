"""`mlgov demo` as a user runs it: the whole story, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.scenarios.cli import clean

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


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """One whole run: the folder, and what was printed."""
    folder = tmp_path_factory.mktemp("demo") / "story"
    done = subprocess.run(
        [*DEMO, str(folder)], capture_output=True, text=True, env=clean(MLGOV_ENVIRONMENT="staging"),
        timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


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
        "the audit log proves itself",
        "report/report.html",
    ],
)
def test_the_story_is_told(told: tuple[Path, str], says: str) -> None:
    assert says in told[1]


def test_no_process_is_left(told: tuple[Path, str]) -> None:
    assert processes_of(told[0]) == []


def test_everything_lies_in_the_folder(told: tuple[Path, str]) -> None:
    folder = told[0]
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


def test_the_exported_log_proves_itself_without_us(told: tuple[Path, str]) -> None:
    export = told[0] / "audit-export"
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(export / "verify_log.py"), str(export)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_report_counts_what_was_told(told: tuple[Path, str]) -> None:
    lines = [json.loads(line) for line in (told[0] / "report" / "report.jsonl").read_text().splitlines()]
    text = json.dumps(lines)
    assert "would_block" in text
    assert "quarantine" in text
    html = (told[0] / "report" / "report.html").read_text()
    assert "would have been blocked" in html


def test_no_secret_is_in_logs_or_reports(told: tuple[Path, str]) -> None:
    folder, printed = told
    passphrase = (folder / "home" / "passphrase").read_text()
    texts = [printed, *(path.read_text(errors="replace") for path in folder.glob("logs/*"))]
    texts += [path.read_text(errors="replace") for path in folder.glob("report/*")]
    assert not any(passphrase in text for text in texts)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
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
