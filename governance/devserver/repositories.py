"""Repositories and their configuration.

Promises the configuration as clients sent it, completed with Artifactory's defaults, and the resolution of virtual and
remote keys to those that hold files. Does not hold the files.
"""

from __future__ import annotations

import re
from typing import Any

from governance.devserver.config import RepositorySpec
from governance.devserver.documents import Documents
from governance.devserver.problems import Problem

_KEY = re.compile(r"[A-Za-z0-9][\w.\-]{0,63}")
_RESERVED = frozenset({"api", "access", "repo", "list", "webapp", "ui"})
_DEFAULTS: dict[str, Any] = {
    "packageType": "generic",
    "description": "",
    "notes": "",
    "includesPattern": "**/*",
    "excludesPattern": "",
    "repoLayoutRef": "simple-default",
    "environments": [],
    "propertySets": [],
    "blackedOut": False,
    "archiveBrowsingEnabled": False,
    "priorityResolution": False,
    "downloadRedirect": False,
    "cdnRedirect": False,
    "xrayIndex": False,
}
_LOCAL_DEFAULTS: dict[str, Any] = {"checksumPolicyType": "client-checksums"}
_REMOTE_DEFAULTS: dict[str, Any] = {
    "url": "",
    "username": "",
    "storeArtifactsLocally": True,
    "hardFail": False,
    "offline": False,
    "retrievalCachePeriodSecs": 7200,
    "socketTimeoutMillis": 15000,
    "curated": False,
}
_VIRTUAL_DEFAULTS: dict[str, Any] = {"repositories": [], "defaultDeploymentRepo": ""}
_BY_CLASS = {
    "local": _LOCAL_DEFAULTS,
    "federated": _LOCAL_DEFAULTS,
    "remote": _REMOTE_DEFAULTS,
    "virtual": _VIRTUAL_DEFAULTS,
}
# Older clients still read one boolean per package type.
_LEGACY_FLAGS = {
    "debian": "enableDebianSupport",
    "npm": "enableNpmSupport",
    "pypi": "enablePypiSupport",
    "docker": "enableDockerSupport",
    "nuget": "enableNuGetSupport",
    "gems": "enableGemsSupport",
    "bower": "enableBowerSupport",
}

Config = dict[str, Any]


class Repositories:
    """All repositories by key. The caller serialises access."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._configs: dict[str, Config] = dict(documents.load("repository"))

    def __contains__(self, key: str) -> bool:
        return key in self._configs

    def get(self, key: str) -> Config | None:
        """The configuration, or None."""
        return self._configs.get(key)

    def all(self) -> list[Config]:
        """All configurations, by key."""
        return [self._configs[key] for key in sorted(self._configs)]

    def create(self, key: str, config: Config) -> None:
        """Add a repository. Refuses bad keys and those that are taken."""
        if key in self._configs:
            raise Problem(400, f"Case insensitive repository key already exists: {key}")
        if not _KEY.fullmatch(key) or key.lower() in _RESERVED:
            raise Problem(400, f"Invalid repository key: {key}")
        rclass = str(config.get("rclass", "local")).lower()
        if rclass not in _BY_CLASS:
            raise Problem(400, f"No such repository class: {rclass}")
        self._save(key, {**_DEFAULTS, **_BY_CLASS[rclass], **config, "key": key, "rclass": rclass})

    def update(self, key: str, config: Config) -> None:
        """Change some settings; class and package type stay as they are."""
        known = self._configs[key]
        fixed = {name: known[name] for name in ("key", "rclass", "packageType")}
        self._save(key, {**known, **config, **fixed})

    def remove(self, key: str) -> None:
        """Forget a repository."""
        self._configs.pop(key, None)
        self._documents.remove("repository", key)

    def _save(self, key: str, config: Config) -> None:
        config["packageType"] = str(config["packageType"]).lower()
        for package_type, flag in _LEGACY_FLAGS.items():
            config[flag] = config["packageType"] == package_type
        self._configs[key] = config
        self._documents.put("repository", key, config)

    def readable(self, key: str) -> tuple[str, ...]:
        """Keys of the repositories that hold the files which `key` shows. Empty when there is no such repository."""
        config = self._configs.get(key)
        if config is None:
            cache = key.removesuffix("-cache")
            return (cache,) if cache != key and self._class(cache) == "remote" else ()
        if config["rclass"] != "virtual":
            return (key,)
        return tuple(
            dict.fromkeys(real for member in config["repositories"] for real in self.readable(member))
        )

    def writable(self, key: str) -> str:
        """Key of the repository that a deploy to `key` ends in."""
        rclass = self._class(key)
        if rclass in ("local", "federated"):
            return key
        if rclass == "virtual":
            real = self._configs[key].get("defaultDeploymentRepo") or ""
            if real in self._configs:
                return real
            raise Problem(
                405,
                "No local repository was configured as local deployment repository for the"
                f" ({key}) virtual repository.",
                headers={"Allow": "GET"},
            )
        raise Problem(404, f"Could not find a local repository named {key} to deploy to.")

    def is_indexed(self, key: str) -> bool:
        """Whether Xray looks at the repository."""
        config = self._configs.get(key)
        return bool(config and config.get("xrayIndex"))

    def shown_key(self, asked: str, real: str) -> str:
        """The key that item info names: the virtual one, or `<remote>-cache`."""
        if self._class(asked) == "virtual":
            return asked
        return f"{real}-cache" if self._class(real) == "remote" else real

    def _class(self, key: str) -> str:
        config = self._configs.get(key)
        return str(config["rclass"]) if config else ""


def config_of(spec: RepositorySpec) -> Config:
    """A specification in the form in which clients send configurations."""
    config: Config = {
        "rclass": spec.origin,
        "packageType": spec.package_type,
        "description": spec.description,
        "xrayIndex": spec.xray_index,
    }
    if spec.origin == "virtual":
        config |= {"repositories": list(spec.members), "defaultDeploymentRepo": spec.deploys_to or ""}
    if spec.origin == "remote":
        config["url"] = spec.url
    return config
