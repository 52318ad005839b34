"""Sealing: the signature and the properties that follow an upload.

What is signed is what was seen passing:

1. the files just moved, with the digests computed while they were sent;
2. the files that the previous signature of the same root covers, if a trusted key made it, except those just replaced
   or deleted. Storage is not asked whether they are still there or still the same: a file that was lost or changed
   since must show in the next verification instead of being signed away;
3. where there is no good previous signature, the files that this audit log saw being uploaded (`plugin.ledger`).

Promises: a signature is on record with its decision before it can be relied upon; properties are read again, and that what was
moved still lies there where it is signed. Does not: sign anything merely found in storage.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime

from governance.artifactory.address import Address
from governance.artifactory.client import ArtifactoryClient
from governance.audit.bodies import signature_body
from governance.audit.entry import EntryKind
from governance.audit.signing_time import verify_in_time
from governance.errors import ConflictError, ForbiddenError, KeyFileError, NotFoundError
from governance.forking import ForkLock
from governance.model.artifact import (
    FILE_SIGNATURE_SUFFIX,
    FOLDER_SIGNATURE,
    FileEntry,
    Kind,
)
from governance.model.digest import Digest, Sha256, file_digest
from governance.permit import Permit
from governance.signing.bundle import MAX_BUNDLE
from governance.signing.keyholder import Signer
from governance.signing.manifest import Manifest, ManifestEntry
from governance.signing.report import SignatureReport
from governance.signing.sign import attribution, has_signatures, sign_manifest
from governance.signing.verify import open_bundle
from governance.wiring import Assembly
from plugin.context import caller_host
from plugin.ledger import uploaded
from plugin.location import folder_name
from plugin.properties import properties_of, write_properties

logger = logging.getLogger(__name__)


class Sealer:
    """Signs and annotates uploads to one Artifactory. Safe to use from many threads."""

    def __init__(self, *, assembly: Assembly, client: ArtifactoryClient) -> None:
        self._assembly = assembly
        self._client = client
        self._lock = ForkLock()

    def require_signer(self) -> None:
        """Raise `KeyFileError` before the first byte where uploads must be signed and there is no key."""
        if self._assembly.settings.is_signing_required and self._assembly.signer is None:
            raise KeyFileError(
                "uploads must be signed in this environment, and there is no signing key",
                hint="`mlgov keys init` makes one; or set `MLGOV_KEY`. `MLGOV_SIGNING=when-key` uploads unsigned.",
            )

    def is_sealed(self, root: Address) -> bool:
        """Whether a folder holds a signature, good or bad."""
        return self._bundle(root) is not None

    def seal_file(self, permit: Permit, place: Address, entry: FileEntry) -> None:
        """Sign one file that was logged alone, with the signature beside it."""
        digest = file_digest(_known(entry))
        signer = self._assembly.signer
        signed: Signed | None = None
        if signer is not None:
            named = f"{place.path}{FILE_SIGNATURE_SUFFIX}"
            beside = replace(place, path=named)
            only = Manifest.of([entry])
            with self._still_stored(place, {"": _known(entry)}):
                signed = self._sign(permit, only, name=place.name, place=beside, digest=digest, signer=signer)
        self._annotate(permit, place, digest, signed)

    def seal_folder(
        self, permit: Permit, root: Address, moved: Iterable[FileEntry], *, removed: Collection[str] = ()
    ) -> None:
        """Sign a folder after files below it were uploaded or deleted, together with what was signed or seen before."""
        fresh = [_manifest_entry(entry) for entry in moved]
        with self._lock:  # two edits at once would each sign without the other
            entries = {str(entry.name): entry for entry in self._before(root)}
            entries |= {str(entry.name): entry for entry in fresh}
            left = [
                entry for name, entry in entries.items() if name not in removed and name != FOLDER_SIGNATURE
            ]
            self._seal(permit, root, Manifest(tuple(left)), moved=fresh)

    def seal_whole(self, permit: Permit, root: Address, files: Iterable[FileEntry]) -> None:
        """Sign a folder as exactly these files."""
        self.seal_manifest(permit, root, Manifest.of(files))

    def seal_manifest(self, permit: Permit, root: Address, manifest: Manifest) -> None:
        """The same for a manifest, which also says where each digest is from."""
        with self._lock:
            self._seal(permit, root, manifest)

    def signed_before(self, root: Address) -> Manifest | None:
        """What a good signature that lies in the folder vouches for, whatever became of the files; None without one."""
        bundle = self._bundle(root)
        if bundle is None:
            return None
        report = self._opened(root, bundle)
        if report.valid and report.manifest is not None:
            return report.manifest
        logger.warning("the signature of `%s` is not good and nothing of it is kept: %s", root, report.detail)
        return None

    def add(
        self,
        permit: Permit,
        root: Address,
        beside: Address,
        manifest: Manifest,
        *,
        before: bytes,
        bundle: bytes,
    ) -> None:
        """Put a signature file in the place of `before`, which has a signature less. The caller has verified that over the whole manifest.

        Raises `ConflictError` where another one lies there by now, or what was put there was not kept. Between the last look and
        the upload remains the time of one request.
        """
        signer = self._assembly.signer
        if signer is None:
            raise KeyFileError("there is no signing key", hint="`mlgov keys init` makes one.")
        place, digest = root, manifest.dirhash1
        if permit.request.artifact.kind is Kind.FILE:
            (only,) = manifest.entries
            place, digest = root / only.name, file_digest(only.sha256)
        with self._lock:
            signed = self._record(permit, bundle, digest=digest, files=len(manifest.entries), signer=signer)
            self._require_beside(beside, lambda found: found == before)
            self._store(permit, bundle, place=beside, digest=digest, signed=signed)
            self._annotate(permit, place, digest, signed)
            self._require_beside(beside, lambda found: has_signatures(found, of=bundle))

    def annotate(self, permit: Permit, place: Address, digest: Digest | None) -> None:
        """Set the properties without a signature."""
        self._annotate(permit, place, digest, None)

    def _seal(
        self, permit: Permit, root: Address, manifest: Manifest, *, moved: Iterable[ManifestEntry] = ()
    ) -> None:
        if not manifest.entries:
            return
        signer = self._assembly.signer
        signed: Signed | None = None
        if signer is not None:
            place = root / FOLDER_SIGNATURE
            name = folder_name(root)
            with self._still_stored(root, {str(entry.name): entry.sha256 for entry in moved}):
                signed = self._sign(
                    permit, manifest, name=name, place=place, digest=manifest.dirhash1, signer=signer
                )
        self._annotate(permit, root, manifest.dirhash1, signed)

    @contextmanager
    def _still_stored(self, root: Address, moved: Mapping[str, Sha256]) -> Iterator[None]:
        """Raise `ConflictError` where other bytes than those just moved lie in storage, before a signature is put over them, or
        after. No server takes an upload on condition of what lies there. But of several that write one place at once, whoever
        writes last sees all that the others did, and so one of them is told.
        """
        self._require_stored(root, moved)
        yield
        self._require_stored(root, moved)

    def _require_stored(self, root: Address, moved: Mapping[str, Sha256]) -> None:
        found = self._stored(root, moved)
        for name, sha256 in moved.items():
            if name not in found or found[name] not in {None, sha256}:  # a server may not know the SHA-256
                lost = f"{root.path}/{name}".strip("/")
                raise ConflictError(
                    f"another upload stored other bytes of `{lost}`, or deleted it, before it was signed",
                    service="Artifactory",
                    method="PUT",
                    path=f"{root.repository}/{lost}",
                    hint="Two wrote this place at once, and what lies there need not be whole. Let one do so, and log it again.",
                )

    def _stored(self, root: Address, names: Collection[str]) -> dict[str, Sha256 | None]:
        """The digests of those files that are there."""
        found: dict[str, Sha256 | None] = {}
        with suppress(NotFoundError):
            if len(names) > 1:
                # A server lists folders to nobody anonymous, and tells of each file.
                with suppress(ForbiddenError):
                    tree = self._client.tree(root.repository, root.path)
                    return {str(row.path): row.sha256 for row in tree.files}
            for name in names:
                place = root / name if name else root
                found[name] = self._client.info(place.repository, place.path).sha256
        return found

    def _sign(
        self, permit: Permit, manifest: Manifest, *, name: str, place: Address, digest: Digest, signer: Signer
    ) -> Signed:
        request = permit.request
        futile = self._assembly.futility(repository=request.artifact.repository)
        if futile is not None:
            logger.warning(
                "the signature of `%s` will not count%s: %s. %s",
                request.artifact.ref,
                "" if futile.is_final else " alone",
                futile.why,
                futile.remedy,
            )
        actor = self._assembly.log.on_record(request.actor)  # the log keeps what is signed
        host = caller_host() if actor is request.actor else None
        notes = attribution(actor, request.mlflow, host=host)
        bundle = sign_manifest(manifest, name=name, signer=signer, annotations=notes)
        signed = self._record(permit, bundle, digest=digest, files=len(manifest.entries), signer=signer)
        self._store(permit, bundle, place=place, digest=digest, signed=signed)
        return signed

    def _record(self, permit: Permit, bundle: bytes, *, digest: Digest, files: int, signer: Signer) -> Signed:
        request = permit.request
        sha256 = Sha256(hashlib.sha256(bundle).hexdigest())
        self._assembly.log.append(
            EntryKind.SIGNATURE,
            signature_body(
                event="made",
                digest=digest,
                key_id=signer.key_id,
                bundle=sha256,
                decision=permit.decision.id,
                files=files,
            ),
            subject=request.artifact.ref,
            correlation=request.correlation,
            evidence=(bundle,),
        )
        return signer.key_id, sha256

    def _store(
        self, permit: Permit, bundle: bytes, *, place: Address, digest: Digest, signed: Signed
    ) -> None:
        key_id, sha256 = signed
        self._client.upload(place.repository, place.path, io.BytesIO(bundle), size=len(bundle), sha256=sha256)
        permit.signed(digest=digest, key_id=key_id, bundle=sha256)

    def _require_beside(self, place: Address, is_expected: Callable[[bytes], bool]) -> None:
        found = self._read(place)
        if found is None or not is_expected(found):
            raise ConflictError(
                "another signature was stored while this one was added",
                service="Artifactory",
                method="PUT",
                path=f"{place.repository}/{place.path}",
                hint="Several signed this at once. Run `mlgov sign --add` again, one after the other.",
            )

    def _before(self, root: Address) -> Iterable[ManifestEntry]:
        """What the previous signature vouches for, or else what this log saw."""
        before = self.signed_before(root)
        if before is not None:
            return tuple(replace(entry, carried=True) for entry in before.entries)
        return tuple(_manifest_entry(entry) for entry in uploaded(self._assembly.log, root))

    def _opened(self, root: Address, bundle: bytes) -> SignatureReport:
        """Who signed what, at trusted time: a key that is out of use by now did vouch for what it signed before."""
        trust, at = self._assembly.trust, self._assembly.now()

        def open_at(signed_at: datetime | None) -> SignatureReport:
            return open_bundle(bundle, trust, at=at, repository=root.repository, signed_at=signed_at)[0]

        return verify_in_time(open_at, bundle, times=self._assembly.signing_time, ref=_ref(root), at=at)

    def _bundle(self, root: Address) -> bytes | None:
        return self._read(root / FOLDER_SIGNATURE)

    def _read(self, place: Address) -> bytes | None:
        try:
            return self._client.read_small(place.repository, place.path, limit=MAX_BUNDLE)
        except NotFoundError:
            return None

    def _annotate(self, permit: Permit, place: Address, digest: Digest | None, signed: Signed | None) -> None:
        key_id, bundle = signed or (None, None)
        values = properties_of(permit, digest=digest, key_id=key_id, bundle=bundle)
        write_properties(self._client, place.repository, place.path, values)


Signed = tuple[str, Sha256]


def _ref(root: Address) -> str:
    return f"{root.repository}/{root.path}".rstrip("/")


def _known(entry: FileEntry) -> Sha256:
    if entry.sha256 is None:
        raise ValueError(f"the SHA-256 of `{entry.path}` is not known")
    return entry.sha256


def _manifest_entry(entry: FileEntry) -> ManifestEntry:
    return ManifestEntry(name=entry.path, sha256=_known(entry), size=entry.size)
