"""Keys and trust on disk: the files behind `mlgov keys`.

Promises: a trust file is replaced whole or not at all; one that others may write is not read; a signed one is never
replaced by an older one or by one that nobody signed; of two who change one at once, the second changes what the first has written
(`trust_turn`). Does not: ask anybody for a passphrase.

Beside a signed trust file lies `<name>.seen`: the version, digest and root keys last accepted. It is what makes a
rollback visible, so it belongs on the machine that verifies. A process that may not write there goes on with what it
last could, and says so in the log.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from governance.errors import KeyFileError, SignatureError
from governance.forking import file_lock
from governance.model.canonical import Json, canonical_bytes
from governance.places import make_private, open_file, write_whole
from governance.signing.keyholder import Signer
from governance.signing.keys import generate_key
from governance.signing.publickey import Algorithm, PublicKey, parse_public_key
from governance.signing.roots import SignedTrust, accept_next, open_signed_trust, sign_trust
from governance.signing.strict import parse_object
from governance.signing.trust import Grant, Revocation, Role, TrustedKey, TrustStore, verifier_id
from governance.signing.trustfile import MAX_TRUST_FILE, Roots, TrustDocument, parse_trust, render_trust

_TRIES = 100


def load_trust(path: Path, *, must_be_signed: bool = False) -> TrustStore:
    """Read a trust file and remember what was accepted. Raises `KeyFileError`, each refusal with its own text."""
    for _ in range(_TRIES):
        data, seen = _read(path), _read_seen(path)
        if _read(path) == data:  # else it was replaced meanwhile, and the next one perhaps seen already
            break
    else:
        raise KeyFileError(
            f"the trust file `{path}` is another one each time it is read", hint="Look for what writes it."
        )
    if not _is_envelope(data):
        if must_be_signed or seen is not None:
            raise KeyFileError(
                f"the trust file `{path}` is not signed"
                + (", and a signed one was seen before" if seen else ""),
                hint="Ask whoever holds the root keys for the signed file.",
            )
        document = parse_trust(data)
        if document.roots is not None:
            raise KeyFileError(f"the trust file `{path}` names root keys and is not signed by them")
        return document.store
    found = open_signed_trust(data)
    if seen is not None:
        found = _check_seen(found, data, seen)
    if seen is None or seen[0] != found.version:
        try:
            _remember(path, found)
        except KeyFileError as error:
            # Where only an administrator may write, `install_trust` by the administrator remembers.
            _LOG.warning("a rollback of the trust file will not be noticed: %s", error.message)
    return found.document.store


@contextmanager
def trust_turn(path: Path) -> Iterator[None]:
    """Hold off, from reading a trust file to writing it, all others who change it; nobody who only reads it. Raises `KeyFileError`."""
    lock = path.with_name(f"{path.name}.lock")
    with ExitStack() as held:
        try:
            make_private(path.parent)
            held.enter_context(file_lock(lock))
        except OSError as error:
            raise KeyFileError(
                f"`{path}` cannot be changed, since `{lock.name}` cannot be locked: {error.strerror}",
                hint="Give this user the right to make and to open that file: look at its folder's rights, and at whom both belong to.",
            ) from error
        yield


def install_trust(path: Path, updates: Sequence[bytes]) -> TrustStore:
    """Take in the next signed versions, in order. Raises `KeyFileError` and keeps the file where one is not good."""
    with trust_turn(path):
        for data in updates:
            seen = _read_seen(path)
            found = open_signed_trust(data) if seen is None else accept_next(seen[2], seen[0], data)
            replace_file(path, data)
            _remember(path, found)
    return load_trust(path, must_be_signed=True)


def read_signed_trust(path: Path) -> SignedTrust:
    """The signed trust file that is in use, with its roots. Raises `KeyFileError`."""
    load_trust(path, must_be_signed=True)
    return open_signed_trust(_read(path))


def save_trust(
    path: Path, store: TrustStore, *, roots: Roots | None = None, signers: Sequence[Signer] = ()
) -> None:
    """Write the next version of a trust file, signed where `roots` are named. Raises `KeyFileError`."""
    document = TrustDocument(store=store, roots=roots)
    if roots is not None:
        data = sign_trust(document, signers)
        install_trust(path, [data])
        return
    if path.exists() and _is_envelope(_read(path)):
        raise KeyFileError(
            f"the trust file `{path}` is signed, so changing it needs its root keys",
            hint="Change it where the root keys are, and install the result here.",
        )
    replace_file(path, render_trust(document))


def init_key(
    key_path: Path,
    trust_path: Path,
    passphrase: bytes | str,
    *,
    name: str,
    at: datetime,
    algorithm: Algorithm = Algorithm.P256,
    roles: frozenset[Role] = frozenset(Role) - {Role.TIMESTAMP},
) -> TrustedKey:
    """Make a signing key and trust it from now on. The public half lies beside it as `.pub`. Raises `KeyFileError`."""
    with trust_turn(trust_path):
        store = load_trust(trust_path) if trust_path.exists() else TrustStore.empty()
        if store.is_signed:
            raise KeyFileError(
                f"the trust file `{trust_path}` is signed; a key is added where its root keys are"
            )
        public = generate_key(key_path, passphrase, algorithm=algorithm)
        key = TrustedKey(
            name=name, public=public, grant=Grant(roles=roles, not_before=at, verifiers=(verifier_id(name),))
        )
        try:
            save_trust(trust_path, add_key(store, key))
        except BaseException:
            key_path.unlink()  # it would be in the way of the next try
            raise
    replace_file(key_path.with_suffix(".pub"), public.pem.encode("ascii"))
    return key


def rotate_key(
    key_path: Path,
    trust_path: Path,
    passphrase: bytes | str,
    *,
    old: PublicKey,
    at: datetime,
    supersede_at: datetime | None = None,
    algorithm: Algorithm = Algorithm.P256,
) -> TrustedKey:
    """Make the next key and set the old one aside as `<name>-<key id>.pem`.

    The new key gets the old one's name, roles and scope. The old one goes on vouching until `supersede_at`; None leaves
    it trusted until it is revoked, which suits models that were signed where no trusted time is on record. Raises `KeyFileError`.
    """
    with trust_turn(trust_path):
        store = load_trust(trust_path)
        before, version = get_key(store, old.key_id), store.version
        if store.is_signed:
            raise KeyFileError(
                f"the trust file `{trust_path}` is signed; a key is added where its root keys are"
            )
        waiting = key_path.with_name(f"{key_path.name}.next")
        aside = key_path.with_name(f"{key_path.stem}-{old.key_id[:16]}{key_path.suffix}")
        if aside.exists() and not (key_path.exists() and aside.samefile(key_path)):
            raise KeyFileError(
                f"key {old.key_id[:16]} is set aside already, as `{aside}`",
                hint="Somebody else rotated it just now: `mlgov keys list` shows what is trusted.",
            )
        waiting.unlink(missing_ok=True)  # of one who was interrupted; nothing was signed with it
        public = generate_key(waiting, passphrase, algorithm=algorithm)
        key = TrustedKey(
            name=before.name,
            public=public,
            grant=Grant(
                roles=before.grant.roles,
                repositories=before.grant.repositories,
                not_before=at,
                verifiers=before.grant.verifiers,
            ),
        )
        store = add_key(store, key)
        if supersede_at is not None:
            store = revoke(store, old.key_id, why=Revocation.SUPERSEDED, at=supersede_at)
        # Trust first: a crash after this leaves a trusted key that is not used yet, never a used one that is not trusted.
        save_trust(trust_path, replace(store, version=version + 1))
        _set_aside(key_path, aside)
        waiting.replace(key_path)
        replace_file(key_path.with_suffix(".pub"), public.pem.encode("ascii"))
    return key


def _set_aside(key_path: Path, aside: Path) -> None:
    """Give a key a second name, so that there is one under the first at each moment: whoever signs meanwhile signs with the old one."""
    try:
        aside.hardlink_to(key_path)
    except FileExistsError:  # of one who was interrupted here
        pass
    except OSError:  # a file system without links
        key_path.replace(aside)


def add_key(store: TrustStore, key: TrustedKey) -> TrustStore:
    """The next version of the store, with one key more. Raises `KeyFileError` where it is there already."""
    if store.find(key.key_id) is not None:
        raise KeyFileError(f"key {key.key_id[:16]} is trusted already")
    return replace(store, version=store.version + 1, keys=(*store.keys, key))


def revoke(store: TrustStore, key_id: str, *, why: Revocation, at: datetime) -> TrustStore:
    """The next version of the store, with one key revoked as of `at`, or of an earlier time as of which it was revoked already:
    nothing that did not count counts again. A key that is revoked as compromised stays so, and may be so from earlier on.
    """
    key = get_key(store, key_id)
    before = key.grant.revoked_at
    if key.grant.revocation is Revocation.COMPROMISED and (
        why is not Revocation.COMPROMISED or (before is not None and at >= before)
    ):
        raise KeyFileError(f"key {key.key_id[:16]} is revoked as compromised already")
    grant = replace(key.grant, revoked_at=at if before is None else min(at, before), revocation=why)
    keys = tuple(replace(each, grant=grant) if each.key_id == key.key_id else each for each in store.keys)
    return replace(store, version=store.version + 1, keys=keys)


def get_key(store: TrustStore, key_id: str) -> TrustedKey:
    """The one key whose id starts with `key_id` (8 digits at least). Raises `KeyFileError`."""
    found = [key for key in store.keys if len(key_id) >= 8 and key.key_id.startswith(key_id)]
    if len(found) != 1:
        what = "no key" if not found else "more than one key"
        raise KeyFileError(
            f"{what} in the trust file has an id that starts with `{key_id[:64]}`",
            hint="`mlgov keys list` shows their ids.",
        )
    return found[0]


def replace_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, for its owner to write and for all to read. Raises `KeyFileError`."""
    try:
        make_private(path.parent)
        write_whole(path, data, mode=0o644)
    except OSError as error:
        raise KeyFileError(f"`{path}` cannot be written: {error.strerror}") from error


