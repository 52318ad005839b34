"""The client of Artifactory's REST interface.

Promises: names that go out are checked and quoted part by part, names that come in are checked before anyone makes a
path of them; an upload is confirmed by the server's own SHA-256 or it is an error; properties go out as JSON, so that
no value can become another property. Does not: decide anything, keep anything, or write a local file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256 as new_sha256
from itertools import islice
from typing import Final

from governance.artifactory import wire
from governance.artifactory.address import quoted
from governance.artifactory.hashing import hashing_reader
from governance.artifactory.items import Deployed, Download, ItemInfo, StoredFile, Tree
from governance.artifactory.server import ServerClient
from governance.errors import DigestMismatchError, TransferError
from governance.model.artifact import RelativePath, RepositoryKey, parse_relative_path, parse_repository_key
from governance.model.digest import Sha256, parse_sha256
from governance.transport import Answer, Readable, StreamedResponse

PropertyValue = str | Sequence[str] | None

_LISTING_LIMIT: Final = 128 << 20
_TOTAL: Final = 1 << 53
_CHECKSUM_FILES: Final = (".sha1", ".sha256", ".sha512", ".md5")
_KEY: Final = re.compile(r"[A-Za-z][^\s)(}{\]\[*+^$\\/~`!@#%&<>;=,±§]{0,254}")
_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")


class ArtifactoryClient(ServerClient):
    """One Artifactory. Paths are relative to the repository; `""` is its root. Every call may raise `RemoteError`."""

    def tree(self, repository: str, path: str) -> Tree:
        """Everything below `path`, in one request. Raises `NotFoundError`; `UnsafePathError` for a hostile name."""
        return self._listed(repository, path, {"list": None, "deep": "1", "listFolders": "1"})

    def children(self, repository: str, path: str) -> Tree:
        """One level below `path`, in one request. Raises as `tree`."""
        return self._listed(repository, path, {"list": None, "deep": "0", "depth": "1", "listFolders": "1"})

    def info(self, repository: str, path: str) -> ItemInfo:
        """What the server knows of one file or folder. Raises `NotFoundError`."""
        answer = self._transport.call("GET", f"api/storage/{quoted(repository, path)}", limit=_LISTING_LIMIT)
        item = answer.read(wire.Item)
        names = [
            f"{parse_relative_path(child.uri.removeprefix('/'))}{'/' if child.folder else ''}"
            for child in item.children or ()
        ]
        return ItemInfo(
            repository=_key(item.repo, answer),
            path=item.path.strip("/"),
            is_folder=item.size is None,
            size=item.size,
            sha256=_digest(item.checksums.sha256 if item.checksums else None, answer),
            created=_utc(item.created),
            created_by=item.created_by,
            modified=_utc(item.last_modified),
            modified_by=item.modified_by,
            mime_type=item.mime_type,
            children=tuple(sorted(names)),
        )

    @contextmanager
    def download(self, repository: str, path: str, *, start: int = 0) -> Iterator[Download]:
        """Open a file for reading, from byte `start` on. A server may ignore `start`: look at `Download.start`.

        The caller must hash what it gets and compare: neither the length nor the header proves the bytes.
        """
        headers = {"Range": f"bytes={start}-"} if start else {}
        with self._transport.stream("GET", quoted(repository, path), headers=headers) as response:
            claimed = response.headers.get("X-Checksum-Sha256")
            if claimed is None and response.headers.get("Content-Type", "").startswith("text/html"):
                raise response.exchange.broken("a page in place of the file", status=response.status)
            begin, size = _extent(response, start)
            yield Download(
                start=begin,
                size=size,
                sha256=_digest(claimed, response),
                chunks=response.iter_chunks,
            )

    def read_small(self, repository: str, path: str, *, limit: int) -> bytes:
        """A small file whole. Raises `ProtocolError` for more than `limit` bytes, `DigestMismatchError` where the bytes
        are not those that the server has."""
        with self._transport.stream("GET", quoted(repository, path), ok=(200,)) as response:
            claimed = _digest(response.headers.get("X-Checksum-Sha256"), response)
            data = response.read_all(limit)
        actual = new_sha256(data).hexdigest()
        if claimed is not None and claimed != actual:
            raise DigestMismatchError(path, expected=claimed, actual=actual)
        return data

    def read_part(
        self, repository: str, path: str, *, start: int = 0, size: int, sha256: Sha256 | None = None
    ) -> bytes:
        """Bytes of a file from `start` on, `size` of them at most. No checksum speaks for a part: good for looking at, not for
        using. Raises `ProtocolError` where the server gives other bytes, `DigestMismatchError` where it says that the file is
        another one by now than that of `sha256`."""
        headers = {"Range": f"bytes={start}-{start + size - 1}"}
        with self._transport.stream(
            "GET", quoted(repository, path), headers=headers, ok=(200, 206, 416)
        ) as response:
            if response.status == 416:  # an empty file has no first byte
                return b""
            _check_part(response, start)
            claimed = _digest(response.headers.get("X-Checksum-Sha256"), response)
            if claimed is not None and sha256 is not None and claimed != sha256:
                raise DigestMismatchError(path, expected=sha256, actual=claimed)
            return b"".join(islice(response.iter_chunks(size), 1))

    def upload(
        self, repository: str, path: str, body: Readable, *, size: int, sha256: Sha256 | None = None
    ) -> Deployed:
        """Store `size` bytes of `body`, hashed on their way and compared with the server's answer.

        `sha256`, where known beforehand, is sent along: the server then refuses other bytes, and takes a repeated
        upload of the same ones even from a user who may not overwrite.

        Raises `ConflictError` where the server got other bytes, `TransferError` where the local file changed.
        """
        require_storable(path)
        headers = {"X-Checksum-Sha256": sha256} if sha256 is not None else {}
        with hashing_reader(body, size) as reader:
            answer = self._transport.send(quoted(repository, path), reader, size=size, headers=headers)
            sent = reader.sha256
        if sha256 is not None and sha256 != sent:
            raise DigestMismatchError(path, expected=sha256, actual=sent)
        return self._confirmed(repository, path, answer, sent, size)

    def deploy_by_checksum(self, repository: str, path: str, *, sha256: Sha256, size: int) -> Deployed | None:
        """Store a file whose bytes the server has already, without sending them. None where it does not have them (or
        does not let this user know)."""
        require_storable(path)
        headers = {"X-Checksum-Deploy": "true", "X-Checksum-Sha256": sha256}
        answer = self._transport.call(
            "PUT", quoted(repository, path), body=b"", headers=headers, ok=(200, 201, 404)
        )
        return None if answer.status == 404 else self._confirmed(repository, path, answer, sha256, size)

    def make_folder(self, repository: str, path: str) -> None:
        """Make an empty folder. One that exists is left as it is."""
        self._transport.call("PUT", f"{quoted(repository, path)}/", body=b"", ok=(200, 201))

    def delete(self, repository: str, path: str) -> None:
        """Delete a file, or a folder with all below it. Raises `NotFoundError`."""
        self._transport.call("DELETE", quoted(repository, path), ok=(200, 204))

    def properties(self, repository: str, path: str) -> dict[str, tuple[str, ...]]:
        """All properties of an item, values sorted (they are a set to the server); empty where it has none."""
        answer = self._transport.call(
            "GET", f"api/storage/{quoted(repository, path)}", params={"properties": None}, ok=(200, 404)
        )
        if answer.status == 404:
            if b"No properties" in answer.body:
                return {}
            raise answer.exchange.not_found("no such file or folder")
        found = answer.read(wire.Properties).properties
        return {key: tuple(sorted(values)) for key, values in found.items()}

    def set_properties(
        self,
        repository: str,
        path: str,
        properties: Mapping[str, PropertyValue],
        *,
        recursive: bool = False,
    ) -> None:
        """Set properties; None deletes one. The caller reads them again and compares: a server silently drops what the
        user has no right to set. Raises `TransferError` for a key that Artifactory does not take."""
        bad = [key for key in properties if not _KEY.fullmatch(key)]
        if bad:
            raise TransferError(
                f"property key `{bad[0][:80]}` is not one that Artifactory accepts",
                hint="A key starts with a letter and has neither spaces nor the signs )(}{][*+^$\\/~`!@#%&<>;=,",
            )
        props = {
            key: list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
            for key, value in properties.items()
        }
        self._transport.call(
            "PATCH",
            f"api/metadata/{quoted(repository, path)}",
            params={"recursiveProperties": "1" if recursive else "0"},
            body={"props": props},
            ok=(200, 204),
            idempotent=True,
        )

    def copy(self, repository: str, path: str, *, to_repository: str, to_path: str) -> None:
        """Copy a file or folder on the server, properties included. Where `to_path` is a folder that exists already, a
        folder is put below it: look first."""
        self._relocate("copy", (repository, path), (to_repository, to_path), idempotent=True)

    def move(self, repository: str, path: str, *, to_repository: str, to_path: str) -> None:
        """Move a file or folder on the server, as `copy`."""
        self._relocate("move", (repository, path), (to_repository, to_path), idempotent=False)

    def _relocate(
        self, verb: str, source: tuple[str, str], target: tuple[str, str], *, idempotent: bool
    ) -> None:
        quoted(*target)  # checked by this, and decoded only once by the server, as a query
        to = "/".join(part for part in target if part)
        answer = self._transport.call(
            "POST",
            f"api/{verb}/{quoted(*source)}",
            params={"to": f"/{to}", "failFast": "1"},
            idempotent=idempotent,
        )
        for message in answer.read(wire.Messages).messages:
            if message.level.upper() == "ERROR":
                raise answer.exchange.refused(message.message, status=answer.status)

    def _listed(self, repository: str, path: str, params: Mapping[str, str | None]) -> Tree:
        place = f"api/storage/{quoted(repository, path)}"
        answer = self._transport.call("GET", place, params=params, ok=(200, 400), limit=_LISTING_LIMIT)
        if answer.status == 400:  # the server's way of saying that it is a file
            return self._single(repository, path, answer)
        rows = answer.read(wire.FileList).files
        files = [_stored(row, answer) for row in rows if not row.folder]
        folders = [_checked(row) for row in rows if row.folder]
        _check_apart(files, folders, answer)
        return Tree(files=tuple(sorted(files, key=_by_path)), folders=tuple(sorted(folders)))

    def _single(self, repository: str, path: str, refused: Answer) -> Tree:
        info = self.info(repository, path)
        if info.is_folder or info.size is None or info.modified is None:
            raise refused.exchange.refused("the folder cannot be listed", status=refused.status)
        file = StoredFile(
            path=parse_relative_path(path.rpartition("/")[2]),
            size=info.size,
            sha256=info.sha256,
            modified=info.modified,
        )
        return Tree(files=(file,), is_file=True)

    def _confirmed(self, repository: str, path: str, answer: Answer, sha256: Sha256, size: int) -> Deployed:
        """What the server says that it stored, compared with what we know. A server that does not say is asked."""
        created = answer.read(wire.Created)
        stored = _digest(created.checksums.sha256 if created.checksums else None, answer)
        if stored is None:
            stored = self.info(repository, path).sha256
        if stored is None:
            raise answer.exchange.broken("the server does not say what it stored", status=answer.status)
        if stored != sha256 or created.size not in {None, size}:
            raise answer.exchange.conflict(
                f"the server stored other bytes: {stored} ({created.size or '?'} bytes) instead of {sha256} ({size} bytes)"
            )
        return Deployed(sha256=sha256, size=size)


def _by_path(file: StoredFile) -> str:
    return file.path


def _key(text: str, answer: Answer) -> RepositoryKey:
    try:
        return parse_repository_key(text)
    except ValueError as error:
        raise answer.exchange.broken("a repository key that is none", status=answer.status) from error


def _checked(row: wire.ListedItem) -> RelativePath:
    return parse_relative_path(row.uri.removeprefix("/"))


def _stored(row: wire.ListedItem, answer: Answer) -> StoredFile:
    if row.size < 0:
        raise answer.exchange.broken("a listing with a file without size", status=answer.status)
    return StoredFile(
        path=_checked(row),
        size=row.size,
        sha256=_digest(row.sha2, answer),
        modified=row.last_modified.astimezone(UTC),
    )


def _check_apart(files: Sequence[StoredFile], folders: Sequence[RelativePath], answer: Answer) -> None:
    """No place may be named twice, or be a file and a folder: what was judged would be one and what is fetched another."""
    named = {file.path for file in files}
    above: set[str] = {file.path.rpartition("/")[0] for file in files}.union(folders)
    above.update(parent for path in tuple(above) for parent in _parents(path))
    if len(named) < len(files) or not named.isdisjoint(above):
        raise answer.exchange.broken("a listing that names one place twice", status=answer.status)
    if sum(file.size for file in files) >= _TOTAL:
        raise answer.exchange.broken("a listing of more bytes than can be counted", status=answer.status)


def _parents(path: str) -> list[str]:
    found = []
    while path := path.rpartition("/")[0]:
        found.append(path)
    return found


def _digest(text: str | None, source: Answer | StreamedResponse) -> Sha256 | None:
    if not text:
        return None
    try:
        return parse_sha256(text)
    except ValueError as error:
        raise source.exchange.broken("a checksum that is not a SHA-256", status=source.status) from error


def _utc(at: datetime | None) -> datetime | None:
    return at.astimezone(UTC) if at is not None else None


def _extent(response: StreamedResponse, asked: int) -> tuple[int, int | None]:
    """First byte delivered, and the size of the whole file. A server may answer a range with the whole file (200), and
    may not answer it with another range."""
    if response.status == 200:
        return 0, response.length
    match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None or int(match[1]) != asked or int(match[2]) + 1 != int(match[3]):
        raise response.exchange.broken("another range than the one asked for", status=response.status)
    return asked, int(match[3])


def _check_part(response: StreamedResponse, asked: int) -> None:
    """A server may answer with the whole file (200), whose first bytes are the asked ones only where these are the first."""
    match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    begin = int(match[1]) if match is not None and response.status == 206 else 0
    if begin != asked or (response.status == 206 and match is None):
        raise response.exchange.broken("another range than the one asked for", status=response.status)


def require_storable(path: str) -> None:
    """Raise `TransferError` for a name with the ending of a checksum: Artifactory takes an upload to `x.sha256` as a claim about `x`,
    and stores no such file."""
    if path.lower().endswith(_CHECKSUM_FILES):
        raise TransferError(
            f"`{path}`: Artifactory does not store files with the ending of a checksum",
            hint="Give the file another ending, for one `.txt`.",
        )
