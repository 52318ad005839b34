"""The one table from what HTTP did to the error tree, with a hint for whoever is called at three in the morning.

Promises: no message holds a credential, a query string or user information, whatever the server wrote; the causes
that are chained hold none either. Does not: decide what is tried again (`retries`).
"""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson
import urllib3.exceptions as pool

from governance.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    ProtocolError,
    RateLimitedError,
    RemoteError,
    TlsError,
    UnauthenticatedError,
    UnavailableError,
    UnreachableError,
)

_MAX_MESSAGE: Final = 300
_URL = re.compile(r"\b([a-z][a-z0-9+.-]*)://(?:[^\s/@\"']*@)?([^\s?#\"']*)(?:[?#][^\s\"']*)?", re.IGNORECASE)
_SECRET_LIKE = re.compile(
    r"\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?|(?i:\b(bearer|basic)\s+)[\w.~+/=-]{8,}|(?i:[?&;]\w*(?:token|key|signature|secret)=)[^\s&;]+"
)
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\u00a0-\ud7ff\ue000-\ufffd]+")
_DIGESTS_OF_NOTHING = ("da39a3ee5e6b4b0d3255bfef95601890afd80709", "e3b0c44298fc1c149afbf4c8996fb924")

FAILURES: Final = (pool.HTTPError, http.client.HTTPException, OSError)
"""Every exception that a try may end in, apart from our own."""

_TROUBLE = "The server or a proxy before it is in trouble. Try again; if it lasts, look at its status."
_SIGN_IN = (
    "No token was sent, or it is wrong or expired: set ARTIFACTORY_AUTH_TOKEN to a good one (`mlgov doctor` shows whose "
    "it is and until when). It is not tried again, because repeated failures lock the user out."
)
_RIGHTS = (
    "The token is good and lacks a right here: read to download, deploy to upload, delete to overwrite or delete, "
    "annotate to set properties. If the message speaks of Xray or curation, the server's own policy refused."
)
_VIRTUAL = "For one, a virtual repository takes uploads only with a default deployment repository."
_CHECKSUM = "Most often a checksum that differs: the bytes were damaged on their way. Upload again."
_EMPTY = "The server received an empty body: a proxy or a redirect dropped the bytes. Look there first."
_LOCKED = "The user is locked out for a while after failed logins elsewhere. Wait a minute, then try again."
_LIMITED = (
    "Try again later, or with fewer files at once; a limit of the server's or its provider's was reached."
)
_TOO_LARGE = "Raise the size limit of the proxy before the server, or the repository's quota."
_ABSENT = "No such repository or path (case counts), or it is hidden from this user."

