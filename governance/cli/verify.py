"""`mlgov verify`: whether a trusted key signed exactly the bytes that are there."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from governance.cli.output import Mark, err, out, print_json, print_pairs, sign, styled
from governance.cli.stored import read_small
from governance.errors import KeyFileError, SettingsError, TransferError

if TYPE_CHECKING:
    from datetime import datetime

    from governance.model.canonical import Json
    from governance.signing.manifest import Manifest
    from governance.signing.report import SignatureReport
    from governance.signing.trust import TrustStore
    from governance.wiring import Assembly

_MOST_FILES = 10


def verify(
    reference: Annotated[
        str, typer.Argument(metavar="REF|FOLDER", help="A local folder or file, or a place in Artifactory.")
    ],
    *,
    signature: Annotated[
        Path | None, typer.Option(help="The signature file, instead of the one beside what is verified.")
    ] = None,
    public_key: Annotated[
        Path | None, typer.Option(help="Trust this key (PEM) alone, instead of the trust file.")
    ] = None,
    vsa: Annotated[
        Path | None,
        typer.Option("--vsa", help="Check this verification summary of a decision instead of the signature."),
    ] = None,
    level: Annotated[
        list[str] | None,
        typer.Option(help="With `--vsa`: a level that must be held. Default: MLGOV_ALLOWED."),
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="With `--vsa`: the digest of the policy that must have been applied.")
    ] = None,
    resource: Annotated[
        str | None, typer.Option(help="With `--vsa`: the place it must be about, for a local copy.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Check a signature against the bytes: every file is read and hashed, here or from Artifactory.

    Exits with 0 where a trusted key signed exactly these files, 1 where not. With `--vsa`, where a trusted verifier
    says that exactly these files passed (see `mlgov evidence`).
    """
    from governance.cli.reference import local_folder
    from governance.settings import load_settings
    from governance.wiring import build_assembly

    if vsa is None and (level or policy or resource):
        raise SettingsError(
            "`--level`, `--policy` and `--resource` are about a summary", hint="Give `--vsa FILE`."
        )
    settings = load_settings()
    with closing(build_assembly(settings)) as assembly:
        trust = _trust(public_key) if public_key else assembly.trust
        if vsa is not None:
            _verify_vsa(reference, vsa, trust, assembly, (level, policy, resource), as_json=as_json)
        local = local_folder(reference)
        if local is not None:
            reports = {str(local): _verify_local(local, trust, signature, assembly)}
        else:
            reports = _verify_stored(reference, trust, signature, assembly)
    if as_json:
        documents = [_document(what, report) for what, report in reports.items()]
        print_json(documents[0] if len(documents) == 1 else documents)
    else:
        for what, report in reports.items():
            _show(what, report)
    raise typer.Exit(0 if reports and all(report.valid for report in reports.values()) else 1)


def _verify_vsa(
    reference: str,
    path: Path,
    trust: TrustStore,
    assembly: Assembly,
    wanted: tuple[list[str] | None, str | None, str | None],
    *,
    as_json: bool,
) -> NoReturn:
    from governance.cli.verify_vsa import verify_vsa
    from governance.signing.bundle import MAX_BUNDLE

    summary = read_small(path, MAX_BUNDLE)
    if summary is None:
        raise TransferError(f"there is no summary `{path}`", hint="`mlgov evidence export` writes one.")
    level, policy, resource = wanted
    verify_vsa(
        reference, summary, trust, assembly,
        levels=tuple(level or ()), policy=policy, resource=resource, as_json=as_json,
    )  # fmt: skip


def _trust(path: Path) -> TrustStore:
    from governance.signing.publickey import parse_public_key
    from governance.signing.trust import TrustStore

    data = read_small(path, 64 << 10)
    if data is None:
        raise KeyFileError(f"there is no public key file `{path}`", hint="`mlgov keys export` writes one.")
    return TrustStore.of_key(parse_public_key(data), name=path.name)


def _verify_local(
    path: Path, trust: TrustStore, signature: Path | None, assembly: Assembly
) -> SignatureReport:
    from governance.model.artifact import FILE_SIGNATURE_SUFFIX, FOLDER_SIGNATURE
    from governance.signing.bundle import MAX_BUNDLE
    from governance.signing.report import SignatureReport

    beside = (
        path / FOLDER_SIGNATURE if path.is_dir() else path.with_name(f"{path.name}{FILE_SIGNATURE_SUFFIX}")
    )
    bundle = read_small(signature or beside, MAX_BUNDLE)
    if bundle is None and signature is not None:
        raise TransferError(f"there is no signature file `{signature}`")
    if bundle is None:
        return SignatureReport.absent()

    # Others sign into the folder under names of their own (`model_signing --signature FOLDER/NAME`): that file is no part of the model.
    is_inside = signature is not None and signature.resolve().parent == path.resolve()
    own = frozenset({signature.name}) if signature is not None and is_inside else frozenset()
    return verify_files(bundle, path, trust, assembly, left_out=own)


