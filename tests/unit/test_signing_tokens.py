"""Keys that stay elsewhere: a real PKCS#11 token (SoftHSM2), and signers of securesystemslib."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from governance.errors import KeyFileError
from governance.signing.keys import load_signer
from governance.signing.kms import KmsSigner
from governance.signing.pkcs11 import parse_address
from governance.signing.publickey import Algorithm
from governance.signing.sign import sign_manifest
from governance.signing.trust import TrustStore
from governance.signing.verify import verify_bundle
from tests.unit.signing_kit import NOW, manifest_of

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")

# SoftHSM reads its configuration from the environment once, so each token lives in a process of its own.
SCRIPT = """
import sys
import pkcs11
from pkcs11 import Attribute, KeyType
from pkcs11.util.ec import encode_named_curve_parameters
from governance.errors import KeyFileError
from governance.signing.keys import load_signer
from governance.signing.sign import sign_manifest
from governance.signing.trust import TrustStore
from governance.signing.verify import verify_bundle
from tests.unit.signing_kit import NOW, manifest_of
module = sys.argv[1]
with pkcs11.lib(module).get_token(token_label="gov tok").open(user_pin="1234", rw=True) as session:
    for number, curve in enumerate(("secp256r1", "secp384r1", "secp521r1"), 1):
        parameters = session.create_domain_parameters(
            KeyType.EC, {Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}, local=True)
        parameters.generate_keypair(store=True, label=curve, id=bytes([number]))
    session.generate_keypair(KeyType.RSA, 2048, store=True, label="rsa")
for location, pin in (
    (f"pkcs11:token=other;object=x?module-path={module}", "1234"),
    (f"pkcs11:token=gov%20tok;object=none?module-path={module}", "1234"),
    (f"pkcs11:token=gov%20tok;object=secp256r1?module-path={module}", "wrong-pin"),
    ("pkcs11:token=gov%20tok;object=x?module-path=/nowhere.so", "1234"),
    (f"pkcs11:token=gov%20tok;object=x?module-path={module}", None),
    (f"pkcs11:token=gov%20tok;object=rsa?module-path={module}", "1234"),
):
    try:
        load_signer(location, pin)
    except KeyFileError as error:
        assert "wrong-pin" not in f"{error} {error.hint}"
        print("refused", error.message.rsplit(": ", 1)[-1])
for number, curve in enumerate(("secp256r1", "secp384r1", "secp521r1"), 1):
    for part in (f"object={curve}", f"id=%0{number}"):
        signer = load_signer(f"pkcs11:token=gov%20tok;{part}?module-path={module}", "1234")
        bundle = sign_manifest(manifest_of(), name="m", signer=signer)
        assert verify_bundle(bundle, manifest_of(), TrustStore.of_key(signer.public), at=NOW).valid
        assert signer.key_id not in ("", None) and "1234" not in repr(signer)
    print("signed", signer.algorithm)
# What makes every session of the process void, as a token that was out or an HSM that was started anew does.
pkcs11.lib(module).reinitialize()
bundle = sign_manifest(manifest_of(), name="m", signer=signer)
print("signed again", verify_bundle(bundle, manifest_of(), TrustStore.of_key(signer.public), at=NOW).valid)
pkcs11.lib(module).reinitialize()
with pkcs11.lib(module).get_token(token_label="gov tok").open(user_pin="1234", rw=True) as session:
    for key in session.get_objects({Attribute.LABEL: "secp521r1"}):
        key.destroy()
    parameters = session.create_domain_parameters(
        KeyType.EC, {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}, local=True)
    parameters.generate_keypair(store=True, label="other", id=bytes([3]))
pkcs11.lib(module).reinitialize()
try:
    signer.sign(b"m")
except KeyFileError as error:
    print("refused", error.message.rsplit("` ", 1)[-1])