def _read(path: Path) -> bytes:
    try:
        with open_file(path) as file:
            state = os.fstat(file.fileno())
            if stat.S_IMODE(state.st_mode) & 0o022:
                raise KeyFileError(
                    f"the trust file `{path}` may be written by others (mode {stat.S_IMODE(state.st_mode):04o})",
                    hint=f"`chmod go-w {path}`, then look at what it says.",
                )
            data = file.read(2 * MAX_TRUST_FILE + 1)
    except FileNotFoundError as error:
        raise KeyFileError(f"there is no trust file `{path}`", hint="`mlgov keys init` makes one.") from error
    except OSError as error:
        raise KeyFileError(
            f"the trust file `{path}` cannot be read: {error.strerror}",
            hint="Fix its rights, or name the right file in `MLGOV_TRUST`.",
        ) from error
    if len(data) > 2 * MAX_TRUST_FILE:
        raise KeyFileError(f"`{path}` is too large for a trust file")
    return data


def _is_envelope(data: bytes) -> bool:
    try:
        return "payloadType" in parse_object(data, what="the trust file")
    except SignatureError as error:
        raise KeyFileError(error.message, hint="See `docs/signatures.md`.") from error


_LOG = logging.getLogger(__name__)

_Seen = tuple[int, str, Roots]


