"""The services: whether they can be reached, whom the token stands for and what it may, clocks, and Xray's indexing.

Promises: nothing is written anywhere, but where a write test is asked for, and then one small file that is deleted
again. Does not: wait long; each request has the transport's time limits.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial

from governance.artifactory.client import ArtifactoryClient
from governance.cli.checkup.anonymous import plain_transport
from governance.cli.checkup.check import Check, fail, ok, skip, warn
from governance.cli.output import Line
from governance.errors import ForbiddenError, NotFoundError, RemoteError
from governance.model.request import new_id
from governance.wiring import Assembly

_MOST_SKEW = 30
_SOON_DAYS = 14
_RIGHTS = {
    "r": ("read", "loading models"),
    "w": ("deploy", "logging models"),
    "n": ("annotate", "the properties that link a model to its decision and signature"),
}


def remote_checks(
    assembly: Assembly, *, repositories: tuple[str, ...], write_test: bool
) -> tuple[Check, ...]:
    """All checks of this module, for each host that may be given the token."""
    hosts = sorted(assembly.settings.allowed_hosts)
    checks = [
        check
        for host in hosts
        for check in (
            Check(subject=host, look=partial(_server, assembly, host), code=3),
            Check(subject="token", look=partial(_token, assembly, host)),
            Check(subject="Xray", look=partial(_xray, assembly, host), code=3),
        )
    ]
    checks += [
        Check(
            subject=f"repository {key}",
            look=partial(_repository, assembly, host, key, write_test=write_test),
        )
        for host in hosts
        for key in repositories
    ]
    if hosts and not repositories:
        checks.append(Check(subject="repository", look=_no_repository))
    return tuple(checks)


def _server(assembly: Assembly, host: str) -> Iterator[Line]:
    client = assembly.artifactory(host)
    client.ping()
    scheme = assembly.connections.scheme(host)
    yield ok(host, f"Artifactory {client.version().version} answers over {scheme}")
    name = host.rpartition(":")[0] or host
    if scheme == "http" and name not in {"127.0.0.1", "localhost", "[::1]"}:
        yield fail(host, "the token travels in the clear", "Use `https` in `MLGOV_ARTIFACTORY_URL`.")
    yield from _clock(f"{scheme}://{host}/artifactory", assembly)


def _clock(base: str, assembly: Assembly) -> Iterator[Line]:
    """Ages, expiries and the order of audit entries rest on the clock."""
    here = assembly.now()
    transport = plain_transport(
        base, "Artifactory", assembly.settings, certificate=assembly.settings.own_certificate
    )
    try:
        header = transport.call("GET", "api/system/ping").headers.get("Date")
    finally:
        transport.close()
    try:
        there = parsedate_to_datetime(header or "").astimezone(UTC)
    except ValueError:
        yield skip("clock", "the server does not say what time it is")
        return
    skew = (here - there).total_seconds()
    if abs(skew) > _MOST_SKEW:
        way = "ahead of" if skew > 0 else "behind"
        yield warn(
            "clock",
            f"this machine is {abs(skew):.0f} s {way} the server",
            "Synchronise the clock (NTP) of either.",
        )
    else:
        yield ok("clock", f"within {_MOST_SKEW} s of the server's")


def _token(assembly: Assembly, host: str) -> Iterator[Line]:
    if assembly.settings.token is None:
        yield skip("token", "none is set")
        return
    user = assembly.artifactory(host).current_user()
    if user.expires is not None:
        left = user.expires - assembly.now()
        if left.total_seconds() <= 0:
            yield fail(
                "token", f"expired on {user.expires:%Y-%m-%d %H:%M} UTC", "Make a new one in Artifactory."
            )
            return
        if left.days < _SOON_DAYS:
            yield warn(
                "token",
                f"expires in {_span(left)}, {user.expires:%Y-%m-%d %H:%M} UTC",
                "Make a new one in time.",
            )
    named = f"stands for `{user.name}`" if user.name else "is opaque, so who it belongs to is not known"
    ends = f"until {user.expires:%Y-%m-%d}" if user.expires else "with no expiry that it states"
    yield ok("token", f"{named}, {ends}")


def _span(left: timedelta) -> str:
    """Whole days, and less than one in hours and minutes: `0 day(s)` would be over already."""
    if left.days:
        return f"{left.days} day(s)"
    return f"{left.seconds // 3600} h {left.seconds % 3600 // 60} min"


def _xray(assembly: Assembly, host: str) -> Iterator[Line]:
    try:
        yield ok("Xray", f"Xray {assembly.xray(host).version()} answers")
    except (NotFoundError, ForbiddenError) as error:
        yield warn(
            "Xray",
            f"is not there, or not for this token (HTTP {error.status}): scan facts stay unknown",
            "Set `MLGOV_XRAY_URL` where it has another address, or give the token the right to read Xray's results.",
        )


def _repository(assembly: Assembly, host: str, key: str, *, write_test: bool) -> Iterator[Line]:
    subject = f"repository {key}"
    client = assembly.artifactory(host)
    info = client.repository_info(key)
    indexed = {True: "indexed by Xray", False: "not indexed by Xray", None: "Xray indexing not told"}[
        info.xray_index
    ]
    if info.origin == "virtual":
        behind = info.settings.get("repositories")
        names = ", ".join(f"`{each}`" for each in behind[:5]) if isinstance(behind, list) else ""
        yield warn(
            subject,
            f"virtual, {info.package_type}: Xray knows files by the repository that holds them, so policies that ask for a scan "
            "hold everything back",
            f"Name the repository behind it in place of this one{f': {names}' if names else ''}.",
        )
    elif info.xray_index is False:
        yield warn(
            subject,
            f"{info.origin}, {info.package_type}, {indexed}: policies that ask for a scan hold everything back",
            "In Artifactory: Administration, Xray, Indexed Resources, add the repository.",
        )
    else:
        yield ok(subject, f"{info.origin}, {info.package_type}, {indexed}")
    yield from _rights(client, key, subject)
    if write_test and info.origin == "remote":
        yield skip(subject, "nothing is deployed to a remote repository")
    elif write_test:
        yield from _write_test(client, key, subject, assembly.now())


def _rights(client: ArtifactoryClient, key: str, subject: str) -> Iterator[Line]:
    try:
        letters = client.permissions(key, "")
    except RemoteError:
        yield skip(subject, "this token may not ask for its rights; `--write-test` tries them")
        return
    missing = {letter: words for letter, words in _RIGHTS.items() if letter not in letters}
    for word, purpose in missing.values():
        yield fail(
            subject,
            f"the token lacks the right to {word}",
            f"Grant it on `{key}`; it is needed for {purpose}.",
        )
    if not missing:
        yield ok(subject, "the token may read, deploy and annotate")


def _write_test(client: ArtifactoryClient, key: str, subject: str, at: datetime) -> Iterator[Line]:
    """Deploy, annotate, read back and delete one small file, under a name that nobody else uses."""
    folder = f"mlgov-doctor-{new_id(at)}"
    path = f"{folder}/probe"
    client.upload(key, path, io.BytesIO(b"mlgov doctor\n"), size=13)
    try:
        client.set_properties(key, path, {"mlgov.doctor": "yes"})
        seen = client.properties(key, path).get("mlgov.doctor")
        if seen == ("yes",):
            yield ok(subject, "a small file could be deployed, annotated and read back")
        else:
            yield fail(
                subject,
                "a property was accepted and is not there",
                f"Grant the right to annotate on `{key}`: models would lack the link to their decision.",
            )
    finally:
        try:
            client.delete(key, folder)
        except RemoteError:
            yield warn(
                subject,
                f"`{path}` could not be deleted again",
                "Delete it by hand; deleting needs a right of its own.",
            )


def _no_repository() -> Iterator[Line]:
    yield skip("repository", "none named: `mlgov doctor REPOSITORY` looks at rights and indexing")
