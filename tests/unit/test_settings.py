"""Settings: precedence, spelling, and that no message shows a value."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from governance.auditing import checkpoint_passphrase, pseudonyms
from governance.errors import SettingsError
from governance.settings import Settings, load_settings, strange_variables
from governance.settings_file import PATHS as FILE_PATHS
from governance.wiring import build_assembly

READ = """
import json
from governance.errors import SettingsError
from governance.settings import load_settings
try:
    settings = load_settings()
    print(json.dumps({"host": sorted(settings.allowed_hosts), "skip": settings.delete_skip, "env": settings.environment,
        "token": settings.token.get_secret_value() if settings.token else None, "repr": repr(settings),
        "home": str(settings.home), "debug": settings.debug, "ca": str(settings.authorities),
        "no_ssl": settings.no_ssl}))
except SettingsError as error:
    print("SettingsError", error, error.hint)
"""


def read(tmp_path: Path, **environ: str) -> str:
    """What a fresh process makes of this environment."""
    clean = {key: os.environ[key] for key in ("PATH", "PYTHONPATH") if key in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", READ],
        env={**clean, "MLGOV_HOME": str(tmp_path), "HOME": str(tmp_path), **environ},
        capture_output=True, text=True, check=True, cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize("word", ["true", "True", "TRUE", "1", "yes", "on"])
def test_any_spelling_of_true(tmp_path: Path, word: str) -> None:
    assert '"skip": true' in read(tmp_path, ARTIFACTORY_ARTIFACTS_DELETE_SKIP=word)


@pytest.mark.parametrize("word", ["false", "False", "0", "no", "off", ""])
def test_any_spelling_of_false(tmp_path: Path, word: str) -> None:
    assert '"skip": false' in read(tmp_path, ARTIFACTORY_ARTIFACTS_DELETE_SKIP=word)


def test_the_token_is_never_printed(tmp_path: Path) -> None:
    out = read(tmp_path, ARTIFACTORY_AUTH_TOKEN="s3cret")
    assert '"token": "s3cret"' in out
    assert out.count("s3cret") == 1


def test_all_mistakes_are_named_at_once_without_their_values(tmp_path: Path) -> None:
    out = read(
        tmp_path,
        ARTIFACTORY_NO_SSL="s3cret-typo",
        MLGOV_ENVIRONMENT="Prod!",
        MLGOV_ARTIFACTORY_URL="https://user:s3cret@host",
    )
    assert "3 setting(s)" in out
    for name in ("ARTIFACTORY_NO_SSL", "MLGOV_ENVIRONMENT", "MLGOV_ARTIFACTORY_URL"):
        assert name in out
    assert "s3cret" not in out


PATHS = [
    "MLGOV_POLICY_PATH",
    "MLGOV_TRUST",
    "MLGOV_KEY",
    "MLGOV_KEY_PASSPHRASE_FILE",
    "MLGOV_CA_BUNDLE",
    "MLGOV_POLICY_BUNDLE",
]


@pytest.mark.parametrize("value", [" ", "~nobody-has-this-name/x", "x" * 5_000, "a\tb", " /x"])
@pytest.mark.parametrize("name", [*PATHS, "MLGOV_HOME", "MLGOV_CONFIG"])
def test_what_can_be_no_path_is_refused_by_its_name(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLGOV_HOME", str(tmp_path))
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        load_settings()


def test_a_user_without_a_home_folder_is_told_so(tmp_path: Path) -> None:
    """As in a container whose user nobody has listed."""
    code = (
        "import os; os.environ.pop('HOME'); os.environ.pop('MLGOV_HOME')\n"
        "import pwd; pwd.getpwuid = lambda uid: (_ for _ in ()).throw(KeyError(uid))\n"
    )
    clean = {key: os.environ[key] for key in ("PATH", "PYTHONPATH") if key in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", code + READ],
        env={**clean, "MLGOV_HOME": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True, text=True, check=True, cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert "SettingsError `MLGOV_HOME` begins with `~`, and this user has no such home folder" in done.stdout
    assert "Set `MLGOV_HOME`" in done.stdout


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('policy_path = ""', "MLGOV_POLICY_PATH: is empty"),
        ('trust = ""', "MLGOV_TRUST: is empty"),
        ('key = ""', "MLGOV_KEY: is empty"),
        ('audit_path = " "', "audit_path: is empty"),
        ('audit_path = "/"', "audit_path: names no file"),
        ('audit_path = "."', "audit_path: names no file"),
        ('audit_key = "a\\u0000b"', "audit_key: holds a control character"),
        ('audit_anchors = ["~nobody-has-this-name/x"]', "audit_anchors: begins with `~`"),
        ('audit_anchors = ["/srv/heads "]', "audit_anchors: is empty, or begins or ends with a space"),
        (
            'artifactory_hosts = ["https://acme.jfrog.io"]',
            "MLGOV_ARTIFACTORY_HOSTS: `https://acme.jfrog.io` is no `HOST`",
        ),
        ('artifactory_hosts = "*.jfrog.io"', "MLGOV_ARTIFACTORY_HOSTS: `*.jfrog.io` is no `HOST`"),
        ('server_repositories = ["a/b"]', "MLGOV_SERVER_REPOSITORIES: `a/b` is not a repository key"),
        ('artifactory_url = "https://acme.jfrog.io:99999"', "MLGOV_ARTIFACTORY_URL: Port out of range"),
        ('artifactory_url = "https://acme .jfrog.io"', "MLGOV_ARTIFACTORY_URL: expected a URL"),
        ('trust = "a"\nTRUST = "b"', "`MLGOV_TRUST` is given twice"),
        ("home = " + "[" * 10_000, "cannot be read"),
        ('audit_quorum_unmet = "refuse"', "  `audit_quorum_unmet`: without `audit_anchors`"),
        ('[[streams]]\nname = "a"\nto = "file:/x' + "x" * 300 + '"', "MLGOV_STREAMS.0: is longer than"),
        ('artifactory_certificate = "a.pem"', "MLGOV_ARTIFACTORY_CERTIFICATE_KEY are given together"),
        ("gather_seconds = true", "MLGOV_GATHER_SECONDS: a number is expected"),
        ("reuse_seconds = false", "MLGOV_REUSE_SECONDS: a number is expected"),
        ("audit_quorum = true", "audit_quorum: a number is expected"),
        (
            '[[streams]]\nname = "a"\nto = "file:/x"\nfrom = true',
            "MLGOV_STREAMS.0.from: a number is expected",
        ),
    ],
)
def test_what_nobody_can_have_meant_is_refused_by_its_name(
    line: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty path would be the working directory, whose trust file and policies are anybody's; a host with its scheme never fits."""
    monkeypatch.setenv("MLGOV_HOME", str(tmp_path))
    (tmp_path / "mlgov.toml").write_text(line)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert said in str(caught.value)
    assert "?" not in str(caught.value)


