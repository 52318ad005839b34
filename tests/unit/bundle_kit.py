"""What the tests of policy bundles share: bundles with a stand-in for a signature."""

from __future__ import annotations

from datetime import datetime

from governance.errors import SignatureError
from governance.policy.bundle import pack_bundle
from tests.unit.policy_kit import MALICIOUS, NOON, policy, policy_set, rule


def sign(payload: bytes) -> bytes:
    """A stand-in for a DSSE envelope: the layer above holds keys."""
    return b"signed:" + payload


def verify(envelope: bytes) -> bytes:
    """What was signed by `sign`; raises `SignatureError` for anything else."""
    if not envelope.startswith(b"signed:"):
        raise SignatureError("the signature is not good", reason="bad-signature")
    return envelope.removeprefix(b"signed:")


def packed(revision: int = 1, *, text: str | None = None, name: str = "acme", made: datetime = NOON) -> bytes:
    """A signed bundle of one policy (`text`, else one that blocks what is malicious) and its set."""
    files = {
        "p.yaml": (text or policy(rule(MALICIOUS))).encode(),
        "set.yaml": policy_set("  {}\n", name=name, revision=revision).encode(),
    }
    return pack_bundle(files, name=name, revision=revision, made=made, sign=sign)
