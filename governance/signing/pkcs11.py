"""Keys that stay in a hardware token, by an RFC 7512 address (extra `pkcs11`).

`pkcs11:token=TOKEN;object=LABEL?module-path=/usr/lib/softhsm/libsofthsm2.so`, with `id=%01` instead of or beside
`object`. ECDSA keys only. The PIN is the passphrase; one written into the address is refused, since addresses end up
in settings and logs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import unquote, unquote_to_bytes

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from governance.errors import KeyFileError
from governance.forking import UseLock
from governance.signing.keyholder import KeyHolder, Signer
from governance.signing.publickey import DIGESTS, Algorithm, PublicKey, wrap_public_key


class TokenSigner(KeyHolder):
    """One key of a token, behind the interface of `Signer`. A session signs one message at a time.

    `open_key` gives the private half and the public one. It is asked again where a session no longer signs, as after a token
    was out or a network HSM was started anew: a server outlives sessions.
    """

    def __init__(self, open_key: Callable[[], tuple[Any, PublicKey]], *, shown: str) -> None:
        self._open_key, self._shown = open_key, shown
        self._private, self.public = open_key()
        self._lock = UseLock()

    def __repr__(self) -> str:
        return f"TokenSigner({self._shown})"

    def sign(self, message: bytes) -> bytes:
        """The signature over `message`, in DER. Raises `KeyFileError`."""
        with self._lock:  # the check too: libraries have locks of their own, on which a child forked meanwhile would wait for ever
            if self._lock.was_cut:
                raise KeyFileError(
                    f"`{self._shown}` cannot be used: this process was forked while its parent was signing",
                    hint="Start processes with `spawn` or `forkserver`, or before the first upload.",
                )
            digest = hashlib.new(DIGESTS[self.algorithm].name, message).digest()
            try:
                raw = self._signed(digest)
            except KeyFileError:
                self._reopen()
                raw = self._signed(digest)
            half = len(raw) // 2
            signature = encode_dss_signature(
                int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")
            )
            if not self.public.has_signed(message, signature):
                raise KeyFileError(
                    f"`{self._shown}`: the token's private and public key do not belong together"
                )
        return signature

    def _signed(self, digest: bytes) -> bytes:
        from pkcs11 import Mechanism

        try:
            return bytes(self._private.sign(digest, mechanism=Mechanism.ECDSA))
        except Exception as error:  # the module's errors have no common public base
            raise KeyFileError(f"`{self._shown}` did not sign: {type(error).__name__}") from error

    def _reopen(self) -> None:
        with suppress(Exception):
            self._private.session.close()
        private, public = self._open_key()
        if public != self.public:
            raise KeyFileError(
                f"`{self._shown}` shows another key than before",
                hint="Trust the new key, and start this program anew.",
            )
        self._private = private


def load_pkcs11_signer(location: str, pin: bytes | str | None) -> Signer:
    """The signer at an RFC 7512 address. Raises `KeyFileError`, each refusal with its own text."""
    attributes, module = parse_address(location)
    if pin is None:
        raise KeyFileError(f"`{location}` needs its PIN as the passphrase")
    try:
        import pkcs11  # noqa: F401 - whether it is there
    except ImportError as error:
        raise KeyFileError(
            "`pkcs11:` needs the extra `pkcs11`", hint="`pip install 'mlflow-governance[pkcs11]'`."
        ) from error
    try:
        text = pin.decode("utf-8") if isinstance(pin, bytes) else pin
    except UnicodeDecodeError:
        raise KeyFileError(f"the PIN for `{location}` is not text") from None  # which would show some of it
    return TokenSigner(lambda: _open_key(attributes, module, text, location), shown=location)


def _open_key(attributes: Mapping[str, str], module: str, pin: str, location: str) -> tuple[Any, PublicKey]:
    import pkcs11

    wanted: dict[str, Any] = {}
    if "object" in attributes:
        wanted["label"] = unquote(attributes["object"])
    if "id" in attributes:
        wanted["id"] = unquote_to_bytes(attributes["id"])
    label = unquote(attributes["token"])
    session: Any = None
    try:
        session = _log_in(pkcs11.lib(module).get_token(token_label=label), pin, (module, label))
        private = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, **wanted)
        shown: Any = session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, **wanted)
        public = _public_half(shown, location)
    except Exception as error:
        if session is not None:
            session.close()
        if isinstance(error, KeyFileError):
            raise
        raise KeyFileError(
            f"`{location}` cannot be opened: {type(error).__name__}", hint=_hint(error)
        ) from error
    return private, public


def _public_half(shown: Any, location: str) -> PublicKey:
    from pkcs11 import KeyType
    from pkcs11.util.ec import encode_ec_public_key

    if shown.key_type not in (KeyType.EC, KeyType.EC_EDWARDS):
        raise KeyFileError(f"`{location}` is no ECDSA key; of a token's keys only those are used")
    public = wrap_public_key(serialization.load_der_public_key(encode_ec_public_key(shown)))
    if public.algorithm is Algorithm.ED25519:
        raise KeyFileError(f"`{location}` is an Ed25519 key; of a token's keys only ECDSA is used")
    return public


_REFUSED: Final[set[tuple[str, str, bytes]]] = set()
"""PINs that a token refused, hashed, with its module and label. Whoever opens the key again, as each upload does, would soon lock the
token with the same wrong PIN."""


def _log_in(token: Any, pin: str, named: tuple[str, str]) -> Any:
    from pkcs11.exceptions import PinIncorrect, UserAlreadyLoggedIn

    tried = (*named, hashlib.sha256(pin.encode("utf-8")).digest())
    if tried in _REFUSED:
        raise PinIncorrect
    try:
        return token.open(user_pin=pin)
    except PinIncorrect:
        _REFUSED.add(tried)
        raise
    except UserAlreadyLoggedIn:
        # A login is the whole process's: a second key of one token is opened under the first one's.
        return token.open()


def parse_address(location: str) -> tuple[dict[str, str], str]:
    """The attributes of an address, and the path of its module. Raises `KeyFileError`."""
    path, _, query = location.removeprefix("pkcs11:").partition("?")
    attributes = dict(_pair(part, location) for part in path.split(";") if part)
    options = dict(_pair(part, location) for part in query.split("&") if part)
    if "pin-value" in options or "pin-source" in options:
        raise KeyFileError(
            "a PIN does not belong into a key's address", hint="Give it as the key's passphrase."
        )
    if "token" not in attributes or not {"object", "id"} & set(attributes) or "module-path" not in options:
        raise KeyFileError("a `pkcs11:` address needs `token`, `object` or `id`, and `?module-path=`")
    return attributes, unquote(options["module-path"])


def _pair(part: str, location: str) -> tuple[str, str]:
    key, equals, value = part.partition("=")
    if not equals:
        # The part itself is not shown: it may be a PIN that lost its name.
        raise KeyFileError(f"`{location.partition(':')[0]}:` address with a part that is not `name=value`")
    return key, value


def _hint(error: Exception) -> str | None:
    return {
        "PinIncorrect": "The PIN is wrong. A token locks itself after a few tries, so this process does not try the same one twice.",
        "PinLocked": "The token has locked itself; its security officer can unlock it.",
        "NoSuchToken": "No token with this label is there.",
        "NoSuchKey": "The token holds no key with this label or id.",
    }.get(type(error).__name__)
