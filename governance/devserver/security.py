"""Users, groups, permission targets, and the question who is calling and what they may do.

Promises that nobody has a right which no permission target gives, administrators aside. Does not render wire forms
(`accounts`). Does not suspend logins after failures, as the real service does.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from governance.devserver.documents import Documents
from governance.devserver.problems import Problem, unauthorized
from governance.devserver.tokens import USER_SCOPE, Tokens

ALL_RIGHTS = frozenset("rwndm")
_ANY = frozenset({"*", "ANY", "ANY LOCAL", "ANY REMOTE", "ANY DISTRIBUTION"})
_ARTIFACT_SCOPE = re.compile(r"artifact:([^/:]+)(?:/([^:]*))?:([\w,]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who a request comes from. `name` is `anonymous` without credentials. `scope` narrows what a token may do."""

    name: str
    admin: bool = False
    groups: frozenset[str] = frozenset()
    scope: str = USER_SCOPE
    token_id: str | None = None

    @property
    def is_anonymous(self) -> bool:
        """Whether no credentials were sent."""
        return self.name == "anonymous"


@dataclass(slots=True, kw_only=True)
class Target:
    """A permission target: rights by letter for users and groups, on paths of repositories."""

    name: str
    repositories: list[str]
    includes: list[str] = field(default_factory=lambda: ["**"])
    excludes: list[str] = field(default_factory=list)
    users: dict[str, list[str]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)

    def covers(self, repo: str, path: str) -> bool:
        """Whether it speaks of that path."""
        named = repo in self.repositories or bool(_ANY.intersection(self.repositories))
        # A folder is reached on the way to what is included below it, so its own path is asked with a slash too.
        included = any(
            ant_match(pattern, path) or ant_match(pattern, path + "/") for pattern in self.includes
        )
        return named and included and not any(ant_match(pattern, path) for pattern in self.excludes)


@lru_cache(maxsize=1024)
def _ant(pattern: str) -> re.Pattern[str]:
    pieces = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile(
        re.sub(r"\*\*/|\*\*|\*|\?|[^*?]+", lambda m: pieces.get(m[0]) or re.escape(m[0]), pattern)
    )


def ant_match(pattern: str, path: str) -> bool:
    """Ant-style patterns: `**` any folders, `*` within one name."""
    return _ant(pattern).fullmatch(path) is not None


