"""C2SP signed notes: a text, and Ed25519 signatures under it by named keys.

Promises: the bytes of c2sp.org/signed-note; parsers accept only what the printers write. A signature by a known key
that does not verify condemns the whole note; signatures by unknown keys are ignored; a note without one good
signature by a known key is refused. Does not: say what the text means.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from governance.errors import AuditBrokenError, KeyFileError
from governance.places import make_private, read_bounded, write_new
from governance.signing.pkcs8 import encrypt_private_key

SIGNATURE = 0x01
"""Key type of a plain Ed25519 signature over the text."""

COSIGNATURE = 0x04
"""Key type of a witness's timestamped Ed25519 signature (c2sp.org/tlog-cosignature)."""

_MAX_NOTE = 1 << 20
_MAX_SIGNATURES = 100
_MARK = "— "
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteKey:
    """A public key with its name. `kind` is `SIGNATURE` or `COSIGNATURE`."""

    name: str
    kind: int
    public: bytes

    def __post_init__(self) -> None:
        if (
            not self.name
            or "+" in self.name
            or any(char.isspace() or not char.isprintable() for char in self.name)
        ):
            raise ValueError(
                f"`{self.name[:80]}` cannot name a note's key: printable, no spaces, no `+`, not empty"
            )
        if self.kind not in {SIGNATURE, COSIGNATURE} or len(self.public) != 32:
            raise ValueError("a note's key is an Ed25519 key of type 1 or 4")

    @property
    def id(self) -> bytes:
        """The four bytes that stand before each signature."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    @property
    def vkey(self) -> str:
        """The text in which keys are handed out: `name+id+base64(type, key)`."""
        return f"{self.name}+{self.id.hex()}+{_b64(bytes([self.kind]) + self.public)}"

    def verify(self, text: str, signature: bytes) -> bool:
        """Whether `signature` (without the key id) is this key's signature of `text`."""
        message = text.encode()
        if self.kind == COSIGNATURE:
            if len(signature) != 72:
                return False
            message = _cosigned(text, int.from_bytes(signature[:8], "big"))
            signature = signature[8:]
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            return False
        return True


def parse_vkey(vkey: str) -> NoteKey:
    """Read what `NoteKey.vkey` prints. Raises `ValueError`."""
    name, _, rest = vkey.strip().partition("+")
    key_id, _, packed = rest.partition("+")
    raw = _unb64(packed)
    if len(raw) != 33:
        raise ValueError(f"`{vkey[:80]}` is not a verifier key")
    key = NoteKey(name=name, kind=raw[0], public=raw[1:])
    if key.id.hex() != key_id:
        raise ValueError(f"verifier key `{vkey[:80]}` has another id than its bytes give")
    return key


@dataclass(frozen=True, slots=True)
class NoteSigner:
    """A private key that signs notes. `clock` gives Unix seconds and is asked by witnesses only."""

    key: NoteKey
    _private: Ed25519PrivateKey = field(repr=False)
    _clock: Callable[[], int] | None = field(default=None, repr=False)

    def line(self, text: str) -> str:
        """The signature line under `text`."""
        if self._clock is None:
            signature = self._private.sign(text.encode())
        else:
            at = self._clock()
            signature = at.to_bytes(8, "big") + self._private.sign(_cosigned(text, at))
        return f"{_MARK}{self.key.name} {_b64(self.key.id + signature)}\n"


def make_signer(
    private: Ed25519PrivateKey, *, name: str, clock: Callable[[], int] | None = None
) -> NoteSigner:
    """A signer under `name`; with a clock, one that cosigns as a witness."""
    kind = SIGNATURE if clock is None else COSIGNATURE
    return NoteSigner(
        NoteKey(name=name, kind=kind, public=private.public_key().public_bytes_raw()), private, clock
    )


