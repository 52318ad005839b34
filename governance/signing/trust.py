"""Whom we believe, for what, where and when. Values and rules only; see `keyring` for files.

Promises: a key vouches only in a role, for repositories and during a time that the trust file gives it; what the file
does not say is not allowed. Does not: check a signature, read a clock or a file.

A key's standing depends on *trusted time*: when the audit log or a time stamp says that the signature was made. Where
there is none, the signature counts as made now. So a superseded key goes on vouching for what it demonstrably signed
before, and for nothing else.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from urllib.parse import quote

from governance.signing.publickey import PublicKey
from governance.signing.reason import Reason


class Role(enum.StrEnum):
    """What a signer may vouch for. `TIMESTAMP` is for authorities whose RFC 3161 stamps are trusted time."""

    ARTIFACT = "artifact"
    DECISION = "decision"
    CHECKPOINT = "checkpoint"
    WAIVER = "waiver"
    POLICY = "policy"
    TIMESTAMP = "timestamp"


def verifier_id(name: str) -> str:
    """The id under which the key of `name` attests, where nothing else is said."""
    return f"urn:mlgov:verifier:{quote(name, safe='')}"


class Revocation(enum.StrEnum):
    """Why a key is no longer used. What it signed before `revoked_at` stays good where trusted time shows that it did.
    `superseded` is an ordinary change of keys, which may lie ahead. `compromised` is a key that somebody else may hold:
    without trusted time nothing that it signed, ever, can be told from a forgery.
    """

    SUPERSEDED = "superseded"
    COMPROMISED = "compromised"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What one signer may vouch for, and how long. `repositories` are shell patterns for repository keys; `*` alone is
    every place, also one outside any repository. Both ends of the window are inclusive. `verifiers` are the ids under
    which it may attest decisions (see `vsa`).
    """

    roles: frozenset[Role]
    repositories: tuple[str, ...] = ("*",)
    not_before: datetime | None = None
    not_after: datetime | None = None
    revoked_at: datetime | None = None
    revocation: Revocation | None = None
    verifiers: tuple[str, ...] = ()

    def objection(
        self, *, role: Role, repository: str | None, at: datetime, signed_at: datetime | None
    ) -> Reason | None:
        """Why a signature made under this grant does not count, or None where it does."""
        if role not in self.roles:
            return Reason.ROLE
        if not self._covers(repository):
            return Reason.SCOPE
        return self._untimely(at, signed_at)

    def _untimely(self, at: datetime, signed_at: datetime | None) -> Reason | None:
        if signed_at is not None and signed_at > at:
            return Reason.FUTURE
        time = signed_at or at
        if self.revocation is Revocation.COMPROMISED and (signed_at is None or self._is_revoked(time)):
            return Reason.COMPROMISED
        if self._is_revoked(time):
            return Reason.SUPERSEDED
        if self.not_before is not None and time < self.not_before:
            return Reason.NOT_YET_VALID
        if self.not_after is not None and time > self.not_after:
            return Reason.EXPIRED
        return None

    def _is_revoked(self, time: datetime) -> bool:
        return self.revoked_at is not None and time >= self.revoked_at

    def _covers(self, repository: str | None) -> bool:
        if "*" in self.repositories:
            return True
        return repository is not None and any(fnmatchcase(repository, each) for each in self.repositories)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """A key and its owner's name."""

    name: str
    public: PublicKey
    grant: Grant

    @property
    def key_id(self) -> str:
        """Computed from the key."""
        return self.public.key_id


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedAuthority:
    """A certificate authority (PEM) whose leaf certificates vouch, where they are made for code signing."""

    name: str
    certificate: str
    grant: Grant


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIdentity:
    """A Sigstore identity (mail address or URI) and the issuer that vouches for it."""

    name: str
    identity: str
    issuer: str
    grant: Grant


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """One signature that is somebody's: the signer's name, a key id that tells signers apart, and their grant.
    `signed_at` is trusted time, where there is any.
    """

    name: str
    key_id: str
    grant: Grant
    signed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustStore:
    """Everything a trust file says. `is_signed` is False for a file that nobody signed, which is as good as the disk
    it lies on. `thresholds` are how many distinct signers a role needs; one where it is not listed.
    """

    version: int = 0
    expires: datetime | None = None
    keys: tuple[TrustedKey, ...] = ()
    authorities: tuple[TrustedAuthority, ...] = ()
    identities: tuple[TrustedIdentity, ...] = ()
    thresholds: tuple[tuple[Role, int], ...] = ()
    is_signed: bool = False
    _by_hint: dict[str, TrustedKey] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for key in self.keys:
            for hint in key.public.hints:
                self._by_hint[hint] = key

    @classmethod
    def empty(cls) -> TrustStore:
        """The store that trusts nobody."""
        return cls()

    @classmethod
    def of_key(cls, public: PublicKey, *, name: str = "the given key") -> TrustStore:
        """The store that trusts exactly one key, for everything: what `--public-key` means."""
        return cls(
            keys=(TrustedKey(name=name, public=public, grant=Grant(roles=frozenset(Role), verifiers=("*",))),)
        )

    def threshold(self, role: Role) -> int:
        """How many distinct signers `role` needs."""
        return dict(self.thresholds).get(role, 1)

    def names_any(self, role: Role) -> bool:
        """Whether anybody at all may vouch in `role`."""
        grants = [key.grant for key in self.keys]
        grants += [authority.grant for authority in self.authorities]
        grants += [identity.grant for identity in self.identities]
        return any(role in grant.roles for grant in grants)

    def find(self, hint: str) -> TrustedKey | None:
        """The key that a hint or key id names. For messages: a hint is not evidence."""
        return self._by_hint.get(hint)

    def is_expired(self, at: datetime) -> bool:
        """Whether the file as a whole is too old to be believed (somebody may be holding back its successor)."""
        return self.expires is not None and at > self.expires