def test_hosts_with_ports_and_addresses_are_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLGOV_HOME", str(tmp_path))
    monkeypatch.setenv("MLGOV_ARTIFACTORY_HOSTS", "acme.jfrog.io, H:8081,127.0.0.1:80,[::1]:8081")
    assert load_settings().allowed_hosts == {"acme.jfrog.io", "h:8081", "127.0.0.1:80", "[::1]:8081"}


def test_variables_of_other_programs_are_not_taken_for_ours(tmp_path: Path) -> None:
    out = read(tmp_path, TOKEN="other", DEBUG="1", ENVIRONMENT="staging", KEY="x")
    assert '"token": null' in out
    assert '"debug": false' in out
    assert '"env": "development"' in out


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "mlgov.toml").write_text(
        'environment = "staging"\nartifactory_url = "https://a.example:8443"\n'
    )
    out = read(tmp_path, MLGOV_ENVIRONMENT="production")
    assert '"env": "production"' in out
    assert '"host": ["a.example:8443"]' in out


def test_a_relative_path_in_the_file_is_meant_from_the_files_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the working directory, whoever starts a process would lead its decisions to another log."""
    named, elsewhere = tmp_path / "etc", tmp_path / "elsewhere"
    named.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("MLGOV_CONFIG", str(named / "mlgov.toml"))
    monkeypatch.setenv("MLGOV_TRUST", "own/trust.json")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    (named / "mlgov.toml").write_text(
        'home = "home"\npolicy_path = "policies"\naudit_path = "log/a:b.sqlite"\nkey = "keys/own.pem"\n'
        'trust = "trust.json"\npolicy_bundle = "artifactory://h/artifactory/r/p"\nkey_passphrase_file = "~/p"\n'
        'mlgov_ca_bundle = "/etc/ca.pem"\naudit_anchors = ["heads", "https://h=K"]\n'
        '[[streams]]\nname = "a"\nto = "https://h/x"\nsecret_file = "secret"\n'
        '[[channels]]\nname = "b"\nkind = "email"\nto = ["a@b.example"]\nsender = "c@b.example"\nserver = "smtps://h"\nca = "ca.pem"\n'
    )
    found = load_settings()
    assert (found.home, found.policy_path, found.key) == (
        named / "home", named / "policies", str(named / "keys/own.pem"),
    )  # fmt: skip
    assert found.audit_file == named / "log/a:b.sqlite"
    assert found.trust_file == Path("own/trust.json")  # a variable is its process's own
    assert (found.policy_bundle, found.ca_bundle) == ("artifactory://h/artifactory/r/p", Path("/etc/ca.pem"))
    assert found.key_passphrase_file == Path.home() / "p"
    assert found.audit_anchors == (str(named / "heads"), "https://h=K")
    assert (found.streams[0].secret_file, found.channels[0].model_dump()["ca"]) == (
        named / "secret", named / "ca.pem",
    )  # fmt: skip


@pytest.mark.parametrize(
    "key",
    [
        *(name for name in FILE_PATHS if name not in {"home", "ca_bundle", "usual_ca_bundle"}),
        "ca_bundle", "mlgov_ca_bundle", "requests_ca_bundle", "ssl_cert_file",
    ],
)  # fmt: skip
def test_no_path_of_the_settings_file_is_meant_from_the_working_directory(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ca_bundle = "ca.pem"` was: whatever lay there under that name decided whose certificates are believed."""
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLGOV_CONFIG", str(tmp_path / "mlgov.toml"))
    together = ("artifactory_certificate", "artifactory_certificate_key")
    keys = together if key in together else (key,)
    (tmp_path / "mlgov.toml").write_text("\n".join(f'{each} = "x.pem"' for each in keys))
    found = load_settings().model_dump().values()
    assert [each for each in found if isinstance(each, Path) and each.name == "x.pem"] == [
        tmp_path / "x.pem" for _ in keys
    ]


