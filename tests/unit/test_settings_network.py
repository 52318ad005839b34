"""Certificates and proxies come from the environment through the settings, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from governance.connections import Connections
from governance.settings import load_settings

_VARIABLES = (
    "MLGOV_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy",
)  # fmt: skip


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLGOV_HOME", str(tmp_path))
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", ["MLGOV_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_authorities_that_a_site_trusts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().certificates is True
    monkeypatch.setenv(name, "/etc/ssl/site.pem")
    assert load_settings().certificates == "/etc/ssl/site.pem"


def test_our_own_variable_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/theirs.pem")
    monkeypatch.setenv("MLGOV_CA_BUNDLE", "/ours.pem")
    assert load_settings().certificates == "/ours.pem"


def test_proxies_apply_to_other_machines_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    settings = load_settings()
    assert settings.proxies_for("https://acme.jfrog.io/x")["https"] == "http://proxy.example:3128"
    assert "https" not in settings.proxies_for("https://inside.example/x")
    assert settings.proxies_for("https://127.0.0.1:8081/x") == {}


def test_clients_are_made_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLGOV_ARTIFACTORY_URL", "https://acme.example")
    connections = Connections(load_settings())
    assert connections.artifactory("acme.example").host == "acme.example"
    connections.close()
