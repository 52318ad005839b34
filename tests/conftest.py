"""Fixtures for all tests: one embedded server per session, one fresh repository per test."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import HealthCheck, settings

from governance.devserver import DevServer, DevServerConfig
from tests.compliance_log import Demo, make_demo
from tests.postgres_server import PostgresServer, running_postgres, why_not

_NUMBERS = count(1)
_LONG = 30

# The processes of a parallel run are told that they are 80 columns wide, and what they print would be folded there.
os.environ.pop("COLUMNS", None)

# No test is timed: what an example takes depends on who else uses the machine.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Long values are numbered rather than written out: they may hold a time or an id that is new in each process, and
    the processes of one run must know each test by the same name."""
    return argname if isinstance(val, str | bytes) and len(val) > _LONG else None


if threading.current_thread() is threading.main_thread():
    # A shell that starts the tests in the background makes its children ignore Ctrl-C, and what they start ignores it
    # too. Some tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def devserver() -> Iterator[DevServer]:
    """A running embedded server: users `admin`/`password`, `alice`/`alice` (all but manage) and `ci`/`ci` (no delete)."""
    with DevServer.start(DevServerConfig()) as server:
        yield server


@pytest.fixture
def repo(devserver: DevServer) -> Iterator[str]:
    """Key of a fresh, empty generic repository. Faults and held scans of the test end with it."""
    key = devserver.create_repository(f"test-{next(_NUMBERS)}-local")
    yield key
    devserver.faults.clear()
    devserver.release_scans()
    devserver.remove_repository(key)


@pytest.fixture(scope="session")
def admin_token(devserver: DevServer) -> str:
    return devserver.token("admin")


@pytest.fixture(scope="session")
def alice_token(devserver: DevServer) -> str:
    """May read, deploy, annotate and delete everywhere."""
    return devserver.token("alice")


@pytest.fixture(scope="session")
def ci_token(devserver: DevServer) -> str:
    """May read, deploy and annotate everywhere, but neither delete nor overwrite."""
    return devserver.token("ci")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL of its own, on loopback; skipped, with the reason, where none can be started."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def demo_log(devserver: DevServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A log with every kind of event that the program records. Read it, and write nothing to it."""
    key = devserver.create_repository("compliance-local")
    yield make_demo(tmp_path_factory.mktemp("compliance") / "repository", devserver, key)
    devserver.remove_repository(key)
