"""Servers of the demo end with it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from governance.cli.stage.processes import ChildFailedError, Server, Session, clean_environment, free_port
from governance.cli.stage.stage import prepare_folder
from governance.errors import SettingsError

# A server that starts a worker of its own, as MLflow's does, and tells both process ids.
SERVER = """
import os, subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1], "w").write(f"{os.getpid()} {worker.pid}")
time.sleep(600)
"""


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # gone before the file was opened, or before it was read
        return False
    return state != "Z"


def wait_for(what: Callable[[], bool], seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.05)
    return False


def read_pids(path: Path) -> list[int]:
    assert wait_for(lambda: path.exists() and len(path.read_text().split()) == 2)
    return [int(pid) for pid in path.read_text().split()]


def test_stop_ends_the_server_and_its_workers(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    command = [sys.executable, "-c", SERVER, str(pids)]
    with Server("a server", command, environment=os.environ, log=tmp_path / "log", cwd=tmp_path) as server:
        server.wait_until(pids.exists, seconds=15)
        started = read_pids(pids)
        assert all(map(is_alive, started))
    assert not any(map(is_alive, started))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_server_goes_when_whoever_started_it_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    pids = tmp_path / "pids"
    owner = f"""
import os, sys, time
from pathlib import Path
from governance.cli.stage.processes import Server
with Server("s", [sys.executable, "-c", {SERVER!r}, {str(pids)!r}], environment=os.environ,
            log=Path({str(tmp_path / "log")!r}), cwd=Path({str(tmp_path)!r})):
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", owner], stderr=subprocess.DEVNULL) as process:
        started = read_pids(pids)
        process.send_signal(number)
        process.wait(timeout=15)
    assert wait_for(lambda: not any(map(is_alive, started)))


def test_a_server_that_ignores_being_asked_is_ended(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVER
    command = [sys.executable, "-c", stubborn, str(pids)]
    with Server("a server", command, environment=os.environ, log=tmp_path / "log", cwd=tmp_path):
        started = read_pids(pids)
    assert not any(map(is_alive, started))


def test_a_server_that_ends_while_starting_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('the port is taken')"]
    with (
        Server("a server", command, environment=os.environ, log=tmp_path / "log", cwd=tmp_path) as server,
        pytest.raises(ChildFailedError, match="the port is taken"),
    ):
        server.wait_until(lambda: False, seconds=15)


def test_a_server_that_is_never_ready(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with (
        Server("a server", command, environment=os.environ, log=tmp_path / "log", cwd=tmp_path) as server,
        pytest.raises(ChildFailedError, match="not ready within"),
    ):
        server.wait_until(lambda: False, seconds=0.3)


def session(tmp_path: Path, program: str) -> Session:
    """A session whose interpreter runs `program` instead of the demo's."""
    (tmp_path / "stand_in.py").write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    return Session("stand_in", environment=environment, log=tmp_path / "session.log", cwd=tmp_path)


def test_a_script_that_takes_too_long(tmp_path: Path) -> None:
    with (
        session(tmp_path, "import time; time.sleep(600)") as running,
        pytest.raises(ChildFailedError, match="not done"),
    ):
        running.run("script", [], environment={}, log=tmp_path / "log", seconds=0.5)


def test_a_script_that_ends_its_interpreter(tmp_path: Path) -> None:
    with (
        session(tmp_path, "import os; os._exit(3)") as running,
        pytest.raises(ChildFailedError, match="ended its"),
    ):
        running.run("script", [], environment={}, log=tmp_path / "log")


def test_scripts_run_one_after_another_with_their_own_environment(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import os, sys; print(sys.argv[1:], os.environ.get('COLOUR'), flush=True); os.system('echo from a child');"
        "print('an error', file=sys.stderr); sys.exit(int(sys.argv[1]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    log = tmp_path / "log"
    with Session("plugin.demo.session", environment=environment, log=tmp_path / "s", cwd=tmp_path) as running:
        assert (
            running.run("script", ["0"], environment={"PATH": os.environ["PATH"], "COLOUR": "red"}, log=log)
            == 0
        )
        assert log.read_text() == "['0'] red\nfrom a child\nan error\n"
        assert running.run("script", ["7", "x"], environment={"PATH": os.environ["PATH"]}, log=log) == 7
        assert log.read_text().startswith("['7', 'x'] None\n")
        assert running.run("no_such_module", [], environment={}, log=log) == 1
        assert "No module named" in log.read_text()


def test_the_callers_settings_do_not_reach_the_children() -> None:
    caller = {
        "PATH": "/bin",
        "MLFLOW_TRACKING_URI": "https://real",
        "ARTIFACTORY_AUTH_TOKEN": "real",
        "MLGOV_HOME": "/real",
        "_MLFLOW_SERVER_FILE_STORE": "real",
    }
    environment = clean_environment(caller, {"MLGOV_HOME": "/demo"})
    assert environment["MLGOV_HOME"] == "/demo"
    assert environment["PATH"] == "/bin"
    assert "real" not in " ".join(environment.values())


def test_a_free_port_is_free() -> None:
    assert 1024 <= free_port() <= 65535


def test_an_earlier_demo_is_replaced_and_anything_else_left_alone(tmp_path: Path) -> None:
    folder = prepare_folder(tmp_path / "demo")
    (folder / "old").touch()
    assert not (prepare_folder(folder) / "old").exists()

    own = tmp_path / "own"
    own.mkdir()
    (own / "thesis.tex").touch()
    with pytest.raises(SettingsError, match="not the folder of an earlier demo"):
        prepare_folder(own)
    assert (own / "thesis.tex").exists()
    with pytest.raises(SettingsError):
        prepare_folder(own / "thesis.tex")
