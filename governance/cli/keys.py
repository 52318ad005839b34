"""`mlgov keys`: the signing key and the keys that are trusted."""

from __future__ import annotations

import enum
import os
import sys
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.output import Mark, err, out, plain, print_json, print_pairs, print_rows, sign, styled
from governance.errors import KeyFileError
from governance.forking import file_lock
from governance.places import expanded, make_private, read_bounded, write_output

if TYPE_CHECKING:
    from governance.audit.log import AuditLog
    from governance.settings import Settings
    from governance.signing.trust import TrustedKey
    from governance.wiring import Assembly

app = typer.Typer(no_args_is_help=True, help="Make, list, export, rotate and revoke keys.")

PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file", help="File with the passphrase, instead of `MLGOV_KEY_PASSPHRASE_FILE`."
    ),
]


class KeyType(enum.StrEnum):
    """What `Algorithm` has, by short names, without its imports."""

    P256 = "p256"
    P384 = "p384"
    P521 = "p521"
    ED25519 = "ed25519"


Kind = Annotated[
    KeyType,
    typer.Option(help="ECDSA on a NIST curve, or Ed25519, which other OMS tools cannot verify."),
]


@app.command("init")
def init(
    name: Annotated[
        str | None, typer.Option(help="Whose key it is, as reports will say. Default: you.")
    ] = None,
    algorithm: Kind = KeyType.P256,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make an encrypted signing key, and trust it."""
    from governance.signing.keyring import init_key
    from governance.signing.publickey import Algorithm
    from plugin.context import local_user

    with closing(_assembly(passphrase_file)) as assembly:
        settings = assembly.settings
        path = key_path(settings)
        # A log that cannot be opened is found out before a key is trusted that it does not know.
        log = assembly.log
        trusted = init_key(
            path,
            settings.trust_file,
            known_passphrase(settings, confirm=True),
            name=name or local_user().name,
            at=assembly.now(),
            algorithm=Algorithm[algorithm.name],
        )
        _record(log, "made", trusted, at=assembly.now())
        kept = settings.key_passphrase_keyring if not _has_other_source(settings) else None
        out().print(sign(Mark.OK), styled(f"made a signing key for `{trusted.name}`", "bold"))
        print_pairs({
            "  key id": trusted.key_id,
            "  private": f"{path} (encrypted; keep a copy and the passphrase apart)",
            "  passphrase": f"in the keyring, under `{kept}`" if kept else None,
            "  public": str(path.with_suffix(".pub")),
            "  trusted in": str(settings.trust_file),
        })  # fmt: skip


@app.command("list")
def list_keys(as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False) -> None:
    """Show the keys that are trusted, and for what."""
    from governance.settings import load_settings
    from governance.signing.keyring import load_trust

    settings = load_settings()
    path = settings.trust_file
    keys = load_trust(path).keys if path.exists() else ()
    if as_json:
        print_json([
            {
                "key_id": key.key_id,
                "name": key.name,
                "algorithm": key.public.algorithm.value,
                "roles": sorted(key.grant.roles),
                "repositories": list(key.grant.repositories),
                "standing": _standing(key),
            }
            for key in keys
        ])  # fmt: skip
        return
    if not keys:
        err().print(styled(f"no key is trusted; `mlgov keys init` makes one (trust file `{path}`)"))
        return
    rows = (
        (
            key.key_id[:16],
            key.name,
            key.public.algorithm.value,
            ", ".join(sorted(key.grant.roles)),
            ", ".join(key.grant.repositories),
            _standing(key),
        )
        for key in keys
    )
    print_rows(("key id", "name", "algorithm", "roles", "repositories", "standing"), rows)


@app.command("export")
def export(
    key_id: Annotated[
        str | None, typer.Argument(help="The first digits of its id. Default: the configured signing key.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="File to write. Default: standard output.")] = None,
) -> None:
    """Print a public key as PEM, for those who verify elsewhere."""
    from governance.settings import load_settings
    from governance.signing.keyring import get_key, load_trust

    settings = load_settings()
    pem = get_key(load_trust(settings.trust_file), key_id).public.pem if key_id else _own_public(settings)
    if output is None:
        out().print(styled(pem), end="", soft_wrap=True)
        return
    try:
        write_output(output, pem.encode("ascii"))
    except OSError as error:
        raise KeyFileError(f"`{output}` cannot be written: {error.strerror}") from error
    out().print(sign(Mark.OK), styled(f"wrote `{output}`"))


@app.command("rotate")
def rotate(
    supersede: Annotated[
        datetime | None,
        typer.Option(help="UTC time from which the old key vouches no more. Default: it stays trusted."),
    ] = None,
    algorithm: Kind = KeyType.P256,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make the next signing key, trust it, and set the old one aside."""
    from governance.signing.keyring import rotate_key
    from governance.signing.publickey import Algorithm, parse_public_key

    with closing(_assembly(passphrase_file)) as assembly:
        settings = assembly.settings
        path = key_path(settings)
        old = parse_public_key(_own_public(settings))
        log = assembly.log  # as for a first key
        new = rotate_key(
            path,
            settings.trust_file,
            known_passphrase(settings, confirm=False),
            old=old,
            at=assembly.now(),
            supersede_at=supersede.replace(tzinfo=UTC) if supersede else None,
            algorithm=Algorithm[algorithm.name],
        )
        _record(log, "rotated", new, at=assembly.now())
    out().print(sign(Mark.OK), styled(f"signing with {new.key_id[:16]} from now on", "bold"))
    out().print(
        styled(f"  {old.key_id[:16]} {'vouches until ' + str(supersede) if supersede else 'stays trusted'}")
    )


@app.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="The first digits of its id, eight at least.")],
    compromised: Annotated[
        bool, typer.Option("--compromised", help="Somebody else may hold it: distrust what it signed.")
    ] = False,
    since: Annotated[
        datetime | None,
        typer.Option(help="UTC time from which it vouches no more, such as that of the theft. Default: now."),
    ] = None,
) -> None:
    """Trust a key no more, from now on or at all.

    A compromise is mostly found out later: `--since` says when it may have begun, and what was signed from then on counts no more.
    A key that was revoked already can be revoked from an earlier time on, and never from a later one.
    """
    from governance.signing.keyring import get_key, load_trust, revoke, save_trust, trust_turn
    from governance.signing.trust import Revocation

    with closing(_assembly(None)) as assembly:
        path = assembly.settings.trust_file
        why = Revocation.COMPROMISED if compromised else Revocation.SUPERSEDED
        at = since.replace(tzinfo=UTC) if since else assembly.now()
        if compromised and at > assembly.now():
            raise KeyFileError(
                "a key that somebody else may hold is not trusted until then",
                hint="`--since` is when it may have begun.",
            )
        with trust_turn(path):
            store = load_trust(path)
            key = get_key(store, key_id)
            revoked = revoke(store, key.key_id, why=why, at=at)
            save_trust(path, revoked)
        standing = _standing(get_key(revoked, key.key_id))
        _record(assembly.log, "revoked", key, at=assembly.now(), reason=standing)
    out().print(sign(Mark.OK), styled(f"revoked {key.key_id[:16]} of `{key.name}` as {standing}"))


