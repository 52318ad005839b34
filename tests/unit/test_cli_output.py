"""What a terminal that is not wide shows: what people copy is whole."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable

import pytest

from governance.cli.output import print_pairs, print_rows


class Narrow(io.StringIO):
    """A terminal of 80 columns."""

    def isatty(self) -> bool:
        return True


def told_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch, tell: Callable[[], None]) -> list[str]:
    screen = Narrow()
    for name, value in (("TERM", "xterm"), ("COLUMNS", "80"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", screen)
    tell()
    plain_text = re.sub(r"\x1b\[[\d;]*m", "", screen.getvalue())
    return [line.rstrip() for line in plain_text.splitlines()]


def test_an_id_in_a_table_can_be_copied_from_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    headings = ("waiver", "stands", "rule", "artifact", "until", "approvals", "used")
    row = (
        "WVR-b2f93fcf89",
        "revoked",
        "baseline-models/critical-vulnerability",
        "rich-local/old-yaml",
        "2026-12-29",
        "1 of 1",
        "1",
    )
    lines = told_on_a_narrow_terminal(monkeypatch, lambda: print_rows(headings, [row]))
    assert lines[1].startswith("WVR-b2f93fcf89 ")
    assert max(map(len, lines)) <= 80
    far = told_on_a_narrow_terminal(
        monkeypatch, lambda: print_rows(("digest", "where"), [("d" * 73, "w" * 60)])
    )
    assert "".join(far).count("d") == 74, "one that leaves no room for the rest is folded, and whole"


def test_a_digest_can_be_copied_from_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = {
        "  tree root": "ab" * 32,
        "  earlier heads it was compared with": "1",
        "  a path": "/" + "p" * 100,
    }
    lines = told_on_a_narrow_terminal(monkeypatch, lambda: print_pairs(pairs))
    assert f"    {'ab' * 32}" in lines
    assert f"    /{'p' * 100}" in lines, (
        "the terminal folds what is longer than itself, and copies it as one line"
    )
    assert "  earlier heads it was compared with  1" in lines
