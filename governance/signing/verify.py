"""Verification of a model's signature: a numbered procedure that always ends in a report.

The steps, in this order; the first that fails decides the reason.

 1. The signature file has at most 16 MiB.
 2. It is a Sigstore bundle with exactly one kind of verification material.
 3. Its DSSE envelope carries an in-toto statement and 1 to 16 signatures, in base64 that an encoder writes.
 4. The trust file is in force: not expired, and it names somebody for the role.
 5. Every signature is tried with every trusted key of its kind, or its certificate chain, or its Sigstore identity.
    Hints and key ids choose nothing: nobody signed them.
 6. Whoever signed may do so: role, repository, revocation, window, at trusted time or now.
 7. As many distinct signers as the role needs did. The same key counts once, however often it signed, and so do all keys of one
    name: whoever changed keys holds two.
 8. Only now the payload is parsed: in-toto Statement v1, OMS predicate, one subject, at most 100,000 resources with
    safe and distinct names, no symbolic links, root digest and `dirHash1` as recomputed.
 9. The signer's list of ignored paths stays inside the verifier's own. It is not obeyed even so: what is there and
    not signed is reported.
10. The files that are there are the files that were signed: none missing, none added, none changed.

What the caller must still do: be sure of `actual` (hash the bytes, or take checksums of a store that hashed them);
and, where bytes are fetched afterwards, hash them on the way and compare with `report.manifest` before releasing any.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from governance.errors import SignatureError
from governance.model.people import person
from governance.signing.bundle import MAX_BUNDLE, parse_bundle
from governance.signing.manifest import Manifest
from governance.signing.predicate import Statement, parse_statement
from governance.signing.reason import Reason, refuse, shown
from governance.signing.report import SignatureReport
from governance.signing.signers import find_signers
from governance.signing.statement import IGNORED_NAMES, PAYLOAD_TYPE
from governance.signing.trust import Role, Signed, TrustStore


def verify_bundle(
    bundle: bytes | None,
    actual: Manifest,
    trust: TrustStore,
    *,
    at: datetime,
    repository: str | None = None,
    signed_at: datetime | None = None,
    role: Role = Role.ARTIFACT,
    may_ignore: frozenset[str] = IGNORED_NAMES,
) -> SignatureReport:
    """Verify a signature file against the files that are there. Never raises on a bad signature.

    `at` is now and `signed_at` trusted time, where there is any. `repository` is where the artifact lies, or None for
    a local copy: then only keys without a scope count. `actual` must hold every file but the signature itself.
    """
    report, statement = open_bundle(
        bundle, trust, at=at, repository=repository, signed_at=signed_at, role=role, may_ignore=may_ignore
    )
    if statement is None:
        return report
    if statement.shard_size is not None or statement.hash_type != "sha256":
        kind = "shards" if statement.shard_size is not None else statement.hash_type
        return replace(
            report,
            valid=False,
            reason=Reason.NOT_COMPARABLE,
            detail=f"signed as {kind}, which can be compared with the bytes only, not with SHA-256 checksums",
        )
    return _compare(
        report, statement, {entry.name: {entry.name: entry.sha256} for entry in actual.entries}
    )  # 10


def verify_folder(
    bundle: bytes | None,
    path: Path,
    trust: TrustStore,
    *,
    at: datetime,
    repository: str | None = None,
    signed_at: datetime | None = None,
    role: Role = Role.ARTIFACT,
    may_ignore: frozenset[str] = IGNORED_NAMES,
    left_out: frozenset[str] = frozenset(),
    workers: int = 2,
) -> SignatureReport:
    """Verify a signature file against a local folder or file, in whatever way it was hashed.

    Names in `may_ignore` are left out where the signer left them out too, and hashed where they were signed. `left_out`
    are further names at the root that the caller knows to be no part of it, such as the signature file itself. Raises
    `UnsafePathError` and `TransferError` for files that cannot be hashed.
    """
    from governance.signing.hashing import hash_parts

    report, statement = open_bundle(
        bundle, trust, at=at, repository=repository, signed_at=signed_at, role=role, may_ignore=may_ignore
    )
    if statement is None:
        return report
    signed_roots = {each.path.partition("/")[0] for each in statement.resources}
    try:
        actual = hash_parts(
            path,
            algorithm=statement.hash_type,
            shard_size=statement.shard_size,
            workers=workers,
            left_out=(may_ignore | left_out) - signed_roots,
        )
    except SignatureError as error:
        return replace(report, valid=False, reason=Reason(error.reason), detail=error.message)
    return _compare(report, statement, actual)  # 10


def require_valid(report: SignatureReport) -> None:
    """Raise `SignatureError` unless the report is good."""
    if report.valid:
        return
    raise SignatureError(
        f"the signature is not valid: {report.detail or report.reason}",
        reason=report.reason.value if report.reason else "unknown",
        hint="Do not use these bytes. Ask whoever publishes the model for a signed copy, or sign it after a review.",
    )


def open_bundle(
    bundle: bytes | None,
    trust: TrustStore,
    *,
    at: datetime,
    repository: str | None,
    signed_at: datetime | None = None,
    role: Role = Role.ARTIFACT,
    may_ignore: frozenset[str] = IGNORED_NAMES,
) -> tuple[SignatureReport, Statement | None]:
    """Steps 1 to 9: who signed what. The statement is None where the report is not good so far."""
    if bundle is None:
        return SignatureReport.absent(), None
    digest = hashlib.sha256(bundle).hexdigest() if len(bundle) <= MAX_BUNDLE else None
    report = SignatureReport(valid=False, bundle_sha256=digest)
    try:
        payload, signers = open_envelope(
            bundle,
            trust,
            at=at,
            repository=repository,
            signed_at=signed_at,
            role=role,
            payload_type=PAYLOAD_TYPE,
        )
        report = replace(
            report,
            signer=signers[0].name,
            key_id=signers[0].key_id,
            signers=tuple(each.name for each in signers),
            signed_at=signers[0].signed_at,
        )
        statement = parse_statement(payload)  # 8
        stray = sorted(set(statement.ignored) - may_ignore)  # 9
        if stray:
            raise refuse(
                Reason.IGNORE_LIST, f"the signer leaves out `{shown(stray[0])}`, which must be signed"
            )
    except SignatureError as error:
        return replace(report, reason=Reason(error.reason), detail=error.message), None
    return (
        replace(
            report,
            valid=True,
            name=statement.name,
            annotations=statement.annotations,
            manifest=statement.manifest,
        ),
        statement,
    )


def open_envelope(
    bundle: bytes,
    trust: TrustStore,
    *,
    at: datetime,
    repository: str | None,
    signed_at: datetime | None,
    role: Role,
    payload_type: str,
) -> tuple[bytes, tuple[Signed, ...]]:
    """Steps 1 to 7: the payload, and who vouches for it. Raises `SignatureError`."""
    parsed = parse_bundle(bundle, payload_type=payload_type)  # 1, 2, 3
    _check_trust(trust, role, at)  # 4
    found = find_signers(parsed, trust, at=at, signed_at=signed_at)  # 5
    good: dict[str, Signed] = {}
    objection: tuple[Reason, Signed] | None = None
    for signed in found:
        reason = signed.grant.objection(
            role=role, repository=repository, at=at, signed_at=signed.signed_at
        )  # 6
        if reason is None:
            good.setdefault(signed.key_id, signed)
        else:
            objection = objection or (reason, signed)
    count = len({person(signed.name) for signed in good.values()})
    if count < trust.threshold(role):  # 7
        if objection is not None:
            raise _objected(*objection, role=role, repository=repository)
        raise refuse(
            Reason.THRESHOLD, f"{count} trusted signer(s) of {trust.threshold(role)} that `{role}` needs"
        )
    return parsed.envelope.payload, tuple(good.values())


def _check_trust(trust: TrustStore, role: Role, at: datetime) -> None:
    if trust.is_expired(at):
        raise refuse(Reason.TRUST_EXPIRED, "the trust file has expired; ask for its current version")
    if not trust.names_any(role):
        raise refuse(Reason.NO_TRUST, f"the trust file names nobody for the role `{role}`")


_OBJECTIONS: Mapping[Reason, str] = {
    Reason.ROLE: "may not vouch for this sort of thing",
    Reason.SCOPE: "does not vouch for this place",
    Reason.FUTURE: "signed at a time that has not come yet",
    Reason.NOT_YET_VALID: "was not yet valid at the time of signing",
    Reason.EXPIRED: "had expired at the time of signing",
    Reason.SUPERSEDED: "is superseded, and nothing shows that it signed before that",
    Reason.COMPROMISED: "is revoked as compromised, and nothing shows that it signed before that",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Futility:
    """Why what a key signs will not count, and what to do. `is_final` is False where others' signatures beside it are all that is missing."""

    why: str
    remedy: str
    is_final: bool = True


