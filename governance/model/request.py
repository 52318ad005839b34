"""Requests: who wants to do which action to which artifact, when and for what."""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from governance.model.artifact import Artifact


class Action(enum.StrEnum):
    """What is to be done. `load` is a download whose bytes will be deserialised."""

    DOWNLOAD = "download"
    LOAD = "load"
    UPLOAD = "upload"
    DELETE = "delete"
    PROMOTE = "promote"


class ActorKind(enum.StrEnum):
    """What sort of actor asks."""

    HUMAN = "human"
    SERVICE = "service"
    CI = "ci"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who asks. `authentication` names the method that proved `name` (`basic-auth`, `token`), or is None: then the
    name is only claimed, and every record says so."""

    name: str
    kind: ActorKind = ActorKind.UNKNOWN
    groups: tuple[str, ...] = ()
    authentication: str | None = None

    @property
    def is_authenticated(self) -> bool:
        """True where somebody other than the caller vouches for the name."""
        return self.authentication is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class MlflowContext:
    """What MLflow knows about the act. Every field may be absent; none is proof of anything."""

    run_id: str | None = None
    experiment_id: str | None = None
    model_id: str | None = None
    model_name: str | None = None
    model_version: str | None = None
    alias: str | None = None
    source_commit: str | None = None
    flavors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to the gate. `at` is UTC and the only time the policy sees. `selection` names the files that are
    to be moved (None is all of them); the verdict is about the whole artifact all the same. `correlation` joins the
    requests of one sequence, such as the files of one model fetched through the tracking server. `staged` says where on
    this machine the files of an upload lie, by their names in the artifact, so that they can be looked into before they
    are stored; None where they are not at hand. It is no part of what is recorded."""

    action: Action
    artifact: Artifact
    actor: Actor
    environment: str
    at: datetime
    correlation: str
    mlflow: MlflowContext = MlflowContext()
    selection: tuple[str, ...] | None = None
    staged: Mapping[str, Path] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.at.tzinfo is None or self.at.utcoffset() != UTC.utcoffset(None):
            raise ValueError("a request's time is given in UTC")


def new_id(at: datetime) -> str:
    """A UUID of version 7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, then random bits; sorts by time."""
    milliseconds = int(at.timestamp() * 1000)
    value = (milliseconds & ((1 << 48) - 1)) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def utc_text(at: datetime) -> str:
    """RFC 3339 in UTC with six digits of a second and `Z`: the one form in which times are written."""
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return at.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_utc(text: str) -> datetime:
    """Read what `utc_text` writes. Raises `ValueError` on any other form."""
    if not _UTC_TEXT(text):
        raise ValueError(f"`{text[:40]}` is not a time in canonical form")
    return datetime.fromisoformat(text)


_UTC_TEXT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}\.[0-9]{6}Z"
).fullmatch
