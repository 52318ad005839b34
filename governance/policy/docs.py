"""What is generated from the language itself: the shipped schemas, and the table of operators in `docs/policy.md`.

`python -m governance.policy.docs FOLDER` writes them below a checkout; a test compares what is there with what these
functions give.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from governance.model.facts import FactType
from governance.policy.operators import OPERATORS
from governance.policy.schema import kinds
from governance.policy.schemagen import json_schema


def operators_markdown() -> str:
    """The table of operators in `docs/policy.md`."""
    lines = ["| operator | of types | meaning |", "| --- | --- | --- |"]
    for row in OPERATORS.values():
        name = f"{row.group}: {{{row.name}: ...}}" if row.group else row.name
        types = (
            "any"
            if len(row.types) == len(FactType)
            else ", ".join(kind.value for kind in FactType if kind in row.types)
        )
        lines.append(f"| `{name}` | {types} | {row.meaning} |")
    return "\n".join(lines) + "\n"


def generated_files() -> dict[str, str]:
    """The generated files, by their name below the checkout."""
    return {
        f"policies/schema/{kind}.json": json.dumps(json_schema(kind), indent=1, sort_keys=True) + "\n"
        for kind in kinds()
    }


def write_files(root: Path) -> Iterable[Path]:
    """Write the generated files below `root`, and name those that changed."""
    for name, text in generated_files().items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            yield path


if __name__ == "__main__":
    for changed in write_files(Path(sys.argv[1] if len(sys.argv) > 1 else ".")):
        sys.stdout.write(f"{changed}\n")