def futility(trust: TrustStore, key_id: str, *, at: datetime, repository: str | None) -> Futility | None:
    """Why an artifact's signature that a key of the trust file makes now will not count, for whoever is about to sign; None where it
    will, and where the file does not list the key, since others' files may."""
    key = trust.find(key_id)
    if key is None:
        return None
    reason = key.grant.objection(role=Role.ARTIFACT, repository=repository, at=at, signed_at=None)
    if reason is not None:
        why = f"the key of `{key.name}` ({key_id[:16]}) {_FUTILE[reason]}"
        return Futility(why=why, remedy="`mlgov keys rotate` makes the next key.")
    needed = trust.threshold(Role.ARTIFACT)
    if needed == 1:
        return None
    return Futility(
        why=f"`{Role.ARTIFACT}` needs {needed} distinct signers, and this is one",
        remedy="The others add theirs with `mlgov sign --add`.",
        is_final=False,
    )


_FUTILE: Mapping[Reason, str] = {
    Reason.ROLE: "may not vouch for models",
    Reason.SCOPE: "does not vouch for this place",
    Reason.NOT_YET_VALID: "is not valid yet",
    Reason.EXPIRED: "has expired",
    Reason.SUPERSEDED: "is superseded",
    Reason.COMPROMISED: "is revoked as compromised",
}