_BY_STATUS: Final[Mapping[int, tuple[type[RemoteError], str, str]]] = {
    400: (
        RemoteError,
        "the request was refused as malformed",
        "The server's own words say what it did not like.",
    ),
    401: (UnauthenticatedError, "not authenticated", _SIGN_IN),
    403: (ForbiddenError, "not permitted", _RIGHTS),
    404: (NotFoundError, "not found", _ABSENT),
    405: (RemoteError, "the server does not allow this here", _VIRTUAL),
    409: (ConflictError, "the server refused it as conflicting", _CHECKSUM),
    413: (RemoteError, "the file is too large for the server", _TOO_LARGE),
    429: (RateLimitedError, "too many requests", _LIMITED),
    507: (UnavailableError, "the server's storage is full", "Free space on the server, or raise its quota."),
}
_OTHER_5XX = (UnavailableError, "the server failed", _TROUBLE)
_OTHER_4XX = (RemoteError, "the server refused the request", "The server's own words say why.")
_OTHER = (ProtocolError, "an answer that does not fit the request", _TROUBLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """The request an error is about. `secrets` are cut out of whatever the server writes."""

    service: str
    method: str
    path: str
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def error(
        self, kind: type[RemoteError], message: str, *, status: int | None = None, hint: str | None = None
    ) -> RemoteError:
        """An error about this request."""
        return kind(
            message, service=self.service, method=self.method, path=self.path, status=status, hint=hint
        )

    def broken(self, message: str, *, status: int | None = None, hint: str | None = None) -> RemoteError:
        """The answer is not what the protocol says."""
        default = "The connection broke, or a proxy stands in between and answers in the server's place."
        return self.error(ProtocolError, message, status=status, hint=hint or default)

    def not_found(self, message: str) -> RemoteError:
        """There is no such thing."""
        return self.error(NotFoundError, message, status=404, hint=_ABSENT)

    def conflict(self, message: str) -> RemoteError:
        """The server has other bytes than we have."""
        return self.error(ConflictError, message, hint=_CHECKSUM)

    def refused(self, message: str, *, status: int | None = None) -> RemoteError:
        """The server says no in its own words."""
        return self.error(RemoteError, clean(message, self.secrets), status=status, hint=_OTHER_4XX[2])

    def unreachable(self, message: str) -> RemoteError:
        """No answer, or not in time."""
        default = "Check the address, the network and any proxy; `mlgov doctor` tries each in turn."
        return self.error(UnreachableError, message, hint=default)


def status_error(status: int, body: bytes, exchange: Exchange) -> RemoteError:
    """The error for an answer whose status is not what was asked for."""
    rest = _OTHER_5XX if status >= 500 else _OTHER_4XX if status >= 400 else _OTHER
    kind, words, hint = _BY_STATUS.get(status, rest)
    said = server_message(body, exchange.secrets)
    if status == 409 and any(digest in said for digest in _DIGESTS_OF_NOTHING):
        hint = _EMPTY
    if status == 403 and not exchange.secrets:  # some servers say so to who has no token at all
        hint = _SIGN_IN
    if "recurrent login failures" in said:
        hint = _LOCKED
    return exchange.error(kind, f"{words}: {said}" if said else words, status=status, hint=hint)


def server_message(body: bytes, secrets: tuple[str, ...]) -> str:
    """The server's own words: one printable line, shortened, without anything that looks like a credential.

    Reads `{"errors": [{"message": ...}]}` (Artifactory), `{"error": ...}` (Xray) and plain text. Markup is dropped.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body[: 4 * _MAX_MESSAGE].decode("utf-8", "replace")
        return "" if text.lstrip().startswith("<") else clean(text, secrets)
    return clean(_message_in(document), secrets)


def _message_in(document: object) -> str:
    if not isinstance(document, dict):
        return ""
    errors = document.get("errors") or document.get("messages")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        return str(errors[0].get("message") or errors[0].get("error") or "")
    return str(document.get("error") or document.get("message") or document.get("detail") or "")


def clean(text: str, secrets: tuple[str, ...] = ()) -> str:
    """One printable line of at most 300 characters, without credentials, query strings and user information."""
    for secret in secrets:
        text = text.replace(secret, "***")
    text = _SECRET_LIKE.sub("***", _URL.sub(r"\1://\2", text))
    return _UNPRINTABLE.sub(" ", text).strip()[:_MAX_MESSAGE]


class SlowAnswerError(TimeoutError):
    """An answer that goes on coming, and not fast enough."""


def failure_of(error: Exception, exchange: Exchange) -> tuple[RemoteError, BaseException | None]:
    """The error for an exception of `urllib3` or below, and the innermost cause, where it is fit to be chained.

    The outer causes quote the URL with its query, and carry the request with its headers. An innermost one of
    `http.client` quotes what the server sent, which may be what we sent it before.
    """
    chain = _chain(error)
    cause = chain[-1]
    shown = cause if isinstance(cause, OSError | pool.HTTPError) else None
    if isinstance(error.__cause__, SlowAnswerError):
        return exchange.unreachable(str(error.__cause__)), error.__cause__
    for kinds, build in _BY_EXCEPTION:
        if any(isinstance(link, kinds) for link in chain):
            return build(exchange, cause), shown
    return exchange.broken(f"no usable answer: {type(cause).__name__}"), shown


def _tls(exchange: Exchange, cause: BaseException) -> RemoteError:
    text = clean(str(cause))
    hint = "Give the certificate of the authority that signed the server's (MLGOV_CA_BUNDLE); never switch checking off."
    if any(word in text for word in ("WRONG_VERSION_NUMBER", "RECORD_LAYER", "EOF")):
        hint = "Perhaps the server speaks plain HTTP on this port: for a trial on this machine set ARTIFACTORY_NO_SSL=true."
        if "EOF" in text:
            hint = f"{hint} Or it asks for a certificate of ours: MLGOV_ARTIFACTORY_CERTIFICATE."
    elif "_ALERT_" in text:  # the other side's word about us; what we think of its certificate is no alert
        hint = (
            "The server ended it, most likely since it asks for a certificate of ours or does not take this one: "
            "MLGOV_ARTIFACTORY_CERTIFICATE and MLGOV_ARTIFACTORY_CERTIFICATE_KEY, or a stream's `certificate` and `certificate_key`."
        )
    elif "has expired" in text or "not yet valid" in text:
        hint = "Have the server's administrator renew its certificate; if that is good, set the clock of this machine."
    elif "mismatch" in text or "doesn't match" in text:
        hint = "The certificate is for another host: use the name that it was made for, or look who answers here."
    return exchange.error(TlsError, f"no trusted TLS connection: {text}", hint=hint)


def _timeout(exchange: Exchange, _cause: BaseException) -> RemoteError:
    return exchange.unreachable("no answer in time")


def _proxy(exchange: Exchange, cause: BaseException) -> RemoteError:
    return exchange.unreachable(f"the proxy could not be used: {clean(str(cause))}")


def _not_http(exchange: Exchange, cause: BaseException) -> RemoteError:
    return exchange.broken(
        f"an answer that is not HTTP: {type(cause).__name__}",
        hint="Something else listens on this port, or it expects https where http was used.",
    )


def _cut_short(exchange: Exchange, _cause: BaseException) -> RemoteError:
    return exchange.broken("the answer was cut short")


def _connection(exchange: Exchange, cause: BaseException) -> RemoteError:
    return exchange.unreachable(f"no connection: {clean(str(cause)) or type(cause).__name__}")


# In this order, since the later kinds are bases or wrappers of the earlier ones.
_BY_EXCEPTION = (
    ((pool.SSLError, ssl.SSLError), _tls),
    ((pool.ProxyError,), _proxy),
    ((pool.NewConnectionError,), _connection),
    ((pool.IncompleteRead, http.client.IncompleteRead), _cut_short),
    ((pool.TimeoutError, TimeoutError), _timeout),
    ((http.client.RemoteDisconnected,), _connection),
    ((http.client.HTTPException,), _not_http),
    ((pool.ProtocolError, OSError), _connection),
)


def _chain(error: BaseException) -> list[BaseException]:
    """`error` and what it wraps, outermost first. `urllib3` keeps it in `reason` or among `args`."""
    chain = [error]
    while len(chain) < 8:
        last = chain[-1]
        wrapped = [getattr(last, "reason", None), *last.args]
        inner = next(
            (link for link in wrapped if isinstance(link, BaseException) and link not in chain), None
        )
        if inner is None:
            break
        chain.append(inner)
    return chain
