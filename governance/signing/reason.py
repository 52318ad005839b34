"""Why a signature is refused: the closed list, and the one error that carries it."""

from __future__ import annotations

import enum

from governance.errors import SignatureError


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


def refuse(reason: Reason, detail: str) -> SignatureError:
    """The one error of this package, with its machine-readable reason."""
    return SignatureError(detail, reason=reason.value)


def shown(value: object, limit: int = 80) -> str:
    """Text from outside as it may stand in a message: short, on one line, without control characters."""
    return str(value)[:limit].encode("unicode_escape").decode("ascii")
