"""The evidence service: signed statements about files, filed beside them, and the keys that they are checked with.

Promises what clients rely on: the subject must be there and have the digest that was signed, the caller must be able to
read and annotate it, and `verified` is said only where a trusted key of the named alias made the signature. Does not
speak GraphQL, and prepares no statements.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from aiohttp import web

from governance.devserver import access
from governance.devserver.dsse import Evidence, is_signed_by, read_evidence, read_public_key
from governance.devserver.items import Item, iso
from governance.devserver.paths import parse_target
from governance.devserver.problems import Problem
from governance.devserver.routing import Call, Router, parse_object

MAX_EVIDENCE = 16 << 20
_KEYS = "/artifactory/api/security/keys/trusted"


def add_routes(router: Router) -> None:
    """`/evidence/api/v1` and `api/security/keys/trusted`."""
    router.add("POST", "/evidence/api/v1/subject/{target*}", attach)
    router.add("GET", "/evidence/api/v1/evidence-search", search)
    router.add("GET", "/evidence/api/v1/system/version", version)
    router.add("POST", _KEYS, add_key)
    router.add("GET", _KEYS, list_keys)


async def version(_: Call) -> web.Response:
    """The service's version, as plain text."""
    return web.Response(text="7.646.1")


async def add_key(call: Call) -> web.Response:
    """Trust a public key under an alias."""
    call.platform.security.require_admin(call.caller)
    fields = await call.json_object()
    alias, text = fields.get("alias"), fields.get("key")
    if not isinstance(alias, str) or not alias:
        raise Problem(400, "The key needs an alias")
    read_public_key(text)
    keys = call.platform.evidence_keys
    if alias in keys:
        raise Problem(409, f"There is a trusted key with the alias {alias} already")
    row = {"alias": alias, "key": str(text), "by": call.caller.name, "at": iso(call.platform.now())}
    keys[alias] = row
    call.platform.documents.put("evidence-key", alias, row)
    return web.json_response(_key_row(row), status=201)


async def list_keys(call: Call) -> web.Response:
    """All trusted keys, without their text."""
    call.signed_in()
    return web.json_response({"keys": [_key_row(row) for row in call.platform.evidence_keys.values()]})


async def attach(call: Call) -> web.Response:
    """File one evidence about a file."""
    call.signed_in()
    target = parse_target(call.params["target"])
    subject = access.existing(call, target)
    access.require(call, "n", subject.repo, subject.path)
    if subject.folder:
        raise Problem(400, "The subject of an evidence is a file")
    body = await call.body(MAX_EVIDENCE)
    found = read_evidence(parse_object(body))
    if found.sha256 != subject.content.sha256:
        raise Problem(400, "The subject's digest is not that of the file")
    row = _row(call, subject, found, hashlib.sha256(body).hexdigest())
    store = call.platform.store
    with store.lock, store.receive() as incoming:
        incoming.write(body)
        path = row["uri"].removeprefix(f"{subject.repo}/")
        store.put_upload(subject.repo, path, incoming, by=call.caller.name, claimed={})
        call.platform.evidence[row["id"]] = row
        call.platform.documents.put("evidence", row["id"], row)
    return web.json_response({**_public(row), "provider_id": call.query("providerId")}, status=201)


async def search(call: Call) -> web.Response:
    """Evidence by the place of its subject, or by its digest wherever it lies. Only of what the caller may read."""
    call.signed_in()
    wanted = {
        "repository": call.query("repository_key"),
        "path": call.query("path"),
        "name": call.query("name"),
        "subject_sha256": call.query("sha256"),
    }
    if not any(wanted.values()):
        raise Problem(400, "The search names neither a place nor a digest")
    rows = [
        row
        for row in call.platform.evidence.values()
        if all(row[key] == value for key, value in wanted.items() if value)
        and access.has(call, "r", row["repository"], _path(row))
    ]
    return web.json_response({"evidence": [_public(row) for row in rows]})


def _row(call: Call, subject: Item, found: Evidence, sha256: str) -> dict[str, Any]:
    """What is remembered of an evidence. A signature by an unknown key is filed as unverified."""
    known = call.platform.evidence_keys.get(found.keyid) if found.keyid else None
    if found.keyid and known is None:
        raise Problem(400, f"The key alias {found.keyid} was not found")
    at = call.platform.now()
    slug = re.sub(r"[^a-z0-9-]+", "-", "-".join(found.predicate_type.lower().split("/")[-2:])).strip("-")
    place = hashlib.sha256(f"{subject.repo}/{subject.path}".encode()).hexdigest()
    taken = len(call.platform.evidence)
    name = f"{slug}-{int(at.timestamp() * 1000)}-{taken}.json"
    return {
        "id": f"{subject.content.sha256[:16]}-{taken}",
        "repository": subject.repo,
        "path": subject.parent,
        "name": subject.name,
        "uri": f"{subject.repo}/.evidence/{place}/{subject.content.sha256}/{name}",
        "sha256": sha256,
        "subject_sha256": subject.content.sha256,
        "predicate_type": found.predicate_type,
        "predicate_slug": slug,
        "created_at": iso(at),
        "created_by": call.caller.name,
        "verified": known is not None and is_signed_by(found, read_public_key(known["key"])),
        "alias": found.keyid,
    }


def _public(row: dict[str, Any]) -> dict[str, Any]:
    shown = {key: value for key, value in row.items() if key not in ("alias", "subject_sha256")}
    return {**shown, "subject": {"sha256": row["subject_sha256"]}, "signing_key": {"alias": row["alias"]}}


def _key_row(row: dict[str, str]) -> dict[str, str]:
    fingerprint = hashlib.sha256(row["key"].encode()).hexdigest()
    return {
        "kid": fingerprint[:6],
        "alias": row["alias"],
        "type": "PUBLIC",
        "fingerprint": fingerprint,
        "issuedBy": row["by"],
        "issued": row["at"],
        "expiry": "",
    }


def _path(row: dict[str, Any]) -> str:
    return f"{row['path']}/{row['name']}".lstrip("/")
