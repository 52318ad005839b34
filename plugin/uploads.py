"""Uploads: judged, moved in parallel, hashed as they leave, then signed.

| what is uploaded | judged and recorded as | signed |
| --- | --- | --- |
| a folder, with its one call | the folder (or model) | at the end of the call |
| a file below a signed folder or model | that whole, of which it moves one file | the whole again |
| a file of a logged model, through a tracking server | the model, of which it moves one file | when the model turns READY |
| a file of a folder with `MLmodel` that nobody has signed | that model | not: `mlgov sign` does, after a look |
| any other file | itself | alone, with the signature beside it |

A plain folder that goes into a place where other things lie already is treated as so many files: one signature over the
place would not cover what was there before.

Promises: nothing is sent before it is admitted, and where uploads must be signed, nothing without a key. Does not: undo an
upload that fails half-way; what was stored is recorded, and stays unsigned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from governance.artifactory.address import Address
from governance.artifactory.client import ArtifactoryClient, require_storable
from governance.content.localfile import open_local
from governance.errors import NotFoundError, TransferError
from governance.model.artifact import (
    FOLDER_SIGNATURE,
    Artifact,
    FileEntry,
    Kind,
    RelativePath,
    parse_relative_path,
)
from governance.model.digest import Sha256
from governance.model.request import Action, Request, new_id
from governance.permit import Permit
from governance.wiring import Assembly
from plugin.context import caller, is_in_server, mlflow_context, read_flavors
from plugin.ledger import uploaded
from plugin.location import (
    find_top,
    folder_kind,
    folder_name,
    is_model_file,
    logged_model_root,
    lone_file,
    look_up,
)
from plugin.progress import progress
from plugin.sealing import Sealer
from plugin.transfer import LocalTree, Outgoing, scan, send
from plugin.turns import Turns


@dataclass(frozen=True, slots=True, kw_only=True)
class _Load:
    """Local files on their way to a place: names are relative to `root`, the whole that is judged."""

    root: Address
    artifact: Artifact
    sources: tuple[tuple[str, Path, int], ...]
    folders: tuple[str, ...] = ()
    flavors: tuple[str, ...] = ()


class Uploads:
    """Uploads to one Artifactory. Safe to use from many threads."""

    def __init__(self, *, assembly: Assembly, client: ArtifactoryClient, sealer: Sealer) -> None:
        self._assembly = assembly
        self._client = client
        self._sealer = sealer
        self._turns = Turns()

    def file(self, source: Path, folder: Address) -> None:
        """Upload one local file into a folder, under its own name."""
        self._sealer.require_signer()
        # The user named this very file, so a link is followed here, once; inside folders links are refused.
        real = _followed(source)
        with open_local(real):
            entry = FileEntry(path=parse_relative_path(source.name), size=real.stat().st_size)
        place = folder / source.name
        root = look_up(self._client, folder).root
        if root is None and is_model_file(source.name) and folder.path:
            root = folder
        root = root or find_top(self._client, folder)
        # Of two that write one file at once the last counts: its signature too, and not that of the other one's bytes.
        with self._turns.turn(place.uri):
            if root is None:
                self._lone(place, entry, real)
            else:
                self._below(root, place, entry, real)

    def folder(self, source: Path, place: Address) -> None:
        """Upload what lies in a local folder into `place`. Raises `UnsafePathError` for links, and `TransferError` for names that
        Artifactory does not store, before anything is sent."""
        self._sealer.require_signer()
        tree = scan(source)
        for path, _ in tree.files:
            require_storable(path)
        root = look_up(self._client, place).root
        is_model = any(is_model_file(name) for name, _ in tree.files)
        if root is None and not is_model:
            root = find_top(self._client, place)
        if root is None and not is_model and self._is_taken(place):
            self._scatter(source, tree, place)
            return
        load = self._folder_load(source, tree, root or place, place)
        with self._assembly.gate.admit(self._request(load)) as permit:
            for name in load.folders:
                self._client.make_folder(load.root.repository, (load.root / name).path)
            moved = self._send(permit, load)
            # A signature at the top of a repository makes one whole of what lies there: only where `MLmodel` does so too.
            if (
                load.root.path
                or root is not None
                or any(is_model_file(name) and "/" not in name for name, _ in tree.files)
            ):
                self._sealer.seal_folder(permit, load.root, moved)

    def seal_logged(self, root: Address, *, run_id: str | None = None) -> bool:
        """Sign a logged model whose upload is complete, as it was seen. False where this log saw none of its files."""
        files = uploaded(self._assembly.log, root)
        if not files:
            return False
        self._sealer.require_signer()
        artifact = _artifact(root, files, Kind.MODEL)
        load = _Load(root=root, artifact=artifact, sources=())
        request = replace(self._request(load), selection=())
        if run_id is not None:
            request = replace(request, mlflow=replace(request.mlflow, run_id=run_id))
        with self._assembly.gate.admit(request) as permit:
            self._sealer.seal_whole(permit, root, files)
        return True

    def _lone(self, place: Address, entry: FileEntry, source: Path) -> None:
        load = _Load(
            root=place.parent,
            artifact=lone_file(place, entry),
            sources=((place.name, source, entry.size or 0),),
        )
        with self._assembly.gate.admit(self._request(load)) as permit:
            (moved,) = self._send(permit, load)
            self._sealer.seal_file(permit, place, moved)

    def _below(self, root: Address, place: Address, entry: FileEntry, source: Path) -> None:
        name = _below(place, root)
        entry = replace(entry, path=parse_relative_path(name))
        kind = Kind.MODEL if self._holds_model(root, place) else Kind.FOLDER
        load = _Load(
            root=root, artifact=_artifact(root, (entry,), kind), sources=((name, source, entry.size or 0),)
        )
        with self._assembly.gate.admit(self._request(load)) as permit:
            (moved,) = self._send(permit, load)
            if name == FOLDER_SIGNATURE:
                return  # somebody else's signature, for others to verify; nothing of ours to add
            is_logged = logged_model_root(root.path) == root.path
            if self._sealer.is_sealed(root) or (is_logged and not is_in_server()):
                self._sealer.seal_folder(permit, root, [moved])
            elif not is_logged:
                self._sealer.annotate(permit, place, None)

    def _folder_load(self, source: Path, tree: LocalTree, root: Address, place: Address) -> _Load:
        prefix = f"{_below(place, root)}/" if place != root else ""
        own = f"{prefix}{FOLDER_SIGNATURE}" == FOLDER_SIGNATURE and self._assembly.signer is not None
        kept = [(name, size) for name, size in tree.files if not (own and name == FOLDER_SIGNATURE)]
        names = [f"{prefix}{name}" for name, _ in kept]
        kind = folder_kind(root.path, names)
        if root != place and kind is not Kind.MODEL and self._holds_model(root, place):
            kind = Kind.MODEL
        entries = tuple(
            FileEntry(path=RelativePath(name), size=size) for name, (_, size) in zip(names, kept, strict=True)
        )
        return _Load(
            root=root,
            artifact=_artifact(root, entries, kind),
            sources=tuple(
                (name, source / local, size) for name, (local, size) in zip(names, kept, strict=True)
            ),
            folders=tuple(f"{prefix}{name}" for name in tree.empty_folders),
            flavors=read_flavors(source),
        )

    def _scatter(self, source: Path, tree: LocalTree, place: Address) -> None:
        for name in tree.empty_folders:
            self._client.make_folder(place.repository, (place / name).path)
        for name, _ in tree.files:
            target = place / name
            self.file(source / name, target.parent)

    def _send(self, permit: Permit, load: _Load) -> Sequence[FileEntry]:
        items = [
            Outgoing(
                source=source,
                repository=load.root.repository,
                path=(load.root / name).path,
                name=name,
                size=size,
            )
            for name, source, size in load.sources
        ]
        workers = self._assembly.settings.transfer_workers
        with progress("Uploading artifacts", len(items)) as done:
            digests = send(self._client, permit, items, workers=workers, done=done)
        return [_seen(item, digests[item.name]) for item in items]

    def _is_taken(self, place: Address) -> bool:
        if not place.path:
            return True
        try:
            return bool(self._client.info(place.repository, place.path).children)
        except NotFoundError:
            return False

    def _holds_model(self, root: Address, place: Address) -> bool:
        if logged_model_root(root.path) == root.path or is_model_file(place.name):
            return True
        try:
            return any(map(is_model_file, self._client.info(root.repository, root.path).children))
        except NotFoundError:
            return False

    def _request(self, load: _Load) -> Request:
        at = self._assembly.now()
        return Request(
            action=Action.UPLOAD,
            artifact=load.artifact,
            actor=caller(),
            environment=self._assembly.settings.environment,
            at=at,
            correlation=new_id(at),
            mlflow=mlflow_context(load.root, flavors=load.flavors),
            staged={name: source for name, source, _ in load.sources} or None,
        )


def _followed(source: Path) -> Path:
    """What a path leads to. Raises `TransferError` for links in a circle, and for a name that can be none."""
    try:
        return source.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise TransferError(f"`{source}` cannot be read: {error}") from error


def _artifact(root: Address, files: Sequence[FileEntry], kind: Kind) -> Artifact:
    signature = next((entry for entry in files if entry.path == FOLDER_SIGNATURE), None)
    return Artifact(
        kind=kind,
        host=root.host,
        repository=root.repository,
        path=root.path,
        name=folder_name(root),
        files=tuple(entry for entry in files if entry.path != FOLDER_SIGNATURE),
        signature=signature,
    )


def _below(place: Address, root: Address) -> str:
    return place.path.removeprefix(f"{root.path}/") if root.path else place.path


def _seen(item: Outgoing, sha256: Sha256) -> FileEntry:
    return FileEntry(path=parse_relative_path(item.name), size=item.size, sha256=sha256)
