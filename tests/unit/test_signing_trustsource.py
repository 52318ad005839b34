"""The trust file of a running process: what it says now is what counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from governance.errors import KeyFileError
from governance.signing import keyring
from governance.signing.trust import Revocation, TrustStore
from governance.signing.trustsource import TrustSource
from tests.unit.signing_kit import NOW, signer, trust, trusted


def test_what_the_file_says_now_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "trust.json"
    source = TrustSource(path)
    assert source.current() == TrustStore.empty()
    keyring.save_trust(path, trust())
    first = source.current()
    assert source.current() is first, "what did not change is not read again"
    assert "changed" not in caplog.text

    keyring.save_trust(path, trust(trusted(), trusted("bob")))
    assert source.current().find(signer("bob").key_id) is not None
    assert "changed, and counts as it is now" in caplog.text

    bad = keyring.revoke(source.current(), signer("bob").key_id, why=Revocation.COMPROMISED, at=NOW)
    keyring.save_trust(path, bad)
    found = source.current().find(signer("bob").key_id)
    assert found is not None
    assert found.grant.revocation is Revocation.COMPROMISED

    path.unlink()
    assert source.current() == TrustStore.empty()


def test_a_file_that_is_not_good_trusts_nobody_until_it_is(tmp_path: Path) -> None:
    path = tmp_path / "trust.json"
    keyring.save_trust(path, trust())
    source = TrustSource(path)
    good, text = source.current(), path.read_bytes()
    path.write_bytes(text[:-20])
    for _ in range(2):
        with pytest.raises(KeyFileError):
            source.current()
    path.write_bytes(text)
    assert source.current() == good
    path.chmod(0o666)
    with pytest.raises(KeyFileError, match="may be written by others"):
        source.current()


def test_a_folder_on_the_way_that_is_a_file_holds_no_trust_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert TrustSource(tmp_path / "file" / "trust.json").current() == TrustStore.empty()