"""

WRONG_PIN = """
import sys
import pkcs11
from governance.errors import KeyFileError
from governance.signing.keys import load_signer
module = sys.argv[1]
location = f"pkcs11:token=gov%20tok;object=k?module-path={module}"
# The token says no to one PIN now and takes it afterwards: asked again, it would find no key of that name instead.
for change in (None, ("1234", "5678")):
    if change:
        with pkcs11.lib(module).get_token(token_label="gov tok").open(user_pin=change[0], rw=True) as session:
            session.set_pin(*change)
    for pin in ("5678", b"\\xff5678"):
        try:
            load_signer(location, pin)
        except KeyFileError as error:
            assert "5678" not in f"{error} {error.hint} {error.__cause__}"
            print(error.message.rsplit(": ", 1)[-1])
"""


FORKED = """
import os, signal, sys, threading, warnings
import pkcs11
from pkcs11 import Attribute, KeyType
from pkcs11.util.ec import encode_named_curve_parameters
from governance.signing.keys import load_signer
warnings.simplefilter("ignore")
module = sys.argv[1]
with pkcs11.lib(module).get_token(token_label="gov tok").open(user_pin="1234", rw=True) as session:
    parameters = session.create_domain_parameters(
        KeyType.EC, {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}, local=True)
    parameters.generate_keypair(store=True, label="k", id=b"1")
signer = load_signer(f"pkcs11:token=gov%20tok;object=k?module-path={module}", "1234")
over = threading.Event()
def sign():
    while not over.is_set():
        signer.sign(b"m")
thread = threading.Thread(target=sign)
thread.start()
for _ in range(12):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        signer.sign(b"m")
        os._exit(0)
    print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
over.set()
thread.join()
"""


def on_a_token(folder: Path, script: str) -> list[str]:
    """What a script prints that works with a fresh token of its own."""
    pytest.importorskip("pkcs11")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\n")
    environment = {**os.environ, "SOFTHSM2_CONF": str(folder / "softhsm2.conf")}
    assert shutil.which("softhsm2-util")
    start = [
        "softhsm2-util",
        "--init-token",
        "--free",
        "--label",
        "gov tok",
        "--pin",
        "1234",
        "--so-pin",
        "4321",
    ]
    subprocess.run(start, env=environment, check=True, capture_output=True, timeout=60)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(MODULE)],
        env=environment, cwd=Path(__file__).resolve().parents[2],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(not MODULE.exists(), reason="SoftHSM2 is not there (apt-get install softhsm2)")
def test_a_real_token_signs_and_says_why_it_does_not(tmp_path: Path) -> None:
    lines = on_a_token(tmp_path, SCRIPT)
    assert lines[:3] == ["refused NoSuchToken", "refused NoSuchKey", "refused PinIncorrect"]
    assert len(lines) == 11
    assert "passphrase" in lines[4]
    assert "is no ECDSA key" in lines[5]
    assert lines[6:9] == [f"signed {each}" for each in (Algorithm.P256, Algorithm.P384, Algorithm.P521)]
    assert lines[9:] == ["signed again True", "refused shows another key than before"]


@pytest.mark.skipif(not MODULE.exists(), reason="SoftHSM2 is not there (apt-get install softhsm2)")
def test_a_wrong_pin_is_asked_of_a_token_once_before_it_locks_itself(tmp_path: Path) -> None:
    lines = on_a_token(tmp_path, WRONG_PIN)
    assert lines[0] == lines[2] == "PinIncorrect"
    assert lines[1] == lines[3]
    assert lines[1].endswith("is not text")


@pytest.mark.skipif(not MODULE.exists(), reason="SoftHSM2 is not there (apt-get install softhsm2)")
def test_a_child_signs_that_was_forked_while_another_thread_signed(tmp_path: Path) -> None:
    """It waited for ever for a thread that is not there: in our lock, or in one of the token's module."""
    assert on_a_token(tmp_path, FORKED) == ["child 0"] * 12


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("pkcs11:token=t;object=o", "module-path"),
        ("pkcs11:object=o?module-path=/m", "token"),
        ("pkcs11:token=t?module-path=/m", "object"),
        ("pkcs11:token=t;object=o?module-path=/m&pin-value=1234", "PIN does not belong"),
        ("pkcs11:token=t;object=o?module-path=/m&pin-source=file:/x", "PIN does not belong"),
        ("pkcs11:token=t;1234?module-path=/m", "not `name=value`"),
    ],
)
def test_an_address_that_is_not_whole_or_holds_a_pin_is_refused(address: str, words: str) -> None:
    with pytest.raises(KeyFileError, match=words) as caught:
        parse_address(address)
    assert "1234" not in caught.value.message


