"""`mlgov doctor`: what it sees, what it says to do, and its exit code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from governance.cli.checkup.check import run_checks
from governance.cli.checkup.install import ask_mlflow, install_checks
from governance.cli.checkup.local import local_checks
from governance.cli.checkup.remote import remote_checks
from governance.cli.main import main
from governance.cli.output import Line, Mark
from governance.devserver import DevServer, Fault
from governance.settings import Settings, load_settings
from governance.wiring import Assembly, build_assembly
from tests.mlflow_tools import environment
from tests.rawserver import answer, raw_server
from tests.scenarios.cli import Done, clean, run_cli

Doctor = Callable[..., Done]


@pytest.fixture
def variables(tmp_path: Path, devserver: DevServer, alice_token: str) -> dict[str, str]:
    return {
        "MLGOV_HOME": str(tmp_path / "home"),
        "MLGOV_KEY_PASSPHRASE": "correct horse",
        "MLGOV_ENVIRONMENT": "production",
        "MLGOV_ARTIFACTORY_URL": devserver.artifactory_url,
        "ARTIFACTORY_AUTH_TOKEN": alice_token,
    }


def lines_of(done: Done) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for line in json.loads(done.out):
        found.setdefault(line["subject"], []).append(line)
    return found


def marks(lines: list[dict[str, Any]]) -> list[str]:
    return [line["mark"] for line in lines]


def looked(variables: Mapping[str, str]) -> tuple[dict[str, list[Line]], int]:
    """What `mlgov doctor` finds out about this machine, in this process, and what it exits with. MLflow, which a process of its own is
    asked about, is left out."""
    with environment(variables), closing(build_assembly(load_settings())) as assembly:
        results = list(run_checks(local_checks(assembly)))
    found: dict[str, list[Line]] = {}
    for line, _ in results:
        found.setdefault(line.subject, []).append(line)
    return found, max(code for _, code in results)


def make_key(variables: Mapping[str, str]) -> None:
    with environment(variables):
        assert main(["keys", "init"]) == 0


def test_all_in_order(variables: dict[str, str], repo: str) -> None:
    make_key(variables)
    done = run_cli("doctor", repo, "--write-test", "--json", variables=variables)
    assert done.code == 0, done.out
    found = lines_of(done)
    assert {mark for lines in found.values() for mark in marks(lines)} <= {"ok", "skip"}
    assert set(found) >= {"settings", "policy", "signing key", "trust file", "audit log", "versions", "rival plugin", "MLflow schemes", "clock", "token", "Xray", f"repository {repo}", "tracking server"}  # fmt: skip


def test_the_table_says_what_to_do(variables: dict[str, str]) -> None:
    done = run_cli("doctor", "--offline", variables=variables)
    assert done.code == 2  # production, and no key to sign with
    assert "✗  signing key" in done.out
    assert "what to do: `mlgov keys init`" in done.out
    assert "failed" in done.out.splitlines()[-1]


@pytest.mark.parametrize(
    ("changed", "subject", "mark", "code"),
    [
        ({"ARTIFACTORY_AUTH_TOKEN": "", "MLGOV_ENVIRONMENT": "development"}, "settings", "warn", 0),
        ({"MLGOV_ARTIFACTORY_URL": "", "MLGOV_ENVIRONMENT": "development"}, "settings", "warn", 0),
        ({"MLGOV_POLICY_PATH": "/nowhere"}, "policy", "fail", 2),
        ({"MLGOV_KEY": "/nowhere.pem"}, "signing key", "fail", 2),
        ({"MLGOV_CONFIG": "no-log.toml"}, "audit log", "fail", 4),
    ],
)
def test_this_machine(
    variables: dict[str, str], changed: dict[str, str], subject: str, mark: str, code: int, tmp_path: Path
) -> None:
    if "MLGOV_CONFIG" in changed:
        changed = {"MLGOV_CONFIG": str(tmp_path / changed["MLGOV_CONFIG"])}
        Path(changed["MLGOV_CONFIG"]).write_text('audit_path = "/etc/hostname/audit.sqlite"\n')
    found, exits_with = looked(variables | changed)
    assert mark in [line.mark.value for line in found[subject]], found
    troubles = [line for lines in found.values() for line in lines if line.mark in {Mark.WARN, Mark.FAIL}]
    assert all(line.remedy for line in troubles)
    if code:
        assert exits_with == code


@pytest.mark.parametrize(
    ("place", "says", "do"),
    [
        ("file/audit.sqlite", "a file stands in the way", "is a file"),
        ("/proc/none/audit.sqlite", "cannot be made", "or name another place with `audit_path`"),
    ],
)
def test_a_log_that_can_never_be_made(
    variables: dict[str, str], tmp_path: Path, place: str, says: str, do: str
) -> None:
    """Rights do not tell: root may write everywhere, and makes no folder in `/proc` all the same."""
    (tmp_path / "file").write_text("")
    (tmp_path / "c.toml").write_text(f'audit_path = "{tmp_path / place}"\n')
    found, code = looked(variables | {"MLGOV_CONFIG": str(tmp_path / "c.toml")})
    (line,) = found["audit log"]
    assert (code, line.mark, says in line.seen, do in (line.remedy or "")) == (4, Mark.FAIL, True, True), line


def test_a_log_that_can_be_made_leaves_no_trace_of_the_trial(
    variables: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "c.toml").write_text(f'audit_path = "{tmp_path / "deep" / "er" / "audit.sqlite"}"\n')
    before = sorted(tmp_path.iterdir())
    (line,) = looked(variables | {"MLGOV_CONFIG": str(tmp_path / "c.toml")})[0]["audit log"]
    assert (line.mark, "none yet" in line.seen) == (Mark.OK, True)
    assert sorted(tmp_path.iterdir()) == before


NO_ROOT = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-dac_override,-dac_read_search")  # fmt: skip
"""Root with no more than an owner's rights: others have no more than these anyway."""


