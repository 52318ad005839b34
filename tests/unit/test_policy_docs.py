"""`docs/policy.md` and `policy-tasks.md` as written: every example loads, every case on them comes out as it says."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from governance.policy import docs
from governance.policy.cases import run_cases
from governance.policy.checking import check
from governance.policy.documents import PolicyBundle
from governance.policy.load import load_files, written_files
from governance.policy.mutation import mutate
from governance.report.policy_tests import telling_text

PAGE = Path(__file__).resolve().parents[2] / "docs" / "policy.md"
TASKS = PAGE.with_name("policy-tasks.md")


def text() -> str:
    return PAGE.read_text(encoding="utf-8")


def loaded(markdown: str) -> PolicyBundle:
    blocks = re.findall(r"^```yaml\n(.*?)^```", markdown, re.DOTALL | re.MULTILINE)
    return load_files({f"{PAGE.name}[{number}]": block.encode() for number, block in enumerate(blocks)})


def tasks() -> dict[str, str]:
    """What stands below each heading of the list of tasks."""
    parts = re.split(r"^## (.*)\n", TASKS.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_example_loads_and_every_case_comes_out_as_written() -> None:
    bundle = loaded(text())
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


def blocks(info: str) -> list[str]:
    """The blocks of the page whose fence says `info`."""
    found: list[str] = re.findall(rf"^```{info}\n(.*?)^```", text(), re.DOTALL | re.MULTILINE)
    return found


def test_the_findings_shown_are_those_of_the_policy_shown() -> None:
    (shown,), (said,) = blocks("yaml check"), blocks("text check")
    found = check(written_files({"policy.yaml": shown.encode()}), at=datetime(2026, 11, 22, tzinfo=UTC))
    assert "".join(f"{one}\n" for one in found if one.counts) == said
    assert [one.code for one in found if not one.counts] == ["block-skips-unknown"]


def test_the_survivor_shown_is_the_one_of_the_cases_shown() -> None:
    files = {f"{number}.yaml": shown.encode() for number, shown in enumerate(blocks("yaml mutants"))}
    written = written_files(files)
    (one,) = mutate(written).survivors
    assert one.telling is not None
    told = telling_text(one.telling, written.bundle.catalogue)
    assert blocks("text mutants") == [f"{one.mutant.words}, and no case noticed\na case that would: {told}\n"]


def test_the_table_of_operators_is_the_one_in_the_code() -> None:
    assert docs.operators_markdown() in text()
