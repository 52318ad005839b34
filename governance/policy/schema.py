"""The shape of the four kinds of document, as pydantic models: what keys there are, and which values they take.

Conditions (`when`) are left as trees here; `parsing` reads them with the fact catalogue at hand. What is wrong with a document of
such a shape, `validation` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from governance.model.request import Action
from governance.policy.literals import DURATION_FORM, DURATION_PATTERN, SEVERITIES, TIME_PATTERN

API_VERSION = "mlgov/v1"

NAME_PATTERN = r"^[a-z0-9][a-z0-9.-]{0,62}$"
WAIVER_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
ENVIRONMENT_PATTERN = r"^[A-Za-z][A-Za-z0-9-]{0,31}$"
RULE_PATTERN = r"^[a-z0-9][a-z0-9.-]{0,62}/[a-z0-9][a-z0-9.-]{0,62}$"
DIGEST_PATTERN = r"^(sha256|dirhash1):[0-9a-f]{64}$"

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Environment = Annotated[str, Field(pattern=ENVIRONMENT_PATTERN)]
Text = Annotated[str, Field(min_length=1, max_length=2000)]
Glob = Annotated[str, Field(min_length=1, max_length=200)]
Duration = Annotated[str, Field(description=DURATION_FORM, pattern=DURATION_PATTERN)]
Time = Annotated[
    str,
    Field(
        description="a time in UTC such as `2026-11-20T00:00:00Z`",
        json_schema_extra={"pattern": TIME_PATTERN},
    ),
]
Listed = Annotated[
    Any, Field(description="a text or a number", json_schema_extra={"type": ["string", "number"]})
]
EffectWord = Literal["allow", "warn", "quarantine", "block"]
SeverityWord = Literal["none", "unknown", "low", "medium", "high", "critical"]
ActionWord = Literal["download", "load", "upload", "delete", "promote"]
KindWord = Literal["model", "file", "folder", "dataset", "package", "image"]
ModeWord = Literal["observe", "warn", "enforce"]
Fixture = dict[str, Any]


class Shape(BaseModel):
    """What all shapes have in common."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, alias_generator=to_camel, hide_input_in_errors=True
    )


class MetadataShape(Shape):
    """Who owns a policy, and which controls it serves."""

    name: Name
    title: Text | None = None
    owner: Text | None = None
    controls: list[Text] = []


class MatchShape(Shape):
    """The requests a policy binds. A key left out binds all."""

    actions: list[ActionWord] | None = Field(default=None, min_length=1)
    repositories: list[Glob] | None = Field(default=None, min_length=1)
    kinds: list[KindWord] | None = Field(default=None, min_length=1)
    environments: list[Glob] | None = Field(default=None, min_length=1)
    actors: list[Glob] | None = Field(
        default=None, min_length=1, description="names, or groups as `group:name`; globs are allowed"
    )


class RuleShape(Shape):
    """One rule."""

    id: Name
    title: Text | None = None
    effect: EffectWord
    severity: SeverityWord = "medium"
    waivable: Literal["never", "owners", "approvers"] = "approvers"
    when: Any = Field(default=None)
    condition: str | None = Field(default=None, min_length=1, max_length=2000, description="a CEL expression")
    on_unknown: Literal["match", "skip"] | None = None
    grace: dict[Environment, Duration] | None = Field(default=None, min_length=1)
    retry_after: Duration | None = None
    message: Text | None = None
    remediation: Text | None = None


class ShorthandShape(Shape):
    """What most teams want first. Each key stands for a rule."""

    severity: SeverityWord | None = None
    cvss: float | None = Field(default=None, ge=0, le=10)
    malicious: Literal[True] | None = None
    unsigned: Literal[True] | None = None
    unscanned: Literal[True] | None = None
    licences: list[Any] | None = Field(default=None, min_length=1)
    packages: list[Any] | None = Field(default=None, min_length=1)
    publishers: list[Any] | None = Field(default=None, min_length=1)
    formats: list[Any] | None = Field(default=None, min_length=1)


class AllowShape(Shape):
    """The allow shorthand: one rule, in which all keys must hold."""

    publishers: list[Any] | None = Field(default=None, min_length=1)
    formats: list[Any] | None = Field(default=None, min_length=1)
    licences: list[Any] | None = Field(default=None, min_length=1)


class PolicySpecShape(Shape):
    """What a policy says."""

    match: MatchShape = MatchShape()
    default: EffectWord
    retry_after: Duration | None = None
    rules: list[RuleShape] = []
    allow: AllowShape | None = None
    warn: ShorthandShape | None = None
    quarantine: ShorthandShape | None = None
    block: ShorthandShape | None = None


class PolicyShape(Shape):
    """A policy."""

    api_version: Literal["mlgov/v1"]
    kind: Literal["Policy"]
    metadata: MetadataShape
    spec: PolicySpecShape


class LayerShape(Shape):
    """A layer of policies. A layer that extends another adds to it, and can only tighten."""

    name: Name
    extends: Name | None = None
    policies: list[Glob] = []


class BindingShape(Shape):
    """Which policies hold where, and what is done with their verdicts."""

    policies: list[Glob] = Field(min_length=1)
    environments: list[Glob] = Field(min_length=1)
    mode: ModeWord = "observe"


