"""What every SARIF document of ours shares: its envelope, and texts that are nothing but text.

Source: OASIS, Static Analysis Results Interchange Format 2.1.0, errata 01.
"""

from __future__ import annotations

import re

from governance.model.canonical import Json
from governance.report.showing import shown

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_SPECIAL = re.compile(r"[\\\[\]]")


def sarif_document(run: dict[str, Json]) -> dict[str, Json]:
    """A document with one run."""
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def sarif_text(value: object) -> str:
    """Text for a message. Brackets and backslashes would make links (3.11.6), braces placeholders (3.11.5), and hidden characters
    another text."""
    return _SPECIAL.sub(lambda found: "\\" + found[0], shown(value)).replace("{", "{{").replace("}", "}}")
