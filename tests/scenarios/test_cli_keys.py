"""`mlgov keys`: made, listed, exported, rotated, revoked; where their passphrases are."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import keyring
from keyring.backend import KeyringBackend

from governance.cli.keys import known_passphrase
from governance.errors import KeyFileError
from governance.settings import Settings
from tests.scenarios.cli import Cli, Done, run_cli
from tests.scenarios.models import MODEL, write


def test_keys_from_first_to_last(cli: Cli, tmp_path: Path) -> None:
    assert "no key is trusted" in cli("keys", "list").err
    made = cli("keys", "init", "--name", "me")
    assert made.code == 0
    (row,) = json.loads(cli("keys", "list", "--json").out)
    assert (row["name"], row["standing"]) == ("me", "trusted")
    assert cli("keys", "init").code == 2  # never written over
    pem = cli("keys", "export").out
    assert pem == (tmp_path / "home/keys/signing.pub").read_text()
    assert cli("keys", "export", row["key_id"][:16], "--output", "key.pem").code == 0
    assert (tmp_path / "key.pem").read_text() == pem
    assert cli("keys", "rotate", "--algorithm", "p384").code == 0
    first, second = json.loads(cli("keys", "list", "--json").out)
    assert first["key_id"] == row["key_id"] != second["key_id"]
    assert (first["algorithm"], second["algorithm"]) == ("ecdsa-p256-sha256", "ecdsa-p384-sha384")
    assert cli("keys", "revoke", first["key_id"][:8], "--compromised").code == 0
    assert "compromised" in cli("keys", "list").out
    assert cli("keys", "revoke", "00000000").code == 2
    events = [
        json.loads(line)["body"]["event"]
        for line in cli("audit", "tail", "--kind", "key", "--json").out.splitlines()
    ]
    assert events == ["made", "rotated", "revoked"]


def test_a_key_is_revoked_from_when_it_may_have_been_stolen(cli: Cli, tmp_path: Path) -> None:
    cli("keys", "init")
    (row,) = json.loads(cli("keys", "list", "--json").out)
    later = cli("keys", "revoke", row["key_id"], "--compromised", "--since", "2999-01-01")
    assert (later.code, "when it may have begun" in later.err) == (2, True)
    assert cli("keys", "revoke", row["key_id"]).code == 0
    done = cli("keys", "revoke", row["key_id"], "--compromised", "--since", "2026-01-01T10:00:00")
    assert "as compromised from 2026-01-01 10:00" in done.out
    (key,) = json.loads((tmp_path / "home/trust.json").read_text())["keys"]
    assert key["revoked"] == {"at": "2026-01-01T10:00:00.000000Z", "why": "compromised"}
    assert (
        '"reason":"compromised from 2026-01-01 10:00"' in cli("audit", "tail", "--kind", "key", "--json").out
    )


def test_a_key_that_is_no_file_is_trusted_by_what_is_exported_of_it(cli: Cli, tmp_path: Path) -> None:
    """As the key of a token or a service is, which nobody has a `.pub` of."""
    cli("keys", "init")
    private = (tmp_path / "home/keys/signing.pem").read_text()
    (tmp_path / "home/trust.json").unlink()
    elsewhere = {"MLGOV_KEY": "env:THE_KEY", "THE_KEY": private}
    for verb in ("init", "rotate"):
        refused = cli("keys", verb, **elsewhere)
        assert refused.code == 2
        assert "mlgov trust add" in refused.err
    assert cli("keys", "export", "--output", "key.pem", **elsewhere).code == 0
    assert cli("trust", "add", "key.pem", "--name", "me", "--role", "artifact", **elsewhere).code == 0
    write(tmp_path / "m", MODEL)
    assert cli("sign", "m", **elsewhere).code == 0
    assert cli("verify", "m", **elsewhere).code == 0


def test_no_key_is_trusted_that_a_log_which_cannot_be_opened_does_not_know(cli: Cli, tmp_path: Path) -> None:
    """A first key, its successor and somebody else's: each was trusted, and on record nowhere."""
    log = tmp_path / "home/audit.sqlite"
    log.parent.mkdir(exist_ok=True)
    log.write_text("no log")
    log.chmod(0o600)
    assert cli("keys", "init").code == 4
    assert not (tmp_path / "home/keys").exists()
    log.unlink()
    assert cli("keys", "init").code == 0
    trusted = (tmp_path / "home/trust.json").read_bytes()
    for path in log.parent.glob("audit.sqlite*"):
        path.unlink()
    log.write_text("no log")
    assert cli("keys", "rotate").code == 4
    assert cli("trust", "add", "home/keys/signing.pub", "--name", "bob", "--role", "waiver").code == 4
    assert (tmp_path / "home/trust.json").read_bytes() == trusted


