"""`mlgov verify --vsa`: whether a trusted verifier vouches for exactly the bytes that are there."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NoReturn

import typer

from governance.cli.output import Mark, err, out, print_json, print_pairs, sign, styled
from governance.cli.stored import hash_stored, read_small
from governance.errors import SettingsError, SignatureError

if TYPE_CHECKING:
    from governance.model.canonical import Json
    from governance.model.digest import Digest, Sha256
    from governance.signing.trust import TrustStore
    from governance.signing.vsa import SummaryReport
    from governance.wiring import Assembly


def verify_vsa(
    reference: str,
    summary: bytes,
    trust: TrustStore,
    assembly: Assembly,
    *,
    levels: tuple[str, ...],
    policy: str | None,
    resource: str | None,
    as_json: bool,
) -> NoReturn:
    """Hash what is there, check the summary about it, tell, and exit with 0 or 1."""
    digests, place, repository = _look(reference, assembly, resource)
    report = _verify(
        summary, trust, assembly, digests,
        levels=levels, policy=_policy_digest(policy), resource=place, repository=repository,
    )  # fmt: skip
    if as_json:
        print_json(_document(reference, report))
    else:
        _show(reference, report)
    raise typer.Exit(0 if report.valid else 1)


def _look(
    reference: str, assembly: Assembly, resource: str | None
) -> tuple[tuple[Digest, ...], str, str | None]:
    """The digests by which a summary may name the artifact, its resource, and the repository it lies in."""
    from governance.cli.reference import local_folder, locate, parse_reference
    from governance.model.artifact import FOLDER_SIGNATURE, Kind
    from governance.model.digest import file_digest
    from governance.signing.bundle import MAX_BUNDLE
    from governance.signing.hashing import hash_folder
    from governance.signing.vsa import uri_of

    local = local_folder(reference)
    if local is not None:
        if resource is None:
            raise SettingsError(
                "a summary is about a place, and a local copy does not say which",
                hint="`--resource artifactory://HOST/artifactory/REPOSITORY/PATH`: where the copy came from.",
            )
        with err().status("hashing"):
            manifest = hash_folder(local)
        beside = read_small(local / FOLDER_SIGNATURE, MAX_BUNDLE) if local.is_dir() else None
        lone = manifest.entries[0].sha256 if local.is_file() else None
        return _digests(manifest.dirhash1, beside, file_digest(lone) if lone else None), resource, None
    place = parse_reference(reference, assembly.settings)
    client = assembly.artifactory(place.host)
    parts = locate(client, place)
    if len(parts) != 1 or parts[0].selection is not None:
        raise SettingsError(
            f"`{reference}` is not one whole artifact, which is what a summary is about",
            hint="Name the model's own folder, or a file that was logged alone.",
        )
    part = parts[0]
    with err().status(f"hashing `{part.artifact.ref}`"):
        manifest = hash_stored(client, part)
    beside = None
    is_file = part.artifact.kind is Kind.FILE
    if part.artifact.signature is not None and not is_file:
        named = part.root / part.artifact.signature.path
        beside = client.read_small(named.repository, named.path, limit=MAX_BUNDLE)
    lone = manifest.entries[0].sha256 if is_file else None
    digests = _digests(manifest.dirhash1, beside, file_digest(lone) if lone else None)
    return digests, resource or uri_of(part.artifact), place.repository


def _digests(tree: Digest, signature: bytes | None, lone: Digest | None) -> tuple[Digest, ...]:
    """A folder is known by its own digest, or by that of a signature file which lists exactly these files: who signed it
    does not matter here, since the summary names its bytes."""
    from governance.model.digest import file_digest, parse_sha256
    from governance.signing.bundle import parse_bundle
    from governance.signing.predicate import parse_statement

    if lone is not None:
        return (lone,)
    if signature is None:
        return (tree,)
    try:
        statement = parse_statement(parse_bundle(signature).envelope.payload)
    except SignatureError:
        return (tree,)
    if statement.manifest is None or statement.manifest.dirhash1 != tree:
        return (tree,)
    return tree, file_digest(parse_sha256(hashlib.sha256(signature).hexdigest()))


def _verify(
    summary: bytes,
    trust: TrustStore,
    assembly: Assembly,
    digests: tuple[Digest, ...],
    *,
    levels: tuple[str, ...],
    policy: Sha256 | None,
    resource: str,
    repository: str | None,
) -> SummaryReport:
    from governance.model.digest import Sha256
    from governance.signing.reason import Reason
    from governance.signing.vsa import ALLOWED, verify_summary

    at = assembly.now()
    signed_at = assembly.signing_time(None, Sha256(hashlib.sha256(summary).hexdigest()), at)
    for digest in digests:
        report = verify_summary(
            summary,
            trust,
            at=at,
            digest=digest,
            resource=resource,
            levels=levels or (ALLOWED,),
            policy_digest=policy,
            repository=repository,
            signed_at=signed_at,
        )
        if report.reason is not Reason.SUBJECT:
            break
    return report


def _policy_digest(text: str | None) -> Sha256 | None:
    from governance.model.digest import parse_sha256

    if text is None:
        return None
    try:
        return parse_sha256(text.removeprefix("sha256:"))
    except ValueError as error:
        raise SettingsError(
            f"`{text[:80]}` is not the digest of a policy", hint="It has 64 hex digits."
        ) from error


def _document(what: str, report: SummaryReport) -> dict[str, Json]:
    from governance.model.request import utc_text

    summary = report.summary
    document: dict[str, Json] = {
        "artifact": what,
        "valid": report.valid,
        "reason": report.reason.value if report.reason else None,
        "detail": report.detail or None,
        "signer": report.signer,
        "key_id": report.key_id,
    }
    if summary is None:
        return document
    return document | {
        "verifier": summary.verifier,
        "time_verified": utc_text(summary.time_verified),
        "resource": summary.resource_uri,
        "policy": {"uri": summary.policy_uri, "digest": dict(summary.policy_digest)},
        "result": "PASSED" if summary.passed else "FAILED",
        "levels": list(summary.levels),
    }


def _show(what: str, report: SummaryReport) -> None:
    summary = report.summary
    if report.valid:
        out().print(
            sign(Mark.OK), styled(f"`{what}` passed, as {summary.verifier if summary else ''} says", "bold")
        )
    else:
        out().print(sign(Mark.FAIL), styled(f"`{what}` has no good summary", "bold"))
        out().print(styled(f"  {report.detail or report.reason}"))
    if summary is not None:
        print_pairs({
            "  signed by": report.signer,
            "  verified at": f"{summary.time_verified:%Y-%m-%d %H:%M} UTC",
            "  policy": f"{summary.policy_uri} {summary.policy_digest.get('sha256', '')[:16]}",
            "  levels": ", ".join(summary.levels),
        })  # fmt: skip
