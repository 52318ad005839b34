"""What MLflow loads, and what it costs."""

from __future__ import annotations

import subprocess
import sys
import warnings
from importlib import metadata

import pytest
from mlflow.store.artifact import artifact_repo
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_registered_artifact_repositories

from plugin import entry
from plugin.proxied import GovernedProxyRepository
from plugin.repository import GovernedArtifactRepository
from plugin.runs import GovernedRunsRepository

VERBS = (
    "log_artifact", "log_artifacts", "list_artifacts", "download_artifacts", "_download_file", "delete_artifacts",
    "get_local_path",
)  # fmt: skip


def test_the_registry_holds_our_factories() -> None:
    registered = get_registered_artifact_repositories()
    assert registered["artifactory"] is entry.artifactory_repository
    assert registered["mlflow-artifacts"] is entry.proxied_repository
    assert registered["runs"] is entry.runs_repository


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_overridden(verb: str) -> None:
    assert verb in vars(GovernedArtifactRepository)


def test_mlflow_has_no_verb_that_moves_bytes_beside_those_we_know() -> None:
    # What is inherited must end in a verb of ours. A new name here is a new way around the gate until looked at.
    known = {
        "__init__", "__repr__", "_create_thread_pool", "_create_download_destination", "_is_directory",
        "_iter_artifacts_recursive", "_log_artifact_async", "flush_async_logging", "max_workers",
        "download_archived_trace_data", "download_trace_attachment", "download_trace_attachment_to_file",
        "download_trace_data", "download_trace_data_to_file", "upload_archived_trace_data",
        "upload_archived_trace_data_bytes", "upload_attachment", "upload_trace_data", *VERBS,
    }  # fmt: skip
    methods = {
        name
        for name, value in vars(ArtifactRepository).items()
        if callable(value) or isinstance(value, property)
    }
    assert methods - known - {"__metaclass__"} == set()


MIXINS = [each for name, each in vars(artifact_repo).items() if name.endswith("Mixin")]


def test_mlflow_has_mixins() -> None:
    assert {each.__name__ for each in MIXINS} >= {"MultipartDownloadMixin", "MultipartUploadMixin"}


@pytest.mark.parametrize("mixin", MIXINS)
def test_no_mixin_offers_a_way_around(mixin: type) -> None:
    assert not issubclass(GovernedArtifactRepository, mixin)


def test_the_client_overrides_are_mlflows_own_classes() -> None:
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository
    from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository

    assert issubclass(GovernedProxyRepository, MlflowArtifactsRepository)
    assert issubclass(GovernedRunsRepository, RunsArtifactRepository)


def test_the_rival_is_named_loudly() -> None:
    with pytest.warns(entry.RivalPluginWarning, match="pip uninstall mlflow-jfrog-plugin"):
        entry.warn_of_rival(lambda name: object())


def test_no_rival_no_word() -> None:
    def absent(name: str) -> object:
        raise metadata.PackageNotFoundError(name)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        entry.warn_of_rival(absent)
    assert not entry.is_rival_installed(absent)


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_importing_the_entry_module_imports_the_standard_library_alone() -> None:
    out = python(
        "import sys; before = set(sys.modules); import plugin.entry;"
        "print(sorted({m.partition('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )
    assert out.strip() == "['plugin']"


@pytest.mark.parametrize(
    "first", ["plugin.errors", "plugin.entry", "plugin.repository", "plugin.proxied", "mlflow"]
)
def test_any_order_of_imports_leaves_the_schemes_registered(first: str) -> None:
    out = python(
        f"import {first};"
        "from mlflow.store.artifact.artifact_repository_registry import get_registered_artifact_repositories as g;"
        "print(g()['artifactory'].__module__, g()['runs'].__module__)"
    )
    assert "plugin.entry plugin.entry" in out
    assert "partially initialized" not in out
    assert "Failure attempting" not in out
