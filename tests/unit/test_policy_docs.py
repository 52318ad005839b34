"""`docs/policy.md` as written: every example loads, every case on it comes out as it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from governance.policy import docs
from governance.policy.cases import run_cases
from governance.policy.documents import PolicyBundle
from governance.policy.load import load_files

PAGE = Path(__file__).resolve().parents[2] / "docs" / "policy.md"
_TASKS = re.compile(r"^## Task by task\n(.*?)(?=^## )", re.DOTALL | re.MULTILINE)


def text() -> str:
    return PAGE.read_text(encoding="utf-8")


def loaded(markdown: str) -> PolicyBundle:
    blocks = re.findall(r"^```yaml\n(.*?)^```", markdown, re.DOTALL | re.MULTILINE)
    return load_files({f"{PAGE.name}[{number}]": block.encode() for number, block in enumerate(blocks)})


def tasks() -> dict[str, str]:
    """What stands below each heading of the list of tasks."""
    (found,) = _TASKS.findall(text())
    parts = re.split(r"^### (.*)\n", found, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_example_loads_and_every_case_comes_out_as_written() -> None:
    bundle = loaded(_TASKS.sub("", text()))
    report = run_cases(bundle)
    assert [(one.case, one.differences) for one in report.failed] == []
    assert len(report.results) >= 10
    assert (len(bundle.policies), len(bundle.waivers), bundle.set is not None) == (2, 1, True)


def test_the_list_of_tasks_is_whole() -> None:
    assert list(tasks()) == [
        "Block by severity",
        "Allow only some publishers",
        "Only safetensors",
        "Licences",
        "Quarantine until scanned",
        "Grace for new CVEs",
        "A team's own layer",
        "From observing to enforcing",
        "The life of a waiver",
    ]


@pytest.mark.parametrize("task", tasks())
def test_each_task_is_a_file_of_its_own_whose_cases_show_what_it_does(task: str) -> None:
    report = run_cases(loaded(tasks()[task]))
    assert [(one.case, one.differences) for one in report.failed] == []
    assert len({one.verdict.decision for one in report.results}) >= 2, "what passes, and what does not"
    assert [row.rule for row in report.coverage if not row.matched] == []


def test_the_table_of_operators_is_the_one_in_the_code() -> None:
    assert docs.operators_markdown() in text()
