"""One request, made ready to be sent as often as it has to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias
from urllib.parse import quote, urlsplit

import orjson

from governance import __version__
from governance.model.canonical import Json
from governance.transport.body import SizedBody
from governance.transport.failures import Exchange

_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_ALWAYS: Final = {
    "User-Agent": f"mlflow-governance/{__version__}",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
}

Params: TypeAlias = Mapping[str, str | None] | Sequence[tuple[str, str | None]]
"""A query: names and values, where None makes a bare name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where a request goes and what it carries. The Authorization header is not part of it: it is added per hop."""

    exchange: Exchange
    url: str
    headers: Mapping[str, str]
    body: bytes | SizedBody | None
    idempotent: bool

    def rewind(self) -> bool:
        """True where the body can be sent (again)."""
        return self.body.rewind() if isinstance(self.body, SizedBody) else True


def make_plan(
    method: str,
    path: str,
    *,
    base_url: str,
    service: str,
    secrets: tuple[str, ...],
    params: Params | None = None,
    headers: Mapping[str, str] | None = None,
    body: Json | bytes | SizedBody = None,
    idempotent: bool | None = None,
) -> Plan:
    """The plan for `path` (percent-encoded) below `base_url`. A `body` that is neither bytes nor a stream is JSON."""
    sent = {**_ALWAYS, **(headers or {})}
    if body is not None and not isinstance(body, bytes | SizedBody):
        body = orjson.dumps(body)
        sent["Content-Type"] = "application/json"
    if isinstance(body, SizedBody):
        sent["Content-Length"] = str(len(body))  # else it would be sent as chunked, which some proxies drop
    place = path.lstrip("/")
    shown = f"{_path_of(base_url)}/{place}"
    return Plan(
        exchange=Exchange(service=service, method=method, path=shown, secrets=secrets),
        url=f"{base_url}/{place}{_query(params)}",
        headers=sent,
        body=body,
        idempotent=method in _IDEMPOTENT if idempotent is None else idempotent,
    )


@lru_cache(maxsize=64)
def _path_of(base_url: str) -> str:
    return urlsplit(base_url).path


def _query(params: Params | None) -> str:
    if not params:
        return ""
    pairs = [
        quote(key, safe="") if value is None else f"{quote(key, safe='')}={quote(value, safe='')}"
        for key, value in (params.items() if isinstance(params, Mapping) else params)
    ]
    return "?" + "&".join(pairs)
