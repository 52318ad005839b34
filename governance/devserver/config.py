"""What a run of the embedded server starts with: repositories, users, where its state lives.

Promises plain values with the defaults of the demo. Does not open, create or check anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

Origin = Literal["local", "remote", "virtual"]


def utc_now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositorySpec:
    """A repository to create at the start. `members` and `deploys_to` are for virtual ones."""

    key: str
    origin: Origin = "local"
    package_type: str = "generic"
    xray_index: bool = True
    description: str = ""
    members: tuple[str, ...] = ()
    deploys_to: str | None = None
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSpec:
    """A user to create at the start, with letters of rights per repository (`r` read, `w` deploy, `n` annotate,
    `d` delete, `m` manage; key `*` for every repository)."""

    name: str
    password: str = field(repr=False)
    admin: bool = False
    groups: tuple[str, ...] = ("readers",)
    rights: dict[str, str] = field(default_factory=dict)


_DEMO_REPOSITORIES = (
    RepositorySpec(key="models-local", description="models that MLflow logs"),
    RepositorySpec(
        key="hf-remote",
        origin="remote",
        package_type="huggingfaceml",
        description="cache of Hugging Face models",
        url="https://huggingface.co",
    ),
    RepositorySpec(
        key="hf-local", package_type="huggingfaceml", description="own models, Hugging Face layout"
    ),
    RepositorySpec(key="ml-local", package_type="machinelearning", description="frogml models"),
)
_DEMO_USERS = (
    UserSpec(name="admin", password="password", admin=True),  # noqa: S106 - the public default of Artifactory
    UserSpec(name="alice", password="alice", rights={"*": "rwnd"}),  # noqa: S106 - demo account on loopback
    UserSpec(name="ci", password="ci", rights={"*": "rwn"}),  # noqa: S106 - demo account on loopback
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DevServerConfig:
    """Everything that one server is told at its start.

    `root` None keeps the state in memory and file contents in a temporary folder that goes away at the end.
    `port` 0 takes a free one. `scan_delay` is the number of seconds between a deploy and its finished scan.
    `version` and `xray_version` are what clients are told; some of them switch features on by it."""

    root: Path | None = None
    host: str = "127.0.0.1"
    port: int = 0
    repositories: tuple[RepositorySpec, ...] = _DEMO_REPOSITORIES
    users: tuple[UserSpec, ...] = _DEMO_USERS
    anonymous_rights: str = ""
    scan_delay: float = 0.0
    licences_listed: bool = True
    version: str = "7.125.4"
    xray_version: str = "3.140.0"
    now: Callable[[], datetime] = utc_now