class OutageShape(Shape):
    """What is done when a source of facts cannot be reached."""

    action: Literal["block", "last-verdict"]
    max_age: Duration | None = None


class WaiverRulesShape(Shape):
    """What a waiver must have."""

    max_days: int = Field(default=90, ge=1, le=3650)
    approvals: int = Field(default=1, ge=1, le=20)
    self_approval: bool = False


class BreakGlassShape(Shape):
    """Where a refusal may be overridden in an emergency, with a justification on record."""

    environments: list[Environment] = Field(min_length=1)


class SetMetadataShape(Shape):
    """Name and revision of a set."""

    name: Name
    revision: int = Field(default=0, ge=0, le=2**31)
    title: Text | None = None
    owner: Text | None = None


class SetSpecShape(Shape):
    """What a set says."""

    extends: Name | None = None
    layers: list[LayerShape] | None = Field(default=None, min_length=1)
    bindings: list[BindingShape] | None = Field(default=None, min_length=1)
    outage: dict[Environment, OutageShape] = {}
    waivers: WaiverRulesShape = WaiverRulesShape()
    break_glass: BreakGlassShape | None = None
    lists: dict[Name, list[Listed]] = {}


class SetShape(Shape):
    """A set of policies: layers, bindings, outage, waivers and lists."""

    api_version: Literal["mlgov/v1"]
    kind: Literal["PolicySet"]
    metadata: SetMetadataShape
    spec: SetSpecShape


class WaiverMetadataShape(Shape):
    """Name of a waiver."""

    name: Annotated[str, Field(pattern=WAIVER_PATTERN)]


class WaivedArtifactShape(Shape):
    """What is waived for: one artifact with exactly these bytes."""

    ref: Text
    digest: Annotated[str, Field(pattern=DIGEST_PATTERN)]


class WaiverScopeShape(Shape):
    """Where and for whom. A key left out stands for all."""

    environments: list[Glob] | None = Field(default=None, min_length=1)
    actors: list[Glob] | None = Field(default=None, min_length=1)


class RevocationShape(Shape):
    """A waiver that was taken back stays in the register."""

    at: Time
    by: Text
    reason: Text | None = None


class WaiverSpecShape(Shape):
    """What a waiver says."""

    rule: Annotated[str, Field(pattern=RULE_PATTERN)]
    artifact: WaivedArtifactShape
    scope: WaiverScopeShape = WaiverScopeShape()
    findings: Annotated[str, Field(pattern=DIGEST_PATTERN)] | None = None
    reason: Text
    ticket: Text | None = None
    requested_by: Text
    author: Text | None = Field(default=None, description="who made the artifact, who may not approve")
    approved_by: list[Text] = Field(
        default=[], description="names as accepted; where waivers are signed, the signatures count instead"
    )
    starts: Time
    expires: Time
    revoked: RevocationShape | None = None
    void: Text | None = Field(default=None, description="why it does not count, whatever else it says")


class WaiverShape(Shape):
    """A dated exception for one rule and one artifact."""

    api_version: Literal["mlgov/v1"]
    kind: Literal["Waiver"]
    metadata: WaiverMetadataShape
    spec: WaiverSpecShape


class ExpectShape(Shape):
    """What a case expects. `rules` are the fired rules that decide: those of the verdict's effect, in any order."""

    verdict: EffectWord
    rules: list[Text] | None = None
    matched: list[Text] | None = None
    waived: list[Text] | None = None
    retryable: bool | None = None
    message: Text | None = Field(default=None, description="a text that some finding's message contains")


class CaseShape(Shape):
    """One case."""

    name: Text
    from_: Name | None = Field(default=None, alias="from")
    set: Fixture = {}
    unset: list[Text] = []
    action: ActionWord
    kind: KindWord = "model"
    at: Time | None = None
    environment: Text | None = None
    actor: Text | None = None
    groups: list[Text] = []
    expect: ExpectShape


class TestSpecShape(Shape):
    """Fixtures and cases. Tests never read the clock: `at` is the time."""

    __test__: ClassVar[bool] = False  # not a test class for pytest

    policies: list[Glob] | None = Field(default=None, min_length=1)
    at: Time
    environment: Text = "production"
    fixtures: dict[Name, Fixture] = {}
    cases: list[CaseShape] = Field(min_length=1)


class TestMetadataShape(Shape):
    """Name of a suite."""

    __test__: ClassVar[bool] = False

    name: Name
    title: Text | None = None


class TestShape(Shape):
    """Cases of a policy."""

    __test__: ClassVar[bool] = False

    api_version: Literal["mlgov/v1"]
    kind: Literal["PolicyTest"]
    metadata: TestMetadataShape
    spec: TestSpecShape


KINDS: dict[str, type[Shape]] = {
    "Policy": PolicyShape,
    "PolicySet": SetShape,
    "Waiver": WaiverShape,
    "PolicyTest": TestShape,
}

assert set(get_args(SeverityWord)) == set(SEVERITIES)
assert set(get_args(ActionWord)) == {action.value for action in Action}


def kinds() -> Sequence[str]:
    """The kinds of document."""
    return tuple(KINDS)