class Security:
    """All accounts. The caller serialises access."""

    def __init__(self, documents: Documents, now: Callable[[], datetime], anonymous_rights: str) -> None:
        self._documents = documents
        self.tokens = Tokens(documents, now)
        self.users: dict[str, dict[str, Any]] = dict(documents.load("user"))
        self.groups: dict[str, dict[str, Any]] = dict(documents.load("group"))
        self.targets = {key: Target(**document) for key, document in documents.load("permission")}
        self._anonymous_rights = frozenset(anonymous_rights)
        self._salt = secrets.token_bytes(16)
        self._good_logins: set[bytes] = set()

    # -- accounts

    def save_user(self, name: str, fields: Mapping[str, Any]) -> None:
        """Create or change a user. A password is kept as a salted hash only."""
        known = self.users.get(name) or {
            "name": name,
            "email": "",
            "admin": False,
            "profileUpdatable": True,
            "disableUIAccess": False,
            "internalPasswordDisabled": False,
            "groups": [],
            "realm": "internal",
        }
        changed = {
            **known,
            **{key: value for key, value in fields.items() if key not in ("password", "name")},
        }
        if fields.get("password"):
            changed["hash"] = _hash_password(str(fields["password"]))
            self._good_logins.clear()
        self.users[name] = changed
        self._documents.put("user", name, changed)

    def remove_user(self, name: str) -> None:
        """Forget a user and their rights."""
        self.users.pop(name, None)
        self._good_logins.clear()
        self._documents.remove("user", name)

    def save_group(self, name: str, fields: Mapping[str, Any]) -> None:
        """Create or change a group; `userNames` sets its members."""
        plain = {key: value for key, value in fields.items() if key != "userNames"}
        self.groups[name] = {
            "description": "",
            "autoJoin": False,
            **self.groups.get(name, {}),
            **plain,
            "name": name,
        }
        self._documents.put("group", name, self.groups[name])
        if fields.get("userNames") is not None:
            for user, known in self.users.items():
                members = [group for group in known["groups"] or [] if group != name]
                self.save_user(user, {"groups": [*members, name] if user in fields["userNames"] else members})

    def remove_group(self, name: str) -> None:
        """Forget a group."""
        self.save_group(name, {"userNames": []})
        self.groups.pop(name, None)
        self._documents.remove("group", name)

    def members(self, group: str) -> list[str]:
        """Users of a group."""
        return sorted(name for name, user in self.users.items() if group in (user["groups"] or []))

    def save_target(self, target: Target) -> None:
        """Create or replace a permission target."""
        self.targets[target.name] = target
        self._documents.put("permission", target.name, asdict(target))

    def remove_target(self, name: str) -> None:
        """Forget a permission target."""
        self.targets.pop(name, None)
        self._documents.remove("permission", name)

    # -- who is calling

    def identify(self, headers: Mapping[str, str]) -> Caller:
        """The caller by their credentials. Raises 401 for wrong ones."""
        scheme, _, value = headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._by_token(value.strip())
        if scheme.lower() == "basic":
            return self._by_password(value.strip())
        key = headers.get("X-JFrog-Art-Api") or headers.get("X-Api-Key")
        if key:
            return self._by_api_key(key) or self._by_token(key)
        return Caller(name="anonymous")

    def _by_token(self, text: str) -> Caller:
        token = self.tokens.check(text)
        user = self.users.get(token.username)
        if user is None:
            raise unauthorized("Token failed verification: the user is unknown")
        admin = "applied-permissions/admin" in token.scope or (
            bool(user["admin"]) and USER_SCOPE in token.scope
        )
        return Caller(
            name=token.username,
            admin=admin,
            groups=frozenset(user["groups"] or []),
            scope=token.scope,
            token_id=token.token_id,
        )

    def _by_password(self, encoded: str) -> Caller:
        try:
            name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise unauthorized("Bad credentials") from error
        user = self.users.get(name)
        if user is not None and self._password_is(name, user, password):
            return self._caller(user)
        if password.count(".") == 2 or len(password) == 64:
            return self._by_token(password)  # a token may stand where the password does
        caller = self._by_api_key(password)
        if caller is None or caller.name != name:
            raise unauthorized("Bad credentials")
        return caller

    def _password_is(self, name: str, user: Mapping[str, Any], password: str) -> bool:
        proof = hashlib.sha256(self._salt + f"{name}\0{password}".encode()).digest()
        if proof in self._good_logins:
            return True
        if not _check_password(user.get("hash", ""), password):
            return False
        self._good_logins.add(proof)  # the slow hash is asked once per process, not once per request
        return True

    def _by_api_key(self, key: str) -> Caller | None:
        user = next((user for user in self.users.values() if user.get("apiKey") == key), None)
        return self._caller(user) if user else None

    @staticmethod
    def _caller(user: Mapping[str, Any]) -> Caller:
        return Caller(name=user["name"], admin=bool(user["admin"]), groups=frozenset(user["groups"] or []))

    # -- what they may do

    def rights(self, caller: Caller, repo: str, path: str) -> frozenset[str]:
        """Letters of the caller's rights on a path."""
        if caller.admin:
            return ALL_RIGHTS
        if caller.is_anonymous:
            return self._anonymous_rights
        if USER_SCOPE in caller.scope:
            return self._granted(repo, path, caller.name, caller.groups)
        granted = {
            letter
            for where, pattern, letters in _ARTIFACT_SCOPE.findall(caller.scope)
            if where == repo and ant_match(pattern or "**", path)
            for letter in letters.replace("a", "n").split(",")
        }
        named = re.search(r'applied-permissions/groups:"?([^"]+)"?', caller.scope)
        groups = frozenset(named[1].split(",")) if named else frozenset()
        return frozenset(granted) | self._granted(repo, path, "", groups)

    def _granted(self, repo: str, path: str, user: str, groups: frozenset[str]) -> frozenset[str]:
        letters: set[str] = set()
        for target in self.targets.values():
            if target.covers(repo, path):
                letters.update(target.users.get(user, ()))
                for group in groups:
                    letters.update(target.groups.get(group, ()))
        return frozenset(letters)

    @staticmethod
    def require_admin(caller: Caller) -> None:
        """Refuse everybody but administrators."""
        if caller.is_anonymous:
            raise unauthorized("Unauthorized")
        if not caller.admin:
            raise Problem(403, "Forbidden: administrator rights are needed")


def _hash_password(password: str) -> str:
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}:{_stretch(password, salt).hex()}"


def _check_password(stored: str, password: str) -> bool:
    salt, _, digest = stored.partition(":")
    return bool(digest) and secrets.compare_digest(_stretch(password, bytes.fromhex(salt)).hex(), digest)


def _stretch(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**12, r=8, p=1)
