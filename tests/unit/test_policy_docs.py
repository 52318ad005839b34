"""`docs/policy.md` as written: every example loads, every case on it comes out as it says."""

from __future__ import annotations

import re
from pathlib import Path

from governance.policy import docs
from governance.policy.cases import run_cases
from governance.policy.load import load_files

PAGE = Path(__file__).resolve().parents[2] / "docs" / "policy.md"


def test_every_example_loads_and_every_case_comes_out_as_written() -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    bundle = load_files({f"{PAGE.name}[{number}]": block.encode() for number, block in enumerate(blocks)})
    report = run_cases(bundle)
    assert [(one.case, one.differences) for one in report.failed] == []
    assert len(report.results) >= 10
    assert (len(bundle.policies), len(bundle.waivers), bundle.set is not None) == (2, 1, True)


def test_the_table_of_operators_is_the_one_in_the_code() -> None:
    assert docs.operators_markdown() in PAGE.read_text(encoding="utf-8")
