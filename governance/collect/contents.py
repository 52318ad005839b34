"""Our own look at what the stored files are, and at what pickles among them would import.

Promises: nothing is executed or written to disk; a file that can hold code and was not looked into is counted as
skipped, and then the verdict is unknown, never clean. Files read whole are checked against their listed SHA-256.

Does not: prove the format of a file of which only the first bytes were read, against a server that shows us other bytes
than the ones it has listed; those are caught when they move.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from governance.artifactory.client import ArtifactoryClient
from governance.collect.dependencies import NOT_STORED
from governance.content.formats import HEAD, detect
from governance.content.inspection import Inspection, inspect, needs_look
from governance.content.judgement import CLEAN, MALICIOUS, SUSPICIOUS, is_allowed, judge
from governance.errors import DigestMismatchError
from governance.model.artifact import Artifact, FileEntry
from governance.model.facts import Collection, FactValue, Item, Unknown
from governance.model.request import Action, Request

_WHOLE: Final = 64 << 10
"""Up to this size a file is read in one go: a second request would cost more than the bytes."""

_LARGEST: Final = 16 << 20
_TOTAL: Final = 128 << 20
_MAX_FILES: Final = 2_000
_WORKERS: Final = 4


class ContentsCollector:
    """`files` and `content.*`."""

    name = "contents"
    on_demand = True
    supplies = frozenset(
        {
            "files",
            "content.verdict",
            "content.files_scanned",
            "content.files_skipped",
            "content.files_total",
            "content.unsafe_imports",
        }
    )

    def __init__(self, clients: Callable[[str], ArtifactoryClient]) -> None:
        self._clients = clients

    def collect(self, request: Request) -> Mapping[str, FactValue]:
        """The facts about a stored artifact. Raises `RemoteError`, or `DigestMismatchError` for changed files."""
        if request.action is Action.UPLOAD:
            return dict.fromkeys(self.supplies, Unknown(NOT_STORED))
        artifact = request.artifact
        if len(artifact.files) > _MAX_FILES:
            return dict.fromkeys(self.supplies, Unknown(f"more than {_MAX_FILES} files"))
        client = self._clients(artifact.host)
        allowance = _allowance(artifact.files)
        with ThreadPoolExecutor(max_workers=_WORKERS, thread_name_prefix="contents") as executor:
            found = list(
                executor.map(
                    lambda entry: _look(client, artifact, entry, may_read=str(entry.path) in allowance),
                    artifact.files,
                )
            )
        return _facts(artifact.files, found)


def _allowance(files: Sequence[FileEntry]) -> frozenset[str]:
    """The files that may be read whole: the smallest first, until the total is used up."""
    left, allowed = _TOTAL, []
    for entry in sorted(files, key=lambda each: (each.size or 0, each.path)):
        size = entry.size
        if size is None or size > _LARGEST or size > left:
            continue
        left -= size
        allowed.append(str(entry.path))
    return frozenset(allowed)


def _look(client: ArtifactoryClient, artifact: Artifact, entry: FileEntry, *, may_read: bool) -> Inspection:
    place = f"{artifact.path}/{entry.path}".lstrip("/")
    if may_read and entry.size is not None and entry.size <= _WHOLE:
        return inspect(entry.path, _whole(client, artifact, entry, place))
    head = client.read_head(artifact.repository, place, size=HEAD)
    format_ = detect(entry.path, head)
    if not needs_look(format_):
        return Inspection(format=format_)
    if not may_read:
        return Inspection(format=format_, skipped="larger than what is looked into")
    return inspect(entry.path, _whole(client, artifact, entry, place))


def _whole(client: ArtifactoryClient, artifact: Artifact, entry: FileEntry, place: str) -> bytes:
    data = client.read_small(artifact.repository, place, limit=_LARGEST)
    actual = hashlib.sha256(data).hexdigest()
    if entry.sha256 is not None and entry.sha256 != actual:
        raise DigestMismatchError(entry.path, expected=entry.sha256, actual=actual)
    return data


def _facts(files: Sequence[FileEntry], found: Sequence[Inspection]) -> dict[str, FactValue]:
    skipped = [each for each in found if each.skipped is not None]
    unsafe = tuple(sorted({name for each in found for name in each.imports if not is_allowed(name)}))
    gap = Unknown(f"{len(skipped)} files could not be looked into: {skipped[0].skipped}") if skipped else None
    return {
        "files": Collection(
            tuple(_row(entry, each) for entry, each in zip(files, found, strict=True)),
            None if files else "there is no file",
        ),
        "content.verdict": _verdict(found, gap),
        "content.files_scanned": len(found) - len(skipped),
        "content.files_skipped": len(skipped),
        "content.files_total": len(found),
        "content.unsafe_imports": unsafe if unsafe or gap is None else gap,
    }


def _verdict(found: Sequence[Inspection], gap: Unknown | None) -> FactValue:
    """The worst of all files. Malice found outweighs what was not looked into; nothing else does."""
    verdicts = {judge(each.imports, is_broken=each.broken is not None) for each in found}
    if MALICIOUS in verdicts:
        return MALICIOUS
    if SUSPICIOUS in verdicts:
        return SUSPICIOUS
    return gap or (CLEAN if found else Unknown("there is no file"))


def _row(entry: FileEntry, found: Inspection) -> Item:
    doubt = found.skipped or found.broken
    return {
        "path": entry.path,
        "format": found.format,
        "size": entry.size if entry.size is not None else Unknown("the size is not known"),
        "sha256": entry.sha256 if entry.sha256 is not None else Unknown("the SHA-256 is not known"),
        "imports": found.imports if found.imports or doubt is None else Unknown(doubt),
    }