def key_path(settings: Settings) -> Path:
    """Where the signing key lies, or is to be made. Raises `KeyFileError` for one that is not a file of ours."""
    path = _key_file(settings)
    if path is None:
        raise KeyFileError(
            f"`{settings.key}` is not a file; such a key is made and rotated where it lives",
            hint="`mlgov keys export --output FILE`, then `mlgov trust add FILE`, have it trusted.",
        )
    return path


def _key_file(settings: Settings) -> Path | None:
    if settings.key is None:
        return settings.home / "keys" / "signing.pem"
    scheme, found, rest = settings.key.partition(":")
    if found and scheme != "file":
        return None
    return expanded(rest.removeprefix("//") if found else settings.key)


def _own_public(settings: Settings) -> str:
    """The configured key's public half: the file beside it, which needs no passphrase. A key that is no file has to be opened."""
    if settings.key is not None and _key_file(settings) is None:
        from governance.signing.keys import load_signer

        return load_signer(settings.key, settings.passphrase(), environment=os.environ).public_pem
    path = key_path(settings).with_suffix(".pub")
    try:
        return read_bounded(path).decode("ascii")
    except FileNotFoundError as error:
        raise KeyFileError(f"there is no public key `{path}`", hint="`mlgov keys init` makes one.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"`{path}` cannot be read: {error}") from error


def _assembly(passphrase_file: Path | None) -> Assembly:
    from governance.settings import load_settings
    from governance.wiring import build_assembly

    overrides = {} if passphrase_file is None else {"key_passphrase_file": passphrase_file}
    return build_assembly(load_settings(**overrides))


def known_passphrase(settings: Settings, *, confirm: bool) -> bytes:
    """From the settings, else asked for on a terminal. Raises `KeyFileError` where there is neither.

    For a new key (`confirm`) and a keyring without an entry, one is made that nobody ever sees.
    """
    known = settings.passphrase()
    if known:
        return known
    if settings.key_passphrase_keyring is not None:
        if not confirm:
            raise KeyFileError(
                f"there is no passphrase under `{settings.key_passphrase_keyring}` in the keyring"
            )
        return _made_alone(settings.home, settings.key_passphrase_keyring)
    if not sys.stdin.isatty():
        raise KeyFileError(
            "a signing key is encrypted, and no passphrase is given",
            hint="Set `MLGOV_KEY_PASSPHRASE_FILE` or `MLGOV_KEY_PASSPHRASE_KEYRING`, give `--passphrase-file`, or run this on a terminal.",
        )
    typed: str = typer.prompt("passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
    return typed.encode()


def _made_alone(home: Path, entry: str) -> bytes:
    """A passphrase made for an entry. No keyring takes one on condition that there is none, so of two at once the second could put its own
    over that of a key which the first has made by then."""
    from governance.signing.desktop import make_passphrase

    with ExitStack() as held:
        try:
            make_private(home)
            held.enter_context(file_lock(home / "passphrase.lock"))
        except OSError as error:
            raise KeyFileError(f"`{home / 'passphrase.lock'}` cannot be locked: {error.strerror}") from error
        return make_passphrase(entry)


def _has_other_source(settings: Settings) -> bool:
    return settings.key_passphrase is not None or settings.key_passphrase_file is not None


def _record(log: AuditLog, event: str, key: TrustedKey, *, at: datetime, reason: str | None = None) -> None:
    from governance.audit.bodies import key_body
    from governance.audit.entry import EntryKind
    from governance.model.request import new_id

    body = key_body(event=event, key_id=key.key_id, name=key.name, reason=reason)
    log.append(EntryKind.KEY, body, subject=f"key {key.key_id}", correlation=new_id(at))


def _standing(key: TrustedKey) -> str:
    grant = key.grant
    if grant.revoked_at is not None:
        return plain(f"{grant.revocation} from {grant.revoked_at:%Y-%m-%d %H:%M}")
    if grant.not_after is not None:
        return f"until {grant.not_after:%Y-%m-%d}"
    return "trusted"
