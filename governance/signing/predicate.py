"""The signed statement, read: complete, unambiguous, and safe to use as file names.

Reads what the specification, `model_signing` 0.3 to 1.1.1 and this project write: whole files or shards, SHA-256,
BLAKE2b or BLAKE3. Does not: know who signed it, or look at a file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from governance.errors import UnsafePathError
from governance.model.artifact import RelativePath, parse_relative_path
from governance.model.digest import parse_sha256, tree_digest
from governance.signing.manifest import Manifest, ManifestEntry
from governance.signing.reason import Reason, refuse, shown
from governance.signing.statement import CARRIED, MAX_RESOURCES, PREDICATE_TYPE, STATEMENT_TYPE
from governance.signing.strict import member, only, parse_object

_DIGEST_LENGTH = {"sha256": 64, "blake2b": 128, "blake3": 64}
_HEX = re.compile(r"[0-9a-f]+")
_LONE = "."


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One signed file, or the bytes `start` to `end` (exclusive) of one. `label` is its name in the statement."""

    label: str
    path: RelativePath
    digest: str
    start: int | None = None
    end: int | None = None
    size: int | None = None
    carried: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What was signed. `is_lone` marks a single file that was signed under the name `.`, as `model_signing` does."""

    name: str
    hash_type: str
    shard_size: int | None
    ignored: tuple[str, ...]
    resources: tuple[Resource, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    is_lone: bool = False

    @property
    def manifest(self) -> Manifest | None:
        """The files with their SHA-256, where they were signed whole and with that hash."""
        if self.hash_type != "sha256" or self.shard_size is not None or self.is_lone:
            return None
        return Manifest(
            tuple(
                ManifestEntry(
                    name=each.path, sha256=parse_sha256(each.digest), size=each.size, carried=each.carried
                )
                for each in self.resources
            )
        )


def parse_statement(payload: bytes) -> Statement:
    """Read a statement whose signature was verified. Raises `SignatureError`, each refusal with its own reason."""
    what, reason = "the statement", Reason.STATEMENT
    document = parse_object(payload, what=what)
    only(document, frozenset({"_type", "subject", "predicateType", "predicate"}), reason=reason, what=what)
    if document.get("_type") != STATEMENT_TYPE:
        raise refuse(
            reason, f"the statement is not an in-toto Statement v1 (`{shown(document.get('_type'))}`)"
        )
    if document.get("predicateType") != PREDICATE_TYPE:
        raise refuse(Reason.PREDICATE_TYPE, f"predicate type `{shown(document.get('predicateType'))}`")
    subjects = member(document, "subject", list, reason=reason, what=what)
    if len(subjects) != 1 or not isinstance(subjects[0], dict):
        raise refuse(reason, "the statement does not have exactly one subject")
    predicate = member(document, "predicate", dict, reason=reason, what=what)
    only(predicate, frozenset({"serialization", "resources"}), reason=reason, what="the predicate")
    return _parse_predicate(subjects[0], predicate)


def _parse_predicate(subject: Mapping[str, Any], predicate: Mapping[str, Any]) -> Statement:
    what, reason = "the predicate", Reason.STATEMENT
    name = member(subject, "name", str, reason=reason, what="the subject")
    serialization = member(predicate, "serialization", dict, reason=reason, what=what)
    rows = member(predicate, "resources", list, reason=reason, what=what)
    if len(rows) > MAX_RESOURCES:
        raise refuse(Reason.TOO_MANY_RESOURCES, f"{len(rows)} resources ({MAX_RESOURCES} are allowed)")
    if not rows:
        raise refuse(Reason.EMPTY, "the statement lists no files")
    hash_type, shard_size, ignored = _parse_serialization(serialization)
    resources = tuple(_parse_resource(row, hash_type, shard_size) for row in rows)
    if len({each.label for each in resources}) != len(resources):
        raise refuse(Reason.DUPLICATE_NAME, "a file is listed twice")
    is_lone = any(each.label == _LONE for each in resources)
    if is_lone and len(resources) > 1:
        raise refuse(Reason.UNSAFE_NAME, "`.` stands for a single file and here there are several")
    if shard_size is not None:
        _check_shards(resources, shard_size)
    statement = Statement(
        name=name,
        hash_type=hash_type,
        shard_size=shard_size,
        ignored=ignored,
        resources=resources,
        annotations=_parse_annotations(subject.get("annotations", {})),
        is_lone=is_lone,
    )
    _check_digests(statement, member(subject, "digest", dict, reason=reason, what="the subject"))
    return statement


def _parse_serialization(document: Mapping[str, Any]) -> tuple[str, int | None, tuple[str, ...]]:
    what, reason = "the serialization", Reason.STATEMENT
    only(
        document,
        frozenset({"method", "hash_type", "allow_symlinks", "shard_size", "ignore_paths"}),
        reason=reason,
        what=what,
    )
    if member(document, "allow_symlinks", bool, reason=reason, what=what):
        raise refuse(
            Reason.SYMLINKS, "the signer followed symbolic links, so names do not say what was signed"
        )
    hash_type = member(document, "hash_type", str, reason=reason, what=what)
    if hash_type not in _DIGEST_LENGTH:
        raise refuse(Reason.HASH, f"hash `{shown(hash_type)}` is not one of {', '.join(_DIGEST_LENGTH)}")
    method = document.get("method")
    if method not in ("files", "shards"):
        raise refuse(reason, f"method `{shown(method)}` is neither files nor shards")
    ignored = document.get("ignore_paths", [])
    if not isinstance(ignored, list) or not all(isinstance(path, str) and path for path in ignored):
        raise refuse(reason, "`ignore_paths` is not a list of names")
    return hash_type, _parse_shard_size(document, is_sharded=method == "shards"), tuple(ignored)


def _parse_shard_size(document: Mapping[str, Any], *, is_sharded: bool) -> int | None:
    if not is_sharded:
        if "shard_size" in document:
            raise refuse(Reason.STATEMENT, "`shard_size` stands with files that are not sharded")
        return None
    size = document.get("shard_size")
    # `model_signing` 1.1.1 writes the number through a protobuf double.
    if isinstance(size, float) and size.is_integer():
        size = int(size)
    if not isinstance(size, int) or isinstance(size, bool) or size <= 0:
        raise refuse(Reason.SHARDS, "`shard_size` is missing or not a positive number")
    return size


def _parse_resource(row: Any, hash_type: str, shard_size: int | None) -> Resource:
    what, reason = "a resource", Reason.STATEMENT
    if not isinstance(row, dict):
        raise refuse(reason, "a resource that is not an object")
    label = member(row, "name", str, reason=reason, what=what)
    # `model_signing` 1.1.1 writes `sha256-sharded-1000000000` where the specification has `sha256`.
    allowed = {hash_type} if shard_size is None else {hash_type, f"{hash_type}-sharded-{shard_size}"}
    if row.get("algorithm") not in tuple(allowed):
        raise refuse(Reason.HASH, f"`{shown(label)}` is hashed with `{shown(row.get('algorithm'))}`")
    digest = member(row, "digest", str, reason=reason, what=what)
    if len(digest) != _DIGEST_LENGTH[hash_type] or not _HEX.fullmatch(digest):
        raise refuse(reason, f"`{shown(label)}` has a digest that is not {hash_type} in lower-case hex")
    size = row.get("size")
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
        raise refuse(reason, f"`{shown(label)}` has a size that is not a number of bytes")
    path, start, end = _split_shard(label) if shard_size is not None else (label, None, None)
    notes = row.get("annotations")
    return Resource(
        label=label,
        path=_safe_path(path),
        digest=digest,
        start=start,
        end=end,
        size=size,
        carried=isinstance(notes, dict) and CARRIED in notes,
    )


def _safe_path(path: str) -> RelativePath:
    if path == _LONE:
        return RelativePath(path)
    try:
        return parse_relative_path(path)
    except UnsafePathError as error:
        raise refuse(Reason.UNSAFE_NAME, error.message) from error


_SHARD = re.compile(r"(?P<path>.+):(?P<start>0|[1-9][0-9]{0,18}):(?P<end>[1-9][0-9]{0,18})", re.DOTALL)


def _split_shard(label: str) -> tuple[str, int, int]:
    match = _SHARD.fullmatch(label)
    if not match:
        raise refuse(Reason.SHARDS, f"`{shown(label)}` is not `path:start:end`")
    return match["path"], int(match["start"]), int(match["end"])


def _check_shards(resources: Sequence[Resource], shard_size: int) -> None:
    """Every file is covered from byte 0 without gap or overlap, in shards of the stated size but for the last."""
    reached: dict[str, int] = {}
    for each in sorted(resources, key=lambda each: (each.path, each.start or 0)):
        start, end = each.start or 0, each.end or 0
        if start != reached.get(each.path, 0) or start % shard_size or not start < end <= start + shard_size:
            raise refuse(
                Reason.SHARDS, f"the shards of `{shown(each.path)}` leave a gap, overlap or are too long"
            )
        reached[each.path] = end


def _check_digests(statement: Statement, digests: Mapping[str, Any]) -> None:
    """Recompute what the subject claims. Order is the listed one: both orders in use verify (see `docs/signatures.md`)."""
    hasher = hashlib.sha256()
    for each in statement.resources:
        hasher.update(bytes.fromhex(each.digest))
    if digests.get("sha256") != hasher.hexdigest():
        raise refuse(Reason.INCONSISTENT, "the root digest is not that of the listed files")
    if "dirHash1" not in digests:
        return
    if statement.hash_type != "sha256" or statement.shard_size is not None or statement.is_lone:
        raise refuse(
            Reason.INCONSISTENT, "`dirHash1` stands with files that do not carry whole SHA-256 digests"
        )
    expected = tree_digest((each.path, parse_sha256(each.digest)) for each in statement.resources)
    if expected != f"dirhash1:{digests['dirHash1']}":
        raise refuse(Reason.INCONSISTENT, "`dirHash1` is not that of the listed files")


def _parse_annotations(document: Any) -> dict[str, str]:
    if not isinstance(document, dict):
        raise refuse(Reason.STATEMENT, "the subject's annotations are not an object")
    return {key: value for key, value in document.items() if isinstance(value, str)}
