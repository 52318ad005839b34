"""`mlgov report`: formats, and the period that is asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.scenarios.cli import Cli


@pytest.mark.parametrize(
    ("options", "files"), [((), ["report.html", "report.jsonl"]), (("--format", "jsonl"), ["report.jsonl"])]
)
def test_report(cli: Cli, tmp_path: Path, options: tuple[str, ...], files: list[str]) -> None:
    cli("keys", "init")
    assert cli("report", "-o", "r", *options, "--since", "2026-01-01").code == 0
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == files
    assert cli("report", "--format", "pptx").code == 2


def test_a_report_reads_times_as_all_other_verbs_do(cli: Cli, tmp_path: Path) -> None:
    cli("keys", "init")
    now = datetime.now(UTC)
    for zone in (timedelta(hours=-11), timedelta(), timedelta(hours=14)):
        for around, count in ((timedelta(hours=-1), 1), (timedelta(hours=1), 0)):
            text = (now + around).astimezone(timezone(zone)).isoformat()
            assert cli("report", "--format", "jsonl", "-o", "r", "--since", text).code == 0
            lines = (tmp_path / "r" / "report.jsonl").read_text().splitlines()
            keys = [line for line in lines if '"kind":"key"' in line]
            assert len(keys) == count, (text, "the zone counts")
    assert cli("report", "--format", "jsonl", "-o", "r", "--since", "90d").code == 0
    for wrong in ("soon", "\u0665d", "2016-12-31T23:59:60Z", "0001-01-01T00:00+05:00"):
        done = cli("report", "--since", wrong)
        assert (done.code, "what to do:" in done.err) == (2, True), done.err
        assert cli("policy", "backtest", "--since", wrong).code == 2
