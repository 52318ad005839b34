"""Shipped policy packs: each a YAML file with its cases beside it. Two functions find and read them.

A pack is a start, not a law: copy it into your own repository (`.governance/`) and change it there.
"""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent
_CASES = ".cases"


def names() -> tuple[str, ...]:
    """The names of the packs."""
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.yaml") if not file.stem.endswith(_CASES)))


def path(name: str) -> Path:
    """The file of a pack. Raises `KeyError` for a name that is none."""
    if name not in names():
        raise KeyError(name)
    return _FOLDER / f"{name}.yaml"


def cases(name: str) -> Path:
    """The file with the cases of a pack. Raises `KeyError` for a name that is none."""
    return path(name).with_suffix(f"{_CASES}.yaml")


def read(name: str) -> str:
    """The text of a pack. Raises `KeyError` for a name that is none."""
    return path(name).read_text(encoding="utf-8")
