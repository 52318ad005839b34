"""The signed statement, written: in-toto Statement v1 with the predicate of OpenSSF Model Signing (OMS) v1.0.

Promises: one byte string for one manifest (JCS, sorted resources), on any machine. Does not: sign, or read what others
wrote (see `predicate`).

Two things go beyond the reference implementation. The subject carries `dirHash1` beside the root digest, because the
root digest binds no names: renaming `weights.bin` to `weights.pkl` keeps it. And each resource carries its `size`.
Both are allowed by the specification's schemas and read by `model_signing` 1.1.1 without complaint.
"""

from __future__ import annotations

from collections.abc import Mapping

from governance.model.artifact import FOLDER_SIGNATURE
from governance.model.canonical import Json, canonical_bytes
from governance.signing.manifest import Manifest, ManifestEntry

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"

GIT_NAMES = frozenset({".git", ".gitattributes", ".github", ".gitignore"})
"""Names at the root of a checkout that are no part of a model (OMS v1.0 leaves them out by default)."""

IGNORED_NAMES = GIT_NAMES | {FOLDER_SIGNATURE}
"""The only names that a signer may list as ignored, unless the verifier allows more."""

MAX_RESOURCES = 100_000

CARRIED = "mlgov.digest-from"
"""The annotation at a resource whose digest was carried over instead of computed again."""


def build_statement(manifest: Manifest, *, name: str, annotations: Mapping[str, str] | None = None) -> bytes:
    """The payload for a manifest: canonical JSON, the same bytes for the same input on any machine.

    `annotations` say who uploaded and from where; they stand at the subject, the only place where the predicate's
    schema leaves room. Raises `ValueError` for a manifest without files: that would vouch for any empty folder.
    """
    if not manifest.entries:
        raise ValueError("a manifest without files is not signed")
    digests = {"sha256": manifest.root_digest, "dirHash1": manifest.dirhash1.partition(":")[2]}
    subject: dict[str, Json] = {"name": name, "digest": digests}
    if annotations:
        subject["annotations"] = dict(annotations)
    # A file that is signed is not at the same time listed as ignored.
    roots = {entry.name.partition("/")[0] for entry in manifest.entries}
    serialization: dict[str, Json] = {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
        "ignore_paths": sorted(IGNORED_NAMES - roots),
    }
    resources: list[Json] = [_resource_json(entry) for entry in manifest.entries]
    return canonical_bytes(
        {
            "_type": STATEMENT_TYPE,
            "subject": [subject],
            "predicateType": PREDICATE_TYPE,
            "predicate": {"serialization": serialization, "resources": resources},
        }
    )


def _resource_json(entry: ManifestEntry) -> Json:
    row: dict[str, Json] = {"name": entry.name, "algorithm": "sha256", "digest": entry.sha256}
    if entry.size is not None:
        row["size"] = entry.size
    if entry.carried:
        row["annotations"] = {CARRIED: "last signature and server checksum"}
    return row
