"""What asking for a place means: which wholes are judged, which files of them move, which empty folders appear.

Promises: each answer comes from one listing of the server, which a moved file must match byte for byte later on. For a
single file of a model, as a tracking server's clients fetch them one by one, a listing may be some seconds old: then a
difference is the caller's cue to look again. Does not: move or judge.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from governance.artifactory.address import Address
from governance.artifactory.client import ArtifactoryClient
from governance.artifactory.items import ItemInfo, Tree
from governance.errors import NotFoundError
from governance.forking import ForkLock
from governance.model.request import new_id
from plugin.location import Part, is_sidecar, lone_part, look_up, select, split, top_parts, whole
from plugin.turns import Turns

_FRESH_SECONDS = 5.0
_MAX_KEPT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is judged and moved for one place. `folders` are full paths of folders to make, `correlation` joins the
    requests that used one listing, `is_kept` says that the listing is some seconds old."""

    place: Address
    parts: tuple[Part, ...]
    folders: tuple[str, ...] = ()
    correlation: str
    is_kept: bool = False
    is_file: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing:
    root: Address
    tree: Tree
    part: Part
    correlation: str
    until: float


class Listings:
    """Plans for places of one Artifactory. Safe to use from many threads."""

    def __init__(
        self,
        client: ArtifactoryClient,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._now = now
        self._clock = clock
        self._kept: dict[str, _Listing] = {}
        self._turns = Turns()
        self._lock = ForkLock()

    def plan(self, place: Address, *, fresh: bool = False) -> Plan:
        """The plan for a place. Raises `NotFoundError`."""
        kept = None if fresh else self._recall(place)
        if kept is not None:
            with suppress(NotFoundError):  # it may have come since
                return _within(place, kept, is_kept=True)
        found = look_up(self._client, place)
        root = found.root
        if root is None:
            return self._alone(place, found.file)
        if fresh or place == root:
            return _within(place, self._look(root), is_kept=False)
        # The first files of one model are asked for at the same moment: one listing, and one correlation, for all.
        with self._turns.turn(root.uri):
            later = self._recall(place)
            if later is not None and later is not kept:
                with suppress(NotFoundError):
                    return _within(place, later, is_kept=True)
            return _within(place, self._look(root), is_kept=False)

    def forget(self, place: Address) -> None:
        """Something was written there."""
        with self._lock:
            self._kept = {
                key: kept for key, kept in self._kept.items() if not f"{place.uri}/".startswith(f"{key}/")
            }

    def _recall(self, place: Address) -> _Listing | None:
        """A kept listing of a folder above `place`. A whole is always listed anew."""
        with self._lock:
            for key, kept in self._kept.items():
                if place.uri.startswith(f"{key}/") and kept.until >= self._clock():
                    return kept
        return None

    def _look(self, root: Address) -> _Listing:
        tree = self._client.tree(root.repository, root.path)
        kept = _Listing(
            root=root,
            tree=tree,
            part=_all_of(root, tree),
            correlation=new_id(self._now()),
            until=self._clock() + _FRESH_SECONDS,
        )
        with self._lock:
            live = {key: each for key, each in self._kept.items() if each.until >= self._clock()}
            self._kept = {root.uri: kept} | dict(list(live.items())[: _MAX_KEPT - 1])
        return kept

    def _alone(self, place: Address, file: ItemInfo | None) -> Plan:
        correlation = new_id(self._now())
        top = top_parts(self._client, place)
        if file is not None:
            parts = top or (lone_part(self._client, place, file),)
            return Plan(place=place, parts=parts, correlation=correlation, is_file=True)
        tree = self._client.tree(place.repository, place.path)
        folders = tuple(f"{place.path}/{folder}".lstrip("/") for folder in tree.folders)
        return Plan(place=place, parts=top or split(place, tree), folders=folders, correlation=correlation)


def _all_of(root: Address, tree: Tree) -> Part:
    artifact = whole(root, tree)
    if not any(is_sidecar(str(entry.path)) for entry in artifact.files):
        return Part(root=root, artifact=artifact)
    # Judged with the rest, and left behind: a listing does not show them either.
    own = (str(artifact.signature.path),) if artifact.signature is not None else ()
    visible = tuple(str(entry.path) for entry in artifact.files if not is_sidecar(str(entry.path)))
    return Part(root=root, artifact=artifact, selection=(*visible, *own))


def _within(place: Address, listing: _Listing, *, is_kept: bool) -> Plan:
    root, tree, part = listing.root, listing.tree, listing.part
    chosen = select(place, root, tree)
    if chosen is not None:
        is_file = place.path == f"{root.path}/{chosen[0]}" if chosen else False
        names = chosen if is_file else tuple(name for name in chosen if not is_sidecar(name))
        part = replace(part, selection=names)
    else:
        is_file = False
    inside = f"{place.path}/"
    folders = (f"{root.path}/{folder}" for folder in tree.folders)
    return Plan(
        place=place,
        parts=(part,),
        folders=tuple(path for path in folders if f"{path}/".startswith(inside)),
        correlation=listing.correlation,
        is_kept=is_kept,
        is_file=is_file,
    )
