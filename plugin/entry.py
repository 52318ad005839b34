"""What MLflow loads by entry point: three factories, with the standard library alone.

Promises: importing this module costs next to nothing and never fails for want of another package. An import error here
would be a mere warning in MLflow, after which the built-in classes stay in place; and user code that imports the plugin
before MLflow must not find MLflow half-made. So everything else is imported when a repository is first asked for.

It also says so when JFrog's own plugin is installed: both claim the scheme `artifactory` (and both install a package
named `plugin`), and MLflow lets the one that it finds last win, without a word and without our gate.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plugin.proxied import GovernedProxyRepository
    from plugin.repository import GovernedArtifactRepository
    from plugin.runs import GovernedRunsRepository

RIVAL = "mlflow-jfrog-plugin"


class RivalPluginWarning(UserWarning):
    """Another distribution claims the scheme `artifactory`, so the gate may never be asked."""


def artifactory_repository(artifact_uri: str, *args: Any, **kwargs: Any) -> GovernedArtifactRepository:
    """The repository for `artifactory://` locations."""
    from plugin.repository import GovernedArtifactRepository

    return GovernedArtifactRepository(artifact_uri, *args, **kwargs)


def proxied_repository(artifact_uri: str, *args: Any, **kwargs: Any) -> GovernedProxyRepository:
    """The client of a tracking server's artifact proxy, which gives a refusal its type back."""
    from plugin.proxied import GovernedProxyRepository

    return GovernedProxyRepository(artifact_uri, *args, **kwargs)


def runs_repository(artifact_uri: str, *args: Any, **kwargs: Any) -> GovernedRunsRepository:
    """`runs:/` locations, which do not hide a refusal."""
    from plugin.runs import GovernedRunsRepository

    return GovernedRunsRepository(artifact_uri, *args, **kwargs)


def is_rival_installed(find: Callable[[str], object] = metadata.distribution) -> bool:
    """Whether JFrog's own plugin is installed in this environment."""
    try:
        find(RIVAL)
    except metadata.PackageNotFoundError:
        return False
    return True


def warn_of_rival(find: Callable[[str], object] = metadata.distribution) -> None:
    """Issue a `RivalPluginWarning` where it is."""
    if is_rival_installed(find):
        warnings.warn(
            f"`{RIVAL}` is installed beside `mlflow-governance`: both claim the scheme `artifactory`, and MLflow lets "
            f"one win silently, so policies may not be applied. Run `pip uninstall {RIVAL}`.",
            RivalPluginWarning,
            stacklevel=2,
        )


warn_of_rival()
