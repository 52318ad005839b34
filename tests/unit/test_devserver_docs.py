"""What `docs/embedded-server.md` shows can be done as shown, and it names every field of a fault."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from governance.devserver import Fault

PAGE = (Path(__file__).resolve().parents[2] / "docs/embedded-server.md").read_text("utf-8")


def test_the_example_runs_as_it_stands() -> None:
    first, faults = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    indented = "".join(f"    {line}\n" for line in faults.splitlines())
    exec(compile(first + indented, "docs/embedded-server.md", "exec"), {})


def test_every_field_of_a_fault_is_described() -> None:
    fields = {field.name for field in dataclasses.fields(Fault)} - {"method", "path", "query"}
    assert {name for name in fields if f"`{name}" not in PAGE and f".{name}`" not in PAGE} == set()
