"""The errors that users of MLflow see, all subclasses of `MlflowException`.

::

    GovernedError
    ├── RefusalError                   the policy said no; `refusal` holds everything that is known about why
    │   ├── BlockedModelError          change the model, or ask for a waiver
    │   ├── BlockedPackageError        the same for a package
    │   └── QuarantinedModelError      not decided yet: `retry_after` seconds
    ├── ModelVerificationError         signature or digest is not good: do not use what was fetched
    ├── GovernedStorageError           Artifactory or the local disk did not do what was asked
    └── GovernanceUnavailableError     settings, policy or audit log are not in order, so nothing may act

Promises: each survives pickling, and the tracking server's JSON (`from_json`), with everything it holds; `error_class`
starts with `GOVERNANCE_`, which tells a policy's refusal from a missing right. Never a status that MLflow's client
repeats for minutes (429, 5xx), unless repeating can help. What only the operator of a tracking server can mend says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ErrorCode

from governance import errors
from governance.model.canonical import Json
from governance.model.problem import problem_of, refusal_of
from governance.model.verdict import Finding, Refusal
from plugin.context import is_in_server

MARK = "GOVERNANCE_"


class GovernedError(MlflowException):
    """Base of all that the plugin raises on purpose. `hint` says what to do, `members` go into the server's JSON."""

    mark: ClassVar[str] = f"{MARK}ERROR"

    def __init__(
        self,
        message: str,
        *,
        code: str = "ABORTED",
        hint: str | None = None,
        members: Mapping[str, Json] | None = None,
    ) -> None:
        super().__init__(
            message,
            error_code=ErrorCode.Value(code),
            error_class=self.mark,
            **({} if members is None else members),
            **({} if hint is None else {"hint": hint}),
        )
        self.hint = hint

    def to_json(self) -> dict[str, Any]:
        """The document that MLflow's server sends. `from_json` is its inverse."""
        document: dict[str, Any] = json.loads(self.serialize_as_json())
        return document

    def __reduce__(self) -> tuple[object, ...]:
        return (from_json, (self.to_json(),))


class RefusalError(GovernedError):
    """The policy refused."""

    mark = f"{MARK}REFUSED"

    def __init__(self, refusal: Refusal) -> None:
        problem = problem_of(refusal)
        # MLflow's document has members of its own; `hint` is derived.
        super().__init__(refusal.text(), code="PERMISSION_DENIED", hint=refusal.next_step(), members=problem)
        self.refusal = refusal

    @property
    def decision_id(self) -> str:
        """The decision's id in the audit log."""
        return self.refusal.decision_id

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every rule's objection, strictest first."""
        return self.refusal.findings

    @property
    def retry_after(self) -> int | None:
        """Seconds after which to try again, where that can help."""
        return self.refusal.retry_after

    @property
    def waiver_command(self) -> str | None:
        """The command that asks for a waiver, where one may be asked for."""
        return self.refusal.waiver_command

    def problem(self) -> dict[str, Json]:
        """The same content as `application/problem+json`."""
        return problem_of(self.refusal)


class BlockedModelError(RefusalError):
    """A model (or file) that the policy blocks."""

    mark = f"{MARK}BLOCKED"


class BlockedPackageError(RefusalError):
    """A package that the policy blocks."""

    mark = f"{MARK}PACKAGE_BLOCKED"


class QuarantinedModelError(RefusalError):
    """Refused for now: what the policy needs to know is not known yet. Try again after `retry_after` seconds."""

    mark = f"{MARK}QUARANTINED"


class ModelVerificationError(GovernedError):
    """What was fetched is not what it claims to be. Nothing of it was released."""

    mark = f"{MARK}VERIFICATION_FAILED"


class GovernedStorageError(GovernedError):
    """Artifactory, or the local side of a transfer, failed."""

    mark = f"{MARK}STORAGE"


class GovernanceUnavailableError(GovernedError):
    """Settings, policy, key or audit log are not in order, so nothing may act."""

    mark = f"{MARK}UNAVAILABLE"


_KINDS: tuple[type[GovernedError], ...] = (
    GovernedError, BlockedModelError, BlockedPackageError, QuarantinedModelError, ModelVerificationError,
    GovernedStorageError, GovernanceUnavailableError,
)  # fmt: skip
_BY_MARK = {kind.mark: kind for kind in _KINDS}
_OWN_MEMBERS = frozenset({"error_code", "message", "sqlstate", "error_class", "hint"})

