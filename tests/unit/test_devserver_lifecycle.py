"""Starting, stopping, state on disk, and what the server says about itself."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from governance.devserver import DevServer, DevServerConfig, RepositorySpec
from governance.devserver.server import is_loopback


def test_state_on_disk_outlives_the_server(tmp_path: Path) -> None:
    config = DevServerConfig(root=tmp_path / "state")
    with DevServer.start(config) as first:
        token, headers = first.token("alice"), {"Authorization": f"Bearer {first.token('admin')}"}
        first.put("models-local", "a/m.bin", b"x")
        url = f"{first.artifactory_url}/api/metadata/models-local/a/m.bin"
        requests.patch(url, json={"props": {"k": ["v", "w"]}}, headers=headers, timeout=10).raise_for_status()
        first.create_repository("kept-local")
        first.add_user("bob", "secret", rights={"kept-local": "r"})
        requests.delete(f"{first.artifactory_url}/models-local/none", headers=headers, timeout=10)
        before = first.item("models-local", "a/m.bin")
    with DevServer.start(config) as second:
        assert second.item("models-local", "a/m.bin") == before
        assert second.read("models-local", "a/m.bin") == b"x"
        url = f"{second.artifactory_url}/models-local/a/m.bin"
        assert requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=10).content == b"x"
        url = f"{second.artifactory_url}/api/storage/kept-local"
        assert requests.get(url, auth=("bob", "secret"), timeout=10).status_code == 200
    assert b"secret" not in (tmp_path / "state/state.sqlite").read_bytes()


def test_contents_go_when_nobody_holds_them_any_more(tmp_path: Path) -> None:
    with DevServer.start(DevServerConfig(root=tmp_path)) as server:
        for name in ("a", "b"):
            server.put("models-local", name, b"shared")
        sha256 = hashlib.sha256(b"shared").hexdigest()
        blob = tmp_path / "blobs" / sha256[:2] / sha256
        auth = ("admin", "password")
        requests.delete(f"{server.artifactory_url}/models-local/a", auth=auth, timeout=10)
        assert blob.exists()
        server.put("models-local", "b", b"other")
        assert not blob.exists()
        assert list((tmp_path / "incoming").iterdir()) == []


def _within_seconds(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_a_broken_upload_leaves_nothing(tmp_path: Path) -> None:
    with DevServer.start(DevServerConfig(root=tmp_path)) as server:
        head = f"PUT /artifactory/models-local/a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token('alice')}\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(f"{head}Content-Length: 1000\r\n\r\n".encode() + b"x" * 500)
            assert _within_seconds(lambda: len(list((tmp_path / "incoming").iterdir())) == 1)
        assert _within_seconds(lambda: list((tmp_path / "incoming").iterdir()) == [])
        assert server.paths("models-local") == ()


def test_memory_state_leaves_no_folder_behind() -> None:
    with DevServer.start(DevServerConfig()) as server:
        root = server._platform.store.content_path(server.put("models-local", "a", b"x")).parents[2]
        assert root.is_dir()
    assert not root.exists()
    server.stop()


def test_the_port_is_free_again_and_a_taken_one_is_an_error() -> None:
    with DevServer.start(DevServerConfig()) as server, pytest.raises(OSError, match="address already in use"):
        DevServer.start(DevServerConfig(port=server.port))
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", server.port))


def test_a_start_is_quick() -> None:
    begun = time.monotonic()
    with DevServer.start(DevServerConfig()):
        assert (
            time.monotonic() - begun < 5
        )  # well under one second on an idle machine; checks run on busy ones


@pytest.mark.parametrize(
    ("host", "safe"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("example.org", False)],
)
def test_what_counts_as_loopback(host: str, safe: bool) -> None:
    assert is_loopback(host) is safe


def test_it_says_that_it_is_for_trial_and_warns_when_others_can_reach_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "governance.devserver"), DevServer.start(DevServerConfig()):
        pass
    assert "for trial and tests" in caplog.text
    assert "WARNING" not in caplog.text


SERVE = """
import sys
from governance.devserver import DevServerConfig, serve
serve(DevServerConfig(), lambda line: print(line, flush=True))
print("stopped", flush=True)
"""


def test_serving_in_the_foreground_ends_with_a_signal() -> None:
    process = subprocess.Popen([sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        banner = process.stdout.readline()
        assert "not a production store" in banner
        url = next(word.rstrip(":") for word in banner.split() if word.startswith("http"))
        assert requests.get(f"{url}/artifactory/api/system/ping", timeout=10).text == "OK"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "stopped\n"
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def test_it_imports_nothing_else_of_ours() -> None:
    code = textwrap.dedent("""
        import sys
        import governance.devserver
        loaded = {name.split(".")[1] for name in sys.modules if name.startswith("governance.")}
        print(sorted(loaded), "mlflow" in sys.modules)
    """)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "['devserver'] False"


def test_many_clients_at_once(devserver: DevServer, repo: str) -> None:
    headers = {"Authorization": f"Bearer {devserver.token('alice')}"}

    def work(number: int) -> int:
        url = f"{devserver.artifactory_url}/{repo}/n/{number % 10}.bin"
        return requests.put(url, data=os.urandom(1000), headers=headers, timeout=30).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(work, range(80))) == {201}
    assert len(devserver.paths(repo)) == 10
    assert all(
        hashlib.sha256(devserver.read(repo, path)).hexdigest() == devserver.item(repo, path).content.sha256
        for path in devserver.paths(repo)
    )


def test_long_listings_are_quick(devserver: DevServer, repo: str) -> None:
    for number in range(1500):
        devserver.put(repo, f"many/{number:04}.bin", b"x")
    headers = {"Authorization": f"Bearer {devserver.token('alice')}"}
    begun = time.monotonic()
    listed = requests.get(
        f"{devserver.artifactory_url}/api/storage/{repo}?list&deep=1&listFolders=1",
        headers=headers,
        timeout=30,
    ).json()["files"]
    assert len(listed) == 1501
    assert listed[0] == {
        "uri": "/many",
        "size": -1,
        "lastModified": listed[0]["lastModified"],
        "folder": True,
    }
    assert time.monotonic() - begun < 3


def test_virtual_repositories_and_remote_caches_show_what_lies_behind() -> None:
    repositories = (
        RepositorySpec(key="real-local"),
        RepositorySpec(key="hf-remote", origin="remote", package_type="huggingfaceml"),
        RepositorySpec(
            key="all", origin="virtual", members=("real-local", "hf-remote"), deploys_to="real-local"
        ),
    )
    with DevServer.start(DevServerConfig(repositories=repositories)) as server:
        server.put("hf-remote", "cached", b"c")
        auth, base = ("admin", "password"), server.artifactory_url
        made = requests.put(f"{base}/all/a", data=b"x", auth=auth, timeout=10)
        assert made.json()["repo"] == "real-local"
        assert requests.get(f"{base}/all/cached", auth=auth, timeout=10).content == b"c"
        assert requests.get(f"{base}/api/storage/all/a", auth=auth, timeout=10).json()["repo"] == "all"
        for key in ("hf-remote", "hf-remote-cache"):
            info = requests.get(f"{base}/api/storage/{key}/cached", auth=auth, timeout=10).json()
            assert info["repo"] == "hf-remote-cache"
        refused = requests.put(f"{base}/hf-remote/a", data=b"x", auth=auth, timeout=10)
        assert refused.status_code == 404
