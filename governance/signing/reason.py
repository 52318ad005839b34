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


STEPS = (
    "size", "bundle", "envelope", "trust file", "signatures", "signers", "threshold", "statement", "ignore list", "files",
)  # fmt: skip
"""The steps of `governance.signing.verify`, in its order, by what each looks at."""

_STEPS: dict[int, tuple[Reason, ...]] = {
    1: (Reason.TOO_LARGE,),
    2: (Reason.NOT_JSON, Reason.BUNDLE, Reason.MEDIA_TYPE, Reason.MATERIAL),
    3: (Reason.ENVELOPE, Reason.PAYLOAD_TYPE, Reason.BASE64, Reason.TOO_MANY_SIGNATURES),
    4: (Reason.NO_TRUST, Reason.TRUST_EXPIRED),
    5: (
        Reason.UNKNOWN_KEY, Reason.BAD_SIGNATURE, Reason.CERTIFICATE, Reason.CERTIFICATE_CHAIN, Reason.CERTIFICATE_TIME,
        Reason.CERTIFICATE_USAGE, Reason.SIGSTORE, Reason.IDENTITY, Reason.UNSUPPORTED,
    ),
    6: (
        Reason.ROLE, Reason.SCOPE, Reason.NOT_YET_VALID, Reason.EXPIRED, Reason.SUPERSEDED, Reason.COMPROMISED,
        Reason.FUTURE,
    ),
    7: (Reason.THRESHOLD,),
    8: (
        Reason.STATEMENT, Reason.PREDICATE_TYPE, Reason.TOO_MANY_RESOURCES, Reason.UNSAFE_NAME, Reason.DUPLICATE_NAME,
        Reason.SYMLINKS, Reason.HASH, Reason.SHARDS, Reason.INCONSISTENT, Reason.EMPTY,
    ),
    9: (Reason.IGNORE_LIST,),
    10: (Reason.NOT_COMPARABLE, Reason.FILES),
}  # fmt: skip
_STEP_OF = {reason: step for step, reasons in _STEPS.items() for reason in reasons}


def step_of(reason: Reason) -> int | None:
    """The step of `governance.signing.verify` at which a signature is refused for a reason. None where there is no
    signature, and for reasons that only verification summaries have."""
    return _STEP_OF.get(reason)


def refuse(reason: Reason, detail: str) -> SignatureError:
    """The one error of this package, with its machine-readable reason."""
    return SignatureError(detail, reason=reason.value)


def shown(value: object, limit: int = 80) -> str:
    """Text from outside as it may stand in a message: short, on one line, without control characters."""
    return str(value)[:limit].encode("unicode_escape").decode("ascii")
