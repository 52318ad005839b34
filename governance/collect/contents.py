"""Our own look at what the stored files are, and at what pickles among them would import.

Promises: nothing is executed or written to disk; a file that can hold code and was not looked into is counted as
skipped, and then the verdict is unknown, never clean. Files read whole are checked against their listed SHA-256.

An upload is looked into before it is stored, where its files are at hand. It may come in pieces (a tracking server gets
one file at a time): the facts are then about the piece.

Does not: prove the format of a file of which only parts were read, against a server that shows us other bytes than the ones it has
listed; where it says itself that they are of another file by now, they are refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from governance.artifactory.client import ArtifactoryClient
from governance.collect.bytesource import ByteSource, byte_source
from governance.collect.collector import too_many_files, unknown_after
from governance.collect.dependencies import NOT_STORED
from governance.collect.threads import Threads
from governance.content.effort import Effort
from governance.content.formats import HEAD, detect
from governance.content.inspection import TOO_LARGE, inspect, inspect_parts, may_walk, must_look
from governance.content.judgement import CLEAN, MALICIOUS, SUSPICIOUS, is_allowed, is_dangerous, judge
from governance.content.seen import Inspection
from governance.content.zips import END_SIZE, MEMBER, ends_as_zip
from governance.errors import GovernanceError, ProtocolError
from governance.model.artifact import Artifact, FileEntry, Kind
from governance.model.digest import Sha256
from governance.model.facts import Collection, FactValue, Item, Unknown
from governance.model.request import Request

_WHOLE: Final = 64 << 10
"""Up to this size a file is read in one go: a second request would cost more than the bytes."""

_LARGEST: Final = 16 << 20
_TOTAL: Final = 128 << 20
_WORKERS: Final = 4
_NO_PARTS: Final = "the server hands out no parts of files"


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

    def ask(self, request: Request) -> ContentsInquiry:
        """What is to be looked into for one request."""
        return ContentsInquiry(request, self._clients)

    def collect(self, request: Request) -> Mapping[str, FactValue]:
        """The facts about an artifact's files, once all were looked into."""
        return self.ask(request).answer()


class ContentsInquiry:
    """The files that are looked into for one request, and what was seen of them so far."""

    def __init__(self, request: Request, clients: Callable[[str], ArtifactoryClient]) -> None:
        self._request = request
        self._clients = clients
        self._seen: dict[int, _Look] = {}

    def answer(self) -> Mapping[str, FactValue]:
        """The facts about an artifact's files. Where one cannot be read, or was changed, they are those of the others (`heard`)."""
        beside = _beside(self._request.artifact)
        files = (*self._request.artifact.files, *beside)
        too_many = too_many_files(len(files))
        if too_many is not None:
            return dict.fromkeys(ContentsCollector.supplies, too_many)
        source = byte_source(self._request, self._clients)
        if source is None:
            return dict.fromkeys(ContentsCollector.supplies, Unknown(NOT_STORED))
        allowance, effort = _allowance(files), Effort()
        failed: list[Unknown] = []

        def look(number: int, entry: FileEntry) -> None:
            if any(each.out_of_reach for each in failed):  # else each file would wait for the same outage
                return
            try:
                self._seen[number] = _look(source, entry, effort, may_read=str(entry.path) in allowance)
            except GovernanceError as error:
                failed.append(unknown_after(error))

        with Threads(_WORKERS, "contents") as executor:
            list(executor.map(look, range(len(files)), files))
        if failed:
            # An outage excuses them only where nothing else failed.
            rest = min(failed, key=_out_of_reach)
            return {**dict.fromkeys(ContentsCollector.supplies, rest), **self.heard(rest)}
        return _facts(self._looks())

    def heard(self, rest: Unknown) -> Mapping[str, FactValue]:
        """What is certain already, whatever is in the files that were not seen: what these are, what they import, and malice."""
        looks = self._looks()
        if not looks:
            return {}
        inspections = [look.inspection for look in looks]
        found: dict[str, FactValue] = {
            "files": Collection(_rows(looks), rest.reason, out_of_reach=rest.out_of_reach),
            "content.unsafe_imports": _unsafe(inspections, rest),
        }
        if _verdict(inspections, rest) == MALICIOUS:
            found["content.verdict"] = MALICIOUS
        return found

    def _looks(self) -> list[_Look]:
        """Those seen so far, without a signature in which there is nothing to be seen."""
        own = len(self._request.artifact.files)
        seen = sorted(self._seen.copy().items())
        return [look for number, look in seen if number < own or not _is_plain(look.inspection)]


def _out_of_reach(unknown: Unknown) -> bool:
    return unknown.out_of_reach