@pytest.mark.parametrize(
    ("name", "subject", "code"),
    [
        ("audit_path", "audit log", 4),
        ("MLGOV_TRUST", "trust file", 2),
        ("MLGOV_POLICY_PATH", "policy", 2),
        ("MLGOV_KEY_PASSPHRASE_FILE", "file rights", 2),
        ("MLGOV_CONFIG", "", 2),
    ],
)
def test_what_this_user_may_not_look_at_is_named(
    variables: dict[str, str], tmp_path: Path, name: str, subject: str, code: int
) -> None:
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root may read everything, and `setpriv` (util-linux) is not here to take that away")
    shut = tmp_path / "shut"
    shut.mkdir()
    given = {**variables, "MLGOV_HOME": str(tmp_path)}
    if name == "audit_path":
        (tmp_path / "mlgov.toml").write_text(f'audit_path = "{shut / "a.sqlite"}"\n')
    else:
        given[name] = str(shut / "it")
    shut.chmod(0)
    try:
        done = subprocess.run(
            [*(NO_ROOT if os.geteuid() == 0 else ()), sys.executable, "-m", "governance.cli.main", "doctor", "--offline"],
            capture_output=True, text=True, check=False, env=clean(**given), cwd=tmp_path,
        )  # fmt: skip
    finally:
        shut.chmod(0o700)
    told = done.stdout + done.stderr
    assert (done.returncode, "Permission denied" in told, f"✗  {subject}" in told or not subject) == (
        code,
        True,
        True,
    ), told
    assert "what to do:" in told
    assert "mistake in the program" not in told


def test_an_environment_that_is_misspelt_is_not_production(variables: dict[str, str]) -> None:
    given = {"MLGOV_ENVIRONMENT": "prodution", "MLGOV_PROMOTIONS": "champion=prd, canary=prod-eu, blue=prod"}
    seen = [line.seen for line in looked(variables | given)[0]["settings"] if line.mark is Mark.WARN]
    assert [text.partition(" is none")[0] for text in seen if "did you mean `production`?" in text] == [
        "the environment `prodution` (of `environment`)",
        "the environment `prd` (of `champion`)",
    ]


def test_files_that_others_may_change(variables: dict[str, str], tmp_path: Path) -> None:
    make_key(variables)
    policies = tmp_path / "policies"
    policies.mkdir()
    import policies as packs

    (policies / "p.yaml").write_text(packs.read("baseline"))
    policies.chmod(0o777)
    (line,) = looked(variables | {"MLGOV_POLICY_PATH": str(policies)})[0]["file rights"]
    assert (line.mark, line.remedy) == (Mark.FAIL, f"`chmod go-w {policies}`")


def test_a_settings_file_that_others_may_change(variables: dict[str, str], tmp_path: Path) -> None:
    """It says which log is written, and where the token goes."""
    make_key(variables)
    file = tmp_path / "settings.toml"
    file.write_text('environment = "staging"\n')
    for mode, mark in ((0o644, Mark.OK), (0o666, Mark.FAIL)):
        file.chmod(mode)
        (line,) = looked(variables | {"MLGOV_CONFIG": str(file)})[0]["file rights"]
        assert line.mark is mark
    assert line.remedy == f"`chmod go-w {file}`"


