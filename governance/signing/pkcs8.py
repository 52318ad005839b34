"""Encrypted private keys: PKCS#8 with PBES2, scrypt and AES-256-CBC (RFC 5958, RFC 8018, RFC 7914).

`cryptography` writes PBKDF2 with 2,048 rounds, which a graphics card runs through a word list in minutes; scrypt with
OpenSSL's own parameters costs 16 MiB and about 40 ms for each guess. Reading is left to `cryptography`, and `openssl
pkey` reads these files too. Writes DER for this one structure only.
"""

from __future__ import annotations

import base64
import os
import textwrap

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

_COST, _BLOCK, _PARALLEL = 1 << 14, 8, 1
_PBES2 = bytes.fromhex("06092a864886f70d01050d")  # 1.2.840.113549.1.5.13
_SCRYPT = bytes.fromhex("06092b06010401da47040b")  # 1.3.6.1.4.1.11591.4.11
_AES_256_CBC = bytes.fromhex("060960864801650304012a")  # 2.16.840.1.101.3.4.1.42


def encrypt_private_key(plain: bytes, passphrase: bytes) -> bytes:
    """`plain` (PKCS#8, DER) as the PEM text `ENCRYPTED PRIVATE KEY`."""
    salt, vector = os.urandom(16), os.urandom(16)
    key = Scrypt(salt=salt, length=32, n=_COST, r=_BLOCK, p=_PARALLEL).derive(passphrase)
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(vector)).encryptor()
    body = encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
    parameters = _sequence(_octets(salt), _integer(_COST), _integer(_BLOCK), _integer(_PARALLEL))
    scheme = _sequence(_sequence(_SCRYPT, parameters), _sequence(_AES_256_CBC, _octets(vector)))
    der = _sequence(_sequence(_PBES2, scheme), _octets(body))
    lines = "\n".join(textwrap.wrap(base64.b64encode(der).decode("ascii"), 64))
    return f"-----BEGIN ENCRYPTED PRIVATE KEY-----\n{lines}\n-----END ENCRYPTED PRIVATE KEY-----\n".encode()


def _sequence(*parts: bytes) -> bytes:
    return _tagged(0x30, b"".join(parts))


def _octets(value: bytes) -> bytes:
    return _tagged(0x04, value)


def _integer(value: int) -> bytes:
    return _tagged(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _tagged(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content
