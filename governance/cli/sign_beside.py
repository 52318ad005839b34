"""`mlgov sign --add`: a signature beside another one's, over the same statement, where several must sign.

The steps, which are the same for a folder and for what Artifactory holds:

1. The signature that is there is read once; what is verified is what is kept.
2. It is valid for exactly the files that are there, but for the number of signers: some trusted signer made it.
3. Ours is made over the same statement, and both are written together.
4. Whether they are enough by the trust file of this machine is told.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from governance.cli.output import Mark, err, out, print_pairs, sign, styled
from governance.cli.sign_places import (
    alone_with,
    place_beside,
    put_beside,
    require_room,
    require_whole,
    upload_request,
    write,
)
from governance.cli.stored import hash_stored, read_small
from governance.errors import TransferError

if TYPE_CHECKING:
    from pathlib import Path

    from governance.signing.keyholder import Signer
    from governance.signing.report import SignatureReport
    from governance.signing.trust import TrustStore
    from governance.wiring import Assembly


def add_local(path: Path, signer: Signer, assembly: Assembly, output: Path | None) -> None:
    """Add a signature to that of a local folder or file."""
    from governance.cli.verify import verify_files
    from governance.signing.bundle import MAX_BUNDLE
    from governance.signing.sign import add_signature
    from governance.signing.verify import require_valid

    beside = place_beside(path)
    require_room(beside)
    with alone_with(beside) if output is None else nullcontext():
        bundle = _required(read_small(beside, MAX_BUNDLE), str(path))  # 1
        report = verify_files(bundle, path, _whoever_signed(assembly), assembly)
        require_valid(report)  # 2
        added = add_signature(bundle, signer)  # 3
        if output is None:
            put_beside(beside, added)
        else:
            write(output, added)
    _tell(str(path), report, signer, str(output or beside))
    _warn(added, assembly, repository=None)  # 4


def add_stored(reference: str, signer: Signer, assembly: Assembly, output: Path | None) -> None:
    """Add a signature to that of what lies in Artifactory."""
    from governance.cli.reference import locate, parse_reference
    from governance.cli.verify import verify_manifest
    from governance.signing.bundle import MAX_BUNDLE
    from governance.signing.sign import add_signature
    from governance.signing.verify import require_valid
    from plugin.sealing import Sealer

    place = parse_reference(reference, assembly.settings)
    client = assembly.artifactory(place.host)
    for part in locate(client, place):
        require_whole(part, reference)
        ref, listed = part.artifact.ref, part.artifact.signature
        found = None
        if listed is not None:
            beside = part.root / listed.path
            found = client.read_small(beside.repository, beside.path, limit=MAX_BUNDLE)
        bundle = _required(found, ref)  # 1
        with err().status(f"hashing `{ref}`"):
            manifest = hash_stored(client, part)
        report = verify_manifest(
            bundle, manifest, _whoever_signed(assembly), assembly, repository=place.repository, ref=ref
        )
        require_valid(report)  # 2
        added = add_signature(bundle, signer)  # 3
        if output is not None:
            write(output, added)
        elif listed is not None:
            with assembly.gate.admit(upload_request(part, assembly)) as permit:
                Sealer(assembly=assembly, client=client).add(
                    permit, part.root, beside, manifest, before=bundle, bundle=added
                )
        _tell(ref, report, signer, str(output or "beside it in Artifactory"))
        _warn(added, assembly, repository=place.repository)  # 4


def _whoever_signed(assembly: Assembly) -> TrustStore:
    """The trust file, by which one signer is enough to go on from."""
    return replace(assembly.trust, thresholds=())


def _required(bundle: bytes | None, named: str) -> bytes:
    if bundle is None:
        raise TransferError(
            f"`{named}` has no signature to which one could be added", hint="`mlgov sign` makes the first."
        )
    return bundle


def _tell(what: str, report: SignatureReport, signer: Signer, where: str) -> None:
    out().print(sign(Mark.OK), styled(f"added a signature to that of `{what}`", "bold"))
    print_pairs({
        "  signed before by": ", ".join(report.signers),
        "  key": signer.key_id,
        "  signature": where,
    })  # fmt: skip


def _warn(bundle: bytes, assembly: Assembly, *, repository: str | None) -> None:
    """Say that the signatures are not enough yet. Of a key that was superseded meanwhile, that nothing shows when it signed: what the log
    knows is the file that it signed alone."""
    from governance.signing.verify import open_bundle

    report, _ = open_bundle(bundle, assembly.trust, at=assembly.now(), repository=repository)
    if not report.valid:
        err().print(
            sign(Mark.WARN),
            styled(f"by the trust file of this machine it does not count yet: {report.detail}"),
        )
