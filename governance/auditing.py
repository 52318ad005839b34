"""The parts of the audit log, from settings: its one store, its key, its pseudonyms, and where its heads go.

Promises: there is exactly one store, and none or two are an error before anything acts; no message holds the connection
string of a database. Does not: read the environment. All that says where the log lies, and who watches it, stands in the
settings file, so that nobody who may set a variable for one process can lead its decisions elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from governance.artifactory.address import SCHEME, parse_uri
from governance.audit.anchor import Anchor, ArtifactoryAnchor, FolderAnchor, HeadMemory
from governance.audit.log import AuditLog
from governance.audit.note import COSIGNATURE, NoteKey, NoteSigner, load_signer, parse_vkey
from governance.audit.pseudonyms import Pseudonyms
from governance.audit.quorum import Quorum
from governance.audit.remote import RemoteStore
from governance.audit.sqlite import SqliteStore
from governance.audit.store import AuditStore
from governance.audit.tsa import TimestampAnchor
from governance.audit.witness import WitnessAnchor
from governance.errors import AuditUnavailableError, SettingsError
from governance.places import expanded, make_private, read_bounded
from governance.settings import Settings
from governance.transport import Transport

if TYPE_CHECKING:
    from governance.artifactory.client import ArtifactoryClient

_STAMP = "tsa+"
_HEADS = "audit-heads"


def open_store(
    settings: Settings, *, connect: Callable[[], Transport], only_reads: bool = False
) -> AuditStore:
    """The one store that the settings name. `connect` makes the session to a server that keeps the log; a file that may not be
    written to is opened where the caller `only_reads`."""
    named = [name for name in ("audit_path", "audit_url", "audit_dsn") if getattr(settings, name) is not None]
    if len(named) > 1:
        raise SettingsError(
            f"{' and '.join(f'`{name}`' for name in named)} name more than one audit log",
            hint="Leave the one in the settings file that is to keep the log.",
        )
    if settings.audit_dsn is not None:
        return _postgres(settings.audit_dsn.get_secret_value())
    if settings.audit_url is not None:
        return RemoteStore(connect)
    path = settings.audit_file
    try:
        make_private(path.parent)
    except OSError as error:
        raise AuditUnavailableError(
            f"the audit log's folder `{path.parent}` cannot be made: {error.strerror}",
            hint="Fix `audit_path` in the settings file, or `MLGOV_HOME`; nothing is let through without a log.",
        ) from error
    return SqliteStore(path, only_reads=only_reads)


def checkpoint_signers(settings: Settings) -> tuple[NoteSigner, ...]:
    """The key that signs checkpoints, where there is one. Raises `KeyFileError`. A log that a server keeps is signed
    there."""
    path = settings.checkpoint_key
    if path is None or settings.audit_url is not None:
        return ()
    passphrase = checkpoint_passphrase(settings)
    return (load_signer(path, name=settings.audit_origin, passphrase=passphrase),)


def checkpoint_passphrase(settings: Settings) -> str | None:
    """The passphrase of the checkpoint key, or None where it has none. Raises `SettingsError`."""
    path = settings.audit_key_passphrase_file
    if path is None:
        return None
    try:
        return read_bounded(path).decode().removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"the passphrase file `{path}` cannot be read", hint="Fix `audit_key_passphrase_file`."
        ) from error


def pseudonyms(settings: Settings) -> Pseudonyms | None:
    """What stands in for actors' names, where the settings name a key for it. Raises `SettingsError`."""
    path = settings.audit_pseudonym_key
    if path is None:
        return None
    try:
        return Pseudonyms(read_bounded(path))
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"the pseudonym key `{path}` cannot be used: {getattr(error, 'strerror', None) or error}",
            hint="Make one with `(umask 077; openssl rand -out FILE 32)`, and keep it apart from the log.",
        ) from error


def head_memory(settings: Settings) -> HeadMemory:
    """Where this client remembers the log's last head: by the place of a file, the address of a server, the name of a
    database's log. So a database that was replaced under its name shows."""
    place = settings.audit_url or settings.audit_origin
    if settings.has_log_file:
        place = str(settings.audit_file.absolute())
    return HeadMemory(settings.home / _HEADS / hashlib.sha256(place.encode()).hexdigest()[:16])


def make_anchors(
    settings: Settings, *, artifactory: Callable[[str], ArtifactoryClient]
) -> tuple[Anchor, ...]:
    """The places for heads that the settings name. Raises `SettingsError`."""
    anchors = tuple(parse_anchor(text, settings, artifactory) for text in settings.audit_anchors)
    require_distinct(settings.audit_anchors)
    quorum = settings.audit_quorum
    if quorum is not None and quorum > len(anchors):
        raise SettingsError(
            f"a quorum of {quorum} among {len(anchors)} anchors",
            hint="Fix `audit_quorum` or `audit_anchors`.",
        )
    return anchors


def require_distinct(places: Sequence[str]) -> None:
    """Raise `SettingsError` where two of these are one place: a quorum counts memories, and one memory must not count twice,
    however it is spelled."""
    known: dict[tuple[str, ...], str] = {}
    for place in places:
        before = known.setdefault(_identity(place), place)
        if before is not place or places.count(place) > 1:
            other = "" if before == place else f", before as `{before}`"
            raise SettingsError(
                f"`{place}` is named twice among the places for heads{other}, and would count twice",
                hint="Leave one of them.",
            )