@pytest.mark.parametrize("stated", ["ARTIFACTORY_AUTH_TOKEN", "key_passphrase", "audit_dsn"])
def test_a_secret_in_a_settings_file_that_others_may_read(
    variables: dict[str, str], tmp_path: Path, stated: str
) -> None:
    make_key(variables)
    file = tmp_path / "settings.toml"
    file.write_text(f'{stated} = "postgresql://u:hidden@127.0.0.1/a"\n')
    file.chmod(0o640)
    given = {name: value for name, value in variables.items() if not name.startswith("MLGOV_KEY_PASS")}
    (line,) = looked(given | {"MLGOV_CONFIG": str(file)})[0]["file rights"]
    assert (line.mark, line.remedy) == (Mark.FAIL, f"`chmod go-rwx {file}`")
    assert "may be read by others" in line.seen
    assert "hidden" not in line.seen


def test_a_key_that_nobody_trusts(variables: dict[str, str], tmp_path: Path) -> None:
    make_key(variables)
    found, _ = looked(variables | {"MLGOV_TRUST": str(tmp_path / "other.json")})
    assert [line.mark for line in found["signing key"]] == [Mark.FAIL]


def test_mistakes_in_the_policy_are_named(variables: dict[str, str], tmp_path: Path) -> None:
    """The remedy speaks of lines, so they must be there."""
    (tmp_path / "p.yaml").write_text(
        "apiVersion: mlgov/v1\nkind: Policy\nmetadata: {name: A}\nspec: {default: no}\nx: 1\ny: 2\n"
    )
    found, code = looked(variables | {"MLGOV_POLICY_PATH": str(tmp_path / "p.yaml")})
    (line,) = found["policy"]
    assert (line.mark, code) == (Mark.FAIL, 2)
    assert line.seen.startswith(
        f"4 mistake(s) in the policy: {tmp_path / 'p.yaml'}:3:18 metadata.name: expected a name"
    )
    assert line.seen.endswith("; and 1 more")


def test_a_policy_that_is_not_enforced_in_production(variables: dict[str, str], tmp_path: Path) -> None:
    import policies as packs

    observed = packs.read("baseline") + (
        "---\napiVersion: mlgov/v1\nkind: PolicySet\nmetadata: {name: x}\n"
        'spec: {bindings: [{policies: ["*"], environments: ["*"], mode: observe}]}\n'
    )
    (tmp_path / "p.yaml").write_text(observed)
    found, _ = looked(variables | {"MLGOV_POLICY_PATH": str(tmp_path / "p.yaml")})
    assert [line.mark for line in found["policy"]] == [Mark.WARN]


@pytest.mark.parametrize(
    ("action", "url", "count"),
    [("last-verdict, maxAge: 12h", "https://mlflow.example", 1), ("last-verdict, maxAge: 12h", None, 0),
     ("block", "https://mlflow.example", 0)],
)  # fmt: skip
def test_a_verdict_that_can_never_be_fallen_back_on(
    variables: dict[str, str], tmp_path: Path, action: str, url: str | None, count: int
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "apiVersion: mlgov/v1\nkind: Policy\nmetadata: {name: p}\nspec: {default: allow, rules: []}\n---\n"
        "apiVersion: mlgov/v1\nkind: PolicySet\nmetadata: {name: s}\nspec:\n"
        "  bindings: [{policies: ['*'], environments: ['*'], mode: enforce}]\n"
        f"  outage: {{production: {{action: {action}}}, development: {{action: {action}}}}}\n"
    )
    (tmp_path / "remote.toml").write_text(f'audit_url = "{url}"\n' if url else "")
    asked = {"MLGOV_POLICY_PATH": str(policy), "MLGOV_CONFIG": str(tmp_path / "remote.toml")}
    lines = looked(variables | asked)[0].get("outage", [])
    assert [line.mark for line in lines] == [Mark.WARN] * count
    assert all("the last verdict of 43200 s stand, and none ever will" in line.seen for line in lines)


def test_requests_that_no_policy_is_bound_to(variables: dict[str, str], tmp_path: Path) -> None:
    """Whatever the mode, production refuses them. A policy for some repositories is bound all the same."""
    (tmp_path / "p.yaml").write_text(
        "apiVersion: mlgov/v1\nkind: Policy\nmetadata: {name: x}\n"
        'spec: {default: allow, match: {actions: [load, delete], repositories: ["models-*"]}}\n'
    )
    found, _ = looked(variables | {"MLGOV_POLICY_PATH": str(tmp_path / "p.yaml")})
    (line,) = found["policy"]
    assert line.mark is Mark.WARN
    assert "load enforce, upload unbound, delete enforce: production refuses what no policy" in line.seen


