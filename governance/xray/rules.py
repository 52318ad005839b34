"""Xray's own policies, watches and ignore rules, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class XrayRule:
    """One rule of a policy; criteria and actions as Xray sends them."""

    name: str
    priority: int
    criteria: Mapping[str, Any]
    actions: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class XrayPolicy:
    """A policy: `security`, `license` or `operational_risk`."""

    name: str
    type: str
    description: str
    rules: tuple[XrayRule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class XrayResource:
    """What a watch watches, and how it is narrowed."""

    type: str
    name: str
    filters: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class XrayWatch:
    """A watch: resources, and the names of the policies that hold for them."""

    name: str
    active: bool
    resources: tuple[XrayResource, ...]
    policies: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class XrayIgnoreRule:
    """An ignore rule. `document` is all that Xray said of it, as canonical text: it deletes itself when it expires."""

    id: str
    author: str
    notes: str
    expires: str | None
    document: bytes
