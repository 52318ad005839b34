"""`mlgov sign`: a signature over a local folder, or over what Artifactory holds."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.output import Mark, err, out, print_pairs, styled
from governance.cli.output import sign as mark_of
from governance.cli.sign_places import (
    alone_with,
    place_beside,
    put_beside,
    require_room,
    require_whole,
    upload_request,
    write,
)
from governance.errors import KeyFileError, TransferError

if TYPE_CHECKING:
    from governance.signing.keyholder import Signer
    from governance.signing.manifest import Manifest
    from governance.wiring import Assembly
    from plugin.location import Part


def sign(
    reference: Annotated[
        str, typer.Argument(metavar="REF|FOLDER", help="A local folder or file, or a place in Artifactory.")
    ],
    key: Annotated[
        str | None, typer.Option(help="Path or address of the signing key, instead of the configured one.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where to write the signature, instead of beside what is signed.")
    ] = None,
    every_file: Annotated[
        bool,
        typer.Option("--every-file", help="Hash unchanged files of a model in Artifactory again, too."),
    ] = False,
    add: Annotated[
        bool,
        typer.Option("--add", help="Add a signature to the one that is there, where several must sign."),
    ] = False,
) -> None:
    """Sign the bytes that are there now, as an OpenSSF Model Signing bundle.

    Look before you sign: a signature says that somebody vouches for exactly these bytes. Models that are logged through
    the plugin are signed as they are uploaded, and need no such step. Of a model in Artifactory that was signed before,
    only files are read whose checksum the server no longer tells as it was signed; the signature says which digests were
    taken over.

    With `--add` the signature that is there stays: it must be somebody's whom the trust file names, over exactly the files that
    are there, every one of which is read; yours comes beside it, over the same statement. So two people meet a threshold of two.
    """
    from governance.cli.reference import local_folder
    from governance.settings import load_settings
    from governance.wiring import build_assembly

    settings = load_settings(**({} if key is None else {"key": key}))
    with closing(build_assembly(settings)) as assembly:
        signer = assembly.signer
        if signer is None:
            raise KeyFileError(
                "there is no signing key", hint="`mlgov keys init` makes one; `--key` names another."
            )
        local = local_folder(reference)
        if add:
            from governance.cli.sign_beside import add_local, add_stored

            if local is not None:
                add_local(local, signer, assembly, output)
            else:
                add_stored(reference, signer, assembly, output)
        elif local is not None:
            _sign_local(local, signer, output)
            _warn(assembly)
        else:
            _sign_stored(reference, assembly, signer, output, every_file=every_file)


def _sign_local(path: Path, signer: Signer, output: Path | None) -> None:
    from governance.signing.hashing import hash_folder
    from governance.signing.sign import sign_manifest

    beside = place_beside(path)
    if output is None:
        require_room(beside)
    with err().status("hashing"):
        manifest = hash_folder(path)
    _require_files(manifest, str(path))
    bundle = sign_manifest(manifest, name=path.resolve().name, signer=signer)
    if output is None:
        with alone_with(beside):
            put_beside(beside, bundle)
    else:
        write(output, bundle)
    _tell(str(path), manifest, signer, str(output or beside))


def _warn(assembly: Assembly) -> None:
    """Say that a signature is in vain. Elsewhere another trust file may count, so it is made all the same."""
    futile = assembly.futility(repository=None)
    if futile is not None:
        alone = "" if futile.is_final else " alone"
        what = f"by the trust file of this machine it does not count{alone}: {futile.why}"
        err().print(mark_of(Mark.WARN), styled(what))


def _sign_stored(
    reference: str, assembly: Assembly, signer: Signer, output: Path | None, *, every_file: bool
) -> None:
    from governance.cli.reference import locate, parse_reference

    place = parse_reference(reference, assembly.settings)
    client = assembly.artifactory(place.host)
    for part in locate(client, place):
        require_whole(part, reference)
        with err().status(f"hashing `{part.artifact.ref}`"):
            manifest = _manifest_of(part, assembly, every_file=every_file)
        _require_files(manifest, part.artifact.ref)
        if output is None:
            _store(part, manifest, assembly)
            _tell(part.artifact.ref, manifest, signer, "beside it in Artifactory")
        else:
            from governance.signing.sign import sign_manifest

            write(output, sign_manifest(manifest, name=part.artifact.name, signer=signer))
            _tell(part.artifact.ref, manifest, signer, str(output))


def _manifest_of(part: Part, assembly: Assembly, *, every_file: bool) -> Manifest:
    """The manifest of what is stored. A digest is taken over only where the last good signature and the server agree."""
    from governance.cli.stored import hash_stored
    from governance.model.artifact import Kind
    from governance.signing.manifest import Manifest
    from governance.signing.sign import plan_resigning
    from plugin.sealing import Sealer

    client = assembly.artifactory(part.root.host)
    files = part.artifact.files
    is_known = part.artifact.kind is not Kind.FILE and all(file.sha256 is not None for file in files)
    before = None
    if is_known and not every_file:
        before = Sealer(assembly=assembly, client=client).signed_before(part.root)
    if before is None:
        return hash_stored(client, part)
    plan = plan_resigning(before, Manifest.of(files))
    hashed = hash_stored(client, part, only=plan.to_hash)
    return plan.manifest({entry.name: entry for entry in hashed.entries})


def _store(part: Part, manifest: Manifest, assembly: Assembly) -> None:
    """Sign, and put the bundle beside the artifact under a permit: it is an upload like any other."""
    from governance.model.artifact import FileEntry, Kind
    from plugin.sealing import Sealer

    files = [FileEntry(path=each.name, size=each.size, sha256=each.sha256) for each in manifest.entries]
    sealer = Sealer(assembly=assembly, client=assembly.artifactory(part.root.host))
    with assembly.gate.admit(upload_request(part, assembly)) as permit:
        if part.artifact.kind is Kind.FILE:
            sealer.seal_file(permit, part.root / files[0].path, files[0])
        else:
            sealer.seal_manifest(permit, part.root, manifest)


def _require_files(manifest: Manifest, named: str) -> None:
    if not manifest.entries:
        raise TransferError(f"`{named}` holds no file, so there is nothing to sign")


def _counted(manifest: Manifest) -> str:
    carried = sum(entry.carried for entry in manifest.entries)
    total = len(manifest.entries)
    if not carried:
        return str(total)
    return f"{total}, of which {total - carried} hashed; the others' digests are the server's and the last signature's"


def _tell(what: str, manifest: Manifest, signer: Signer, where: str) -> None:
    out().print(mark_of(Mark.OK), styled(f"signed `{what}`", "bold"))
    print_pairs({
        "  files": _counted(manifest),
        "  digest": manifest.dirhash1,
        "  key": signer.key_id,
        "  signature": where,
    })  # fmt: skip
