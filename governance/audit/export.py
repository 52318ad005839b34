"""Exports: a folder that holds the log, proves itself, and needs none of our software to be checked.

Promises: the folder is complete or not there (it is filled under another name and renamed); a folder that holds
anything is not written into. Does not: read more than one page of entries at a time, or leave out what is unpleasant.
"""

from __future__ import annotations

import importlib.resources
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from governance.audit.checkpoint import Checkpoint
from governance.audit.merkle import Frontier, leaf_hashes
from governance.audit.note import NoteKey
from governance.audit.store import AuditStore
from governance.audit.verify_evidence import verify_evidence
from governance.errors import AuditBrokenError, SettingsError, TransferError

_TILE = 256
_SHOWN = (
    "`mlgov audit verify` shows all that is wrong; `mlgov report compliance` hands out a broken log as one."
)
_MEND = "Fix the place, its rights or the disk, or name another folder."
_README = """\
This folder is an exported audit log. To check it, without network and without the software that made it:

    python verify_log.py . {key}

`verify_log.py` is meant to be read first; its beginning says what is in this folder and what is checked. Best take the
program and the key from where you trust them, and not from this folder.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What was handed out."""

    folder: Path
    checkpoint: Checkpoint
    documents: int
    command: str
    """The one command that checks the folder offline."""


def export_log(
    store: AuditStore, folder: Path, *, checkpoint: Checkpoint, key: NoteKey | None, with_tiles: bool = False
) -> Export:
    """Write the first `checkpoint.size` entries, all evidence and the verifier. `with_tiles` adds the files of
    c2sp.org/tlog-tiles. Raises `AuditBrokenError` when the entries are not those of the checkpoint."""
    with new_folder(folder) as target:
        _write_entries(store, target, checkpoint)
        documents = _write_evidence(store, target)
        (target / "checkpoint").write_bytes(checkpoint.to_bytes())
        if key is not None:
            (target / "log.vkey").write_text(key.vkey + "\n")
        write_verifier(target)
        (target / "README.txt").write_text(
            _README.format(key="--key KEY" if key else "").replace(" \n", "\n")
        )
        if with_tiles:
            _write_tiles(store, target, checkpoint.size)
    return Export(
        folder=folder,
        checkpoint=checkpoint,
        documents=documents,
        command=f"python {folder / 'verify_log.py'} {folder}",
    )


def write_verifier(target: Path) -> None:
    """The program of one file that checks what lies beside it."""
    program = importlib.resources.files("governance.audit").joinpath("verify_log.py").read_bytes()
    (target / "verify_log.py").write_bytes(program)


def require_free(folder: Path) -> None:
    """Raise `SettingsError` for a folder that holds something already, or cannot be looked at, and `TransferError` for one that
    cannot be made. To be asked before the log says that it was handed out. A disk that is full is found out only afterwards."""
    try:
        is_here = folder.exists() and folder.samefile(Path.cwd())
        is_taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise SettingsError(f"`{folder}` cannot be looked at: {error.strerror or error}") from error
    if is_taken:
        raise SettingsError(
            f"`{folder}` exists already", hint="Name a folder that is not there yet, or is empty."
        )
    if is_here:
        raise SettingsError(
            f"`{folder}` is the folder you are in, which cannot be replaced by a full one",
            hint="Name a folder that is not there yet.",
        )
    place = next((each for each in folder.absolute().parents if each.exists()), folder)
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise TransferError(
            f"cannot export to `{folder}`: `{place}` is not a folder that may be written to", hint=_MEND
        )


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which gets its name only once it is full. Raises `TransferError` where it cannot be written, and
    `SettingsError` where something is there already."""
    require_free(folder)
    target = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        target = Path(tempfile.mkdtemp(prefix=".mlgov-", dir=folder.parent))
        yield target
        target.rename(folder)
    except OSError as error:
        raise TransferError(
            f"cannot export to `{folder}`: {error.strerror or error}",
            hint=_MEND,
        ) from error
    finally:
        if target is not None:
            shutil.rmtree(target, ignore_errors=True)


def _write_entries(store: AuditStore, target: Path, checkpoint: Checkpoint) -> None:
    tree = Frontier()
    with (target / "entries.jsonl").open("wb") as entries, (target / "leaves.txt").open("wb") as leaves:
        for start in range(0, checkpoint.size, _TILE):
            rows = list(store.rows(start, min(start + _TILE, checkpoint.size)))
            for row, leaf in zip(rows, leaf_hashes(row.data for row in rows), strict=True):
                if leaf != row.leaf:  # its hash is still that of the tree, so only its bytes tell
                    raise AuditBrokenError(
                        f"entry {row.seq}: its bytes are not those of its hash, so the log is not handed out as if it were whole",
                        index=row.seq,
                        hint=_SHOWN,
                    )
                entries.write(row.data + b"\n")
                leaves.write(row.leaf.hex().encode() + b"\n")
            tree = tree.extend([row.leaf for row in rows])
    if (tree.size, tree.root()) != (checkpoint.size, checkpoint.root):
        raise AuditBrokenError(
            "the entries are not those of the checkpoint: verify the log before it is handed out"
        )


def _write_evidence(store: AuditStore, target: Path) -> int:
    """Each document is written as it was verified, and read once. Returns how many there are."""
    (target / "evidence").mkdir()
    count = 0
    with (target / "evidence.jsonl").open("w") as listing:

        def take(name: str, document: bytes | None) -> None:
            nonlocal count
            listing.write(json.dumps({"sha256": name, "erased": document is None}, sort_keys=True) + "\n")
            if document is not None:  # what its name says, so its name is no path that leads elsewhere
                (target / "evidence" / name).write_bytes(document)
                count += 1

        broken = verify_evidence(store, taking=take)
    if broken:
        raise AuditBrokenError(
            f"{broken[0]}, so the log is not handed out as if it were whole",
            index=broken[0].index,
            hint=_SHOWN,
        )
    return count


def _write_tiles(store: AuditStore, target: Path, size: int) -> None:
    """Hash tiles and entry bundles as c2sp.org/tlog-tiles has them, partial ones for the rest."""
    for start in range(0, size, _TILE):
        width = min(_TILE, size - start)
        bundle = b"".join(
            len(row.data).to_bytes(2, "big") + row.data for row in store.rows(start, start + width)
        )
        _put(target / "tile" / "entries" / tile_path(start // _TILE, width), bundle)
    level = 0
    while (count := size >> (8 * level)) > 0:
        for start in range(0, count, _TILE):
            width = min(_TILE, count - start)
            hashes = b"".join(store.node(8 * level, index) for index in range(start, start + width))
            _put(target / "tile" / str(level) / tile_path(start // _TILE, width), hashes)
        level += 1


def tile_path(number: int, width: int = _TILE) -> str:
    """`x001/x234/067` for tile 1234067, with `.p/<width>` for one that is not full."""
    parts = [f"{number % 1000:03d}"]
    while number >= 1000:
        number //= 1000
        parts.append(f"x{number % 1000:03d}")
    path = "/".join(reversed(parts))
    return path if width == _TILE else f"{path}.p/{width}"


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
