"""Access tokens: RS256 JWTs with the claims of JFrog Access, and 64-character reference tokens.

Promises that a token is accepted only when its signature is ours, it has not expired and it was not revoked. The payload
part never holds `-` or `_`, because JFrog's Go client decodes it with the other base64 alphabet. Does not decide what a
user may do.
"""

from __future__ import annotations

import base64
import json
import secrets
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from governance.devserver.documents import Documents
from governance.devserver.problems import unauthorized

SERVICE_ID = "jfac@01devserver0000000000000000"
USER_SCOPE = "applied-permissions/user"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What is known of an issued token. The token itself is not kept; a reference token is, being a look-up key."""

    token_id: str
    subject: str
    scope: str
    issued_at: int
    expiry: int | None
    description: str = ""
    refreshable: bool = False
    refresh_token: str | None = field(default=None, repr=False)
    reference_token: str | None = field(default=None, repr=False)

    @property
    def username(self) -> str:
        """The user it stands for: what follows `users/`, else the whole subject."""
        return self.subject.rpartition("/users/")[2]

    def row(self) -> dict[str, Any]:
        """As in a listing of tokens: no secret in it."""
        row: dict[str, Any] = {
            "token_id": self.token_id,
            "subject": self.subject,
            "issued_at": self.issued_at,
            "issuer": SERVICE_ID,
            "description": self.description,
            "refreshable": self.refreshable,
            "scope": self.scope,
        }
        return row if self.expiry is None else {**row, "expiry": self.expiry}


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A fresh token with its secret."""

    token: Token
    access_token: str = field(repr=False)

    def body(self, expires_in: int) -> dict[str, Any]:
        """The answer of the token endpoint."""
        body: dict[str, Any] = {
            "token_id": self.token.token_id,
            "access_token": self.access_token,
            "expires_in": expires_in,
            "scope": self.token.scope,
            "token_type": "Bearer",
            "username": self.token.username,
        }
        if self.token.refresh_token:
            body["refresh_token"] = self.token.refresh_token
        if self.token.reference_token:
            body["reference_token"] = self.token.reference_token
        return body


class Tokens:
    """Issues, checks and revokes tokens. The caller serialises access."""

    def __init__(self, documents: Documents, now: Callable[[], datetime]) -> None:
        self._documents = documents
        self._now = now
        self._key = _load_key(documents)
        self._tokens = {key: Token(**document) for key, document in documents.load("token")}

    def issue(
        self,
        username: str,
        *,
        scope: str = USER_SCOPE,
        expires_in: int = 0,
        description: str = "",
        refreshable: bool = False,
        with_reference: bool = False,
    ) -> Issued:
        """Make a token. `expires_in` 0 means never; a negative one gives a token that has expired already."""
        issued_at = int(self._now().timestamp())
        subject, payload, token_id = f"{SERVICE_ID}/users/{username}", "-", ""
        expiry = issued_at + expires_in if expires_in else None
        while set("-_") & set(payload):
            token_id = str(uuid.uuid4())
            claims = {
                "sub": subject,
                "scp": scope,
                "aud": "*@*",
                "iss": SERVICE_ID,
                "iat": issued_at,
                "jti": token_id,
            }
            payload = _encode(claims | ({} if expiry is None else {"exp": expiry}))
        token = Token(
            token_id=token_id,
            subject=subject,
            scope=scope,
            issued_at=issued_at,
            expiry=expiry,
            description=description,
            refreshable=refreshable,
            refresh_token=secrets.token_hex(32) if refreshable else None,
            reference_token=secrets.token_hex(32) if with_reference else None,
        )
        self._tokens[token_id] = token
        self._documents.put("token", token_id, asdict(token))
        return Issued(token=token, access_token=self._sign(payload))

    def check(self, text: str) -> Token:
        """The token behind a presented secret. Raises 401."""
        token = self._by_reference(text) if text.count(".") != 2 else self._by_signature(text)
        if token is None:
            raise unauthorized("Token failed verification: parse")
        if token.token_id not in self._tokens:
            raise unauthorized("Token failed verification: revoked")
        if token.expiry is not None and token.expiry <= self._now().timestamp():
            raise unauthorized("Token failed verification: expired")
        return token

    def all(self) -> list[Token]:
        """All tokens that were not revoked."""
        return list(self._tokens.values())

    def get(self, token_id: str) -> Token | None:
        """One token by its id."""
        return self._tokens.get(token_id)

    def refreshed(self, refresh_token: str) -> Token | None:
        """The token that a refresh token belongs to."""
        return next((token for token in self._tokens.values() if token.refresh_token == refresh_token), None)

    def revoke(self, token_id: str) -> bool:
        """Make a token worthless. False when there is none with that id."""
        self._documents.remove("token", token_id)
        return self._tokens.pop(token_id, None) is not None

    def _by_reference(self, text: str) -> Token | None:
        return next((token for token in self._tokens.values() if token.reference_token == text), None)

    def _by_signature(self, text: str) -> Token | None:
        head, payload, signature = text.split(".")
        try:
            self._key.public_key().verify(
                _decode(signature), f"{head}.{payload}".encode(), padding.PKCS1v15(), hashes.SHA256()
            )
            claims = json.loads(_decode(payload))
        except (InvalidSignature, ValueError):
            return None
        return Token(
            token_id=claims["jti"],
            subject=claims["sub"],
            scope=claims["scp"],
            issued_at=claims["iat"],
            expiry=claims.get("exp"),
        )

    def _sign(self, payload: str) -> str:
        head = _encode({"ver": "2", "typ": "JWT", "alg": "RS256", "kid": "devserver"})
        signature = self._key.sign(f"{head}.{payload}".encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{head}.{payload}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def _encode(claims: dict[str, Any]) -> str:
    text = json.dumps(claims, separators=(",", ":")).replace("/", "\\/")
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _load_key(documents: Documents) -> rsa.RSAPrivateKey:
    for _, pem in documents.load("token-key"):
        key = serialization.load_pem_private_key(pem.encode(), None)
        if isinstance(key, rsa.RSAPrivateKey):
            return key
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    documents.put("token-key", "rs256", pem.decode())
    return key