def test_the_settings_file_names_authorities_before_other_programs_variables_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An activated conda sets `SSL_CERT_FILE`, and a site's own authority in the settings file was not looked at any more."""
    monkeypatch.setenv("MLGOV_CONFIG", str(tmp_path / "mlgov.toml"))
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", "/conda/cacert.pem")
    (tmp_path / "mlgov.toml").write_text("")
    assert load_settings().certificates == "/conda/cacert.pem"
    (tmp_path / "mlgov.toml").write_text('ca_bundle = "/site/ca.pem"')
    assert load_settings().certificates == "/site/ca.pem"
    monkeypatch.setenv("MLGOV_CA_BUNDLE", "/this/process.pem")
    assert load_settings().certificates == "/this/process.pem"


def test_a_broken_settings_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "mlgov.toml").write_text("environment = \n")
    assert "mlgov.toml" in read(tmp_path)
    assert "SettingsError" in read(tmp_path)
    assert "does not exist" in read(tmp_path, MLGOV_CONFIG=str(tmp_path / "none.toml"))


def test_a_key_of_the_file_that_is_no_setting_is_refused_with_what_was_meant(tmp_path: Path) -> None:
    """A misspelt `audit_pseudonym_key` would store names for years, and say nothing."""
    (tmp_path / "mlgov.toml").write_text(
        'audit_pseudonym_kye = "/k"\nMLGOV_ENVIRONMENT = "production"\ntoken = "t0ken"\nzzzz = 1\n'
    )
    out = read(tmp_path)
    assert "SettingsError" in out
    assert "4 key(s) of the settings file" in out
    for said in (
        "`audit_pseudonym_kye`, did you mean `audit_pseudonym_key`?",
        "`MLGOV_ENVIRONMENT`, did you mean `environment`?",
        "`token`, did you mean `artifactory_auth_token`?",
        "`zzzz`",
    ):
        assert said in out
    assert "t0ken" not in out


