"""Where MLflow's (root, path) pairs lie in Artifactory, and to which whole each file belongs.

MLflow reaches one model by different pairs: the model's own folder and `""`, its parent and `artifacts`, the server's
destination and a long path. All become one `Address` first. What is judged is then:

1. `…/models/m-<32 hex>/artifacts`, where the path lies in a logged model;
2. else the outermost folder above it that holds `MLmodel` or a signature, but not the repository itself, and nothing
   above the artifacts of the run;
3. else, outside of runs, all that lies in no such folder, where the repository itself holds `MLmodel` or a signature;
4. else the file, or the folder, that was asked for.

The outermost, since a model may hold other models, and since a further `MLmodel` slipped into a subfolder must not cut
what is judged down to that subfolder.

Promises: names from MLflow and from the server are checked before they become paths. Does not: move or judge anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from governance.artifactory.address import Address
from governance.artifactory.client import ArtifactoryClient
from governance.artifactory.items import ItemInfo, StoredFile, Tree
from governance.errors import ForbiddenError, NotFoundError
from governance.model.artifact import (
    FILE_SIGNATURE_SUFFIX,
    FOLDER_SIGNATURE,
    Artifact,
    FileEntry,
    Kind,
    RelativePath,
    parse_relative_path,
)

MODEL_FILE = "MLmodel"
_MODEL_FILE_FOLDED = MODEL_FILE.casefold()
_LOGGED_MODEL = re.compile(r"(?:.*?/)??models/(?P<id>m-[0-9a-f]{32})/artifacts(?=/|$)")
_RUN = re.compile(r"(?:.*?/)??(?P<id>[0-9a-f]{32})/artifacts(?=/|$)")
_EXPERIMENT = re.compile(r"(?:.*/)?(?P<id>[0-9]+)/$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A whole that is judged, and the files of it that are to be moved (`None` is all of them). `root` is its folder;
    files of the artifact are named below it."""

    root: Address
    artifact: Artifact
    selection: tuple[str, ...] | None = None

    @property
    def moving(self) -> tuple[FileEntry, ...]:
        """The files to move, with the signature bundle where everything moves."""
        if self.selection is None:
            own = (self.artifact.signature,) if _has_folder_signature(self.artifact) else ()
            return (*self.artifact.files, *(entry for entry in own if entry is not None))
        known = {str(entry.path): entry for entry in self.artifact.files}
        if self.artifact.signature is not None:
            known[str(self.artifact.signature.path)] = self.artifact.signature
        return tuple(known[name] for name in self.selection)


def resolve(root: Address, artifact_path: str | None) -> Address:
    """The place that MLflow means. Raises `UnsafePathError` for a path that would leave the root."""
    path = (artifact_path or "").rstrip("/") if artifact_path != "/" else "/"
    return root if path in {"", "."} else root / path


def logged_model_root(path: str) -> str | None:
    """The folder of the logged model that a path lies in, or None. Looks at the path alone."""
    match = _LOGGED_MODEL.match(path)
    return match[0] if match else None


def logged_model_id(path: str) -> str | None:
    """The id of the logged model that a path lies in, or None."""
    match = _LOGGED_MODEL.match(path)
    return match["id"] if match else None


def run_id(path: str) -> str | None:
    """The id of the run whose artifacts a path lies in, or None."""
    match = None if _LOGGED_MODEL.match(path) else _RUN.match(path)
    return match["id"] if match else None


def experiment_id(path: str) -> str | None:
    """The id of the experiment that a run or logged model lies in, or None."""
    for match, tail in ((_LOGGED_MODEL.match(path), "models/"), (_RUN.match(path), "")):
        if match:
            above = path[: match.start("id")].removesuffix(tail)
            found = _EXPERIMENT.match(above)
            return found["id"] if found else None
    return None


def candidates(path: str) -> Iterator[str]:
    """The folders from the outermost to `path` itself that could be the root of what is judged."""
    run = _RUN.match(path)
    start = run[0] if run else path.partition("/")[0]
    if start:
        yield start
    for end in range(len(start) + 1, len(path) + 1):
        if end == len(path) or path[end] == "/":
            yield path[:end]


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """The root that a place belongs to by rules 1 and 2, or None; then `file` is what lies there, where it is a file."""

    root: Address | None = None
    file: ItemInfo | None = None


def look_up(client: ArtifactoryClient, place: Address) -> Whereabouts:
    """Where a place belongs. Asks the server about each folder on the way, and about the place itself."""
    known = logged_model_root(place.path)
    if known is not None:
        return Whereabouts(root=replace(place, path=known))
    for path in dict.fromkeys(candidates(place.path)):
        try:
            item = client.info(place.repository, path)
        except NotFoundError:
            return Whereabouts()
        if not item.is_folder:
            return Whereabouts(file=item if path == place.path else None)
        if any(_marks_a_root(child) for child in item.children):
            return Whereabouts(root=replace(place, path=path))
    return Whereabouts()


def lone_part(client: ArtifactoryClient, place: Address, file: ItemInfo) -> Part:
    """A file that belongs to no root, with the signature beside it. The server is asked for that alone."""
    artifact = lone_file(place, _described(place, file), _sidecar(client, place))
    return Part(root=place.parent, artifact=artifact)


def whole(root: Address, tree: Tree) -> Artifact:
    """The artifact below a root, from its listing. The bundle in the root is the signature and no part of the identity."""
    files = tuple(_entry(file) for file in tree.files if file.path != FOLDER_SIGNATURE)
    signature = next((_entry(file) for file in tree.files if file.path == FOLDER_SIGNATURE), None)
    return Artifact(
        kind=folder_kind(root.path, [str(file.path) for file in files]),
        host=root.host,
        repository=root.repository,
        path=root.path,
        name=folder_name(root),
        files=files,
        signature=signature,
    )