def _identity(place: str) -> tuple[str, ...]:
    """What makes a place another one: of a witness its key alone, since one that is reached by two names is one memory."""
    scheme = _scheme(place)
    if scheme == SCHEME:
        found = parse_uri(place)
        return scheme, found.host.lower(), found.repository, (found.path or _HEADS).strip("/")
    if scheme in {"https", "http"}:
        return "witness", witness_key(place.partition("=")[2]).public.hex()
    if scheme:
        url = urlsplit(place.removeprefix(_STAMP))
        return scheme, url.netloc.lower().removesuffix(":443"), url.path.rstrip("/")
    return "folder", str(expanded(place).resolve())


def make_quorum(
    settings: Settings, anchors: Sequence[Anchor], log: AuditLog, *, now: Callable[[], datetime]
) -> Quorum:
    """What of these places the settings demand."""
    age = settings.audit_quorum_max_age
    return Quorum(
        log,
        [anchor.name for anchor in anchors],
        needed=settings.audit_quorum or len(anchors),
        max_age=None if age is None else timedelta(seconds=age),
        now=now,
    )


def parse_anchor(text: str, settings: Settings, artifactory: Callable[[str], ArtifactoryClient]) -> Anchor:
    """One place for heads: a folder, `artifactory://HOST/artifactory/REPOSITORY[/PATH]`, a witness as
    `https://HOST[/PATH]=PUBLIC-KEY`, or an authority for time stamps as `tsa+https://HOST/PATH`. Raises `SettingsError`.
    """
    scheme = _scheme(text)
    if scheme == SCHEME:
        place = parse_uri(text)
        client = artifactory(place.host)
        return ArtifactoryAnchor(client=client, repository=place.repository, path=place.path or _HEADS)
    if scheme in {"https", "http"}:
        url, _, vkey = text.partition("=")
        return WitnessAnchor(_transport(url, "witness", settings), witness_key(vkey))
    if text.startswith(_STAMP):
        return _timestamp_anchor(text.removeprefix(_STAMP), settings)
    if scheme:
        raise SettingsError(
            f"heads of the log cannot be sent to `{scheme}:`",
            hint="There are folders, `artifactory://...`, witnesses `https://...=KEY`, and `tsa+https://...`.",
        )
    return FolderAnchor(folder=expanded(text))


def folder_anchors(settings: Settings) -> Iterator[FolderAnchor]:
    """Those of the places that are folders, and can be read back without asking anybody."""
    for text in settings.audit_anchors:
        if not _scheme(text):
            yield FolderAnchor(folder=expanded(text))


def _scheme(place: str) -> str:
    """What kind of place it is; empty for a folder. An empty place is none: it would be whatever folder one is in."""
    try:
        found = urlsplit(place).scheme
    except ValueError:
        found = None
    if found is None or not place.strip():
        raise SettingsError(
            f"`{place[:200]}` is not a place for heads of the log",
            hint="There are folders (`.` is the one you are in), `artifactory://...`, witnesses `https://...=KEY`, and `tsa+https://...`.",
        )
    return found


def public_key(text: str) -> NoteKey:
    """A log's or witness's public key, as `mlgov audit key` and `mlgov audit witness` print it. Raises `SettingsError`."""
    try:
        return parse_vkey(text.strip())
    except ValueError as error:
        raise SettingsError(
            f"`{text.strip()[:120]}` is not the public key of a log or witness",
            hint="It has the form NAME+ID+BASE64; a witness is named as URL=PUBLIC-KEY.",
        ) from error


def witness_key(text: str) -> NoteKey:
    """The public key of a witness, which no log's own key can stand for. Raises `SettingsError`."""
    key = public_key(text)
    if key.kind != COSIGNATURE:
        raise SettingsError(
            f"`{key.name}` is the key of a log, and not of a witness",
            hint="`mlgov audit witness` prints the key that cosigns.",
        )
    return key


def _timestamp_anchor(url: str, settings: Settings) -> TimestampAnchor:
    path = settings.audit_tsa_ca
    if path is None:
        raise SettingsError(
            "a time stamp from an authority that is not trusted proves nothing",
            hint="Set `audit_tsa_ca` in the settings file to the certificate (PEM) of the stamp's authority.",
        )
    try:
        authority = read_bounded(path)
    except OSError as error:
        raise SettingsError(
            f"`{path}` cannot be read: {error.strerror}", hint="Fix `audit_tsa_ca`."
        ) from error
    parts = urlsplit(url)
    transport = _transport(f"{parts.scheme}://{parts.netloc}", "time stamp authority", settings)
    return TimestampAnchor(
        transport, parts.path, authority=authority, folder=settings.home / "audit-timestamps"
    )


def _transport(url: str, service: str, settings: Settings) -> Transport:
    return Transport(
        base_url=url,
        service=service,
        credentials=None,
        connect_timeout=5,
        read_timeout=10,
        answer_timeout=20,
        retries=1,
        verify=settings.certificates,
        proxies=settings.proxies_for(url),
    )


def _postgres(dsn: str) -> AuditStore:
    try:
        from governance.audit.postgres import PostgresStore
    except ImportError as error:
        raise SettingsError(
            "the audit log is to be kept in PostgreSQL, and its driver is not installed",
            hint="pip install 'mlflow-governance[postgres]'",
        ) from error
    return PostgresStore(dsn)
