"""What `mlgov` exits with, so that a pipeline can tell "no" from "could not tell".

| code | meaning |
| ---: | --- |
| 0 | allowed; in order |
| 1 | blocked; not verified |
| 2 | usage, settings, policy file or key file |
| 3 | could not decide: a service or the local disk failed, or this program is too old for what it reads |
| 4 | the audit log is broken or cannot be written |
| 130 | interrupted by Ctrl-C |
| 141 | the reader of the output went away, as `head` does |
"""

from __future__ import annotations

from governance.errors import (
    AuditError,
    ConfigurationError,
    GovernanceError,
    NewerLogError,
    RefusedError,
    RemoteError,
    TransferError,
    VerificationError,
)

EXIT_CODES: tuple[tuple[type[GovernanceError], int], ...] = (
    (RefusedError, 1),
    (VerificationError, 1),
    (ConfigurationError, 2),
    (RemoteError, 3),
    (TransferError, 3),
    (NewerLogError, 3),
    (AuditError, 4),
)
"""Branches of the error tree and their codes. The first that fits counts."""

INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""

CLOSED_PIPE = 141
"""128 + SIGPIPE, as shells have it: whoever read the output stopped before its end."""

OUR_MISTAKE = 70
"""`EX_SOFTWARE` of sysexits.h: no answer of ours, so none of the codes above."""


def exit_code(error: GovernanceError) -> int:
    """The code for an error."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), OUR_MISTAKE)