# Key services ---------------------------------------------------------------------------------------------------------


def securesystemslib() -> Any:
    """Its signer for keys in memory."""
    return pytest.importorskip("securesystemslib.signer").CryptoSigner


def test_a_signer_of_securesystemslib_signs_for_us() -> None:
    maker = securesystemslib()
    for make in (maker.generate_ecdsa, maker.generate_ed25519):
        signer = KmsSigner(make, shown="awskms:alias/x")
        bundle = sign_manifest(manifest_of(), name="m", signer=signer)
        assert verify_bundle(bundle, manifest_of(), TrustStore.of_key(signer.public), at=NOW).valid


def test_a_service_that_signs_with_another_key_or_not_at_all_is_noticed() -> None:
    maker = securesystemslib()

    class Turncoat:
        """A service whose key was replaced after it had shown its public half."""

        public_key = maker.generate_ecdsa().public_key
        sign = maker.generate_ecdsa().sign

    class Silent:
        public_key = maker.generate_ecdsa().public_key

        def sign(self, payload: bytes) -> object:
            raise TimeoutError(payload)

    class ClientError(Exception):
        """As all of AWS's errors are."""

        response: ClassVar = {"Error": {"Code": "AccessDeniedException", "Message": "arn:secret"}}

    class Denying(Silent):
        def sign(self, payload: bytes) -> object:
            raise ClientError(payload)

    with pytest.raises(KeyFileError, match="no signature by the key that it showed"):
        KmsSigner(Turncoat, shown="gcpkms:k").sign(b"m")
    with pytest.raises(KeyFileError, match=r"did not sign: TimeoutError$"):
        KmsSigner(Silent, shown="gcpkms:k").sign(b"m")
    with pytest.raises(KeyFileError, match=r"did not sign: ClientError \(AccessDeniedException\)$"):
        KmsSigner(Denying, shown="awskms:k").sign(b"m")


def test_a_login_that_is_renewed_brings_no_other_key() -> None:
    maker = securesystemslib()

    class Forbidden(Exception):  # noqa: N818 - as Vault's client calls it
        """The token has expired."""

    class Expired:
        public_key = maker.generate_ed25519().public_key

        def sign(self, payload: bytes) -> object:
            raise Forbidden(payload)

    remotes = [Expired(), maker.generate_ed25519()]  # the key was given a new version meanwhile
    signer = KmsSigner(lambda: remotes.pop(0), shown="hashivault:k")
    with pytest.raises(KeyFileError, match="shows another key than before"):
        signer.sign(b"m")


@pytest.mark.parametrize("location", ["awskms:alias/x", "gcpkms:projects/p", "azurekms:v/k", "hashivault:k"])
def test_a_service_whose_client_is_missing_says_so(location: str) -> None:
    pytest.importorskip("securesystemslib")
    with pytest.raises(KeyFileError, match="cannot be opened"):
        load_signer(location)
    with pytest.raises(KeyFileError, match="names no key"):
        load_signer(location.partition(":")[0] + ":")


