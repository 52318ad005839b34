"""From a request line to a handler.

Promises that a path is matched as it was sent and decoded once, by us and not by the framework, because file names may
hold `%2F`, `;` and `+`. A route is `METHOD /fixed/{name}/{rest*}`: `{name}` is one segment, `{rest*}` what remains.
Does not catch errors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from aiohttp import web

from governance.devserver.problems import Problem, unauthorized
from governance.devserver.security import Caller

if TYPE_CHECKING:
    from governance.devserver.platform import Platform

MAX_JSON = 16 << 20


@dataclass(slots=True, kw_only=True)
class Call:
    """One request, with what every handler needs."""

    request: web.Request
    platform: Platform
    caller: Caller
    params: dict[str, str]
    """Parts of the path by name. Decoded, but for those that end in `*` in the route, which stay raw."""

    def query(self, name: str, default: str = "") -> str:
        """One query parameter."""
        return str(self.request.query.get(name, default))

    def flag(self, name: str, *, default: bool = False) -> bool:
        """One query parameter as a switch."""
        return self.query(name, "1" if default else "0").lower() in ("1", "true", "")

    def base(self) -> str:
        """The URL of Artifactory as the client sees it."""
        return f"{self.request.scheme}://{self.request.host}/artifactory"

    def signed_in(self) -> Caller:
        """The caller, who must have sent credentials."""
        if self.caller.is_anonymous:
            raise unauthorized("Unauthorized")
        return self.caller

    async def json_object(self) -> dict[str, Any]:
        """The body as a JSON object, whatever its content type. Refuses with 400 what cannot be read."""
        return parse_object(await self.body())

    async def fields(self) -> dict[str, Any]:
        """The body as named values, whatever its form: JSON without a content type, a web form, or nothing."""
        body = await self.body()
        if body.lstrip().startswith(b"{"):
            return parse_object(body)
        form = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
        return {key: values[-1] for key, values in form.items()}

    async def body(self, limit: int = MAX_JSON) -> bytes:
        """A small body whole."""
        found = bytearray()
        async for chunk in self.request.content.iter_any():
            found += chunk
            if len(found) > limit:
                raise Problem(413, f"The body is larger than {limit} bytes")
        return bytes(found)


def parse_object(body: bytes) -> dict[str, Any]:
    """A body that is one JSON object. Raises `Problem` for any other, as Artifactory words it."""
    try:
        found = json.loads(body)
    except ValueError as error:
        raise Problem(400, "Failed to parse json.") from error
    if not isinstance(found, dict):
        raise Problem(400, "Failed to parse json: an object is expected.")
    return found


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Route:
    methods: frozenset[str]
    pattern: re.Pattern[str]
    raw: frozenset[str]
    handler: Handler


class Router:
    """Routes by their first two segments, tried in the order in which they were added."""

    def __init__(self) -> None:
        self._routes: dict[str, list[_Route]] = {}

    def add(self, methods: str, path: str, handler: Handler) -> None:
        """Add a route. `methods` are separated by `|`."""
        raw = frozenset(re.findall(r"\{(\w+)\*\}", path))
        pattern = re.sub(r"\{(\w+)\*\}", r"(?P<\1>.*)", path)
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)
        route = _Route(
            methods=frozenset(methods.split("|")), pattern=re.compile(pattern), raw=raw, handler=handler
        )
        self._routes.setdefault(_bucket(path), []).append(route)

    def find(self, method: str, raw_path: str) -> tuple[Handler, dict[str, str]]:
        """The handler of a request and the named parts of its path. Raises 404 and 405."""
        allowed: set[str] = set()
        for route in self._routes.get(_bucket(raw_path), ()):
            match = route.pattern.fullmatch(raw_path)
            if match is None:
                continue
            if method in route.methods:
                found = match.groupdict()
                return route.handler, {
                    name: value if name in route.raw else unquote(value) for name, value in found.items()
                }
            allowed |= route.methods
        if allowed:
            raise Problem(405, "Method Not Allowed", headers={"Allow": ", ".join(sorted(allowed))})
        raise Problem(404, "Not Found")


def _bucket(path: str) -> str:
    """`/artifactory/api/x/y` is looked for under `artifactory/api/x`; contents under `artifactory`."""
    parts = path.split("/", 4)
    if len(parts) > 3 and parts[2] == "api":
        return "/".join(parts[1:4])
    return parts[1] if len(parts) > 1 else ""
