"""Looking into one file, in the role that Xray plays: pickles with `picklescan`, pinned packages against `advisories`.

Promises that nothing of a file is executed, and that a file which could not be read to the end is not called complete.
Does not remember results (`scans`) and does not judge them (`watching`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from picklescan import scanner as picklescan

from governance.devserver.advisories import Advisories, Advisory, Package

_PICKLE_NAMES = frozenset(
    {
        ".bin",
        ".ckpt",
        ".dat",
        ".data",
        ".dill",
        ".joblib",
        ".keras",
        ".npy",
        ".npz",
        ".pickle",
        ".pkl",
        ".pt",
        ".pt2",
    }
    | {".pth", ".skops", ".zip"}
)
_PICKLE_STARTS = (*(bytes([0x80, protocol]) for protocol in range(6)), b"PK\x03\x04", b"\x93NUMPY")
_BUILDS_FUNCTIONS = "cloudpickle.cloudpickle"
"""Every object of a class or function of one's own calls it. `picklescan` counts it as danger, which Xray does not call malice."""
_PIN = re.compile(r"===?\s*([^\s,;*]+)\s*$")
_MAX_TEXT = 1 << 20
MAX_SCAN = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Malice:
    """Something in a file that does harm when the file is loaded."""

    file: str
    imports: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was found in one file. `complete` is False where a part could not be looked at, and `note` says why."""

    packages: tuple[Package, ...] = ()
    advisories: tuple[tuple[Package, Advisory], ...] = ()
    malice: tuple[Malice, ...] = ()
    complete: bool = True
    note: str = ""


def scan(path: Path, name: str, advisories: Advisories) -> Findings:
    """Look into the file at `path`, which is stored under `name`."""
    if path.stat().st_size > MAX_SCAN:
        return Findings(complete=False, note="the file is larger than the scanner reads")
    packages = tuple(dict.fromkeys(_packages(path, name)))
    known = tuple((package, row) for package in packages for row in advisories.about(package))
    try:
        malice, complete = _malice(path, name)
    except Exception as error:  # noqa: BLE001 - a hostile file may make the third-party parser raise anything
        return Findings(
            packages=packages, advisories=known, complete=False, note=f"{type(error).__name__}: {error}"
        )
    note = "" if complete else "the pickle could not be read to its end"
    return Findings(packages=packages, advisories=known, malice=malice, complete=complete, note=note)


def _malice(path: Path, name: str) -> tuple[tuple[Malice, ...], bool]:
    """What does harm, and whether the file was read to its end."""
    suffix = Path(name).suffix.lower()
    with path.open("rb") as file:
        start = file.read(8)
        if suffix not in _PICKLE_NAMES and not start.startswith(_PICKLE_STARTS):
            return (), True
        file.seek(0)
        found = picklescan.scan_bytes(file, name, suffix)
    harmful = [g for g in found.globals if g.safety is picklescan.SafetyLevel.Dangerous]
    if all(each.module == _BUILDS_FUNCTIONS for each in harmful):
        return (), not found.scan_err
    imports = tuple(sorted(f"{each.module}.{each.name}" for each in harmful))
    return (Malice(file=name, imports=imports),), not found.scan_err


def _packages(path: Path, name: str) -> Iterator[Package]:
    """Packages that a file pins or is."""
    lower = name.lower()
    if lower.endswith(".whl"):
        try:
            wheel, version, _, _ = parse_wheel_filename(name)
        except InvalidWheelFilename:
            return
        yield Package.of(wheel, str(version))
    elif path.stat().st_size > _MAX_TEXT:
        return
    elif re.fullmatch(r"requirements.*\.txt", lower):
        yield from _pins(path.read_text("utf-8", "replace").splitlines())
    elif re.fullmatch(r"(conda|environment)\.ya?ml", lower):
        yield from _pins(_texts(_load_yaml(path)))


def _load_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text("utf-8", "replace"))
    except (yaml.YAMLError, RecursionError):
        return None


def _texts(node: Any, depth: int = 0) -> Iterator[str]:
    """All texts in the dependency lists of a conda environment file. MLflow's `python_env.yaml` names only the tools that
    built the environment, and is left out."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, list) and depth < 8:
        for each in node:
            yield from _texts(each, depth + 1)
    elif isinstance(node, dict) and depth < 8:
        for key in ("dependencies", "pip"):
            yield from _texts(node.get(key), depth + 1)


def _pins(lines: Iterator[str] | list[str]) -> Iterator[Package]:
    for line in lines:
        text = re.sub(r"(^|\s)#.*$", "", line).split(" --hash")[0].strip().rstrip("\\").strip()
        if not text or text.startswith("-"):
            continue
        conda = re.fullmatch(r"([A-Za-z0-9][\w.\-]*)=([^=\s]+)(=\S+)?", text)
        if conda:
            if conda[1] != "python":  # the interpreter is no package of PyPI
                yield Package.of(conda[1], conda[2])
            continue
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        pin = _PIN.fullmatch(str(requirement.specifier))
        if pin:
            yield Package.of(requirement.name, pin[1])


def quiet() -> None:
    """`picklescan` logs each file that it looks at; findings are answers here, not log lines."""
    logging.getLogger("picklescan").setLevel(logging.CRITICAL)
