"""The parts of one running server, handed to every handler.

Promises one lock for all state: `store.lock`. Does not listen on the network.
"""

from __future__ import annotations

import logging
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from governance.devserver.blobs import Blobs
from governance.devserver.config import DevServerConfig, RepositorySpec, UserSpec
from governance.devserver.documents import Documents
from governance.devserver.faults import Faults
from governance.devserver.repositories import config_of
from governance.devserver.scans import Scans
from governance.devserver.security import Security, Target
from governance.devserver.store import Store
from governance.devserver.watching import Watching

LOGGER = logging.getLogger("governance.devserver")


class Platform:
    """State of one server. `close` it."""

    def __init__(self, config: DevServerConfig) -> None:
        self.config = config
        self.now = config.now
        self._cleanup = ExitStack()
        root = config.root or Path(
            self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="mlgov-devserver-"))
        )
        root.mkdir(parents=True, exist_ok=True)
        self.documents = Documents(None if config.root is None else root / "state.sqlite")
        self._cleanup.callback(self.documents.close)
        self.store = Store(Blobs(root), self.documents, config.now)
        self.security = Security(self.documents, config.now, config.anonymous_rights)
        self.faults = Faults()
        self.scans = Scans(self.store, config.now, delay=config.scan_delay)
        self.watching = Watching(self.documents, config.now)
        self.evidence: dict[str, dict[str, Any]] = dict(self.documents.load("evidence"))
        self.evidence_keys: dict[str, dict[str, str]] = dict(self.documents.load("evidence-key"))
        self.graphs: dict[str, dict[str, Any]] = {}
        self.projects: dict[str, dict[str, Any]] = {}
        self.builds: dict[str, dict[str, dict[str, Any]]] = {}
        for spec in config.repositories:
            self._seed_repository(spec)
        for user in config.users:
            self.seed_user(user)
        self.security.groups.setdefault("readers", {"name": "readers", "description": "", "autoJoin": True})

    def _seed_repository(self, spec: RepositorySpec) -> None:
        if spec.key not in self.store.repositories:
            self.store.create_repository(spec.key, config_of(spec))

    def seed_user(self, spec: UserSpec) -> None:
        """Create a user with a permission target of their own. One that is there already stays as it is."""
        if spec.name in self.security.users:
            return
        fields = {"password": spec.password, "admin": spec.admin, "groups": list(spec.groups)}
        self.security.save_user(spec.name, {**fields, "email": f"{spec.name}@example.com"})
        for repo, letters in spec.rights.items():
            self.grant(spec.name, repo, letters)

    def grant(self, user: str, repo: str, letters: str) -> None:
        """Give a user rights on a repository, and only those."""
        name = f"{user}-{'all' if repo == '*' else repo}"
        self.security.save_target(Target(name=name, repositories=[repo], users={user: list(letters)}))

    def close(self) -> None:
        """Close files and remove the temporary folder."""
        self._cleanup.close()
