"""The error tree, branched by what the person who gets the error does next.

::

    GovernanceError
    ├── RefusedError               the policy said no; carries the whole `Refusal`
    │   ├── BlockedError           change the artifact, or ask for a waiver
    │   └── QuarantinedError       not decided yet: try again later
    ├── VerificationError          do not use what was fetched
    │   ├── SignatureError         the signature, its key or its bundle is not good
    │   └── DigestMismatchError    the bytes moved are not the bytes that were judged
    ├── ConfigurationError         mend a file or a setting
    │   ├── PolicyInvalidError     a policy file; every mistake at once, with file, line and column
    │   ├── SettingsError          an environment variable or the settings file
    │   └── KeyFileError           a signing key or trust file: missing, unreadable, wrong passphrase
    ├── RemoteError                a service did not do what was asked (service, method, path, status)
    │   ├── UnreachableError       no connection, time-out
    │   ├── TlsError               the certificate was not accepted
    │   ├── UnauthenticatedError   401: the token is wrong or expired
    │   ├── ForbiddenError         403: the token lacks a right
    │   ├── NotFoundError          404
    │   ├── ConflictError          409: for one, a checksum that the service did not agree with
    │   ├── RateLimitedError       429 after all retries
    │   ├── UnavailableError       5xx after all retries
    │   └── ProtocolError          an answer that is truncated, too large or not what the protocol says
    ├── TransferError              the local side of a transfer
    │   ├── UnsafePathError        a name that would leave its folder, or a symlink
    │   └── StorageFullError       no space left
    └── AuditError                 stop: nothing may act
        ├── AuditUnavailableError  the log cannot be written
        ├── AuditQuorumError       too few places have kept the log's head of late, and the settings say to refuse then
        ├── AuditConflictError     an entry id was used for two different entries
        └── AuditBrokenError       the log does not prove itself
            └── NewerLogError  only a newer version of this program can read it, or an entry of it

The tree knows no exit codes and no HTTP; the CLI and the servers map it. No message holds a token, a passphrase or
a query string.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from governance.model.verdict import Refusal


class GovernanceError(Exception):
    """Base of every error that this project raises on purpose. `hint` says what to do, in one sentence."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by state, since subclasses take other arguments than `args`."""
        return (_rebuild, (type(self), self.args, self.__dict__))


def _rebuild(
    kind: type[GovernanceError], args: tuple[object, ...], state: dict[str, object]
) -> GovernanceError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class RefusedError(GovernanceError):
    """The policy refused the act. `refusal` holds everything that is known about why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.text(), hint=refusal.next_step())
        self.refusal = refusal


class BlockedError(RefusedError):
    """Refused for good, unless the artifact changes or a waiver is granted."""


class QuarantinedError(RefusedError):
    """Refused for now: what the policy needs to know is not known yet. May be retried."""


class VerificationError(GovernanceError):
    """What was fetched is not what it claims to be. Do not use it."""


class SignatureError(VerificationError):
    """A signature that is missing, malformed, wrong, untrusted, expired or revoked. `reason` is machine-readable."""

    def __init__(self, message: str, *, reason: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class DigestMismatchError(VerificationError):
    """The bytes moved are not the bytes that the verdict was about."""

    def __init__(self, path: str, *, expected: str, actual: str) -> None:
        super().__init__(
            f"`{path}`: expected {expected}, got {actual}",
            hint="The file changed or was damaged on its way. Nothing was released; try again, then look at the server.",
        )
        self.path = path
        self.expected = expected
        self.actual = actual


class ConfigurationError(GovernanceError):
    """A file or a setting of ours is wrong."""


class PolicyInvalidError(ConfigurationError):
    """Policy files with mistakes. `problems` lists all of them, each `file:line:column path: expected ..., got ...`."""

    def __init__(self, problems: Sequence[str]) -> None:
        listed = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(
            f"{len(problems)} mistake(s) in the policy:\n{listed}",
            hint="Fix the lines named above; `mlgov policy check` reads the files again.",
        )
        self.problems = tuple(problems)


class SettingsError(ConfigurationError):
    """An environment variable or the settings file."""


class KeyFileError(ConfigurationError):
    """A key or trust file is missing, unreadable, too open, or its passphrase is wrong."""


class RemoteError(GovernanceError):
    """A remote service failed. Holds no header, query string or credential. `retry_after` is how many seconds the service asks
    to be left alone for, as it says itself: whoever waits sets a bound."""

    def __init__(
        self,
        message: str,
        *,
        service: str,
        method: str,
        path: str,
        status: int | None = None,
        hint: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(
            f"{service}: {message} ({method} {path}{f', HTTP {status}' if status else ''})", hint=hint
        )
        self.service = service
        self.method = method
        self.path = path
        self.status = status
        self.retry_after = retry_after


class UnreachableError(RemoteError):
    """No connection could be made, or no answer came in time."""


class TlsError(RemoteError):
    """The server's certificate was not accepted."""


class UnauthenticatedError(RemoteError):
    """HTTP 401: no token, a wrong one, or one that expired."""


class ForbiddenError(RemoteError):
    """HTTP 403: the token is good and lacks the right."""


class NotFoundError(RemoteError):
    """HTTP 404: no such repository, folder or file (or it is hidden from this user)."""


class ConflictError(RemoteError):
    """HTTP 409, for one a checksum that the service computed differently."""


class RateLimitedError(RemoteError):
    """HTTP 429, and still so after the last retry."""


class UnavailableError(RemoteError):
    """HTTP 5xx, and still so after the last retry."""


class ProtocolError(RemoteError):
    """An answer that is cut short, over its size limit, or not of the documented form."""


class TransferError(GovernanceError):
    """The local side of a transfer failed."""


class UnsafePathError(TransferError):
    """A name that would leave its folder, an absolute name, or a symlink."""


class StorageFullError(TransferError):
    """No space left on the local disk."""


class AuditError(GovernanceError):
    """The audit log is not in order, so nothing may act."""


class AuditUnavailableError(AuditError):
    """The decision could not be recorded, so it was not acted upon. It is unknown whether the entry reached the log:
    `entry_id` is kept, and an entry with that id may be there."""

    def __init__(self, message: str, *, entry_id: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.entry_id = entry_id


class AuditQuorumError(AuditError):
    """Too few of the places for the log's heads have kept one of late, and the settings have acts refused then. `failed` are
    the places that did not keep the last one, `since` when enough of them last did (None for never, or not known here), and
    `max_age` the most seconds since then."""

    def __init__(
        self,
        message: str,
        *,
        since: datetime | None,
        failed: Sequence[str],
        max_age: float | None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.since = since
        self.failed = tuple(failed)
        self.max_age = max_age


class AuditConflictError(AuditError):
    """An entry id is already used for an entry with other content. A mistake of the caller, not of the log."""


class AuditBrokenError(AuditError):
    """The log does not prove itself. `index` is the first bad entry, if one can be named."""

    def __init__(self, message: str, *, index: int | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.index = index


class NewerLogError(AuditBrokenError):
    """A log, or an entry of it, that only a newer version of this program can read. Whoever can do without it need not stop; nobody else
    may take it for good, or for broken."""

    def __init__(self, message: str, *, index: int | None = None) -> None:
        super().__init__(
            message, index=index, hint="Use the newest version of this program that writes to the log."
        )
