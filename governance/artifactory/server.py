"""The calls that concern the server as a whole: whether it is up, who we are to it, its repositories, and searches."""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType
from typing import cast

from governance.artifactory import wire
from governance.artifactory.address import quoted
from governance.artifactory.items import RepositoryInfo, User, Version
from governance.model.artifact import parse_repository_key
from governance.transport import Transport

_LETTERS = frozenset("rwndm")
_RESULT_LIMIT = 64 << 20


class ServerClient:
    """`transport` has the base URL `{scheme}://host/artifactory`. Thread-safe."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.host})"

    @property
    def host(self) -> str:
        """Host and port, as they stand in an `artifactory://` URI."""
        return self._transport.host

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def ping(self) -> None:
        """Ask whether the server is up. Raises `RemoteError` where it is not."""
        answer = self._transport.call("GET", "api/system/ping")
        if answer.body.strip() != b"OK":
            raise answer.exchange.broken("something answers that is not Artifactory", status=answer.status)

    def version(self) -> Version:
        """The server's version."""
        found = self._transport.call("GET", "api/system/version").read(wire.ServerVersion)
        return Version(version=found.version, addons=found.addons)

    def current_user(self) -> User:
        """Whom the token stands for, as it says itself: not verified here, and empty for an opaque token."""
        claims = self._transport.claims
        subject, scope, expires = claims.get("sub"), claims.get("scp"), claims.get("exp")
        name = subject if isinstance(subject, str) else None
        if name is not None and (name.startswith("jfrt@") or "/users/" in name):
            name = name.rpartition("/")[2]
        return User(
            name=name,
            scopes=tuple(scope.split()) if isinstance(scope, str) else (),
            expires=datetime.fromtimestamp(expires, UTC) if isinstance(expires, int) else None,
        )

    def permissions(self, repository: str, path: str) -> frozenset[str]:
        """The current user's rights on an item, of `r` read, `w` deploy, `n` annotate, `d` delete, `m` manage.

        Only some users may ask, and only of local and cache repositories: `RemoteError` otherwise. A token of an
        administrator has them all.
        """
        user = self.current_user()
        if any(scope.startswith("applied-permissions/admin") for scope in user.scopes):
            return _LETTERS
        answer = self._transport.call(
            "GET", f"api/storage/{quoted(repository, path)}", params={"permissions": None}
        )
        found = answer.read(wire.Permissions).principals
        return frozenset(found.users.get(user.name or "", ())) & _LETTERS

    def repository_info(self, key: str) -> RepositoryInfo:
        """Configuration of a repository. Raises `NotFoundError` where there is none."""
        # Releases differ on an unknown key: 404 or 400.
        answer = self._transport.call(
            "GET", f"api/repositories/{quoted(parse_repository_key(key), '')}", ok=(200, 400)
        )
        if answer.status == 400:
            raise answer.exchange.not_found(f"there is no repository `{key}`")
        found = answer.read(wire.Repository)
        return RepositoryInfo(
            key=parse_repository_key(key),
            origin=found.rclass.lower(),
            package_type=found.package_type.lower(),
            xray_index=found.xray_index,
            settings=MappingProxyType(cast("dict[str, object]", answer.json())),
        )

    def aql(self, query: str) -> list[dict[str, object]]:
        """Rows of an AQL query. Raises `ProtocolError` where the server trimmed them: half an answer reads as whole."""
        answer = self._transport.call(
            "POST",
            "api/search/aql",
            body=query.encode(),
            headers={"Content-Type": "text/plain"},
            idempotent=True,
            limit=_RESULT_LIMIT,
        )
        found = answer.read(wire.AqlResult)
        if found.range.notification:
            raise answer.exchange.broken(
                "the server trimmed the result of a search", hint="Narrow the search."
            )
        return list(found.results)
