"""A real PostgreSQL for tests: its own cluster in a temporary folder, on a free loopback port, from Debian's package."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def find_binaries() -> Path | None:
    """The folder of `initdb` and `postgres`: the newest one, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


def why_not() -> str | None:
    """Why no server can be started here, in words for a skipped test."""
    if find_binaries() is None:
        return "PostgreSQL is not installed (`apt-get install postgresql`)"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed (`pip install mlflow-governance[postgres]`)"
    if os.geteuid() == 0 and _runner() is None:
        return "root cannot run PostgreSQL, and there is neither a user `postgres` nor `nobody`"
    return None


def _runner() -> pwd.struct_passwd | None:
    """Who runs it where root, which it refuses, runs the tests. Its package makes a user, which not every image has kept."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return None


class PostgresServer:
    """A running cluster."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self._databases = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        binaries = find_binaries()
        assert binaries is not None
        settings = {
            "listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": str(self.folder),
            "max_connections": "120", "shared_buffers": "64MB",
        }  # fmt: skip
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(binaries / "postgres"), "-D", str(self.folder / "data"), *options],
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd="/",
                **_as_runner(),
            )
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                if self._answers():
                    return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.05)

    def stop(self, *, at_once: bool = False) -> None:
        """End it: properly, or as a crash would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT if at_once else signal.SIGINT)
            self._process.wait(timeout=60)
            self._process = None

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """All its processes stand still, and the machine goes on taking what is sent to them."""
        assert self._process is not None
        first = self._process.pid
        backends = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        every = [first, *map(int, backends)]
        for pid in every:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in every:
                os.kill(pid, signal.SIGCONT)

    def dsn(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The connection string of a database that nobody used yet."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.run(f"CREATE DATABASE {name}")
        return self.dsn(name)

    def run(self, sql: str, database: str = "postgres") -> list[Any]:
        import psycopg

        with contextlib.closing(psycopg.connect(self.dsn(database), autocommit=True)) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def _answers(self) -> bool:
        import psycopg

        try:
            self.run("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


@contextlib.contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    binaries = find_binaries()
    assert binaries is not None
    folder = Path(tempfile.mkdtemp(prefix="mlgov-pg-"))
    try:
        runner = _as_runner()
        if runner:
            os.chown(folder, runner["user"], runner["group"])
        subprocess.run(
            [str(binaries / "initdb"), "-D", str(folder / "data"), "-A", "trust", "-U", "postgres", "-E", "UTF8",
             "--no-locale", "--no-sync"],
            check=True, capture_output=True, cwd="/", **runner,
        )  # fmt: skip
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = PostgresServer(folder, port)
        server.start()
        try:
            yield server
        finally:
            server.stop(at_once=True)  # nothing of it is kept
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_runner() -> dict[str, Any]:
    """The arguments of `subprocess` by which a program does not run as root."""
    runner = _runner() if os.geteuid() == 0 else None
    return {"user": runner.pw_uid, "group": runner.pw_gid, "extra_groups": []} if runner else {}
