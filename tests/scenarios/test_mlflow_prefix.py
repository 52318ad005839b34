"""A tracking server below a prefix of its own, as one behind a proxy is: `mlflow server --static-prefix /ml`, with a login.

What our app adds has to be reached by the address that users know, since a proxy may let nothing else through.
"""

from __future__ import annotations

from pathlib import Path

import requests

from governance.audit.entry import EntryKind
from governance.cli.checkup.check import run_checks
from governance.cli.checkup.tracking import tracking_checks
from governance.cli.output import Mark
from governance.devserver import DevServer
from governance.settings import load_settings
from tests.mlflow_tools import basic_auth, environment, make_home, tracking_server
from tests.scenarios.cli import run_cli

LOGIN = ("boss", "a long admin password")
USER = ("ann", "another long password")


def test_our_paths_lie_below_the_prefix_too(devserver: DevServer, repo: str, tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", devserver)
    devserver.put(repo, "wine/MLmodel", b"flavors: {}\n")
    destination = f"artifactory://{devserver.host}/artifactory/{repo}"
    env = {**home.env, **basic_auth(tmp_path, LOGIN), "MLGOV_METRICS": "true"}
    with tracking_server(
        tmp_path / "server", env, destination, options=["--static-prefix", "/ml"], prefix="/ml"
    ) as server:
        below = f"{server.url}/ml"
        made = requests.post(
            f"{below}/api/2.0/mlflow/users/create",
            json=dict(zip(("username", "password"), USER, strict=True)),
            auth=LOGIN,
            timeout=60,
        )
        made.raise_for_status()
        for place in (server.url, below):
            for path in ("gov/audit/head", "gov/metrics"):
                assert requests.get(f"{place}/{path}", timeout=60).status_code == 401
                assert requests.get(f"{place}/{path}", auth=USER, timeout=60).status_code == 200
            endless = requests.post(f"{place}/gov/audit/entries", data=iter([b"x"]), auth=USER, timeout=60)
            assert endless.status_code == 413, "what does not say how long it is is not read"

        # `mlgov doctor` sees the app by MLflow's login, and says what is wrong where it has none, or a bad one.
        login = dict(zip(("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"), USER, strict=True))
        for given, expected, words in (
            (login, Mark.OK, "runs the governance app"),
            ({}, Mark.WARN, "asks for a login"),
            (login | {"MLFLOW_TRACKING_PASSWORD": "wrong"}, Mark.FAIL, "refuses the login"),
        ):
            with environment({**home.env, **given}):
                lines = [line for line, _ in run_checks(tracking_checks(below, load_settings()))]
            assert [line.mark for line in lines] == [Mark.OK, expected], lines
            assert words in lines[1].seen

        # A client that keeps its log there, by the address that it knows.
        (tmp_path / "client").mkdir()
        (tmp_path / "client" / "mlgov.toml").write_text(f'audit_url = "{below}"\n')
        client = {**home.env, "MLGOV_HOME": str(tmp_path / "client"), "MLGOV_CONFIG": ""}
        done = run_cli("keys", "init", variables=client | login)
        assert done.code == 0, done.err
        assert len(home.entries(EntryKind.KEY)) == 1