def verify_files(
    bundle: bytes,
    path: Path,
    trust: TrustStore,
    assembly: Assembly,
    *,
    left_out: frozenset[str] = frozenset(),
) -> SignatureReport:
    """The report on a local folder or file, whose every byte is read."""
    from governance.audit.signing_time import verify_in_time
    from governance.signing.statement import IGNORED_NAMES
    from governance.signing.verify import verify_folder

    at = assembly.now()

    def check(signed_at: datetime | None) -> SignatureReport:
        return verify_folder(
            bundle, path, trust, at=at, signed_at=signed_at, may_ignore=IGNORED_NAMES | left_out
        )

    with err().status("hashing"):
        return verify_in_time(check, bundle, times=assembly.signing_time, ref=None, at=at)


def _verify_stored(
    reference: str, trust: TrustStore, signature: Path | None, assembly: Assembly
) -> dict[str, SignatureReport]:
    from governance.cli.reference import locate, parse_reference
    from governance.cli.stored import hash_stored
    from governance.signing.bundle import MAX_BUNDLE

    place = parse_reference(reference, assembly.settings)
    client = assembly.artifactory(place.host)
    reports = {}
    for part in locate(client, place):
        bundle = read_small(signature, MAX_BUNDLE) if signature else None
        if signature is None and part.artifact.signature is not None:
            beside = part.root / part.artifact.signature.path
            bundle = client.read_small(beside.repository, beside.path, limit=MAX_BUNDLE)
        with err().status(f"hashing `{part.artifact.ref}`"):
            manifest = hash_stored(client, part)
        reports[part.artifact.ref] = verify_manifest(
            bundle, manifest, trust, assembly, repository=place.repository, ref=part.artifact.ref
        )
    return reports


def verify_manifest(
    bundle: bytes | None,
    manifest: Manifest,
    trust: TrustStore,
    assembly: Assembly,
    *,
    repository: str,
    ref: str,
) -> SignatureReport:
    """The report on what lies in Artifactory, whose bytes gave `manifest`."""
    from governance.audit.signing_time import verify_in_time
    from governance.signing.report import SignatureReport
    from governance.signing.verify import verify_bundle

    if bundle is None:
        return SignatureReport.absent()

    at = assembly.now()

    def check(signed_at: datetime | None) -> SignatureReport:
        return verify_bundle(bundle, manifest, trust, at=at, repository=repository, signed_at=signed_at)

    return verify_in_time(check, bundle, times=assembly.signing_time, ref=ref, at=at)


def _document(what: str, report: SignatureReport) -> dict[str, Json]:
    from governance.model.request import utc_text
    from governance.signing.reason import step_of

    return {
        "artifact": what,
        "valid": report.valid,
        "reason": report.reason.value if report.reason else None,
        "step": step_of(report.reason) if report.reason else None,
        "detail": report.detail or None,
        "signers": list(report.signers),
        "key_id": report.key_id,
        "signed_at": utc_text(report.signed_at) if report.signed_at else None,
        "changed": list(report.changed),
        "missing": list(report.missing),
        "unsigned": list(report.unsigned),
    }


def _show(what: str, report: SignatureReport) -> None:
    from governance.signing.reason import STEPS, step_of

    console = out()
    if report.valid:
        count = len(report.manifest.entries) if report.manifest else 0
        console.print(sign(Mark.OK), styled(f"`{what}` is what was signed", "bold"))
        print_pairs({
            "  signed by": ", ".join(report.signers),
            "  key": report.key_id,
            "  signed at": f"{report.signed_at:%Y-%m-%d %H:%M} UTC (trusted time)" if report.signed_at else None,
            "  files": str(count) if count else None,
            "  digest": report.manifest.dirhash1 if report.manifest else None,
        })  # fmt: skip
        return
    console.print(sign(Mark.FAIL), styled(f"`{what}` is not verified", "bold"))
    console.print(styled(f"  {report.detail or report.reason or 'no reason given'}"))
    step = step_of(report.reason) if report.reason else None
    if step is not None:
        before = f"; in order before it: {', '.join(STEPS[: step - 1])}" if step > 1 else ""
        console.print(styled(f"  refused at step {step} of {len(STEPS)}, {STEPS[step - 1]}{before}"))
    for word in ("changed", "missing", "unsigned"):
        names = getattr(report, word)
        for name in names[:_MOST_FILES]:
            console.print(styled(f"    {word}: {name}"))
        if len(names) > _MOST_FILES:
            console.print(f"    and {len(names) - _MOST_FILES} more {word}")
