"""What unit tests of one subject share over several files."""

from __future__ import annotations

from tests.unit.collect_kit import edge

__all__ = ["edge"]
