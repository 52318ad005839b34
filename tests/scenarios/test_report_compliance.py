"""`mlgov report compliance` as a user runs it, and its folder as an auditor gets it: with a Python that has nothing of ours."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest

from governance.audit.checkpoint import parse_proof
from governance.audit.log import AuditLog
from governance.audit.memory import MemoryStore
from governance.audit.note import parse_vkey
from governance.audit.sqlite import SqliteStore
from governance.audit.verify_log import BadLogError, check
from governance.errors import AuditBrokenError
from governance.model.canonical import Json
from governance.model.verdict import Effect
from governance.report.folder import write_folder
from governance.report.sections.closing import receipt_name
from tests.audit_tools import START, StillClock, database_of, signer
from tests.compliance_log import Demo
from tests.report_tools import DAY, decide, folder_of, report_on, signed_log
from tests.scenarios.cli import Done, be, run_cli, run_here
from tests.scenarios.witness import witness_process

Report = Callable[..., Done]


@pytest.fixture(name="database")
def copy_log(demo_log: Demo, tmp_path: Path) -> Path:
    """A copy of the demo log, to be written to."""
    target = tmp_path / "audit.sqlite"
    with (
        database_of(demo_log.log) as one,
        database_of(target) as other,
        other.backup("main", one, "main") as copy,
    ):
        copy.step()
    return target


@pytest.fixture(name="variables")
def make_variables(demo_log: Demo, database: Path, tmp_path: Path) -> dict[str, str]:
    settings = tmp_path / "mlgov.toml"
    settings.write_text(f'audit_path = "{database}"\n')
    return demo_log.variables | {"MLGOV_CONFIG": str(settings)}


@pytest.fixture(name="report")
def make_report(
    variables: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Report:
    """The command, in this process."""
    be(monkeypatch, **variables)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Done:
        return run_here("report", "compliance", *arguments, capsys=capsys)

    return run


def run_bare(folder: Path, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program of a folder, by a Python that has its standard library and `cryptography`, and nothing else."""
    library = tmp_path / "library"
    if not library.exists():
        library.mkdir()
        for name in ("cryptography", "cffi", "_cffi_backend", "pycparser"):
            spec = find_spec(name)
            if spec is not None and spec.origin is not None:
                origin = Path(spec.origin)
                source = origin.parent if origin.name == "__init__.py" else origin
                (library / source.name).symlink_to(source)
    return subprocess.run(
        [sys.executable, "-S", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(library), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def cells(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "tables" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def test_a_report_of_the_demo_log(variables: dict[str, str], database: Path, tmp_path: Path) -> None:
    words = ("report", "compliance", "--sample", "3", "--seed", "7", "--framework", "soc-2")
    done = run_cli(*words, cwd=tmp_path, variables=variables)
    assert done.code == 0, done.err
    folder = tmp_path / "mlgov-compliance"
    assert "wrote `mlgov-compliance/report.html`" in done.out
    with database_of(database) as connection:
        kept = [row[0] for row in connection.execute("SELECT data FROM entry ORDER BY seq")]
    assert (folder / "entries.jsonl").read_bytes() == b"".join(row + b"\n" for row in kept), (
        "the log's own bytes, all of them"
    )
    told = cells(folder, "02-exports.csv")[-1]
    assert told["what"] == "compliance report", "the log says that it was handed out"
    assert len(cells(folder, "13-sample.csv")) == 3
    assert [path.name for path in (folder / "tables").glob("14-controls-*")] == ["14-controls-soc-2.csv"]
    decisions = sum(json.loads(row)["kind"] == "decision" for row in kept)
    assert len(cells(folder, "03-decisions.csv")) == decisions
    command = re.search(r"python (verify_log\.py \..*)", (folder / "README.txt").read_text())
    assert command is not None
    checked = run_bare(folder, tmp_path, *command[1].split())
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.startswith(f"Good: all of the {len(kept)} entries")


def test_the_same_seed_gives_the_same_sample(report: Report, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert (
            report("--seed", "q1", "--sample", "4", "--format", "csv", "-o", name, "--to", "2100-01-01").code
            == 0
        )
    drawn = [[row["id"] for row in cells(tmp_path / name, "13-sample.csv")] for name in ("one", "two")]
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 4


def test_a_signed_part_is_checked_with_its_key_and_nothing_else(tmp_path: Path) -> None:
    clock = StillClock()
    log = signed_log(clock)
    for _ in range(5):
        decide(log)
        clock.at += DAY
    folder = folder_of(log, tmp_path / "report", since=START + DAY, until=START + 3 * DAY, sample=2)
    assert log.key is not None
    bare = run_bare(folder, tmp_path, "-c", "import cryptography; import governance")
    assert "No module named 'governance'" in bare.stderr, "the Python of this test has nothing of ours"
    good = run_bare(folder, tmp_path, "verify_log.py", ".", "--key", log.key.vkey)
    assert good.returncode == 0, good.stdout
    assert "all of the 4 entries from 3 to 7 (exclusive), 4 receipts" in good.stdout
    assert "signed by acme.example/audit" in good.stdout
    mistyped = log.key.vkey[:-2] + ("A=" if not log.key.vkey.endswith("A=") else "B=")
    assert (
        run_bare(folder, tmp_path, "verify_log.py", ".", "--key", mistyped).returncode == 2
    )  # it says nothing of the log
    other = signer(2, log.key.name).key.vkey  # of a log of the same name: this one did not sign with it
    assert run_bare(folder, tmp_path, "verify_log.py", ".", "--key", other).returncode == 1
    earlier = run_bare(folder, tmp_path, "verify_log.py", ".", "--earlier", "checkpoint.first")
    assert (earlier.returncode, "whole log" in earlier.stdout) == (2, True)
    for receipt in (folder / "receipts").iterdir():
        proof = parse_proof(receipt.read_bytes())
        entry = (folder / "records" / f"{proof.index}.json").read_bytes()
        assert proof.verify(entry, [parse_vkey(log.key.vkey)]).size == 11
        assert receipt_name(proof.index) == f"receipts/{receipt.name}"


@pytest.mark.parametrize("file", ["entries.jsonl", "leaves.txt", "range.json", "checkpoint", "checkpoint.first", "checkpoint.last",
                                  "records", "receipts", "evidence", "log.vkey"])  # fmt: skip
def test_every_change_to_the_folder_shows(file: str, tmp_path: Path) -> None:
    clock = StillClock()
    log = signed_log(clock)
    for number in range(6):
        decide(log, name=f"m{number}")
        clock.at += DAY
    folder = folder_of(log, tmp_path / "report", since=START + DAY, until=START + 4 * DAY, sample=2)
    if file == "evidence":
        (folder / "evidence" / ("0" * 64)).write_bytes(b"{}")
    else:
        path = folder / file
        if path.is_dir():
            path = min(path.iterdir())
        data = path.read_bytes()
        place = next(at for at in range(len(data) // 2, len(data)) if data[at : at + 1].isalnum())
        path.write_bytes(
            data[:place] + (b"0" if data[place : place + 1] != b"0" else b"1") + data[place + 1 :]
        )
    with pytest.raises((BadLogError, ValueError, KeyError, TypeError)):  # what the program answers with BAD
        check(folder)


def test_a_broken_entry_in_the_period_is_on_the_first_page_and_exits_4(
    report: Report, database: Path, tmp_path: Path
) -> None:
    with database_of(database) as connection:
        connection.execute("DROP TRIGGER entry_update")
        connection.execute(
            "UPDATE entry SET data = CAST(replace(data, '\"block\"', '\"allow\"') AS BLOB) "
            "WHERE seq = (SELECT min(seq) FROM entry WHERE kind = 'decision' AND CAST(data AS TEXT) LIKE '%\"block\"%')"
        )
        before = next(connection.execute("SELECT count(*) FROM entry"))[0]
    done = report("--framework", "soc-2")
    assert done.code == 4, done.err
    assert "does not prove itself" in done.err
    folder = tmp_path / "mlgov-compliance"
    html = (folder / "report.html").read_text()
    first = html[html.index("<body>") : html.index("data-section")]
    assert "The log does not prove itself" in first
    assert "1 broken entry in the period" in first
    assert len(cells(folder, "02-broken.csv")) == 1
    with database_of(database) as connection:
        assert next(connection.execute("SELECT count(*) FROM entry"))[0] == before, (
            "a broken log is not written to"
        )
    checked = run_bare(folder, tmp_path, "verify_log.py", ".")
    assert checked.returncode == 1, "whoever gets the folder sees it too"
    assert "its bytes were changed" in checked.stdout


def test_times_with_zones_are_brought_to_utc(report: Report, tmp_path: Path) -> None:
    done = report(
        "--from", "2026-01-01T00:00:00+02:00", "--to", "2100-01-01T12:00Z", "--format", "csv", "-o", "zones"
    )
    assert done.code == 0, done.err
    figures = {
        row["figure"]: row["value"]
        for row in cells(tmp_path / "zones", "00-figures.csv")
        if row["section"] == "Scope and period"
    }
    assert figures["Period from"] == "2025-12-31T22:00:00.000000Z"
    assert figures["Period to (exclusive)"] == "2100-01-01T12:00:00.000000Z"


def test_the_terminal_counts_the_same_entries_as_the_report(report: Report, tmp_path: Path) -> None:
    done = report("--filter", "kind:decision environment:staging", "--format", "jsonl", "--format", "csv")
    chosen = len((tmp_path / "mlgov-compliance" / "entries.jsonl").read_text().splitlines())
    figures = {row["figure"]: row["value"] for row in cells(tmp_path / "mlgov-compliance", "00-figures.csv")}
    every = figures["Entries in the period"]
    assert chosen < int(every)
    assert f"{chosen} of {every} entries in the period, {chosen} decisions" in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "2016-12-31T23:59:60Z"), "leap second"),
        (("--from", "2026-02-30"), "--from"),
        (("--from", "yesterday"), "is not a time"),
        (("--from", "2026-02-01", "--to", "2026-02-01"), "ends before it begins"),
        (("--filter", "environment:x since:2026-01-01"), "without times"),
        (("--filter", "nonsense"), "word:value"),
        (("--format", "docx"), "not a format"),
        (("--framework", "soc-3"), "soc-2"),
        (("--seed", ""), "seed"),
        (("--sample", "5000"), "1000"),
        (("--earlier", "nothing"), "there is no checkpoint `nothing`"),
    ],
)
def test_what_is_asked_wrongly_is_refused_before_anything_is_written(
    report: Report, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = report(*arguments)
    assert done.code == 2, done.err
    assert said in done.err
    assert not (tmp_path / "mlgov-compliance").exists()


def test_an_earlier_checkpoint_is_compared(report: Report, database: Path, tmp_path: Path) -> None:
    with closing(SqliteStore(database)) as store:
        log = AuditLog(store, now=StillClock(), instance="test")
        (tmp_path / "good").write_bytes(log.checkpoint().to_bytes())
        size = log.checkpoint().size
    (tmp_path / "bad").write_text(f"mlgov.local/audit\n{size}\n{'A' * 43}=\n")
    assert report("--earlier", "good", "--format", "csv", "-o", "one").code == 0
    figures = {row["figure"]: row["value"] for row in cells(tmp_path / "one", "00-figures.csv")}
    assert figures["Tree heads compared"] == "1"
    done = report("--earlier", "bad", "--format", "csv", "-o", "two")
    assert done.code == 4, done.out
    assert "rewritten" in done.err


def exports_in(database: Path) -> int:
    with database_of(database) as connection:
        return len(connection.execute("SELECT seq FROM entry WHERE kind = 'export'").fetchall())


def test_what_cannot_be_written_is_not_on_record_as_handed_out(
    report: Report, database: Path, tmp_path: Path
) -> None:
    before = exports_in(database)
    (tmp_path / "file").write_text("in the way")
    done = report("--format", "jsonl", "-o", "file/report")
    assert (done.code, "is not a folder that may be written to" in done.err) == (3, True)
    assert exports_in(database) == before


def test_a_report_can_be_demanded_to_be_cosigned(
    report: Report, database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> Done:
        return run_here("audit", *arguments, capsys=capsys)

    words = ("--format", "html", "--format", "csv", "--format", "jsonl", "--sample", "2", "--cosigned")
    settings, before = tmp_path / "mlgov.toml", exports_in(database)
    own = f'audit_path = "{database}"\naudit_key = "{tmp_path}/audit.pem"\n'
    settings.write_text(own)
    vkey = run("key", "--unencrypted").out.split()[-1]
    done = report(*words)
    assert (done.code, "no witness cosigns this log's heads" in done.err) == (2, True)
    with (
        witness_process(tmp_path / "one", vkey) as (first, _),
        witness_process(tmp_path / "two", vkey) as (second, process),
    ):
        settings.write_text(f'{own}audit_anchors = ["{first}", "{second}"]\n')
        done = report(*words)
        assert done.code == 0, done.err
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        done = report(*words, "-o", "gone")  # one of two is not enough
        assert (done.code, "witness witness.example/w1 does not sign" in done.err) == (4, True)
    assert not (tmp_path / "gone").exists()
    assert exports_in(database) == before + 1, "one report was handed out, and the log says no more"
    witnesses = [place.partition("=")[2] for place in (first, second)]
    both = [word for each in witnesses for word in ("--witness", each)]
    folder = tmp_path / "mlgov-compliance"
    done = run("verify", str(folder), "--key", vkey, *both)
    assert (done.code, done.out.count("cosigned by")) == (0, 2), done.err
    figures = {row["figure"]: row["value"] for row in cells(folder, "00-figures.csv")}
    assert figures["Cosigned by"] == ", ".join(witnesses)
    assert "signed, cosigned by 2 witnesses" in (folder / "report.html").read_text()
    command = re.search(r"python (verify_log\.py \..*)", (folder / "README.txt").read_text())
    assert command is not None
    assert shlex.split(command[1])[-4:] == both, "who gets the folder is told to demand them"
    good = run_bare(folder, tmp_path, *shlex.split(command[1]))
    assert (good.returncode, good.stdout.count("cosigned by")) == (0, 2), good.stdout
    assert report(*words[:-1], "-o", "alone").code == 0
    done = run("verify", str(tmp_path / "alone"), "--key", vkey, *both)
    assert (done.code, "not signed by witness.example/w1" in done.err) == (4, True), done.err
    head = folder / "checkpoint"
    lines = head.read_text().splitlines(keepends=True)
    head.write_text("".join(lines[:-1]))  # the second witness's line taken away
    bad = run_bare(folder, tmp_path, *shlex.split(command[1]))
    assert (bad.returncode, "not signed by witness.example/w1" in bad.stdout) == (1, True)


def test_a_record_of_the_sample_is_believed_with_its_receipt_alone(tmp_path: Path) -> None:
    log = signed_log(StillClock())
    for _ in range(3):
        decide(log, decision=Effect.BLOCK)
    folder = folder_of(log, tmp_path / "report", "html", "jsonl", seed="1", sample=3)
    assert "6 receipts" in check(folder)
    receipt = min((folder / "receipts").iterdir())
    record = folder / "records" / f"{receipt.stem}.json"
    kept = receipt.read_bytes(), record.read_bytes()
    record.write_bytes(kept[1].replace(b"zoe", b"bob"))
    receipt.unlink()
    with pytest.raises(BadLogError, match="no receipt shows that it is an entry"):
        check(folder)
    record.write_bytes(kept[1])
    for wrong in (b"", b"x", kept[0][:30]):
        receipt.write_bytes(wrong)
        with pytest.raises((BadLogError, ValueError)):
            check(folder)
        done = run_cli("audit", "verify", str(folder), cwd=tmp_path)
        assert (done.code, "does not prove itself" in done.err) == (4, True), done.err


def test_a_period_that_had_not_ended_is_said_to_go_on(tmp_path: Path) -> None:
    log = signed_log(StillClock())
    decide(log)
    for days, goes_on in ((1, True), (3, False)):
        folder = folder_of(
            log, tmp_path / str(days), since=START, until=START + 2 * DAY, now=START + days * DAY
        )
        assert ("had not ended when the report was made" in (folder / "report.html").read_text()) is goes_on


def test_a_reports_folder_without_its_range_is_no_export_of_the_whole_log(tmp_path: Path) -> None:
    log = signed_log(StillClock())
    decide(log, decision=Effect.BLOCK)
    folder = folder_of(log, tmp_path / "report", "html", "jsonl", seed="1", sample=1)
    (folder / "range.json").unlink()
    for left in ("checkpoint.first", "checkpoint.last", "records", "receipts"):
        with pytest.raises(BadLogError, match=rf"range\.json: missing, though `{left}` says"):
            check(folder)
        path = folder / left
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_all_entries_are_missed_where_all_should_be_there(tmp_path: Path) -> None:
    log = signed_log(StillClock())
    decide(log)
    folder = folder_of(log, tmp_path / "report", "html", "jsonl")
    (folder / "entries.jsonl").unlink()
    with pytest.raises(OSError, match=r"entries\.jsonl"):
        check(folder)
    assert "0 of the" in check(folder_of(log, tmp_path / "page", "html")), (
        "of a report without them it is said"
    )


def test_hostile_strings_stay_strings(tmp_path: Path) -> None:
    log = signed_log(StillClock())
    evil = '=HYPERLINK("http://x")\x1b[31m</script><script>alert(1)</script>\u202e\r\n\t+1'
    decide(log, decision=Effect.BLOCK, actor=evil, message=evil, environment="@SUM(1)")
    folder = folder_of(log, tmp_path / "report")
    for path in (folder / "tables").iterdir():
        data = path.read_bytes().decode()
        assert "\x1b" not in data
        assert "\u202e" not in data
        for row in csv.reader(data.splitlines(keepends=True), strict=True):
            assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row), (
                path.name,
                row,
            )
    (listed,) = cells(folder, "03-decisions.csv")
    assert listed["actor"].startswith("'=HYPERLINK")
    assert listed["environment"] == "'@SUM(1)"
    page = (folder / "report.html").read_text()
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in page
    lines = (folder / "entries.jsonl").read_bytes().splitlines()
    body: Json = json.loads(lines[1])["body"]
    assert isinstance(body, dict)
    assert isinstance(body["actor"], dict)
    assert body["actor"]["name"] == evil, "the log's own bytes are not touched"


def test_a_damaged_tree_is_told_and_the_entries_are_handed_out_all_the_same(tmp_path: Path) -> None:
    store = DamagedStore()
    clock = StillClock()
    log = signed_log(clock, store)
    for _ in range(4):
        decide(log)
        clock.at += DAY
    store.is_damaged = True
    with report_on(log, since=START + DAY) as made:
        assert not made.is_good
        assert "a hash is gone" in str(made.verification.problems[-1])
        write_folder(made, log, tmp_path / "report", ["html", "jsonl"])
    assert len((tmp_path / "report" / "entries.jsonl").read_bytes().splitlines()) == 6
    assert "NOT PROVED" in (tmp_path / "report" / "README.txt").read_text()
    assert "does not prove itself" in (tmp_path / "report" / "report.html").read_text()
    with pytest.raises((BadLogError, OSError)):
        check(tmp_path / "report")


class DamagedStore(MemoryStore):
    """Keeps all entries, and has lost the hashes above them."""

    is_damaged = False

    def node(self, level: int, index: int) -> bytes:
        if self.is_damaged and level:
            raise AuditBrokenError("a hash is gone")
        return super().node(level, index)


def test_the_folder_is_complete_or_not_there(tmp_path: Path) -> None:
    log = signed_log(StillClock())
    decide(log)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "mine").write_text("")
    with pytest.raises(Exception, match="exists already"):
        folder_of(log, tmp_path / "report")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report"]
    shutil.rmtree(tmp_path / "report")
    folder_of(log, tmp_path / "report", "csv")
    assert not (tmp_path / "report" / "entries.jsonl").exists()
    done = run_bare(tmp_path / "report", tmp_path, "verify_log.py", ".")
    assert done.returncode == 0, done.stdout