def test_every_documented_key_of_the_file_is_taken(tmp_path: Path) -> None:
    (tmp_path / "mlgov.toml").write_text('ca_bundle = "/ca.pem"\nartifactory_no_ssl = true\n')
    assert '"ca": "/ca.pem"' in read(tmp_path)
    assert '"no_ssl": true' in read(tmp_path)


def test_variables_that_only_look_like_ours_are_told() -> None:
    given = dict.fromkeys(
        ("MLGOV_ENVIRNMENT", "MLGOV_TOKEN", "MLGOV_HOME", "MLGOV_CA_BUNDLE", "mlgov_key", "MLGOV_DEBUG"), "x"
    )
    told = strange_variables(given)
    assert sorted(told) == ["MLGOV_ENVIRNMENT", "MLGOV_TOKEN"]
    assert told["MLGOV_ENVIRNMENT"] == "MLGOV_ENVIRONMENT"


def test_the_working_directory_is_not_asked(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MLGOV_ARTIFACTORY_URL=https://evil.example\n")
    (tmp_path / "mlgov.toml").write_text('artifactory_url = "https://evil.example"\n')
    home = tmp_path / "home"
    home.mkdir()
    assert '"host": []' in read(tmp_path, MLGOV_HOME=str(home))


def test_signing_is_required_in_production_unless_said_otherwise() -> None:
    for name in ("production", "prod", "Production"):
        assert Settings(environment=name).is_signing_required, name
        assert (
            Settings(environment=name).environment == "production"
        )  # what requests state, rules read and records say
    assert not Settings(environment="production", signing="when-key").is_signing_required
    assert not Settings(environment="development").is_signing_required


def test_the_passphrase_comes_from_its_file_without_the_newline(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes(b"open sesame\n")
    assert load_settings(key_passphrase_file=file).passphrase() == b"open sesame"
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(key_passphrase_file=tmp_path / "none").passphrase()


@pytest.mark.parametrize(
    "name", ["key_passphrase_file", "audit_key_passphrase_file", "audit_pseudonym_key", "audit_tsa_ca"]
)
def test_a_file_without_end_is_not_read_to_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLGOV_HOME", str(tmp_path))
    (tmp_path / "mlgov.toml").write_text(
        f"{name} = '/dev/zero'\naudit_anchors = ['tsa+https://tsa.example']\n"
    )
    settings = load_settings()
    readers: dict[str, Callable[[], object]] = {
        "key_passphrase_file": settings.passphrase,
        "audit_key_passphrase_file": lambda: checkpoint_passphrase(settings),
        "audit_pseudonym_key": lambda: pseudonyms(settings),
        "audit_tsa_ca": lambda: build_assembly(settings).anchors,
    }
    with pytest.raises(SettingsError, match="/dev/zero"):
        readers[name]()