# -- services, asked in this process


@pytest.fixture
def look(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Line]]:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    def run(
        *repositories: str, write_test: bool = False, now: datetime | None = None, **changed: str
    ) -> list[Line]:
        for name, value in changed.items():
            monkeypatch.setenv(name, value)
        assembly = Assembly(load_settings(), now=lambda: now or datetime.now(UTC))
        try:
            checks = remote_checks(assembly, repositories=repositories, write_test=write_test)
            return [line for line, _ in run_checks(checks)]
        finally:
            assembly.close()

    return run


def find(lines: list[Line], subject: str) -> list[Line]:
    return [line for line in lines if line.subject == subject]


def test_expired_and_expiring_tokens(look: Callable[..., list[Line]], devserver: DevServer) -> None:
    old = find(look(ARTIFACTORY_AUTH_TOKEN=devserver.token("alice", expires_in=-5)), "token")
    assert [line.mark for line in old] == [Mark.FAIL]
    soon = find(look(ARTIFACTORY_AUTH_TOKEN=devserver.token("alice", expires_in=3600)), "token")
    assert [line.mark for line in soon] == [Mark.WARN, Mark.OK]
    assert "expires in 0 h 59 min" in soon[0].seen


def test_a_clock_that_is_wrong(look: Callable[..., list[Line]]) -> None:
    (line,) = find(look(now=datetime.now(UTC) + timedelta(minutes=10)), "clock")
    assert line.mark is Mark.WARN
    assert "ahead of the server" in line.seen


def test_rights_that_are_missing(look: Callable[..., list[Line]], devserver: DevServer, repo: str) -> None:
    token = devserver.add_user("reader", "reader", rights={repo: "rm"})
    seen = [
        line.seen
        for line in find(look(repo, ARTIFACTORY_AUTH_TOKEN=token), f"repository {repo}")
        if line.mark is Mark.FAIL
    ]
    assert seen == ["the token lacks the right to deploy", "the token lacks the right to annotate"]


def test_a_write_test_without_the_right_to_delete(
    look: Callable[..., list[Line]], ci_token: str, repo: str
) -> None:
    lines = find(look(repo, write_test=True, ARTIFACTORY_AUTH_TOKEN=ci_token), f"repository {repo}")
    assert any("could be deployed, annotated" in line.seen for line in lines)
    assert any(line.mark is Mark.WARN and "could not be deleted" in line.seen for line in lines)


def test_a_repository_that_xray_does_not_index(look: Callable[..., list[Line]], devserver: DevServer) -> None:
    key = devserver.create_repository("unindexed-local", xray_index=False)
    assert find(look(key), f"repository {key}")[0].mark is Mark.WARN


def test_a_virtual_repository_whose_files_xray_knows_by_another(
    look: Callable[..., list[Line]], devserver: DevServer, repo: str, admin_token: str
) -> None:
    """It was told to have it indexed, which Xray does of no virtual repository, or that all was in order."""
    requests.put(
        f"{devserver.artifactory_url}/api/repositories/{repo}-door",
        json={"rclass": "virtual", "packageType": "generic", "repositories": [repo]},
        headers={"Authorization": f"Bearer {admin_token}"},
        timeout=10,
    ).raise_for_status()
    line, *_ = find(look(f"{repo}-door"), f"repository {repo}-door")
    assert line.mark is Mark.WARN
    assert "hold everything back" in line.seen
    assert line.remedy is not None
    assert f"`{repo}`" in line.remedy
    devserver.remove_repository(f"{repo}-door")


def test_services_that_do_not_answer(look: Callable[..., list[Line]], devserver: DevServer) -> None:
    lines = look(MLGOV_ARTIFACTORY_URL="http://127.0.0.1:9/artifactory")
    assert find(lines, "127.0.0.1:9")[0].mark is Mark.FAIL
    fault = devserver.faults.add(Fault(path="/xray/*", times=None, status=404))
    try:
        assert find(look(MLGOV_ARTIFACTORY_URL=devserver.artifactory_url), "Xray")[0].mark is Mark.WARN
    finally:
        devserver.faults.remove(fault)


# -- installation and tracking server