class Vault(BaseHTTPRequestHandler):
    """The two calls of Vault's transit engine that signing needs, for one Ed25519 key, and one of another type that is only shown.

    A token that signed once has expired.
    """

    key = ed25519.Ed25519PrivateKey.generate()
    expired: ClassVar[set[str | None]] = set()

    def do_GET(self) -> None:
        public = base64.b64encode(self.key.public_key().public_bytes_raw()).decode()
        shown = {
            "/v1/transit/keys/model-key": public,
            "/v1/transit/keys/ecdsa": "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n",
        }.get(self.path)
        self.answer(200 if shown else 404, {"keys": {"1": {"public_key": shown}}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        signature = base64.b64encode(self.key.sign(base64.b64decode(body["input"]))).decode()
        known = self.path.startswith("/v1/transit/sign/model-key")
        token = self.headers["X-Vault-Token"]
        status = 403 if token in self.expired else 200 if known else 404
        self.expired.add(token)
        self.answer(status, {"signature": f"vault:v1:{signature}"})

    def answer(self, status: int, data: object) -> None:
        body = json.dumps({"data": data} if status == 200 else {"errors": ["no"]}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


VAULT_SCRIPT = """
from pathlib import Path
from governance.errors import KeyFileError
from governance.signing.keys import load_signer
from governance.signing.sign import sign_manifest
from governance.signing.trust import TrustStore
from governance.signing.verify import verify_bundle
from tests.unit.signing_kit import NOW, manifest_of
Path("~/.vault-token").expanduser().write_text("first-token")
signer = load_signer("hashivault:model-key")
for token in ("second-token", None):
    bundle = sign_manifest(manifest_of(), name="m", signer=signer)
    print(verify_bundle(bundle, manifest_of(), TrustStore.of_key(signer.public), at=NOW).valid)
    if token:
        Path("~/.vault-token").expanduser().write_text(token)
for act in (lambda: signer.sign(b"m"), lambda: load_signer("hashivault:other"), lambda: load_signer("hashivault:ecdsa")):
    try:
        act()
    except KeyFileError as error:
        assert "-token" not in f"{error} {error.__cause__}"
        print(error.message, "|", error.hint)
"""


def test_a_key_in_vault_signs_through_its_own_client_and_outlives_its_token(tmp_path: Path) -> None:
    pytest.importorskip("hvac")
    with ThreadingHTTPServer(("127.0.0.1", 0), Vault) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        # The client takes its address and token from the environment, so it lives in a process of its own.
        environment = {
            **os.environ,
            "VAULT_ADDR": f"http://127.0.0.1:{server.server_port}",
            "HOME": str(tmp_path),
        }
        environment.pop("VAULT_TOKEN", None)
        done = subprocess.run(
            [sys.executable, "-c", VAULT_SCRIPT],
            env=environment, cwd=Path(__file__).resolve().parents[2],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        server.shutdown()
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == ["True", "True"]
    assert lines[2].startswith("`hashivault:model-key` did not sign: Forbidden")
    assert lines[3].startswith("`hashivault:other` cannot be opened: InvalidPath")
    assert lines[4].startswith("`hashivault:ecdsa` cannot be opened: ")
    assert "it must be of type `ed25519`" in lines[4]


@pytest.mark.parametrize(
    ("location", "module", "package"),
    [
        ("awskms:k", "boto3", "securesystemslib[awskms]"),
        ("gcpkms:k", "google.cloud.kms", "securesystemslib[gcpkms]"),
        ("azurekms:v/k", "azure.identity", "securesystemslib[azurekms]"),
        ("hashivault:k", "hvac", "mlflow-governance[kms]"),
    ],
)
def test_the_package_with_a_services_client_is_named_as_the_index_knows_it(
    location: str, module: str, package: str
) -> None:
    """The library asks for `aws-kms`, which is nobody's client of AWS."""
    pytest.importorskip("securesystemslib")
    script = f"""
import sys
sys.modules[{module!r}] = None
from governance.errors import KeyFileError
from governance.signing.keys import load_signer
try:
    load_signer({location!r})
except KeyFileError as error:
    print(error.hint)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"The service's own client is missing: `pip install '{package}'`.\n"
