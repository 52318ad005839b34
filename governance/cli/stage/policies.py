"""The policies of the demo: the shipped `baseline`, as a team would take it over into its own folder."""

from __future__ import annotations

from pathlib import Path

import policies


def write_policies(folder: Path) -> None:
    """Write the pack to a folder of its own, for the demo to use and for its user to change."""
    folder.mkdir(mode=0o700)
    (folder / "baseline.yaml").write_text(policies.read("baseline"), encoding="utf-8")