@pytest.mark.parametrize(
    ("registered", "expected"),
    [
        ({}, [Mark.FAIL]),
        ({"artifactory": "other.Repository", "mlflow-artifacts": "plugin.x", "runs": "plugin.y"}, [Mark.FAIL, Mark.OK, Mark.OK]),
        ({"artifactory": "plugin.x", "mlflow-artifacts": "mlflow.x", "runs": "plugin.y"}, [Mark.OK, Mark.WARN, Mark.OK]),
    ],
)  # fmt: skip
def test_who_serves_the_schemes(registered: dict[str, str], expected: list[Mark]) -> None:
    lines = [line for line, _ in run_checks(install_checks(Settings(), lambda: registered))]
    assert [line.mark for line in lines if line.subject == "MLflow schemes"] == expected


def test_what_keeps_mlflow_from_being_asked_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a container without a home, or with half an installation, `import mlflow` fails; the reason was thrown away."""
    (tmp_path / "mlflow.py").write_text("raise RuntimeError('Could not determine home directory.')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    ((line, code),) = [
        each for each in run_checks(install_checks(Settings())) if each[0].subject == "MLflow schemes"
    ]
    assert (line.mark, code) == (Mark.FAIL, 2)  # and not 70, which says that the fault is ours
    assert "RuntimeError: Could not determine home directory." in line.seen


@pytest.mark.parametrize(
    ("setting", "module", "extra"),
    [
        ({"metrics": True}, "prometheus_client", "metrics"),
        ({"server_auth": "basic-auth"}, "flask_wtf", "auth"),
    ],
)
def test_a_server_that_would_not_start_for_want_of_a_package(
    monkeypatch: pytest.MonkeyPatch, setting: dict[str, Any], module: str, extra: str
) -> None:
    checks = install_checks(Settings(**setting), lambda: {"artifactory": "plugin.x"})
    assert not [line for line, _ in run_checks(checks) if line.subject == "extras"]
    monkeypatch.setitem(sys.modules, module, None)
    (line,) = [line for line, _ in run_checks(checks) if line.subject == "extras"]
    assert (line.mark, line.remedy) == (Mark.FAIL, f"`pip install 'mlflow-governance[{extra}]'`")


def test_mlflow_says_that_it_is_us(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever packages print that are imported on the way."""
    (tmp_path / "sitecustomize.py").write_text("print('a word', end=' of mine')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert ask_mlflow()["artifactory"] == "plugin.entry.artifactory_repository"


@pytest.mark.parametrize(
    ("uri", "mark", "says"),
    [
        ("sqlite:///mlflow.db", "warn", "this machine's own policy decides"),
        ("http://127.0.0.1:9", "fail", "no connection"),
    ],
)
def test_tracking_servers(variables: dict[str, str], uri: str, mark: str, says: str) -> None:
    from governance.cli.checkup.tracking import tracking_checks

    with environment(variables):
        ((line, _),) = run_checks(tracking_checks(uri, load_settings()))
    assert (line.subject, line.mark.value) == ("tracking server", mark)
    assert says in line.seen


def test_a_tracking_server_with_and_without_our_app() -> None:
    from governance.cli.checkup.tracking import tracking_checks

    def asked(*answers: bytes) -> list[Line]:
        with raw_server(*answers) as server:
            return [line for line, _ in run_checks(tracking_checks(server.url, load_settings()))]

    ours = asked(answer(body=b"OK"), answer(body=b'{"app": "governance", "status": "ok"}'))
    assert [line.mark for line in ours] == [Mark.OK, Mark.OK]
    stock = asked(answer(body=b"OK"), answer(404, b"no"))
    assert [line.mark for line in stock] == [Mark.OK, Mark.WARN]
    assert "--app-name governance" in str(stock[1].remedy)


@pytest.mark.parametrize(
    "stated",
    [
        ("audit_pseudonym_key",),
        ("audit_key",),
        ("audit_key_passphrase_file",),
        ("artifactory_certificate", "artifactory_certificate_key"),
    ],
    ids=lambda stated: stated[-1],
)
def test_a_file_with_a_secret_that_others_may_read(
    variables: dict[str, str], tmp_path: Path, stated: tuple[str, ...]
) -> None:
    """Whoever has the pseudonym key joins each pseudonym to its person."""
    make_key(variables)
    secret, file = tmp_path / "secret", tmp_path / "settings.toml"
    secret.write_bytes(b"k" * 32)
    file.write_text("".join(f'{each} = "{secret}"\n' for each in stated))
    for mode, mark in ((0o600, Mark.OK), (0o640, Mark.FAIL)):
        secret.chmod(mode)
        (line,) = looked(variables | {"MLGOV_CONFIG": str(file)})[0]["file rights"]
        assert line.mark is mark
    assert line.remedy == f"`chmod go-rwx {secret}`"
