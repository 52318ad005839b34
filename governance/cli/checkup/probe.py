"""A made-up request, to ask a policy about its bindings."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from governance.model.artifact import Artifact, Kind, parse_repository_key
from governance.model.request import Action, Actor, Request

if TYPE_CHECKING:
    from governance.model.verdict import Mode
    from governance.policy.compile import CompiledPolicy


def mode_of(policy: CompiledPolicy, action: Action, environment: str) -> Mode:
    """The mode in which a model's verdict would be applied."""
    at = datetime.fromtimestamp(0, UTC)
    model = Artifact(
        kind=Kind.MODEL, host="example", repository=parse_repository_key("example"), path="", name="example"
    )
    return policy.mode_for(
        Request(
            action=action,
            artifact=model,
            actor=Actor(name="doctor"),
            environment=environment,
            at=at,
            correlation="doctor",
        )
    )