def _beside(artifact: Artifact) -> tuple[FileEntry, ...]:
    """The signature in a folder, which is handed out with it, and which `MLmodel` may call the model's weights."""
    if artifact.kind is Kind.FILE or artifact.signature is None:
        return ()
    return (artifact.signature,)


def _is_plain(found: Inspection) -> bool:
    """Whether a signature is a text in which nothing was found, as all good ones are. Any other is a file of the artifact."""
    return found == Inspection(format="text")


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


@dataclass(frozen=True, slots=True)
class _Look:
    """One file as it was seen. `entry` holds the digest of the bytes where they were read whole."""

    entry: FileEntry
    inspection: Inspection


def _look(source: ByteSource, entry: FileEntry, effort: Effort, *, may_read: bool) -> _Look:
    if not (may_read and entry.size is not None and entry.size <= _WHOLE):
        found = _look_at_parts(source, entry, effort, may_read=may_read)
        if found is not None:
            return _Look(entry, found)
    data = source.whole(entry, _LARGEST)
    sha256 = Sha256(hashlib.sha256(data).hexdigest())
    return _Look(replace(entry, sha256=sha256), inspect(entry.path, data, effort=effort))


def _look_at_parts(
    source: ByteSource, entry: FileEntry, effort: Effort, *, may_read: bool
) -> Inspection | None:
    """What parts of a file tell; None where it must be read whole, and may."""
    head = source.part(entry, 0, HEAD)
    format_ = detect(entry.path, head)
    if entry.size is None:  # what is behind the first bytes may be anything
        return Inspection(format=format_, skipped="its size is not known")
    must_read = must_look(entry.path, head, entry.size)
    if must_read and may_read:
        return None
    try:
        if not head.startswith(MEMBER) and _ends_as_zip(source, entry, entry.size):
            return None if may_read else Inspection(format=format_, skipped=TOO_LARGE)
        if must_read or may_walk(entry.path, head):
            return inspect_parts(entry.path, head, entry.size, partial(source.part, entry), effort)
    except ProtocolError:  # a proxy may take the range out of a request
        return None if may_read else Inspection(format=format_, skipped=_NO_PARTS)
    return Inspection(format=format_)


def _ends_as_zip(source: ByteSource, entry: FileEntry, size: int) -> bool:
    """Readers of zips look at the end: behind the weights there may be one, from which Python imports what `MLmodel` calls code."""
    start = max(0, size - END_SIZE)
    return ends_as_zip(source.part(entry, start, size - start), size)


def _facts(looks: Sequence[_Look]) -> dict[str, FactValue]:
    found = [look.inspection for look in looks]
    skipped = [look for look in looks if look.inspection.skipped is not None]
    gap = _gap(skipped) if skipped else None
    return {
        "files": Collection(_rows(looks), None if looks else "there is no file"),
        "content.verdict": _verdict(found, gap),
        "content.files_scanned": len(found) - len(skipped),
        "content.files_skipped": len(skipped),
        "content.files_total": len(found),
        "content.unsafe_imports": _unsafe(found, gap),
    }


def _unsafe(found: Sequence[Inspection], gap: Unknown | None) -> FactValue:
    """The imports on no allow list; not known to the last where something was not looked into, for the reason `gap`."""
    refused = {name for each in found for name in each.imports if not is_allowed(name)}
    # A message has room for a few: those that speak for malice come first.
    unsafe = tuple(sorted(refused, key=lambda name: (not is_dangerous(name), name)))
    return unsafe if gap is None else replace(gap, at_least=unsafe or None)


def _gap(skipped: Sequence[_Look]) -> Unknown:
    first = skipped[0]
    more = f" and {len(skipped) - 1} more" if skipped[1:] else ""
    return Unknown(f"`{first.entry.path}`{more} could not be looked into: {first.inspection.skipped}")


def _rows(looks: Sequence[_Look]) -> tuple[Item, ...]:
    return tuple(_row(look.entry, look.inspection) for look in looks)


def _verdict(found: Sequence[Inspection], gap: Unknown | None) -> FactValue:
    """The worst of all files. Malice found outweighs what was not looked into; nothing else does."""
    verdicts = {judge(each.imports, is_broken=each.broken is not None) for each in found}
    if MALICIOUS in verdicts:
        return MALICIOUS
    if gap is not None:
        return gap
    if SUSPICIOUS in verdicts:
        return SUSPICIOUS
    return CLEAN if found else Unknown("there is no file")


def _row(entry: FileEntry, found: Inspection) -> Item:
    doubt = found.skipped or found.broken
    return {
        "path": entry.path,
        "format": found.format,
        "size": entry.size if entry.size is not None else Unknown("the size is not known"),
        "sha256": entry.sha256 if entry.sha256 is not None else Unknown("the SHA-256 is not known"),
        "imports": found.imports if found.imports or doubt is None else Unknown(doubt),
    }