def folder_kind(path: str, names: Sequence[str]) -> Kind:
    """`MODEL` for a logged model, and for a folder that holds `MLmodel` anywhere; else `FOLDER`."""
    if logged_model_root(path) == path:
        return Kind.MODEL
    return Kind.MODEL if any(is_model_file(name) for name in names) else Kind.FOLDER


def is_model_file(path: str) -> bool:
    """Whether a file is the `MLmodel` of what lies around it. In any case of its letters: MLflow opens it by name, and the disks of
    macOS and Windows find it under each."""
    return path.rpartition("/")[2].casefold() == _MODEL_FILE_FOLDED


def _marks_a_root(name: str) -> bool:
    return name == FOLDER_SIGNATURE or is_model_file(name)


def folder_name(root: Address) -> str:
    """The name of what lies in a folder: the model's id for a logged model."""
    return logged_model_id(root.path) or root.name


def lone_file(place: Address, entry: FileEntry, signature: FileEntry | None = None) -> Artifact:
    """The artifact that is one file."""
    return Artifact(
        kind=Kind.FILE,
        host=place.host,
        repository=place.repository,
        path=place.parent.path,
        name=place.name,
        files=(entry,),
        signature=signature,
    )


def is_sidecar(name: str) -> bool:
    """Whether a file is the signature of another that was logged alone."""
    return name.endswith(FILE_SIGNATURE_SUFFIX)


def select(place: Address, root: Address, tree: Tree) -> tuple[str, ...] | None:
    """The names below `root` that asking for `place` means. `None` is all. Raises `NotFoundError`."""
    if place == root:
        return None
    below = place.path.removeprefix(f"{root.path}/")
    names = tuple(str(file.path) for file in tree.files)
    if below in names:
        return (below,)
    inside = tuple(name for name in names if name.startswith(f"{below}/"))
    if not inside and below not in tree.folders:
        raise NotFoundError(
            "no such file or folder", service="Artifactory", method="GET", path=place.path, status=404
        )
    return inside


def split(place: Address, tree: Tree) -> tuple[Part, ...]:
    """The wholes inside a folder that itself belongs to none: each model with its files, and the rest as one folder."""
    roots = _inner_roots(place, tree)
    parts = [_inner_part(place, root, tree) for root in roots]
    rest = tuple(
        file
        for file in tree.files
        if not any(str(file.path).startswith(f"{root}/") for root in roots) and not is_sidecar(str(file.path))
    )
    if rest or not parts:
        artifact = whole(place, Tree(files=rest))
        parts.append(Part(root=place, artifact=artifact))
    return tuple(parts)


def find_top(client: ArtifactoryClient, place: Address) -> Address | None:
    """The repository itself, where rule 3 holds of a place that has no root by rules 1 and 2; else None.

    Whoever may not look at the repository itself cannot fetch the model that lies there, and so no file of it as its.
    """
    if run_id(place.path) is not None:
        return None
    top = replace(place, path="")
    try:
        children = client.info(top.repository, "").children
    except (NotFoundError, ForbiddenError):
        return None
    return top if any(map(_marks_a_root, children)) else None


def top_parts(client: ArtifactoryClient, place: Address) -> tuple[Part, ...]:
    """The wholes for a place by rule 3. Empty where that does not hold, and for the repository itself."""
    top = find_top(client, place) if place.path else None
    if top is None:
        return ()
    try:
        tree = client.tree(top.repository, "")
    except (NotFoundError, ForbiddenError):
        return ()
    chosen = (_chosen(part, place) for part in split(top, tree))
    return tuple(part for part in chosen if part is not None)


def _chosen(part: Part, place: Address) -> Part | None:
    """What asking for `place` moves of a part of the repository: all of a whole below the place, some of the rest."""
    inside = f"{place.path}/"
    if part.root.path:
        return part if f"{part.root.path}/".startswith(inside) else None
    names = (str(entry.path) for entry in part.artifact.files)
    selection = tuple(name for name in names if f"{name}/".startswith(inside))
    return replace(part, selection=selection) if selection else None


def _inner_roots(place: Address, tree: Tree) -> list[str]:
    found = set()
    for file in tree.files:
        folder, _, name = str(file.path).rpartition("/")
        full = f"{place.path}/{file.path}".lstrip("/")
        logged = logged_model_root(full)
        if logged is not None:
            found.add(logged.removeprefix(place.path).lstrip("/"))
        elif _marks_a_root(name) and folder:
            found.add(folder)
    return sorted(root for root in found if not any(root.startswith(f"{other}/") for other in found))


def _inner_part(place: Address, root: str, tree: Tree) -> Part:
    files = tuple(
        replace(file, path=parse_relative_path(str(file.path).removeprefix(f"{root}/")))
        for file in tree.files
        if str(file.path).startswith(f"{root}/")
    )
    inner = place / root
    return Part(root=inner, artifact=whole(inner, Tree(files=files)))


def _sidecar(client: ArtifactoryClient, place: Address) -> FileEntry | None:
    beside = replace(place, path=f"{place.path}{FILE_SIGNATURE_SUFFIX}")
    try:
        item = client.info(beside.repository, beside.path)
    except NotFoundError:
        return None
    return None if item.is_folder else _described(beside, item)


def _described(place: Address, file: ItemInfo) -> FileEntry:
    return FileEntry(path=parse_relative_path(place.name), size=file.size, sha256=file.sha256)


def _entry(file: StoredFile) -> FileEntry:
    return FileEntry(path=RelativePath(file.path), size=file.size, sha256=file.sha256)


def _has_folder_signature(artifact: Artifact) -> bool:
    return artifact.kind is not Kind.FILE and artifact.signature is not None
