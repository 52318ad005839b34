"""What one listing of the server stands for, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from governance.artifactory.address import Address, parse_uri
from governance.devserver import DevServer, Fault
from governance.errors import NotFoundError
from governance.model.artifact import FILE_SIGNATURE_SUFFIX
from plugin.listing import Listings
from tests.mlflow_tools import make_home

NAMES = ("MLmodel", "conda.yaml", "model.pkl", "python_env.yaml", "requirements.txt", "data/sample.json")
LISTINGS = "*list*deep=1*"


@pytest.fixture
def root(devserver: DevServer, repo: str) -> Iterator[Address]:
    model = f"1/models/m-{'ab' * 16}/artifacts"
    for name in NAMES:
        devserver.put(repo, f"{model}/{name}", name.encode())
    yield parse_uri(f"artifactory://{devserver.host}/artifactory/{repo}/{model}")
    devserver.faults.clear()


@pytest.fixture
def listings(devserver: DevServer, root: Address, tmp_path: Path) -> Listings:
    client = make_home(tmp_path / "home", devserver).assembly().artifactory(root.host)
    return Listings(client, now=lambda: datetime.now(UTC))


def test_files_asked_for_at_once_share_one_listing(
    devserver: DevServer, listings: Listings, root: Address
) -> None:
    slow = devserver.faults.add(Fault(query=LISTINGS, delay=0.3, times=None))
    with ThreadPoolExecutor(len(NAMES)) as pool:
        plans = list(pool.map(lambda name: listings.plan(root / name), NAMES))
    assert slow.hits == 1
    assert len({plan.correlation for plan in plans}) == 1
    assert [plan.parts[0].selection for plan in plans] == [(name,) for name in NAMES]


def test_a_listing_that_fails_is_not_shared(devserver: DevServer, listings: Listings, root: Address) -> None:
    devserver.faults.add(Fault(query=LISTINGS, delay=0.3, status=404, times=1))

    def plan(name: str) -> str | None:
        try:
            return listings.plan(root / name).correlation
        except NotFoundError:
            return None

    with ThreadPoolExecutor(len(NAMES)) as pool:
        told = list(pool.map(plan, NAMES))
    assert told.count(None) == 1
    assert len(set(told)) == 2


def test_a_whole_and_a_file_that_came_later_are_listed_anew(
    devserver: DevServer, listings: Listings, root: Address, repo: str
) -> None:
    listings.plan(root / "MLmodel")
    listed = devserver.faults.add(Fault(query=LISTINGS, delay=0.0, times=None))
    assert listings.plan(root / "conda.yaml").is_kept
    assert listed.hits == 0
    assert not listings.plan(root).is_kept
    assert listed.hits == 1
    with pytest.raises(NotFoundError):
        listings.plan(root / "later.txt")
    devserver.put(repo, f"{root.path}/later.txt", b"later")
    assert listings.plan(root / "later.txt").parts[0].selection == ("later.txt",)


def test_a_file_of_no_model_is_found_without_a_listing(
    devserver: DevServer, listings: Listings, root: Address, repo: str
) -> None:
    devserver.put(repo, "1/notes/a.txt", b"a")
    devserver.put(repo, f"1/notes/a.txt{FILE_SIGNATURE_SUFFIX}", b"{}")
    listed = devserver.faults.add(Fault(query=LISTINGS, delay=0.0, times=None))
    plan = listings.plan(replace(root, path="1/notes/a.txt"))
    (part,) = plan.parts
    assert plan.is_file
    assert [(str(each.path), each.sha256) for each in part.artifact.files] == [
        ("a.txt", sha256(b"a").hexdigest())
    ]
    assert part.artifact.signature is not None
    assert part.artifact.signature.sha256 == sha256(b"{}").hexdigest()
    assert listed.hits == 0