def generate_key(path: Path, *, passphrase: str | None) -> None:
    """Make an Ed25519 key in a new file that only its owner may read. Raises `KeyFileError` if the file is there."""
    if passphrase == "":
        raise KeyFileError(
            "the passphrase of the checkpoint key is empty",
            hint="Write one into `audit_key_passphrase_file`.",
        )
    private = Ed25519PrivateKey.generate()
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = private.private_bytes(serialization.Encoding.PEM, form, plain)
    if passphrase is not None:
        pem = encrypt_private_key(
            private.private_bytes(serialization.Encoding.DER, form, plain), passphrase.encode()
        )
    try:
        make_private(path.parent)
        write_new(path, pem)
    except OSError as error:
        raise KeyFileError(f"cannot make the checkpoint key `{path}`: {error.strerror}") from error


def load_signer(
    path: Path, *, name: str, passphrase: str | None = None, clock: Callable[[], int] | None = None
) -> NoteSigner:
    """Read a key made by `generate_key`. Raises `KeyFileError`."""
    try:
        private = serialization.load_pem_private_key(
            read_bounded(path), None if passphrase is None else passphrase.encode()
        )
    except (OSError, ValueError, TypeError) as error:
        raise KeyFileError(
            f"cannot read the checkpoint key `{path}`: {error}", hint="Check the file and its passphrase."
        ) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise KeyFileError(f"the checkpoint key `{path}` is not an Ed25519 key")
    return make_signer(private, name=name, clock=clock)


def sign_note(text: str, signers: Iterable[NoteSigner]) -> str:
    """A note of `text` with a signature line for each signer. Raises `ValueError` for a text that no note can hold."""
    if not text.endswith("\n") or _CONTROL.search(text):
        raise ValueError("a note's text ends in a newline and holds no control characters")
    return text + "\n" + "".join(signer.line(text) for signer in signers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A parsed note. Its text is not to be believed before `require` returned."""

    text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]
    """Name, key id and signature, in the order of their lines."""

    def good_keys(self, keys: Sequence[NoteKey]) -> list[NoteKey]:
        """Those of `keys` that signed. Raises `AuditBrokenError` on a bad signature by one of them."""
        known = {(key.name, key.id): key for key in keys}
        good: list[NoteKey] = []
        for name, key_id, signature in self.signatures:
            key = known.get((name, key_id))
            if key is None:
                continue
            if not key.verify(self.text, signature):
                raise AuditBrokenError(f"the signature by `{name}` on the checkpoint is wrong")
            if key not in good:
                good.append(key)
        return good

    def require(self, keys: Sequence[NoteKey]) -> str:
        """The text, if at least one of `keys` signed it. Raises `AuditBrokenError`."""
        if not self.good_keys(keys):
            raise AuditBrokenError("the checkpoint has no signature by a known key")
        return self.text


def parse_note(data: bytes) -> Note:
    """Read a note without believing it. Raises `AuditBrokenError`."""
    if len(data) > _MAX_NOTE:
        raise AuditBrokenError(f"a checkpoint of {len(data)} bytes")
    try:
        whole = data.decode()
    except UnicodeDecodeError as error:
        raise AuditBrokenError("a checkpoint that is not UTF-8") from error
    text, gap, below = whole.rpartition("\n\n")
    lines = below.split("\n")
    if _CONTROL.search(whole) or not gap or lines[-1] or not 1 < len(lines) <= _MAX_SIGNATURES + 1:
        raise AuditBrokenError("a checkpoint that is not a signed note")
    return Note(text=text + "\n", signatures=tuple(_parse_line(line) for line in lines[:-1]))


def _parse_line(line: str) -> tuple[str, bytes, bytes]:
    name, _, packed = line.removeprefix(_MARK).partition(" ")
    try:
        raw = _unb64(packed)
    except ValueError as error:
        raise AuditBrokenError("a signature line that is not base64") from error
    if not line.startswith(_MARK) or not name or "+" in name or len(raw) < 5:
        raise AuditBrokenError("a malformed signature line under the checkpoint")
    return name, raw[:4], raw[4:]


def _cosigned(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _unb64(text: str) -> bytes:
    """Strict base64: only what the encoder would print."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("not base64") from error
    if _b64(raw) != text:
        raise ValueError("base64 with stray bits")
    return raw
