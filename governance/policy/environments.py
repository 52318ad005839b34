"""Names of environments. `prod` and `Production` are production: a rule for production must not be passed by spelling."""

from __future__ import annotations

PRODUCTION = "production"

_ALIASES = {"prod": PRODUCTION, "live": PRODUCTION, "dev": "development", "stage": "staging"}


def normal_environment(name: str) -> str:
    """The one form in which environments are compared."""
    lowered = name.strip().lower()
    return _ALIASES.get(lowered, lowered)


def is_production(name: str) -> bool:
    """Whether the strict defaults apply: a request that no policy binds is blocked, and verdicts are enforced."""
    return normal_environment(name) == PRODUCTION
