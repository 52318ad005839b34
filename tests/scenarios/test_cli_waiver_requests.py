"""`mlgov waiver request`: who asks, for what, and what a request must say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from governance.devserver import DevServer
from governance.errors import ConfigurationError, RefusedError
from governance.waivers import steps, writing
from governance.waivers.steps import SignedStep, StepFile, open_step
from plugin.context import local_user
from tests.scenarios.cli import Cli, run_cli
from tests.scenarios.models import MODEL, PICKLE, load, store
from tests.scenarios.waiver_team import Team


def refuse(cli: Cli, devserver: DevServer, repo: str, files: dict[str, bytes]) -> str:
    """Have something refused on record, and return the decision's id."""
    cli("keys", "init")
    ref = store(devserver, repo, "m", files)
    with pytest.raises(RefusedError):
        load(ref, local_user())
    line = cli("audit", "tail", "--kind", "decision", "-n", "1", "--json").out
    identifier: str = json.loads(line)["id"]
    return identifier


@pytest.mark.parametrize(
    ("files", "says"), [(PICKLE, "`baseline-models/malicious`"), (MODEL, "no rule that objected")]
)
def test_what_cannot_be_waived(
    cli: Cli, devserver: DevServer, repo: str, files: dict[str, bytes], says: str
) -> None:
    if files is PICKLE:
        decision = refuse(cli, devserver, repo, files)
    else:
        cli("keys", "init")
        cli("sign", store(devserver, repo, "m", files))
        decision = json.loads(cli("audit", "tail", "--kind", "decision", "-n", "1", "--json").out)["id"]
    done = cli("waiver", "request", "--decision", decision)
    assert done.code == 2
    assert says in done.err


def test_a_waiver_for_nothing(cli: Cli) -> None:
    cli("keys", "init")
    done = cli("waiver", "request", "--decision", "01a20586-5b30-7a37-9ee5-ff2ba3226591")
    assert done.code == 2
    assert "holds no decision" in done.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "a waiver needs a reason"),
        (("--reason", "r"), "a waiver needs a ticket"),
        (("--reason", "r" * 2001, "--ticket", "t"), "at most 2000 characters"),
        (
            ("--reason", "r", "--ticket", "t", "--days", "91"),
            "91 days are asked for, and the policy set allows 90",
        ),
        (
            ("--reason", "r", "--ticket", "t", "--author", "zoe"),
            "the record says that `admin` made the artifact",
        ),
    ],
    ids=["no reason", "no ticket", "too much", "too long", "another author"],
)
def test_what_a_request_must_say(team: Team, options: tuple[str, ...], says: str) -> None:
    team.load()
    done = team.run("ann", "waiver", "request", "--decision", team.decision(), *options)
    assert (done.code, says in done.err) == (2, True), done.err
    assert not team.waivers.exists()


def test_a_request_is_printed_unsigned_and_never_written_over(team: Team) -> None:
    name = team.ask()
    words = ("waiver", "request", "--decision", team.decision(), "--reason", "r", "--ticket", "t")
    printed = team.run("ann", *words, "--output", "-")
    assert yaml.safe_load(printed.out)["metadata"]["name"] == name
    assert team.run("ann", *words).code == 2  # it is there already


def test_a_request_for_which_the_disk_has_no_room_is_not_on_record_and_can_be_made_again(team: Team) -> None:
    team.load()
    words = ("waiver", "request", "--decision", team.decision(), "--reason", "r", "--ticket", "t")
    with pytest.MonkeyPatch.context() as patch:

        def full(folder: Path, file: StepFile) -> Path:
            raise ConfigurationError(f"`{folder / file.name}` cannot be written: No space left on device")

        patch.setattr(writing, "write_step", full)
        refused = team.run("ann", *words)
    assert (refused.code, "No space left" in refused.err) == (2, True), refused.err
    assert team.listed()["removed"] == []
    assert team.run("ann", *words).code == 0
    assert [each["state"] for each in team.listed()["waivers"]] == ["pending"]


def test_of_two_who_ask_at_once_the_one_who_is_refused_leaves_no_request_on_record(team: Team) -> None:
    team.load()
    words = ("waiver", "request", "--decision", team.decision(), "--reason", "r", "--ticket", "t")
    with pytest.MonkeyPatch.context() as patch:

        def meanwhile(*given: Any, **named: Any) -> SignedStep:
            patch.undo()
            assert team.run("ann", *words).code == 0
            return open_step(*given, **named)

        patch.setattr(steps, "open_step", meanwhile)
        refused = team.run("bob", *words)
    assert (refused.code, "File exists" in refused.err) == (2, True), refused.err
    listed = team.listed()
    assert [each["requestedBy"] for each in listed["waivers"]] == ["ann"]
    assert listed["removed"] == [], "whose request was never there was not taken away either"


def test_who_was_refused_by_a_server_and_has_no_log_is_told_where_to_ask(tmp_path: Path) -> None:
    asked = run_cli(
        "waiver", "request", "--decision", "01a224ff-83b9-75be-bdbb-eb3e74cf9dec", "--reason", "r", "--ticket", "T-1",
        variables={"MLGOV_HOME": str(tmp_path)},
    )  # fmt: skip
    assert (asked.code, "there is no audit log" in asked.err) == (4, True)
    assert "What a tracking server decided is in its log: run this where it runs." in " ".join(
        asked.err.split()
    )


def test_a_request_that_was_drafted_elsewhere_is_signed_by_whom_it_names(team: Team) -> None:
    team.load()
    words = (
        "waiver",
        "request",
        "--decision",
        team.decision(),
        "--reason",
        "r",
        "--ticket",
        "t",
        "--output",
        "-",
    )
    tree = yaml.safe_load(team.run("server", *words).out)
    tree["spec"]["requestedBy"] = "ann"
    name = tree["metadata"]["name"]
    team.waivers.mkdir()
    (team.waivers / "brought.yaml").write_text(yaml.safe_dump(tree))
    assert "no good signature of ann under the request" in team.load()
    other = team.run("bob", "waiver", "request", "--waiver", name)
    assert (other.code, "it is by bob, and ann is to have asked" in other.err) == (2, True)
    assert team.run("ann", "waiver", "request", "--waiver", name).code == 0
    assert "is signed by ann already" in team.run("ann", "waiver", "request", "--waiver", name).err
    assert team.run("bob", "waiver", "approve", "--yes", name).code == 0
    assert team.load() == "allowed"
    assert team.run("ann", "waiver", "request").code == 2
