"""Signed policy bundles: one tar with the policy files, and a signed manifest that names each by its SHA-256.

Promises: nothing of a bundle is read before its manifest was verified and the file's digest agrees with it; a bundle
older than one seen before is refused, so that an organisation's policy cannot be rolled back by replaying it, and so is
one with other files under the same number; the same files give the same bytes. Does not: sign or verify by itself (`sign`
and `verify` are arguments: the layer above holds keys), or fetch anything.

Layout: an uncompressed tar (POSIX ustar, all times zero) of `manifest.dsse.json`, a DSSE envelope whose payload is
canonical JSON `{"type": PAYLOAD_TYPE, "name", "revision", "made", "files": {name: sha256}}`, then the files by name.

1. The size is bounded and the tar holds plain files of known names only.
2. The envelope is verified, which gives the payload.
3. The payload is canonical, of our type, and for the set that was asked for.
4. Its revision is not below the highest seen, nor the same for other files.
5. The files are exactly those that it names, with those digests.

What the caller must still do: keep the revision (`RevisionMemory`) once the policy inside has compiled.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from governance.errors import PolicyInvalidError, VerificationError
from governance.model.artifact import parse_relative_path
from governance.model.canonical import CanonicalError, Json, canonical_bytes, parse_canonical
from governance.model.digest import Sha256
from governance.model.request import parse_utc, utc_text

PAYLOAD_TYPE = "application/vnd.mlgov.policy-bundle+json"
MANIFEST = "manifest.dsse.json"

_MAX_BUNDLE = 64 << 20
_MAX_FILES = 2000
_MAX_MANIFEST = 4 << 20
_TAKE_ANOTHER = (
    "Nothing of it is taken. Have its owner publish a good one, of a higher revision (`mlgov policy bundle`)."
)
_TWO_OF_ONE = (
    "Two bundles of one revision were signed. Nothing of this one is taken: ask its owner who made it, and have the one that is meant "
    "published with a higher revision (`mlgov policy bundle`)."
)
_PACK_ANOTHER = "Change what is in the folder, and pack it again."


class BundleError(PolicyInvalidError):
    """A bundle that is malformed, was changed, does not load, or is older than one seen before. Never a reason to go without.
    `among` are the mistakes within it."""

    def __init__(self, problem: str, *, among: Sequence[str] = (), hint: str | None = _TAKE_ANOTHER) -> None:
        super().__init__([f"(bundle):1:1: expected {problem}", *among])
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A revision of a set, and what it stood for: the SHA-256 of the canonical JSON of the manifest's `files`. When it was packed and
    signed is no part of it, so that the same files may be packed again. None where a number alone was noted, by an earlier release."""

    revision: int
    content: Sha256 | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyArchive:
    """A verified bundle: its files, and what its manifest says of itself."""

    name: str
    seen: Seen
    made: datetime
    files: Mapping[str, bytes]


def pack_bundle(
    files: Mapping[str, bytes], *, name: str, revision: int, made: datetime, sign: Callable[[bytes], bytes]
) -> bytes:
    """The bundle of `files`. `sign` makes a DSSE envelope of a payload of `PAYLOAD_TYPE`. Raises `BundleError` for a name
    that a bundle cannot hold, and for more than `open_bundle` takes."""
    if not 0 < len(files) <= _MAX_FILES:
        raise BundleError(f"1 to {_MAX_FILES} files, got {len(files)}", hint=_PACK_ANOTHER)
    size = sum(map(len, files.values()))
    if size > _MAX_BUNDLE:
        raise BundleError(f"files of at most {_MAX_BUNDLE} bytes together, got {size}", hint=_PACK_ANOTHER)
    for file in files:
        parse_relative_path(file)
        if not file.isascii():
            raise BundleError(f"file names of ASCII characters; `{file[:80]}` is none", hint=_PACK_ANOTHER)
    payload = canonical_bytes(
        {
            "type": PAYLOAD_TYPE,
            "name": name,
            "revision": revision,
            "made": utc_text(made),
            "files": {file: hashlib.sha256(data).hexdigest() for file, data in sorted(files.items())},
        }
    )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        _add(tar, MANIFEST, sign(payload))
        for file, data in sorted(files.items()):
            try:
                _add(tar, file, data)
            except (
                ValueError
            ) as error:  # ustar has 100 bytes for the last part, and 155 for what is before it
                raise BundleError(
                    f"shorter file names; `{file[:80]}...` does not fit into a tar", hint=_PACK_ANOTHER
                ) from error
    packed = buffer.getvalue()
    if len(packed) > _MAX_BUNDLE or len(payload) > _MAX_MANIFEST:
        raise BundleError(f"a bundle of at most {_MAX_BUNDLE} bytes, got {len(packed)}", hint=_PACK_ANOTHER)
    return packed


