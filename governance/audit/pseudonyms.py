"""Actors under names that only a key can join to people.

Promises: one name has one pseudonym under one key, so that reports still tell actors apart; without the key nobody can
test a guess, and once the key is destroyed nobody can at all, while every hash in the log stands. Does not: look into
evidence; the facts of a decision name the actor too, and are erased by retention.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from governance.model.canonical import Json

_MIN_KEY = 32


class Pseudonyms:
    """HMAC-SHA256 under a key that is kept apart from the log."""

    def __init__(self, key: bytes) -> None:
        if len(key) < _MIN_KEY:
            raise ValueError(f"a pseudonym key has at least {_MIN_KEY} bytes")
        self._key = key

    def of(self, name: str) -> str:
        """The pseudonym of a name."""
        digest = hmac.new(self._key, name.encode("utf-8", "backslashreplace"), hashlib.sha256)
        return f"p:{digest.hexdigest()[:32]}"

    def apply(self, body: Mapping[str, Json]) -> Mapping[str, Json]:
        """A body in which the actor bears a pseudonym. Groups go, since a small one is as good as a name."""
        actor = body.get("actor")
        if not isinstance(actor, Mapping):
            return body
        return {**body, "actor": {**actor, "name": self.of(str(actor.get("name"))), "groups": []}}
