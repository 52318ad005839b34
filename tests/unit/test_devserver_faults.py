"""Scripted faults: each shows to a client as the failure that it stands for."""

from __future__ import annotations

import time

import pytest
import requests
from urllib3.exceptions import IncompleteRead

from governance.devserver import DevServer, Fault, hostile_listing, too_many, unavailable, wrong_checksums


@pytest.fixture
def get(devserver: DevServer, repo: str) -> requests.Session:
    devserver.put(repo, "m.bin", b"0123456789")
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {devserver.token('alice')}"
    return session


@pytest.fixture
def url(devserver: DevServer, repo: str) -> str:
    return f"{devserver.artifactory_url}/{repo}/m.bin"


def test_a_fault_hits_as_often_as_it_was_told(devserver: DevServer, get: requests.Session, url: str) -> None:
    fault = devserver.faults.add(unavailable("*/m.bin", times=2))
    assert [get.get(url, timeout=10).status_code for _ in range(3)] == [503, 503, 200]
    assert fault.hits == 2


def test_a_fault_skips_and_matches_by_method_path_and_query(
    devserver: DevServer, get: requests.Session, url: str
) -> None:
    devserver.faults.add(Fault(method="GET", path="*/m.bin", query="a=*", status=500, skip=1, times=None))
    codes = [
        get.get(url, params=params, timeout=10).status_code
        for params in ({"a": "1"}, {}, {"a": "2"}, {"a": "3"})
    ]
    assert codes == [200, 200, 500, 500]
    assert get.head(url, params={"a": "1"}, timeout=10).status_code == 200


def test_too_many_requests_say_when_to_come_back(
    devserver: DevServer, get: requests.Session, url: str
) -> None:
    devserver.faults.add(too_many(retry_after="7"))
    answer = get.get(url, timeout=10)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert answer.json()["errors"][0]["status"] == 429


def test_xray_faults_have_the_shape_of_xray(devserver: DevServer, get: requests.Session) -> None:
    devserver.faults.add(unavailable("/xray/*", status=500))
    answer = get.get(f"{devserver.xray_url}/api/v1/system/ping", timeout=10)
    assert answer.json() == {"error": "Service Unavailable"}


@pytest.mark.parametrize("size", [10, 1 << 20])
def test_truncated_bodies(
    devserver: DevServer, repo: str, get: requests.Session, url: str, size: int
) -> None:
    devserver.put(repo, "m.bin", b"x" * size)
    devserver.faults.add(Fault(path="*/m.bin", truncate_at=size - 3))
    with pytest.raises(requests.exceptions.ChunkedEncodingError) as caught:
        get.get(url, timeout=10)
    assert isinstance(caught.value.args[0].args[1], IncompleteRead)
    assert len(get.get(url, timeout=10).content) == size


def test_truncated_json(devserver: DevServer, repo: str, get: requests.Session) -> None:
    devserver.faults.add(Fault(path="/artifactory/api/storage/*", truncate_at=20))
    with pytest.raises(requests.exceptions.RequestException):
        get.get(f"{devserver.artifactory_url}/api/storage/{repo}", timeout=10)


def test_corrupted_bodies_keep_their_length(devserver: DevServer, get: requests.Session, url: str) -> None:
    devserver.faults.add(Fault(path="*/m.bin", corrupt_at=4))
    answer = get.get(url, timeout=10)
    assert answer.content == b"0123" + bytes([ord("4") ^ 0xFF]) + b"56789"


def test_wrong_checksum_headers(devserver: DevServer, get: requests.Session, url: str) -> None:
    devserver.faults.add(wrong_checksums("*/m.bin"))
    answer = get.get(url, timeout=10)
    assert (answer.content, answer.headers["X-Checksum-Sha256"]) == (b"0123456789", "0" * 64)


def test_dropped_connections(devserver: DevServer, get: requests.Session, url: str) -> None:
    devserver.faults.add(Fault(path="*/m.bin", method="GET", drop=True))
    with pytest.raises(requests.exceptions.ConnectionError):
        get.get(url, timeout=10)
    devserver.faults.add(Fault(path="*/big", method="PUT", drop_after=1 << 16))
    with pytest.raises(requests.exceptions.ConnectionError):
        get.put(url.replace("m.bin", "big"), data=b"x" * (8 << 20), timeout=10)
    assert get.get(url, timeout=10).status_code == 200
    assert get.head(url.replace("m.bin", "big"), timeout=10).status_code == 404


def test_delays(devserver: DevServer, get: requests.Session, url: str) -> None:
    devserver.faults.add(Fault(path="*/m.bin", delay=0.3))
    begun = time.monotonic()
    get.get(url, timeout=10)
    assert time.monotonic() - begun >= 0.3
    devserver.faults.add(Fault(path="*/m.bin", delay=5))
    with pytest.raises(requests.exceptions.ReadTimeout):
        get.get(url, timeout=0.2)


def test_redirects_to_elsewhere(devserver: DevServer, get: requests.Session, url: str) -> None:
    elsewhere = "https://elsewhere.example/m.bin"
    devserver.faults.add(Fault(path="*/m.bin", status=302, headers={"Location": elsewhere}))
    assert get.get(url, timeout=10, allow_redirects=False).headers["Location"] == elsewhere


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "C:\\evil", "a/../../b", "nul\0l"])
def test_hostile_names_in_listings(devserver: DevServer, repo: str, get: requests.Session, name: str) -> None:
    fault = devserver.faults.add(hostile_listing(name))
    base = f"{devserver.artifactory_url}/api/storage/{repo}"
    shown = name if name.startswith("/") else f"/{name}"
    assert shown in {row["uri"] for row in get.get(f"{base}?list&deep=1", timeout=10).json()["files"]}
    assert shown in {row["uri"] for row in get.get(base, timeout=10).json()["children"]}
    devserver.faults.remove(fault)
    assert len(get.get(base, timeout=10).json()["children"]) == 1
