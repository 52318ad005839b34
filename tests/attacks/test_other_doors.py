"""Attack: the same bytes by another key of Artifactory's, to which the policy about them is not bound."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from governance.devserver import DevServer
from plugin.errors import BlockedModelError
from tests.mlflow_tools import environment, make_home

DOORS = """
apiVersion: mlgov/v1
kind: Policy
metadata: {name: doors, title: Every file by its own repository, owner: tests@example.org}
spec:
  match: {actions: [download, load], repositories: ["*"]}
  default: allow
  rules:
    - id: another-door
      effect: block
      severity: high
      when: {fact: artifact.origin, in: [virtual, remote]}
      onUnknown: match
      message: "{artifact.ref} is asked for by another repository than its own"
      remediation: Ask for it by the repository that holds it.
---
apiVersion: mlgov/v1
kind: Policy
metadata: {name: rest, title: Everything else, owner: tests@example.org}
spec: {match: {actions: [upload]}, default: allow, rules: []}
"""


def test_a_rule_keeps_a_virtual_repository_from_being_a_way_around_those_bound_to_what_is_behind_it(
    devserver: DevServer, repo: str, admin_token: str, tmp_path: Path
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/MLmodel").write_text("flavors: {}\n")
    (tmp_path / "out").mkdir()
    requests.put(
        f"{devserver.artifactory_url}/api/repositories/{repo}-door",
        json={"rclass": "virtual", "packageType": "generic", "repositories": [repo]},
        headers={"Authorization": f"Bearer {admin_token}"},
        timeout=10,
    ).raise_for_status()
    base = f"artifactory://{devserver.host}/artifactory"
    with environment(make_home(tmp_path / "home", devserver, policy=DOORS).env):
        get_artifact_repository(f"{base}/{repo}").log_artifacts(str(tmp_path / "m"), "m")
        get_artifact_repository(f"{base}/{repo}").download_artifacts("m", str(tmp_path / "out"))
        with pytest.raises(BlockedModelError, match="by another repository than its own"):
            get_artifact_repository(f"{base}/{repo}-door").download_artifacts("m", str(tmp_path / "out"))
    devserver.remove_repository(f"{repo}-door")
