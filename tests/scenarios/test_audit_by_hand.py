"""The shell lines of `docs/audit.md` are run as they stand there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.audit_tools import fill, make_log, signer

PAGE = Path(__file__).resolve().parents[2] / "docs" / "audit.md"


@pytest.mark.skipif(
    not all(map(shutil.which, ("sh", "xxd", "sha256sum"))), reason="needs sh, xxd and sha256sum"
)
@pytest.mark.parametrize("is_touched", [False, True])
def test_one_proof_can_be_checked_by_hand(tmp_path: Path, is_touched: bool) -> None:
    log = make_log(signers=[signer()])
    fill(log, 1)
    log.export(tmp_path / "out")  # start, outcome, export: three entries
    if is_touched:
        entries = tmp_path / "out" / "entries.jsonl"
        entries.write_bytes(entries.read_bytes().replace(b'"version"', b'"Version"'))
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (script,) = [block for block in blocks if "sha256sum" in block]
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout == ("" if is_touched else "entry 0 is in the log\n")
