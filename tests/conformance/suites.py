"""Finding and running the suites of other people, which `.ci/conformance` prepares."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest


def prepared() -> Path:
    """The folder that `.ci/conformance` made. Skips the test where there is none."""
    folder = Path(os.environ.get("MLGOV_CONFORMANCE") or "~/.cache/mlgov/conformance").expanduser()
    if not (folder / "ready").is_file():
        pytest.skip(f"third-party suites are not prepared in {folder}: run .ci/conformance")
    return folder


def python(folder: Path) -> Path:
    """The interpreter that has the suites installed."""
    return folder / "venv/bin/python"


def environment(tmp_path: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """A small environment: no credentials and no home of the user who runs the tests."""
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1", **extra}


def run_pytest(
    folder: Path, source: str, arguments: list[str], tmp_path: Path, extra: Mapping[str, str]
) -> dict[str, str]:
    """Run a suite in a process of its own and return each test's outcome by name."""
    report = tmp_path / "report.xml"
    command = [
        str(python(folder)),
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--junitxml={report}",
        *arguments,
    ]
    done = subprocess.run(
        command,
        cwd=folder / "sources" / source,
        env=environment(tmp_path, extra),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert report.is_file(), done.stdout[-3000:] + done.stderr[-3000:]
    print(done.stdout[-3000:])
    return {str(case.get("name")): _outcome(case) for case in ET.parse(report).iter("testcase")}


def _outcome(case: ET.Element) -> str:
    for kind in ("failure", "error", "skipped"):
        found = case.find(kind)
        if found is not None:
            return kind
    return "passed"