# What the operator does next decides the code: MLflow turns it into the HTTP status, and its client repeats 429 and 5xx.
# The first row that fits counts, so subclasses stand before their bases.
_CODES: tuple[tuple[type[errors.GovernanceError], type[GovernedError], str], ...] = (
    (errors.VerificationError, ModelVerificationError, "PERMISSION_DENIED"),
    (errors.NotFoundError, GovernedStorageError, "RESOURCE_DOES_NOT_EXIST"),
    (errors.UnauthenticatedError, GovernedStorageError, "UNAUTHENTICATED"),
    (errors.ForbiddenError, GovernedStorageError, "PERMISSION_DENIED"),
    (errors.ConflictError, GovernedStorageError, "RESOURCE_CONFLICT"),
    (errors.RateLimitedError, GovernedStorageError, "REQUEST_LIMIT_EXCEEDED"),
    (errors.UnavailableError, GovernedStorageError, "TEMPORARILY_UNAVAILABLE"),
    (errors.UnreachableError, GovernedStorageError, "TEMPORARILY_UNAVAILABLE"),
    (errors.RemoteError, GovernedStorageError, "ABORTED"),
    (errors.UnsafePathError, GovernedStorageError, "INVALID_PARAMETER_VALUE"),
    (errors.StorageFullError, GovernedStorageError, "RESOURCE_EXHAUSTED"),
    (errors.TransferError, GovernedStorageError, "ABORTED"),
    (errors.AuditUnavailableError, GovernanceUnavailableError, "TEMPORARILY_UNAVAILABLE"),
    (errors.GovernanceError, GovernanceUnavailableError, "ABORTED"),
)

_PASSING = frozenset({500, 502, 503, 504})
"""The statuses of a server in trouble that may pass. Another one, such as 507 (its storage is full), stays until somebody acts."""

_CALLERS_OWN = (
    errors.VerificationError, errors.NotFoundError, errors.ConflictError, errors.UnsafePathError,
)  # fmt: skip
"""About what was asked for, which the caller of a tracking server can mend. All else is about the server."""

_FOR_OPERATORS = (
    "This is for whoever runs the tracking server: it is about its token, settings and network, not yours."
)


def mlflow_error(error: errors.GovernanceError) -> GovernedError:
    """The error to raise towards MLflow in place of one of ours."""
    if isinstance(error, errors.RefusedError):
        return _refusal_error(error.refusal)
    kind, code = next((kind, code) for ours, kind, code in _CODES if isinstance(error, ours))
    if isinstance(error, errors.UnavailableError) and error.status not in _PASSING:
        code = "ABORTED"
    hint = error.hint
    if is_in_server() and not isinstance(error, _CALLERS_OWN):
        hint = f"{_FOR_OPERATORS} {hint}" if hint else _FOR_OPERATORS
    message = f"{error.message}\n  what to do: {hint}" if hint else error.message
    return kind(message, code=code, hint=hint, members={"reason": type(error).__name__})


@contextmanager
def as_mlflow() -> Iterator[None]:
    """Turn our errors into MLflow's at the edge of a verb."""
    try:
        yield
    except (errors.RefusedError, errors.RemoteError) as error:
        raise mlflow_error(error) from None  # it holds all that its cause does, and would say it twice
    except errors.GovernanceError as error:
        raise mlflow_error(error) from error


def from_json(document: object) -> GovernedError:
    """Rebuild an error from the server's JSON. Raises `ValueError` for a document that is not one of ours."""
    if not isinstance(document, Mapping):
        raise ValueError("not an error document")  # noqa: TRY004 - malformed data, not a caller's type
    kind = _BY_MARK.get(str(document.get("error_class")))
    if kind is None:
        raise ValueError("not an error of the governance plugin")
    if issubclass(kind, RefusalError):
        return kind(refusal_of(document))
    hint = document.get("hint")
    return kind(
        str(document.get("message")),
        code=str(document.get("error_code")),
        hint=None if hint is None else str(hint),
        members={str(key): value for key, value in document.items() if key not in _OWN_MEMBERS},
    )


def _refusal_error(refusal: Refusal) -> RefusalError:
    if refusal.is_retryable:
        return QuarantinedModelError(refusal)
    return BlockedPackageError(refusal) if refusal.artifact_kind == "package" else BlockedModelError(refusal)
