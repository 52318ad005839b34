"""Refusals, in the three shapes that the real services use.

Promises one exception type for handlers and one place that renders it. Does not decide when to refuse.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum

from aiohttp import web

REALM = 'Basic realm="Artifactory Realm"'


class Shape(StrEnum):
    """How an error body looks: Artifactory's list, Xray's single field, or bare text (AQL)."""

    ARTIFACTORY = "artifactory"
    XRAY = "xray"
    TEXT = "text"


class Problem(Exception):  # noqa: N818 - it is an answer, as `web.HTTPException` is, and not a failure of ours
    """An answer other than success. `shape` None takes that of the service whose path was asked."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        shape: Shape | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})
        self.shape = shape
        self.reason = reason


def unauthorized(message: str) -> Problem:
    """401 with the challenge that makes clients send their credentials."""
    return Problem(401, message, headers={"WWW-Authenticate": REALM})


def missing_item() -> Problem:
    """404 in the words that `dohq-artifactory` maps to `ENOENT`."""
    return Problem(404, "Unable to find item")


def render(problem: Problem, path: str) -> web.Response:
    """The response for a refusal of a request to `path`."""
    shape = problem.shape or (Shape.XRAY if path.startswith("/xray/") else Shape.ARTIFACTORY)
    if shape is Shape.TEXT:
        text, kind = problem.message, "text/plain"
    elif shape is Shape.XRAY:
        text, kind = json.dumps({"error": problem.message}), "application/json"
    else:
        body = {"errors": [{"status": problem.status, "message": problem.message}]}
        text, kind = json.dumps(body, indent=2), "application/json"
    return web.Response(
        status=problem.status, reason=problem.reason, text=text, content_type=kind, headers=problem.headers
    )
