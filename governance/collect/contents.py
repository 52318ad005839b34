"""What the files are. Stub until the pickle walk is in."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from governance.artifactory.client import ArtifactoryClient
from governance.collect.dependencies import NOT_STORED
from governance.model.facts import FactValue, Unknown
from governance.model.request import Request


class ContentsCollector:
    """`files` and `content.*`."""

    name = "contents"
    supplies = frozenset(
        {
            "files",
            "content.verdict",
            "content.files_scanned",
            "content.files_skipped",
            "content.files_total",
            "content.unsafe_imports",
        }
    )

    def __init__(self, clients: Callable[[str], ArtifactoryClient]) -> None:
        self._clients = clients

    def collect(self, request: Request) -> Mapping[str, FactValue]:
        """The facts."""
        return dict.fromkeys(self.supplies, Unknown(NOT_STORED))
