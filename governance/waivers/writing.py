"""Documents and steps of waivers written beside each other, for git to carry.

Promises: nothing is written over; a step is verified as a reader will before it is written. Does not: sign.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from governance import places
from governance.errors import ConfigurationError, PolicyInvalidError
from governance.model.canonical import Json
from governance.model.facts import CATALOGUE
from governance.policy.assembling import Assembler
from governance.policy.documents import Waiver
from governance.policy.load import policy_paths
from governance.policy.printing import waiver_tree
from governance.policy.strict_yaml import DEFAULT_LIMITS, YamlRefusedError, parse_yaml
from governance.waivers.steps import StepFile, terms_of

FOLDER = "waivers"
"""Below the policies, where requests are written."""


def waiver_yaml(waiver: Waiver) -> str:
    """The document of a waiver, in the form in which people write times."""
    import yaml

    tree = waiver_tree(waiver)
    spec = tree["spec"]
    del spec["approvedBy"]  # what counts are the signed steps beside it
    spec |= {"starts": _time(waiver.starts), "expires": _time(waiver.expires)}
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, explicit_start=True, width=110)


def check_document(waiver: Waiver) -> None:
    """See that the document will be read as exactly this waiver. Raises `PolicyInvalidError` with what is wrong in it,
    such as a reason that is too long.
    """
    assembler = Assembler(CATALOGUE)
    name = f"{waiver.name}.yaml"
    for document in parse_yaml(waiver_yaml(waiver).encode(), name):
        assembler.add(document)
    problems = assembler.problems()  # before the rule is looked for, which is among other files
    found = assembler.waivers()
    if not problems and [terms_of(each) for each in found] != [terms_of(waiver)]:
        problems = [f"{name}:1:1: expected a document that reads as it was written, got another"]
    if problems:
        raise PolicyInvalidError(problems)


def waiver_folder(paths: Sequence[Path], start: Path) -> Path:
    """Where a new waiver belongs: below the first folder of policies, else at `start`."""
    folder = next((path for path in paths if path.is_dir()), None)
    return start if folder is None else folder / FOLDER


def find_document(paths: Sequence[Path], name: str) -> Path | None:
    """The file that holds the document of a waiver."""
    for path in policy_paths(paths):
        try:
            trees = [document.data for document in parse_yaml(_read(path), str(path))]
        except (OSError, YamlRefusedError, PolicyInvalidError):
            continue
        if any(_is_waiver(tree, name) for tree in trees):
            return path
    return None


def _read(path: Path) -> bytes:
    with places.open_file(path) as stream:
        return stream.read(DEFAULT_LIMITS.size + 1)


def write_new(path: Path, data: bytes) -> None:
    """A new file. Raises `ConfigurationError` where it is there already."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        places.write_new(path, data, mode=0o666)
    except OSError as error:
        raise ConfigurationError(f"`{path}` cannot be written: {error.strerror}") from error


def write_step(folder: Path, file: StepFile) -> Path:
    """A step into the folder of its waiver."""
    path = folder / file.name
    write_new(path, file.data)
    return path


def _is_waiver(tree: object, name: str) -> bool:
    if not isinstance(tree, Mapping) or tree.get("kind") != "Waiver":
        return False
    metadata: Json = tree.get("metadata")
    return isinstance(metadata, Mapping) and metadata.get("name") == name


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
