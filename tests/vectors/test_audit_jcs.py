"""The JCS vectors of cyberphone/json-canonicalization: written as they demand, or refused as outside our subset."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from governance.model.canonical import CanonicalError, canonical_bytes, parse_canonical
from tests.audit_tools import VECTORS

JCS = VECTORS / "jcs"

pytestmark = pytest.mark.skipif(not JCS.is_dir(), reason=f"no vectors at {JCS}")

# Floats, and keys beyond ASCII: what the subset leaves out.
OUTSIDE = {"french", "structures", "values", "weird"}


@pytest.mark.parametrize("source", sorted((JCS / "input").glob("*.json")), ids=lambda path: path.stem)
def test_each_vector_is_canonical_or_refused(source: Path) -> None:
    wanted = (JCS / "output" / source.name).read_bytes().rstrip(b"\n")
    value = json.loads(source.read_text(encoding="utf-8"))
    if source.stem in OUTSIDE:
        with pytest.raises(CanonicalError):
            canonical_bytes(value)
    else:
        assert canonical_bytes(value) == wanted
        assert parse_canonical(wanted) == value


def test_the_hex_form_says_the_same() -> None:
    for path in sorted((JCS / "outhex").glob("*.txt")):
        assert bytes.fromhex(path.read_text()) == (JCS / "output" / f"{path.stem}.json").read_bytes().rstrip(
            b"\n"
        )
