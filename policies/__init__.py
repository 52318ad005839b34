"""Shipped policy packs: each a YAML file with its cases beside it, and the starter that `mlgov policy init` writes.

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


def starter(name: str) -> str:
    """The text of a file of the starter, such as `models.yaml`. Raises `KeyError` for a name that is none."""
    file = _FOLDER / "starter" / name
    if file.parent != _FOLDER / "starter" or not file.is_file():
        raise KeyError(name)
    return file.read_text(encoding="utf-8")
