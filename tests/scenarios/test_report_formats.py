"""`mlgov report compliance --format ...` as a user runs it, on a log with every kind of event."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from oscal_bindings.v1.models import AssessmentResultsDocument
from pypdf import PdfReader

from tests.audit_tools import database_of
from tests.compliance_log import MODELS, Demo
from tests.scenarios.cli import Done, clean, run_cli

FORMATS = ("pdf", "sarif", "cyclonedx", "oscal")


def run(demo: Demo, folder: Path, *words: str, prelude: str | None = None) -> Done:
    """`mlgov report compliance` on a copy of the log, in a process of its own."""
    copy = folder / "audit.sqlite"
    if not copy.exists():
        shutil.copy(demo.log, copy)
    settings = folder / "mlgov.toml"
    settings.write_text(f'audit_path = "{copy}"\n')
    variables = demo.variables | {"MLGOV_CONFIG": str(settings)}
    command = ("report", "compliance", "--folder", str(folder / "out"), *words)
    if prelude is None:
        return run_cli(*command, variables=variables)
    code = (
        f"{prelude}\nimport sys\nsys.argv[1:] = {list(command)!r}\nfrom governance.cli.main import run\nrun()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, env=clean(**variables), timeout=120, check=False,
    )  # fmt: skip
    return Done(code=done.returncode, out=done.stdout, err=done.stderr)


@pytest.fixture(name="out", scope="module")
def all_formats(demo_log: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("formats")
    done = run(demo_log, folder, *(word for name in FORMATS for word in ("--format", name)))
    assert done.code == 0, done.err
    assert f"wrote `{folder / 'out' / 'report.pdf'}`" in done.out.replace("\n", "")
    return folder / "out"


def test_the_folder_has_every_format_and_proves_itself(out: Path) -> None:
    assert {
        "report.pdf",
        "report.sarif",
        "report.cdx.json",
        "report.oscal-ar.json",
        "verify_log.py",
        "checkpoint",
    } <= {path.name for path in out.iterdir()}
    checked = subprocess.run(
        [sys.executable, "verify_log.py", "."], cwd=out, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_pdf_tells_the_story(out: Path) -> None:
    text = "\n".join(page.extract_text() for page in PdfReader(out / "report.pdf").pages)
    for part in (
        "The log proves itself",
        "DEV-MALICIOUS-PICKLE",
        "INC-7 closed",
        "SEC-1",
        "EU AI Act",
        "records found",
    ):
        assert part in text, part


def test_sarif_of_what_was_refused_and_excused(out: Path) -> None:
    (found,) = json.loads((out / "report.sarif").read_text())["runs"]
    seen = {(each["ruleId"].partition("/")[2], each["properties"]["applied"]) for each in found["results"]}
    assert {
        ("malicious", "refused"),
        ("malicious", "would-block"),
        ("scan-incomplete", "quarantined"),
    } <= seen
    weak = [each for each in found["results"] if "old-yaml" in each["message"]["text"]]
    assert sorted((each["level"], each["occurrenceCount"], len(each["suppressions"])) for each in weak) == [
        ("error", 2, 0),
        ("note", 1, 1),
    ], "refused, opened by break-glass after the waiver ended; and excused"


def test_the_bill_has_the_models_in_use_with_their_packages(out: Path) -> None:
    text = (out / "report.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    tree = json.loads(text)
    kinds: dict[str, set[str]] = {}
    for each in tree["components"]:
        kinds.setdefault(each["type"], set()).add(each["name"])
    assert kinds["machine-learning-model"] == {"wine", "old-yaml", "evil"}, (
        "evil was used where nothing is enforced"
    )
    assert kinds["library"] == {"numpy", "pyyaml", "requests"}
    assert "CVE-2020-14343" in {each["id"] for each in tree["vulnerabilities"]}
    wine = next(each for each in tree["components"] if each["name"] == "wine")
    assert {part["name"] for part in wine["components"]} == set(MODELS["wine"])
    assert all(part["hashes"] for part in wine["components"])


def test_oscal_has_a_result_for_each_framework(out: Path) -> None:
    tree = json.loads((out / "report.oscal-ar.json").read_text())
    AssessmentResultsDocument.model_validate(tree)
    assert len(tree["assessment-results"]["results"]) == 7


def test_one_framework_and_a_period_without_entries(demo_log: Demo, tmp_path: Path) -> None:
    words = (
        "--format",
        "oscal",
        "--format",
        "sarif",
        "--framework",
        "soc-2",
        "--from",
        "2020-01-01",
        "--to",
        "2020-02-01",
    )
    done = run(demo_log, tmp_path, *words)
    assert done.code == 0, done.err
    (result,) = json.loads((tmp_path / "out/report.oscal-ar.json").read_text())["assessment-results"][
        "results"
    ]
    words_of = {each["description"].partition(".")[0] for each in result["observations"][1:]}
    assert words_of == {"No record in the period"}
    assert json.loads((tmp_path / "out/report.sarif").read_text())["runs"][0]["results"] == []


def test_a_framework_that_nobody_knows(demo_log: Demo, tmp_path: Path) -> None:
    done = run(demo_log, tmp_path, "--format", "oscal", "--framework", "soc-3")
    assert done.code == 2
    assert "`soc-3` is not a framework that comes with the program, did you mean `soc-2`?" in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "package"), [("pdf", "reportlab"), ("cyclonedx", "cyclonedx")])
def test_a_missing_extra_is_named_before_anything_is_read(
    demo_log: Demo, tmp_path: Path, name: str, package: str
) -> None:
    done = run(demo_log, tmp_path, "--format", name, prelude=f"import sys\nsys.modules[{package!r}] = None")
    assert done.code == 2
    assert f"the format `{name}` needs a package that is not installed: `{package}`" in done.err
    assert f"pip install 'mlflow-governance[{name}]'" in done.err
    assert not (tmp_path / "out").exists()


def tampered(path: Path) -> None:
    """Change a byte of an entry, as somebody who owns the file can."""
    with database_of(path) as connection:
        connection.execute("DROP TRIGGER entry_update")
        row: Any = next(
            connection.execute("SELECT seq, data FROM entry WHERE kind = 'decision' ORDER BY seq")
        )
        seq, data = row
        changed = data.replace(b'"environment":"production"', b'"environment":"production "')[: len(data)]
        assert changed != data
        connection.execute("UPDATE entry SET data = ? WHERE seq = ?", (changed, seq))


def test_a_broken_log_is_said_first_and_exits_with_4(demo_log: Demo, tmp_path: Path) -> None:
    shutil.copy(demo_log.log, tmp_path / "audit.sqlite")
    tampered(tmp_path / "audit.sqlite")
    words = [word for name in FORMATS for word in ("--format", name)]
    done = run(demo_log, tmp_path, *words, "--framework", "soc-2", "--sample", "1")
    assert done.code == 4, done.err
    out = tmp_path / "out"
    assert "THE LOG DOES NOT PROVE ITSELF" in PdfReader(out / "report.pdf").pages[0].extract_text()
    assert '"executionSuccessful": false' in (out / "report.sarif").read_text()
    assert "NO: do not rely" in (out / "report.cdx.json").read_text()
    assert "THE LOG DOES NOT PROVE ITSELF" in (out / "report.oscal-ar.json").read_text()
