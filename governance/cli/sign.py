"""`mlgov sign`: a signature over a local folder, or over what Artifactory holds."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.output import Mark, err, out, print_pairs, styled
from governance.cli.output import sign as mark_of
from governance.errors import KeyFileError, TransferError

if TYPE_CHECKING:
    from governance.signing.keys import Signer
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
) -> None:
    """Sign the bytes that are there now, as an OpenSSF Model Signing bundle.

    Look before you sign: a signature says that somebody vouches for exactly these bytes. Models that are logged through
    the plugin are signed as they are uploaded, and need no such step.
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
        if local is not None:
            _sign_local(local, signer, output)
        else:
            _sign_stored(reference, assembly, signer, output)


def _sign_local(path: Path, signer: Signer, output: Path | None) -> None:
    from governance.model.artifact import FILE_SIGNATURE_SUFFIX, FOLDER_SIGNATURE
    from governance.signing.hashing import hash_folder
    from governance.signing.sign import sign_manifest

    beside = (
        path / FOLDER_SIGNATURE if path.is_dir() else path.with_name(f"{path.name}{FILE_SIGNATURE_SUFFIX}")
    )
    with err().status("hashing"):
        manifest = hash_folder(path)
    _require_files(manifest, str(path))
    bundle = sign_manifest(manifest, name=path.resolve().name, signer=signer)
    target = output or beside
    _write(target, bundle)
    _tell(str(path), manifest, signer, str(target))


def _sign_stored(reference: str, assembly: Assembly, signer: Signer, output: Path | None) -> None:
    from governance.cli.reference import locate, parse_reference
    from governance.cli.stored import hash_stored

    place = parse_reference(reference, assembly.settings)
    client = assembly.artifactory(place.host)
    for part in locate(client, place):
        if part.selection is not None:
            raise TransferError(
                f"`{reference}` is a part of `{part.artifact.ref}`, and only the whole is signed",
                hint=f"`mlgov sign {part.artifact.ref}`",
            )
        with err().status(f"hashing `{part.artifact.ref}`"):
            manifest = hash_stored(client, part)
        _require_files(manifest, part.artifact.ref)
        if output is None:
            _store(part, manifest, assembly)
            _tell(part.artifact.ref, manifest, signer, "beside it in Artifactory")
        else:
            from governance.signing.sign import sign_manifest

            _write(output, sign_manifest(manifest, name=part.artifact.name, signer=signer))
            _tell(part.artifact.ref, manifest, signer, str(output))


def _store(part: Part, manifest: Manifest, assembly: Assembly) -> None:
    """Sign, and put the bundle beside the artifact under a permit: it is an upload like any other."""
    from governance.model.artifact import FileEntry, Kind
    from governance.model.request import Action, Request, new_id
    from plugin.context import local_user
    from plugin.sealing import Sealer

    at = assembly.now()
    request = Request(
        action=Action.UPLOAD, artifact=part.artifact, actor=local_user(), environment=assembly.settings.environment,
        at=at, correlation=new_id(at), selection=(),
    )  # fmt: skip
    files = [FileEntry(path=each.name, size=each.size, sha256=each.sha256) for each in manifest.entries]
    sealer = Sealer(assembly=assembly, client=assembly.artifactory(part.root.host))
    with assembly.gate.admit(request) as permit:
        if part.artifact.kind is Kind.FILE:
            sealer.seal_file(permit, part.root / files[0].path, files[0])
        else:
            sealer.seal_whole(permit, part.root, files)


def _require_files(manifest: Manifest, named: str) -> None:
    if not manifest.entries:
        raise TransferError(f"`{named}` holds no file, so there is nothing to sign")


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise TransferError(f"`{path}` cannot be written: {error.strerror}") from error


def _tell(what: str, manifest: Manifest, signer: Signer, where: str) -> None:
    out().print(mark_of(Mark.OK), styled(f"signed `{what}`", "bold"))
    print_pairs({
        "  files": str(len(manifest.entries)),
        "  digest": manifest.dirhash1,
        "  key": signer.key_id,
        "  signature": where,
    })  # fmt: skip
