"""The trust file's text: one JSON object that lists signers, what they may vouch for, and until when.

Promises: key ids are computed, never read; times, roles and patterns are checked; a mistake is named with its place.
Does not: check who signed the file (see `roots`), or touch the disk (see `keyring`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from governance.errors import GovernanceError, KeyFileError
from governance.model.canonical import Json, canonical_bytes
from governance.model.request import parse_utc, utc_text
from governance.signing.publickey import PublicKey, parse_public_key
from governance.signing.reason import shown
from governance.signing.strict import parse_object
from governance.signing.trust import (
    Grant,
    Revocation,
    Role,
    TrustedAuthority,
    TrustedIdentity,
    TrustedKey,
    TrustStore,
)

FORMAT = "mlgov-trust/1"
UNSIGNED = "nobody signed this file: whoever may write it decides whom it trusts"
MAX_TRUST_FILE = 1 << 20

_PATTERN = re.compile(r"[A-Za-z0-9._*?-]{1,64}")
_MEMBERS = frozenset(
    {"format", "version", "expires", "unsigned", "roots", "thresholds", "keys", "authorities", "identities"}
)
_GRANT = frozenset({"name", "roles", "repositories", "not_before", "not_after", "revoked", "verifiers"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Roots:
    """Who may change the trust file: `threshold` distinct keys of these."""

    keys: tuple[PublicKey, ...]
    threshold: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustDocument:
    """A trust file taken apart. `roots` is None for a file that nobody signed, which says so itself."""

    store: TrustStore
    roots: Roots | None


def parse_trust(data: bytes) -> TrustDocument:
    """Read a trust document. Raises `KeyFileError` with the place of the mistake."""
    if len(data) > MAX_TRUST_FILE:
        raise KeyFileError(f"the trust file has {len(data)} bytes ({MAX_TRUST_FILE} are allowed)")
    try:
        document = parse_object(data, what="the trust file")
        return _parse_document(document)
    except _Wrong as error:
        raise KeyFileError(
            f"the trust file is not right: {error}", hint="See `docs/signatures.md`."
        ) from error
    except KeyFileError as error:
        raise KeyFileError(
            f"the trust file is not right: {error.message}", hint="See `docs/signatures.md`."
        ) from error
    except GovernanceError as error:
        raise KeyFileError(error.message) from error


def render_trust(document: TrustDocument) -> bytes:
    """The canonical bytes of a trust document; `parse_trust` is its inverse."""
    store = document.store
    rows: dict[str, Json] = {
        "format": FORMAT,
        "version": store.version,
        "expires": utc_text(store.expires) if store.expires else None,
        "thresholds": {role.value: count for role, count in store.thresholds},
        "keys": [_grant_json(each.name, each.grant) | {"pem": each.public.pem} for each in store.keys],
        "authorities": [
            _grant_json(each.name, each.grant) | {"pem": each.certificate} for each in store.authorities
        ],
        "identities": [
            _grant_json(each.name, each.grant) | {"identity": each.identity, "issuer": each.issuer}
            for each in store.identities
        ],
    }
    if document.roots is None:
        rows["unsigned"] = UNSIGNED
    else:
        rows["roots"] = {
            "threshold": document.roots.threshold,
            "keys": [key.pem for key in document.roots.keys],
        }
    return canonical_bytes(rows)


class _Wrong(Exception):  # noqa: N818 - never leaves this module
    """A mistake with its place."""


def _parse_document(document: Mapping[str, Any]) -> TrustDocument:
    if document.get("format") != FORMAT:
        raise _Wrong(f"`format` is not `{FORMAT}`")
    _no_strays(document, _MEMBERS, "$")
    roots = _parse_roots(document.get("roots"))
    if (roots is None) == (document.get("unsigned") is None):
        raise _Wrong("it must either name its `roots` or say that it is `unsigned`, and not both")
    expires = _time(document, "expires", "$")
    if roots is not None and expires is None:
        raise _Wrong("a signed file needs `expires`, or somebody could hold back its successor for ever")
    keys = tuple(
        TrustedKey(name=name, public=parse_public_key(_text(row, "pem", at)), grant=grant)
        for name, grant, row, at in _rows(document, "keys", {"pem"})
    )
    if len({key.key_id for key in keys}) != len(keys):
        raise _Wrong("$.keys: the same key is listed twice")
    store = TrustStore(
        version=_count(document, "version", "$"),
        expires=expires,
        keys=keys,
        authorities=tuple(
            TrustedAuthority(name=name, certificate=_certificate(row, at), grant=grant)
            for name, grant, row, at in _rows(document, "authorities", {"pem"})
        ),
        identities=tuple(
            TrustedIdentity(
                name=name, identity=_text(row, "identity", at), issuer=_text(row, "issuer", at), grant=grant
            )
            for name, grant, row, at in _rows(document, "identities", {"identity", "issuer"})
        ),
        thresholds=_parse_thresholds(document.get("thresholds", {})),
    )
    return TrustDocument(store=store, roots=roots)


def _parse_roots(document: Any) -> Roots | None:
    if document is None:
        return None
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise _Wrong("$.roots is not an object with `keys` and `threshold`")
    keys = tuple(parse_public_key(_string(pem, "$.roots.keys")) for pem in document["keys"])
    threshold = _count(document, "threshold", "$.roots")
    if len({key.key_id for key in keys}) != len(keys):
        raise _Wrong("$.roots.keys: the same key is listed twice")
    if threshold > len(keys):
        raise _Wrong("$.roots.threshold is higher than there are keys")
    return Roots(keys=keys, threshold=threshold)


def _parse_thresholds(document: Any) -> tuple[tuple[Role, int], ...]:
    if not isinstance(document, dict):
        raise _Wrong("$.thresholds is not an object")
    return tuple(
        (_role(role, "$.thresholds"), _count(document, role, "$.thresholds")) for role in sorted(document)
    )


def _rows(
    document: Mapping[str, Any], key: str, own: set[str]
) -> Iterable[tuple[str, Grant, Mapping[str, Any], str]]:
    listed = document.get(key, [])
    if not isinstance(listed, list):
        raise _Wrong(f"$.{key} is not a list")
    for index, row in enumerate(listed):
        at = f"$.{key}[{index}]"
        if not isinstance(row, dict):
            raise _Wrong(f"{at} is not an object")
        _no_strays(row, _GRANT | own, at)
        yield _text(row, "name", at), _parse_grant(row, at), row, at


def _parse_grant(row: Mapping[str, Any], at: str) -> Grant:
    roles, repositories = row.get("roles"), row.get("repositories")
    if not isinstance(roles, list) or not roles:
        raise _Wrong(f"{at}.roles is not a list of roles")
    if not isinstance(repositories, list) or not repositories:
        raise _Wrong(f"{at}.repositories is not a list of patterns (`*` for every place)")
    for pattern in repositories:
        if not isinstance(pattern, str) or not _PATTERN.fullmatch(pattern):
            raise _Wrong(f"{at}.repositories: `{shown(pattern)}` is not a pattern")
    revoked = row.get("revoked")
    revoked_at, revocation = (
        _parse_revocation(revoked, f"{at}.revoked") if revoked is not None else (None, None)
    )
    return Grant(
        roles=frozenset(_role(role, at) for role in roles),
        repositories=tuple(repositories),
        not_before=_time(row, "not_before", at),
        not_after=_time(row, "not_after", at),
        revoked_at=revoked_at,
        revocation=revocation,
        verifiers=_parse_verifiers(row.get("verifiers", []), at),
    )


def _parse_verifiers(listed: Any, at: str) -> tuple[str, ...]:
    if not isinstance(listed, list):
        raise _Wrong(f"{at}.verifiers is not a list of ids")
    return tuple(_string(each, f"{at}.verifiers") for each in listed)


def _parse_revocation(document: Any, at: str) -> tuple[datetime, Revocation]:
    if not isinstance(document, dict):
        raise _Wrong(f"{at} is not an object")
    _no_strays(document, frozenset({"at", "why"}), at)
    time = _time(document, "at", at)
    if time is None or document.get("why") not in list(Revocation):
        raise _Wrong(f"{at} needs `at` and `why` (superseded or compromised)")
    return time, Revocation(document["why"])


def _grant_json(name: str, grant: Grant) -> dict[str, Json]:
    row: dict[str, Json] = {
        "name": name,
        "roles": sorted(grant.roles),
        "repositories": list(grant.repositories),
    }
    if grant.verifiers:
        row["verifiers"] = list(grant.verifiers)
    if grant.not_before is not None:
        row["not_before"] = utc_text(grant.not_before)
    if grant.not_after is not None:
        row["not_after"] = utc_text(grant.not_after)
    if grant.revoked_at is not None and grant.revocation is not None:
        row["revoked"] = {"at": utc_text(grant.revoked_at), "why": grant.revocation.value}
    return row


def _no_strays(document: Mapping[str, Any], allowed: frozenset[str], at: str) -> None:
    stray = sorted(set(document) - allowed)
    if stray:
        raise _Wrong(f"{at} has a member `{shown(stray[0])}` that is not known")


def _certificate(row: Mapping[str, Any], at: str) -> str:
    # Here and not above: X.509 doubles the time that importing `cryptography` takes, and few files need it.
    from governance.signing.certificate import read_certificate

    pem = _text(row, "pem", at)
    read_certificate(pem)
    return pem


def _role(value: Any, at: str) -> Role:
    if not isinstance(value, str) or value not in set(Role):
        raise _Wrong(f"{at}: `{shown(value)}` is not one of {', '.join(Role)}")
    return Role(value)


def _text(row: Mapping[str, Any], key: str, at: str) -> str:
    return _string(row.get(key), f"{at}.{key}")


def _string(value: Any, at: str) -> str:
    if not isinstance(value, str) or not value or len(value) > 16_384:
        raise _Wrong(f"{at} is missing or not text")
    return value


def _count(row: Mapping[str, Any], key: str, at: str) -> int:
    value = row.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _Wrong(f"{at}.{key} is missing or not a whole number from 1")
    return value


def _time(row: Mapping[str, Any], key: str, at: str) -> datetime | None:
    value = row.get(key)
    if value is None:
        return None
    try:
        return parse_utc(_string(value, f"{at}.{key}"))
    except ValueError as error:
        raise _Wrong(f"{at}.{key} is not a time like `2026-01-31T00:00:00.000000Z`") from error