def test_a_key_needs_a_passphrase(cli: Cli, tmp_path: Path) -> None:
    done = cli("keys", "init", MLGOV_KEY_PASSPHRASE="")
    assert done.code == 2
    assert "MLGOV_KEY_PASSPHRASE_FILE" in done.err
    assert not (tmp_path / "home/keys").exists()
    (tmp_path / "secret").write_text("from a file\n")
    (tmp_path / "secret").chmod(0o600)
    assert cli("keys", "init", "--passphrase-file", "secret", MLGOV_KEY_PASSPHRASE="").code == 0
    wrong = cli("sign", str(write(tmp_path / "m", MODEL)), MLGOV_KEY_PASSPHRASE="wrong")
    assert wrong.code == 2
    assert "passphrase" in wrong.err
    assert "wrong" not in wrong.err.replace("is wrong", "")


KEYRING = """
import json, os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

class Backend(KeyringBackend):
    priority = 1
    file = Path(os.environ["TEST_KEYRING"])

    def _read(self):
        if os.environ.get("TEST_LOCKED"):
            raise KeyringLocked("secret text")
        return json.loads(self.file.read_text()) if self.file.exists() else {}

    def get_password(self, service, username):
        return self._read().get(f"{service}:{username}")

    def set_password(self, service, username, password):
        if not os.environ.get("TEST_FORGETFUL"):
            self.file.write_text(json.dumps(self._read() | {f"{service}:{username}": password}))
"""


def test_a_passphrase_in_the_keyring(tmp_path: Path) -> None:
    (tmp_path / "ring.py").write_text(KEYRING)
    folder = write(tmp_path / "m", MODEL)
    settings = {
        "MLGOV_HOME": str(tmp_path / "home"),
        "MLGOV_KEY_PASSPHRASE_KEYRING": "mlgov/signing",
        "PYTHON_KEYRING_BACKEND": "ring.Backend",
        "PYTHONPATH": str(tmp_path),
        "TEST_KEYRING": str(tmp_path / "ring.json"),
    }

    def run(*arguments: str, **more: str) -> Done:
        return run_cli(*arguments, cwd=tmp_path, variables=settings | more)

    for trouble in ({"TEST_LOCKED": "1"}, {"TEST_FORGETFUL": "1"}, {"MLGOV_KEY_PASSPHRASE_KEYRING": "mlgov"}):
        failed = run("keys", "init", **trouble)
        assert (failed.code, "secret" in failed.err) == (2, False)
        assert not (tmp_path / "home/keys").exists()
    made = run("keys", "init")
    assert (made.code, "under `mlgov/signing`" in made.out) == (0, True), made.err
    (passphrase,) = json.loads((tmp_path / "ring.json").read_text()).values()
    assert len(passphrase) >= 32
    assert passphrase not in made.out + made.err
    assert run("sign", str(folder)).code == 0
    assert run("keys", "rotate").code == 0
    assert run("sign", str(folder)).code == 0
    locked = run("sign", str(folder), TEST_LOCKED="1")
    assert (locked.code, "KeyringLocked" in locked.err, "secret" in locked.err) == (2, True, False)
    (tmp_path / "ring.json").unlink()
    assert run("sign", str(folder)).code == 2


class TogetherRing(KeyringBackend):
    """Keeps a passphrase once a second one is about to be kept, if one comes within half a second, and that one after it."""

    priority = 1

    def __init__(self) -> None:
        self.kept: str | None = None
        self.both, self.read_back = threading.Barrier(2), threading.Event()

    def get_password(self, service: str, username: str) -> str | None:
        if self.kept is not None:
            self.read_back.set()
        return self.kept

    def set_password(self, service: str, username: str, password: str) -> None:
        with suppress(threading.BrokenBarrierError):
            if self.both.wait(timeout=0.5):
                self.read_back.wait(timeout=10)
        self.kept = password


def test_of_two_who_make_a_key_at_once_none_makes_it_under_a_passphrase_that_is_not_kept(
    tmp_path: Path,
) -> None:
    """The other's passphrase in its place would be a key that nobody can open again."""
    ring, before = TogetherRing(), keyring.get_keyring()
    settings = Settings(home=tmp_path / "home", key_passphrase_keyring="mlgov/signing")

    def make(_: int) -> bytes | str:
        try:
            return known_passphrase(settings, confirm=True)
        except KeyFileError as error:
            return error.message

    keyring.set_keyring(ring)
    try:
        with ThreadPoolExecutor(2) as pool:
            made = list(pool.map(make, range(2)))
    finally:
        keyring.set_keyring(before)
    assert ring.kept is not None
    assert {each for each in made if isinstance(each, bytes)} == {ring.kept.encode()}
