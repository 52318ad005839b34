"""All 196 inclusion and consistency proofs of transparency-dev/merkle, right ones and wrong ones."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from governance.audit import merkle
from governance.errors import AuditBrokenError

VECTORS = Path(__file__).resolve().parents[2].parent / "shared/vectors/merkle"

pytestmark = pytest.mark.skipif(not VECTORS.is_dir(), reason=f"no vectors at {VECTORS}")


def _cases(kind: str) -> list[tuple[str, dict[str, Any]]]:
    return [
        (str(path.relative_to(VECTORS)), json.loads(path.read_text()))
        for path in sorted((VECTORS / kind).rglob("*.json"))
    ]


def _bytes(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def _inclusion(case: dict[str, Any]) -> None:
    merkle.verify_inclusion(
        index=case["leafIdx"],
        size=case["treeSize"],
        leaf=_bytes(case["leafHash"]),
        proof=[_bytes(part) for part in case["proof"] or ()],
        root=_bytes(case["root"]),
    )


def _consistency(case: dict[str, Any]) -> None:
    merkle.verify_consistency(
        old=case["size1"],
        new=case["size2"],
        old_root=_bytes(case["root1"]),
        new_root=_bytes(case["root2"]),
        proof=[_bytes(part) for part in case["proof"] or ()],
    )


@pytest.mark.parametrize(("kind", "check"), [("inclusion", _inclusion), ("consistency", _consistency)])
def test_every_proof_is_accepted_or_refused_as_labelled(kind: str, check: Any) -> None:
    wrong = []
    for name, case in _cases(kind):
        try:
            check(case)
        except AuditBrokenError:
            accepted = False
        else:
            accepted = True
        if accepted == case["wantErr"]:
            wrong.append(name)
    assert wrong == []


def test_all_vectors_are_there() -> None:
    assert len(_cases("inclusion")) + len(_cases("consistency")) == 196
