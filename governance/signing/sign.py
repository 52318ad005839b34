"""Signing: from a manifest to the bytes of a signature file.

Promises: with a local key the result depends on the manifest, name, annotations and key alone, so signing twice gives
the same file. Does not: look at any file; whoever made the manifest vouches for having seen the bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from governance.errors import SignatureError
from governance.model.artifact import RelativePath
from governance.signing.bundle import MAX_BUNDLE, CertificateMaterial, KeyMaterial, parse_bundle, write_bundle
from governance.signing.envelope import MAX_SIGNATURES, Envelope, EnvelopeSignature, pae
from governance.signing.manifest import Manifest, ManifestEntry
from governance.signing.publickey import parse_public_key
from governance.signing.reason import Reason, refuse
from governance.signing.statement import MAX_RESOURCES, PAYLOAD_TYPE, build_statement

if TYPE_CHECKING:
    from governance.model.request import Actor, MlflowContext
    from governance.signing.keyholder import Signer

_SMALLER = "Pack small files into an archive, or shorten their names, before the model is logged."


def sign_manifest(
    manifest: Manifest,
    *,
    name: str,
    signer: Signer,
    annotations: Mapping[str, str] | None = None,
    also: Sequence[Signer] = (),
    certificates: Sequence[bytes] = (),
) -> bytes:
    """The signature file for a manifest, in OpenSSF Model Signing v1.0.

    `name` is for people; nothing depends on it. `also` are further signers over the same bytes, for a change of keys
    or where the trust file asks for several; the reference implementation looks at the first signature only.
    `certificates` (DER, leaf first) belong to `signer` and replace the hint at its key. Raises `ValueError` for a
    manifest without files, `SignatureError` for one that no signature file holds, and what the signers raise.
    """
    if len(manifest.entries) > MAX_RESOURCES:
        what = f"{len(manifest.entries)} files, of which a signature names at most {MAX_RESOURCES}"
        raise SignatureError(what, reason=Reason.TOO_MANY_RESOURCES.value, hint=_SMALLER)
    payload = build_statement(manifest, name=name, annotations=annotations)
    bundle = sign_payload(payload, signers=(signer, *also), certificates=certificates)
    if len(bundle) > MAX_BUNDLE:  # which `verify` does not read, so that the model could never be used
        what = f"the signature over {len(manifest.entries)} files has {len(bundle)} bytes, of which {MAX_BUNDLE} are read"
        raise SignatureError(what, reason=Reason.TOO_LARGE.value, hint=_SMALLER)
    return bundle


def sign_payload(
    payload: bytes,
    *,
    signers: Sequence[Signer],
    certificates: Sequence[bytes] = (),
    payload_type: str = PAYLOAD_TYPE,
) -> bytes:
    """A signature file over any payload. `keyid` stays empty: nobody may rely on it."""
    message = pae(payload_type, payload)
    signatures = tuple(EnvelopeSignature(value=signer.sign(message)) for signer in signers)
    envelope = Envelope(payload=payload, payload_type=payload_type, signatures=signatures)
    if certificates:
        return write_bundle(envelope, CertificateMaterial(certificates=tuple(certificates)))
    return write_bundle(envelope, KeyMaterial(hint=signers[0].key_id))


def add_signature(bundle: bytes, signer: Signer) -> bytes:
    """The signature file with one signature more over the very same bytes; all else in it stays, time stamps too.

    What the caller must do: verify `bundle` against the files first, since `signer` vouches for all that it says. Raises
    `SignatureError` for one that is not signed by keys, that this key signed already or that is full, and what the signer raises.
    """
    parsed = parse_bundle(bundle)
    if not isinstance(parsed.material, KeyMaterial):
        raise refuse(
            Reason.MATERIAL,
            "beside a certificate's or a Sigstore identity's signature there is no room for others",
        )
    message, signatures = parsed.envelope.message, parsed.envelope.signatures
    public = parse_public_key(signer.public_pem)
    if any(public.has_signed(message, each.value) for each in signatures):
        raise refuse(Reason.THRESHOLD, f"this key ({signer.key_id[:16]}) has signed it already")
    if len(signatures) >= MAX_SIGNATURES:
        raise refuse(Reason.TOO_MANY_SIGNATURES, f"it has {len(signatures)} signatures, and no more are read")
    document = json.loads(bundle)
    more = (*signatures, EnvelopeSignature(value=signer.sign(message)))
    document["dsseEnvelope"] = replace(parsed.envelope, signatures=more).to_json()
    written = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    parse_bundle(written)
    return written


def has_signatures(bundle: bytes, *, of: bytes) -> bool:
    """Whether a signature file has all signatures of another one, over the very same bytes. Nothing is verified."""
    try:
        found, wanted = parse_bundle(bundle).envelope, parse_bundle(of).envelope
    except SignatureError:
        return False
    return found.message == wanted.message and set(found.signatures) >= set(wanted.signatures)


def attribution(actor: Actor, mlflow: MlflowContext, *, host: str | None = None) -> dict[str, str]:
    """Annotations that say who uploaded. A name that nobody vouched for is marked as claimed; the run and the host are
    always the uploader's own words.
    """
    rows = {
        "mlgov.uploader": actor.name,
        "mlgov.uploader.authentication": actor.authentication or "claimed",
        "mlgov.claimed.run": mlflow.run_id,
        "mlgov.claimed.experiment": mlflow.experiment_id,
        "mlgov.claimed.commit": mlflow.source_commit,
        "mlgov.claimed.host": host,
    }
    return {key: value for key, value in rows.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resigning:
    """What signing again needs: entries whose digests are carried over, and names whose bytes must be read."""

    carried: tuple[ManifestEntry, ...]
    to_hash: tuple[RelativePath, ...]

    def manifest(self, hashed: Mapping[RelativePath, ManifestEntry]) -> Manifest:
        """The whole manifest, once `to_hash` are hashed. Raises `KeyError` for one that is not there."""
        return Manifest((*self.carried, *(hashed[name] for name in self.to_hash)))


def plan_resigning(signed: Manifest, stored: Manifest) -> Resigning:
    """Compare the last valid signature with what the server says it stores. A digest is carried over only where both
    agree; every other file must be read again. `signed` must come from a report that is valid but for its files.
    """
    known = signed.digests()
    carried = tuple(
        ManifestEntry(name=entry.name, sha256=entry.sha256, size=entry.size, carried=True)
        for entry in stored.entries
        if known.get(entry.name) == entry.sha256
    )
    names = {entry.name for entry in carried}
    return Resigning(
        carried=carried, to_hash=tuple(entry.name for entry in stored.entries if entry.name not in names)
    )
