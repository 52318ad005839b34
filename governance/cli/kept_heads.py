"""Heads of the log that are known from before, for the verbs that hold the log against them.

Promises: a file that is no checkpoint is a mistake of whoever named it, one that was kept for another log too, and neither is
compared in silence; of two heads of one size that differ, one is never left out. Does not: ask anybody on the network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from governance.errors import AuditBrokenError, SettingsError

if TYPE_CHECKING:
    from governance.audit.checkpoint import Checkpoint
    from governance.audit.log import AuditLog
    from governance.audit.note import NoteKey
    from governance.audit_wiring import AuditAssembly

_MAX_HEAD = 64 << 10


def kept_heads(
    assembly: AuditAssembly, earlier: Sequence[Path], key: str | None = None
) -> Iterator[Checkpoint]:
    """Every head that is known from before: named, remembered by this machine, and in folders that anchor the log."""
    from governance.auditing import folder_anchors, head_memory, public_key

    keys = [] if key is None else [public_key(key)]
    for path in head_files(earlier):
        yield read_head(path, keys, origin=assembly.log.origin)
    remembered = head_memory(assembly.settings).recall()
    if remembered is not None:
        yield remembered
    for anchor in folder_anchors(assembly.settings):
        yield from anchor.heads()


def roots_of(heads: Iterator[Checkpoint]) -> dict[int, bytes]:
    """The roots by size. Two of one size are a fork, whichever the log has. Raises `AuditBrokenError`."""
    roots: dict[int, bytes] = {}
    for head in heads:
        if roots.setdefault(head.size, head.root) != head.root:
            raise AuditBrokenError(
                f"two different heads of {head.size} entries were kept: the log is forked",
                index=max(0, head.size - 1),
                hint="Keep both heads, and find out who was handed which.",
            )
    return roots


def roots_against(log: AuditLog, heads: Iterator[Checkpoint]) -> dict[int, bytes]:
    """The same for a report, which is written whatever was found: of two heads of one size, the one that the log does not
    have, so that the report says where the log is forked."""
    from governance.audit.merkle import root_of

    roots: dict[int, bytes] = {}
    size = log.store.frontier().size
    for head in heads:
        known = roots.setdefault(head.size, head.root)
        if known != head.root and head.size <= size and root_of(log.store.node, head.size) == known:
            roots[head.size] = head.root
    return roots


def read_head(path: Path, keys: Sequence[NoteKey] = (), *, origin: str | None = None) -> Checkpoint:
    """A head that was kept, of the log `origin` where that is given, which one of `keys` signed where any is given. Raises
    `SettingsError` for a file that is no checkpoint or of another log, and `AuditBrokenError` for one that these keys did
    not sign."""
    from governance.audit.checkpoint import open_checkpoint, read_checkpoint
    from governance.cli.stored import read_small

    data = read_small(path, _MAX_HEAD)
    try:
        found = read_checkpoint(data or b"")
    except AuditBrokenError as error:
        raise SettingsError(
            f"`{path}` is not a checkpoint: {error.message}",
            hint="`mlgov audit checkpoint --print` prints one; every export has one.",
        ) from error
    if origin is not None and found.origin != origin:
        raise SettingsError(
            f"`{path}` is a head of the log `{found.origin[:80]}`, and this one is called `{origin}`",
            hint="Name heads that were kept of this log. Where it is called so by mistake, correct `audit_origin`; a log "
            "that was replaced by one of another name is an incident.",
        )
    try:
        return open_checkpoint(found.to_bytes(), keys, origin=origin) if keys else found
    except AuditBrokenError as error:
        raise AuditBrokenError(
            f"`{path}`: {error.message}",
            hint="A head that was kept before the log had its key is compared without `--key`.",
        ) from error


def head_files(paths: Sequence[Path]) -> Iterator[Path]:
    """The files of heads that are named, one by one or as a folder of them. Raises `SettingsError`."""
    for path in paths:
        if path.is_dir():
            found = sorted(path.glob("*.checkpoint"))
            if not found:  # or the log would be held against nothing, and nobody told
                raise SettingsError(
                    f"there is no checkpoint in `{path}`",
                    hint="Kept heads are the files `*.checkpoint` there.",
                )
            yield from found
        elif path.is_file():
            yield path
        else:
            raise SettingsError(
                f"there is no checkpoint `{path}`", hint="Name a file or a folder of kept heads."
            )
