"""Files, folders and properties of all repositories.

Promises that each method is atomic (one lock), that parents exist, that listings cost what they list, and that a file's
content is there as long as the file is. Does not check rights and does not speak HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from threading import RLock

from governance.devserver.blobs import Blobs, Digests, Incoming
from governance.devserver.documents import Documents
from governance.devserver.items import NO_CHECKSUMS, Item, Usage, join
from governance.devserver.repositories import Config, Repositories


class Store:
    """The tree of items. Paths are in normal form already."""

    def __init__(self, blobs: Blobs, documents: Documents, now: Callable[[], datetime]) -> None:
        self.lock = RLock()
        self.repositories = Repositories(documents)
        self._blobs = blobs
        self._documents = documents
        self._now = now
        self._items: dict[str, dict[str, Item]] = {}
        self._children: dict[tuple[str, str], dict[str, None]] = {}
        self._holders: dict[str, set[tuple[str, str]]] = {}
        self._usage: dict[tuple[str, str], Usage] = {}
        for config in self.repositories.all():
            self._open(config["key"])
        for _, document in documents.load("item"):
            self._index(Item.from_document(document))

    # -- repositories

    def create_repository(self, key: str, config: Config) -> None:
        """Add an empty repository."""
        with self.lock:
            self.repositories.create(key, config)
            self._open(key)

    def remove_repository(self, key: str) -> None:
        """Remove a repository with all that it holds."""
        with self.lock:
            for item in list(self._items.get(key, {}).values()):
                self._drop(item)
            self._items.pop(key, None)
            self.repositories.remove(key)

    def _open(self, key: str) -> None:
        at = self._now()
        root = Item(repo=key, path="", folder=True, created=at, created_by="", modified=at, modified_by="")
        self._items.setdefault(key, {}).setdefault("", root)

    # -- reading

    def find(self, repo: str, path: str) -> Item | None:
        """The item behind a key that may be virtual or a remote's cache."""
        with self.lock:
            for key in self.repositories.readable(repo):
                if item := self._items[key].get(path):
                    return item
            return None

    def children(self, item: Item) -> list[Item]:
        """What lies directly in a folder, by name."""
        with self.lock:
            held = self._items[item.repo]
            names = sorted(self._children.get((item.repo, item.path), ()))
            return [held[join(item.path, name)] for name in names]

    def walk(self, item: Item, depth: int | None = None) -> Iterator[Item]:
        """All items below a folder, parents first."""
        for child in self.children(item):
            yield child
            if child.folder and (depth is None or depth > 1):
                yield from self.walk(child, None if depth is None else depth - 1)

    def everything(self, repo: str) -> list[Item]:
        """All items of a repository that holds files itself, root excluded."""
        with self.lock:
            return [item for path, item in self._items.get(repo, {}).items() if path]

    def holders(self, algorithm: str, checksum: str) -> list[Item]:
        """Files with that content."""
        with self.lock:
            if algorithm == "sha256":
                places = sorted(self._holders.get(checksum, ()))
                found = [self._items[repo][path] for repo, path in places]
                return [
                    item for item in found if item.content.sha256 == checksum
                ]  # not where bytes were exchanged
            return [
                item
                for held in self._items.values()
                for item in held.values()
                if item.digests and item.digests.by_name()[algorithm] == checksum
            ]

    def content_path(self, item: Item) -> Path:
        """Where the bytes lie that are served for a file."""
        return self._blobs.path(item.blob)

    # -- writing

    def receive(self) -> Incoming:
        """Begin an upload."""
        return self._blobs.receive()

    def put_upload(
        self, repo: str, path: str, incoming: Incoming, *, by: str, claimed: Mapping[str, str]
    ) -> Item:
        """Store received bytes as a file, over an older one if need be."""
        with self.lock:
            return self.put_known(repo, path, self._blobs.keep(incoming), by=by, claimed=claimed)

    def put_known(
        self,
        repo: str,
        path: str,
        digests: Digests,
        *,
        by: str,
        claimed: Mapping[str, str] = NO_CHECKSUMS,
        blob: str = "",
    ) -> Item:
        """Store content that is here already as a file."""
        with self.lock:
            at, old = self._now(), self._items[repo].get(path)
            item = Item(
                repo=repo,
                path=path,
                folder=False,
                created=old.created if old else at,
                created_by=old.created_by if old else by,
                modified=at,
                modified_by=by,
                digests=digests,
                blob=blob or digests.sha256,
                claimed=dict(claimed),
            )
            self.make_folder(repo, item.parent, by=by)
            self._replace(item)
            return item

    def make_folder(self, repo: str, path: str, *, by: str) -> Item:
        """The folder, made with its parents where it is missing."""
        with self.lock:
            known = self._items[repo].get(path)
            if known is not None:
                return known
            self.make_folder(repo, path.rpartition("/")[0], by=by)
            at = self._now()
            item = Item(
                repo=repo, path=path, folder=True, created=at, created_by=by, modified=at, modified_by=by
            )
            self._replace(item)
            return item

    def set_properties(self, item: Item, properties: Mapping[str, tuple[str, ...]]) -> Item:
        """Replace all properties of an item."""
        with self.lock:
            changed = replace(item, properties=dict(properties))
            self._replace(changed)
            return changed

    def substitute(self, item: Item, incoming: Incoming, *, keep_checksums: bool) -> Item:
        """Change a file's bytes without anything else noticing: what an intruder on the server does."""
        with self.lock:
            digests = self._blobs.keep(incoming)
            shown = item.digests if keep_checksums else digests
            changed = replace(item, digests=shown, blob=digests.sha256)
            self._replace(changed)
            return changed

    def claim(self, item: Item, claimed: Mapping[str, str]) -> None:
        """Note checksums that a client sent for a file afterwards."""
        with self.lock:
            self._replace(replace(item, claimed={**item.claimed, **claimed}))

    def delete(self, item: Item) -> None:
        """Remove a file, or a folder with all below it. A repository's root itself stays."""
        with self.lock:
            below = list(self.walk(item)) if item.folder else []
            for child in reversed(below):
                self._drop(child)
            if item.path:
                self._drop(item)

    # -- usage

    def count_download(self, item: Item, by: str) -> None:
        """Note that a file was fetched."""
        usage = self._usage.setdefault((item.repo, item.path), Usage())
        usage.downloads, usage.last, usage.last_by = usage.downloads + 1, self._now(), by

    def usage(self, item: Item) -> Usage:
        """How often a file was fetched."""
        return self._usage.get((item.repo, item.path), Usage())

    # -- indexes

    def _index(self, item: Item) -> None:
        self._items.setdefault(item.repo, {})[item.path] = item
        if item.path:
            self._children.setdefault((item.repo, item.parent), {})[item.name] = None
        if item.blob:
            self._holders.setdefault(item.blob, set()).add((item.repo, item.path))

    def _replace(self, item: Item) -> None:
        old = self._items[item.repo].get(item.path)
        self._index(item)
        if old is not None and old.blob and old.blob != item.blob:
            self._release(old)
        self._documents.put("item", f"{item.repo}/{item.path}", item.to_document())

    def _drop(self, item: Item) -> None:
        self._items[item.repo].pop(item.path, None)
        self._children.get((item.repo, item.parent), {}).pop(item.name, None)
        self._children.pop((item.repo, item.path), None)
        self._usage.pop((item.repo, item.path), None)
        if item.blob:
            self._release(item)
        self._documents.remove("item", f"{item.repo}/{item.path}")

    def _release(self, item: Item) -> None:
        places = self._holders.get(item.blob, set())
        places.discard((item.repo, item.path))
        if not places:
            self._holders.pop(item.blob, None)
            self._blobs.remove(item.blob)
