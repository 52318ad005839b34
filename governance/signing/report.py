"""What a verification found: a report, never an exception."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from governance.signing.manifest import Manifest
from governance.signing.reason import Reason

__all__ = ["Reason", "SignatureReport"]


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