def open_bundle(
    data: bytes, *, verify: Callable[[bytes], bytes], name: str | None = None, highest: Seen | None = None
) -> PolicyArchive:
    """The verified files of a bundle. `verify` gives the payload of a good envelope and raises `VerificationError`
    on a bad one; `name` is the set that must be in it, `highest` the highest revision seen. Raises `BundleError`.
    """
    members = _members(data)  # 1
    envelope = members.pop(MANIFEST, None)
    if envelope is None:
        raise BundleError(f"a bundle that begins with `{MANIFEST}`")
    try:
        payload = verify(envelope)  # 2
    except VerificationError as error:
        raise BundleError(f"a bundle with a good signature: {error.message}") from error
    manifest = _manifest(payload)  # 3
    if name is not None and manifest.name != name:
        raise BundleError(f"the bundle of `{name}`, got that of `{manifest.name}`")
    content = Sha256(hashlib.sha256(canonical_bytes(manifest.files)).hexdigest())
    seen = Seen(revision=manifest.revision, content=content)
    if highest is not None:  # 4
        if seen.revision < highest.revision:
            raise BundleError(f"revision {highest.revision} or later, got {seen.revision}: a rollback")
        require_same_content(seen, highest)
    _check_files(manifest.files, members)  # 5
    return PolicyArchive(name=manifest.name, seen=seen, made=manifest.made, files=members)


def require_same_content(seen: Seen, known: Seen) -> None:
    """One number stands for one content. Raises `BundleError`."""
    if seen.revision == known.revision and known.content not in {None, seen.content}:
        raise BundleError(
            f"the files that revision {known.revision} had before, got others under the same number",
            hint=_TWO_OF_ONE,
        )


@dataclass(frozen=True, slots=True)
class _Manifest:
    name: str
    revision: int
    made: datetime
    files: Mapping[str, str]


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    entry.mode = 0o644
    tar.addfile(entry, io.BytesIO(data))


def _members(data: bytes) -> dict[str, bytes]:
    if len(data) > _MAX_BUNDLE:
        raise BundleError(f"a bundle of at most {_MAX_BUNDLE} bytes, got {len(data)}")
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for entry in tar:
                if len(members) > _MAX_FILES:
                    raise BundleError(f"a bundle of at most {_MAX_FILES} files")
                name = _name(entry, members)  # before anything of the entry is read
                members[name] = _content(tar, entry, most=len(data))
    except (tarfile.TarError, EOFError, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise BundleError("a tar archive") from error
    return members


def _name(entry: tarfile.TarInfo, members: Mapping[str, bytes]) -> str:
    """The name of a plain file, once. Links, devices and folders have no place in a bundle."""
    if not entry.isreg() or entry.issparse():
        raise BundleError(f"plain files only; `{entry.name[:80]}` is none")
    if entry.name in members:
        raise BundleError(f"each file once; `{entry.name[:80]}` comes twice")
    try:
        return parse_relative_path(entry.name)
    except Exception as error:
        raise BundleError(f"relative file names; `{entry.name[:80]}` is none") from error


def _content(tar: tarfile.TarFile, entry: tarfile.TarInfo, *, most: int) -> bytes:
    stream = (
        tar.extractfile(entry) if entry.size <= most else None
    )  # a reader makes room for what is announced
    data = stream.read(entry.size) if stream is not None else b""
    if len(data) != entry.size:
        raise BundleError("a whole tar archive; this one is cut short")
    return data


def _manifest(payload: bytes) -> _Manifest:
    try:
        tree: Json = parse_canonical(payload) if len(payload) <= _MAX_MANIFEST else None
    except CanonicalError as error:
        raise BundleError("a manifest in canonical JSON") from error
    if not isinstance(tree, Mapping) or tree.get("type") != PAYLOAD_TYPE:
        raise BundleError(f"a manifest of type `{PAYLOAD_TYPE}`")
    name, revision, made, files = (tree.get(key) for key in ("name", "revision", "made", "files"))
    if not isinstance(name, str) or not isinstance(made, str) or not isinstance(files, Mapping):
        raise BundleError("a manifest with `name`, `made` and `files`")
    if not isinstance(revision, int) or isinstance(revision, bool) or revision < 0:
        raise BundleError("a manifest with a `revision` of 0 or more")
    try:
        at = parse_utc(made)
    except ValueError as error:
        raise BundleError("a manifest whose `made` is a time in UTC") from error
    return _Manifest(name, revision, at, {str(file): str(digest) for file, digest in files.items()})


def _check_files(named: Mapping[str, str], members: Mapping[str, bytes]) -> None:
    for file in sorted(named.keys() ^ members.keys()):
        where = "the manifest names and the bundle lacks" if file in named else "the bundle holds unnamed"
        raise BundleError(f"the files of the manifest; `{file[:80]}` {where}")
    if not named:
        raise BundleError("a bundle with at least one file")
    for file, data in sorted(members.items()):
        if hashlib.sha256(data).hexdigest() != named[file]:
            raise BundleError(f"`{file[:80]}` with the digest of the manifest")