def _seen_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.seen")


def _remember(path: Path, found: SignedTrust) -> None:
    row: dict[str, Json] = {
        "version": found.version,
        "sha256": found.sha256,
        "threshold": found.roots.threshold,
        "roots": [key.pem for key in found.roots.keys],
    }
    place = _seen_path(path)
    with trust_turn(place):
        seen = _read_seen(path)  # again: another version may have followed the one that we read
        if seen is None or seen[0] < found.version:
            replace_file(place, canonical_bytes(row))


def _read_seen(path: Path) -> _Seen | None:
    seen = _seen_path(path)
    if not seen.exists():
        return None
    try:
        row = parse_object(_read(seen), what=f"`{seen}`")
        keys = tuple(parse_public_key(pem) for pem in row["roots"])
        return int(row["version"]), str(row["sha256"]), Roots(keys=keys, threshold=int(row["threshold"]))
    except (SignatureError, KeyError, TypeError, ValueError) as error:
        raise KeyFileError(f"`{seen}` is damaged, so a rollback could not be seen") from error


def _check_seen(found: SignedTrust, data: bytes, seen: _Seen) -> SignedTrust:
    version, sha256, roots = seen
    if found.version == version:
        if found.sha256 != sha256:
            raise KeyFileError(
                f"trust file version {version} is not the one that was seen under that version"
            )
        return found
    return accept_next(roots, version, data)
