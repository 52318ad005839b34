"""What a verification found: a report that never raises, and the closed list of reasons for which one is refused."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from governance.errors import SignatureError
from governance.signing.manifest import Manifest


class Reason(enum.StrEnum):
    """Why a signature is refused. The words are stable: policies and records hold them."""

    MISSING = "missing"

    TOO_LARGE = "bundle-too-large"
    NOT_JSON = "not-json"
    BUNDLE = "malformed-bundle"
    MEDIA_TYPE = "media-type"
    MATERIAL = "verification-material"
    ENVELOPE = "malformed-envelope"
    PAYLOAD_TYPE = "payload-type"
    BASE64 = "wrong-base64"
    TOO_MANY_SIGNATURES = "too-many-signatures"

    NO_TRUST = "no-trusted-key"
    TRUST_EXPIRED = "trust-file-expired"
    UNKNOWN_KEY = "unknown-key"
    BAD_SIGNATURE = "bad-signature"
    ROLE = "key-role"
    SCOPE = "key-scope"
    NOT_YET_VALID = "key-not-yet-valid"
    EXPIRED = "key-expired"
    SUPERSEDED = "key-superseded"
    COMPROMISED = "key-compromised"
    FUTURE = "signed-in-the-future"
    THRESHOLD = "threshold-not-met"
    CERTIFICATE = "malformed-certificate"
    CERTIFICATE_CHAIN = "certificate-untrusted"
    CERTIFICATE_TIME = "certificate-outside-validity"
    CERTIFICATE_USAGE = "certificate-not-for-code-signing"
    SIGSTORE = "sigstore-refused"
    IDENTITY = "identity-not-trusted"
    UNSUPPORTED = "unsupported-signer"

    STATEMENT = "malformed-statement"
    PREDICATE_TYPE = "predicate-type"
    TOO_MANY_RESOURCES = "too-many-resources"
    UNSAFE_NAME = "unsafe-name"
    DUPLICATE_NAME = "duplicate-name"
    SYMLINKS = "symlinks-allowed"
    HASH = "unsupported-hash"
    SHARDS = "malformed-shards"
    IGNORE_LIST = "ignore-list"
    INCONSISTENT = "digest-inconsistent"
    EMPTY = "no-files"

    NOT_COMPARABLE = "not-comparable"
    FILES = "files-differ"
    VSA = "malformed-summary"
    SUBJECT = "subject-differs"
    VERIFIER = "verifier-not-trusted"
    RESOURCE = "resource-differs"
    FAILED = "verification-failed"
    LEVELS = "levels-missing"
    POLICY = "policy-differs"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureReport:
    """The answer of one verification.

    `valid` is True only where a trusted signer signed exactly the files that are there. `reason` and `detail` say why
    not, for a machine and for a person. `signer`, `key_id` and what follows are filled only from what a trusted
    signer signed. `compared` tells whether the files were looked at: without it `missing`, `unsigned` and `changed`
    are empty because nobody knows. `signed_at` is trusted time, or None. `manifest` is what was signed, where it was
    signed by whole files in SHA-256: the list to check moving bytes against.
    """

    valid: bool
    reason: Reason | None = None
    detail: str = ""
    signer: str | None = None
    signers: tuple[str, ...] = ()
    key_id: str | None = None
    signed_at: datetime | None = None
    name: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    manifest: Manifest | None = None
    bundle_sha256: str | None = None
    compared: bool = False
    missing: tuple[str, ...] = ()
    unsigned: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    @classmethod
    def absent(cls) -> SignatureReport:
        """The report where there is no signature at all."""
        return cls(valid=False, reason=Reason.MISSING, detail="there is no signature")


def refuse(reason: Reason, detail: str) -> SignatureError:
    """The one error of this package, with its machine-readable reason."""
    return SignatureError(detail, reason=reason.value)


def shown(value: object, limit: int = 80) -> str:
    """Text from outside as it may stand in a message: short, on one line, without control characters."""
    return str(value)[:limit].encode("unicode_escape").decode("ascii")