def _objected(reason: Reason, signed: Signed, *, role: Role, repository: str | None) -> SignatureError:
    place = f"repository `{repository}`" if repository else "a local copy"
    return refuse(
        reason, f"the key of `{signed.name}` ({signed.key_id[:16]}) {_OBJECTIONS[reason]} ({role}, {place})"
    )


def _compare(
    report: SignatureReport, statement: Statement, actual: Mapping[str, Mapping[str, str]]
) -> SignatureReport:
    """Step 10, file by file; each maps the names of its parts (one, or one per shard) to their digests."""
    signed: dict[str, dict[str, str]] = {}
    for each in statement.resources:
        signed.setdefault(each.path, {})[each.label] = each.digest
    if statement.is_lone and len(actual) == 1:
        # The reference implementation signs a single file under the name `.`, whatever it is called.
        (parts,) = actual.values()
        actual = {".": {".": next(iter(parts.values()), "")}}
    report = replace(
        report,
        compared=True,
        missing=tuple(sorted(signed.keys() - actual.keys())),
        unsigned=tuple(sorted(actual.keys() - signed.keys())),
        changed=tuple(sorted(path for path in signed.keys() & actual.keys() if signed[path] != actual[path])),
    )
    different = (*report.changed, *report.missing, *report.unsigned)
    if not different:
        return report
    counts = (
        f"{len(report.missing)} missing, {len(report.unsigned)} not signed, {len(report.changed)} changed"
    )
    return replace(
        report,
        valid=False,
        reason=Reason.FILES,
        detail=f"the files are not the signed ones: {counts} (first `{shown(different[0])}`)",
    )
