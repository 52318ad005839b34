"""The JSON that Xray sends, checked at the door.

Promises: what passes has the documented types and is within limits; unknown fields are ignored. Does not: trust a
missing list to be an empty one where the difference matters (`operational_risks`).

Known contradictions that are taken both ways: CVSS as `score/vector` in one string or apart; `impacted_artifacts` and
`impact_artifacts` (neither is read); issues with and without `components`; null for an empty list.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, RootModel

_ROWS = 100_000


def _list_of_none(value: object) -> object:
    return () if value is None else value


def _text_of_none(value: object) -> object:
    return "" if value is None else value


def _no_empty_time(value: object) -> object:
    return None if value == "" else value


Text = Annotated[str, BeforeValidator(_text_of_none), Field(max_length=65_536)]
Texts = Annotated[tuple[Text, ...], Field(max_length=_ROWS, fail_fast=True), BeforeValidator(_list_of_none)]
Time = Annotated[AwareDatetime | None, BeforeValidator(_no_empty_time)]
Row = TypeVar("Row")
Rows = Annotated[tuple[Row, ...], Field(max_length=_ROWS, fail_fast=True), BeforeValidator(_list_of_none)]


class Wire(BaseModel):
    """Base of all wire forms. Not strict: a validator that runs before a field's own (for null) hands Python values on,
    and a list is no strict tuple."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class CveRow(Wire):
    """One of an issue's `cves`."""

    cve: Text = ""
    cvss_v3: Text = ""
    cvss_v3_score: Text = ""


class ComponentRow(Wire):
    """One of an issue's `components`."""

    component_id: Text = ""
    version: Text = ""
    pkg_type: Text = ""
    fixed_versions: Texts = ()


class ApplicabilityRow(Wire):
    """One of an issue's `applicability_details`."""

    result: Text = ""


class IssueRow(Wire):
    """One of a summary's `issues`. Not every issue has a CVE; `issue_id` is the key."""

    issue_id: Text = ""
    summary: Text = ""
    description: Text = ""
    issue_type: Text = ""
    severity: Text = ""
    created: Time = None
    cves: Rows[CveRow] = ()
    components: Rows[ComponentRow] = ()
    applicability_details: Rows[ApplicabilityRow] = ()


class LicenceRow(Wire):
    """One of a summary's `licenses`."""

    name: Text = ""
    components: Texts = ()


class RiskRow(Wire):
    """One of a summary's `operational_risks`."""

    risk: Text = ""


class General(Wire):
    """What a summary is about."""

    component_id: Text = ""
    path: Text = ""
    sha256: Text = ""


class ArtifactRow(Wire):
    """One summary."""

    general: General
    issues: Rows[IssueRow] = ()
    licenses: Rows[LicenceRow] = ()
    operational_risks: Annotated[tuple[RiskRow, ...], Field(max_length=_ROWS, fail_fast=True)] | None = None


class ErrorRow(Wire):
    """What Xray says about something that it has no summary of."""

    identifier: Text = ""
    error: Text = ""


class SummaryAnswer(Wire):
    """Answer of `summary/artifact` and `summary/component`."""

    artifacts: Rows[ArtifactRow] = ()
    errors: Rows[ErrorRow] = ()


class StatusPart(Wire):
    """Status of one engine, or of all."""

    status: Text = ""
    time: Time = None


Engine = Annotated[str, Field(max_length=100)]


class StatusAnswer(Wire):
    """Answer of `artifact/status`. Xray has half a dozen engines, and their names are kept for each of thousands of files."""

    overall: StatusPart
    details: Annotated[dict[Engine, Any], Field(max_length=50)] | None = None


class ViolationRow(Wire):
    """One violation."""

    violation_id: Text = ""
    watch_name: Text = ""
    type: Text = ""
    severity: Text = ""
    issue_id: Text = ""


class ViolationsAnswer(Wire):
    """Answer of `violations`."""

    total_violations: Annotated[int, Field(ge=0)]
    violations: Rows[ViolationRow] = ()


class VersionAnswer(Wire):
    """Answer of `system/version`."""

    xray_version: Text


Members = Annotated[dict[str, Any], BeforeValidator(lambda value: {} if value is None else value)]
Flag = Annotated[bool, BeforeValidator(lambda value: True if value is None else value)]


class RuleRow(Wire):
    """One rule of a policy."""

    name: Text = ""
    priority: int = 0
    criteria: Members = {}
    actions: Members = {}


class PolicyRow(Wire):
    """One of `policies`."""

    name: Text
    type: Text = "security"
    description: Text = ""
    rules: Rows[RuleRow] = ()


class PoliciesAnswer(RootModel[Rows[PolicyRow]]):
    """Answer of `policies`: a bare list."""


class GeneralRow(Wire):
    """The head of a watch. One that does not say whether it is active is."""

    name: Text
    active: Flag = True


class ResourceRow(Wire):
    """One resource of a watch."""

    type: Text = ""
    name: Text = ""
    filters: Rows[dict[str, Any]] = ()


class ResourcesRow(Wire):
    """The resources of a watch."""

    resources: Rows[ResourceRow] = ()


class AssignedRow(Wire):
    """One policy of a watch."""

    name: Text = ""


class WatchRow(Wire):
    """One of `watches`."""

    general_data: GeneralRow
    project_resources: ResourcesRow = ResourcesRow()
    assigned_policies: Rows[AssignedRow] = ()


class WatchesAnswer(RootModel[Rows[WatchRow]]):
    """Answer of `watches`: a bare list."""


class IgnoreRulesAnswer(Wire):
    """Answer of `ignore_rules`. Each row is kept whole."""

    data: Rows[dict[str, Any]] = ()
    total_count: Annotated[int, Field(ge=0)] = 0
