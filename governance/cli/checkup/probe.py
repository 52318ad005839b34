"""What the policies in force do with requests of one action, wherever the artifact lies and whoever asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governance.model.verdict import Mode
from governance.policy.compile import mode_of
from governance.policy.environments import normal_environment

if TYPE_CHECKING:
    from governance.model.request import Action
    from governance.policy.compile import CompiledPolicy


def strictest_mode(policy: CompiledPolicy, action: Action, environment: str) -> Mode | None:
    """The strictest mode of the policies that are bound to some such request; None where none is bound to any."""
    normal = normal_environment(environment)
    modes = {
        mode_of(part.policy.name, normal, policy.bundle.set)
        for part in policy.parts
        if part.policy.match.actions is None or action in part.policy.match.actions
        if part.environments is None or any(test(normal) for test in part.environments)
    }
    return next((mode for mode in (Mode.ENFORCE, Mode.WARN, Mode.OBSERVE) if mode in modes), None)
