"""Policies, sets and waivers as values: what the loader makes, and what is compiled.

Everything is in normal form: durations are seconds, times are UTC, environments have one spelling, and the order of
rules, policies and lists in the files has left no trace.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from governance.model.facts import CATALOGUE, FactSpec
from governance.model.verdict import Effect, Mode, Severity
from governance.policy.condition import Condition


class Waivable(enum.StrEnum):
    """Who may approve a waiver of a rule."""

    NEVER = "never"
    OWNERS = "owners"  # the policy's owner must be one of the approvers
    APPROVERS = "approvers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The requests a policy binds; None binds all. Repositories, environments and actors are globs."""

    actions: frozenset[str] | None = None
    repositories: tuple[str, ...] | None = None
    kinds: frozenset[str] | None = None
    environments: tuple[str, ...] | None = None
    actors: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. `grace` is in seconds by environment, `expression` is CEL."""

    id: str
    effect: Effect
    severity: Severity
    waivable: Waivable
    when: Condition | None
    expression: str | None
    match_unknown: bool
    message: str
    title: str | None = None
    remediation: str | None = None
    grace: tuple[tuple[str, int], ...] = ()
    retry_after: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy; rules are sorted by id."""

    name: str
    match: Match
    default: Effect
    rules: tuple[Rule, ...]
    title: str | None = None
    owner: str | None = None
    controls: tuple[str, ...] = ()
    retry_after: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer of policies, by glob."""

    name: str
    extends: str | None
    policies: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """Which policies (globs) hold in which environments (globs), and in which mode."""

    policies: tuple[str, ...]
    environments: tuple[str, ...]
    mode: Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageRule:
    """What is done when a source cannot be reached: refuse, or fall back to a verdict of at most `max_age` seconds."""

    max_age: int | None = None

    @property
    def is_block(self) -> bool:
        """True where there is no falling back."""
        return self.max_age is None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaiverRules:
    """What a waiver must have to count."""

    max_days: int = 90
    approvals: int = 1
    self_approval: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySet:
    """A set. `layers` None: every policy is in force. `bindings` None: observe, and enforce in production.
    `break_glass` are the environments in which a refusal may be overridden in an emergency; None: nowhere."""

    name: str
    revision: int = 0
    extends: str | None = None
    title: str | None = None
    owner: str | None = None
    layers: tuple[Layer, ...] | None = None
    bindings: tuple[Binding, ...] | None = None
    outage: tuple[tuple[str, OutageRule], ...] = ()
    waivers: WaiverRules = WaiverRules()
    break_glass: frozenset[str] | None = None
    lists: tuple[tuple[str, tuple[Any, ...]], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """A dated exception for one rule, one artifact and these bytes. `author` made the artifact and may not approve;
    `void` is why it does not count, such as an approval whose signature is not good.
    """

    name: str
    rule: str
    ref: str
    digest: str
    reason: str
    requested_by: str
    approved_by: tuple[str, ...]
    starts: datetime
    expires: datetime
    environments: tuple[str, ...] | None = None
    actors: tuple[str, ...] | None = None
    findings: str | None = None
    ticket: str | None = None
    author: str | None = None
    void: str | None = None
    revoked_at: datetime | None = None
    revoked_by: str | None = None
    revoked_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a case expects; None is not looked at."""

    verdict: Effect
    rules: frozenset[str] | None = None
    matched: frozenset[str] | None = None
    waived: frozenset[str] | None = None
    retryable: bool | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case of a test. `facts` are values in the form that `Facts` takes."""

    name: str
    facts: Mapping[str, Any]
    action: str
    kind: str
    environment: str
    at: datetime
    expect: Expectation
    actor: str | None = None
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """The cases of one `PolicyTest`. `policies` None tests the set as a whole."""

    name: str
    source: str
    policies: tuple[str, ...] | None
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyBundle:
    """All that was loaded, checked against each other. `set` is merged from all sets, each tightening its parent."""

    policies: tuple[Policy, ...]
    set: PolicySet | None = None
    waivers: tuple[Waiver, ...] = ()
    suites: tuple[Suite, ...] = ()
    catalogue: Mapping[str, FactSpec] = field(default_factory=lambda: CATALOGUE)
