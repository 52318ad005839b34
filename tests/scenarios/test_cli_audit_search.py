"""The verbs that look into the audit log, as a user runs them: by words, by ids, following, with a log that is broken."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog
from governance.audit.sqlite import SqliteStore
from governance.cli.main import main
from governance.model.artifact import FileEntry, parse_relative_path
from governance.model.facts import Collection
from governance.model.request import Actor, utc_text
from governance.registrations import RegistryEvent, record_registration
from tests.audit_tools import tamper
from tests.scenarios.cli import Done, be, run_here
from tests.story import CVE, Story, ask, tell
from tests.unit import gate_kit as gate

Cli = Callable[..., Done]


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    (tmp_path / "log").mkdir()
    made = tell(tmp_path, SqliteStore(tmp_path / "log" / "audit.sqlite"))
    yield made
    made.log.close()


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """`mlgov audit ARGUMENTS` in this process."""
    variables(tmp_path, monkeypatch)

    def run(*arguments: str) -> Done:
        return run_here("audit", *arguments, capsys=capfd)

    return run


def variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be(monkeypatch, MLGOV_HOME=str(tmp_path / "log"))


def numbers(done: Done) -> list[int]:
    return [json.loads(line)["index"] for line in done.out.splitlines()]


@pytest.mark.parametrize(("arguments", "found"), [
    (["decision:block", "environment:prod"], [10]), (["--decision", "block"], [10]), (["--model", "fraud/2", "--kind", "decision"], [10, 8]),
    (["--actor", "alice", "--oldest-first"], [4, 6]), (["--digest", "2" * 64], []), (["--action", "promote", "--outcome", "done"], [9]),
    (["--subject", "models/fraud/2", "kind:outcome"], [11, 9]), (["--correlation", "c-1"], [5, 4]), (["--rule", "trial/malicious"], [10]),
    (["--revision", "7", "kind:policy"], [1]), (["--policy", "trial", "kind:policy"], [1]), (["-e", "prod"], [10, 6]),
    (["--since", "2026-11-22T13:03+01:00", "kind:decision"], [10, 8]), (["--until", "2026-11-22T12:01Z", "kind:decision"], [2]),
])  # fmt: skip
def test_search_by_each_option(story: Story, cli: Cli, arguments: list[str], found: list[int]) -> None:
    for more in ((), ("--scan",)):
        done = cli("search", "--json", *arguments, *more)
        assert (done.code, numbers(done)) == (0, found), done.err
    assert ("no entry matches" in done.err) is (not found)


def test_search_prints_a_table_and_how_many_more_there_are(story: Story, cli: Cli) -> None:
    done = cli("search", "kind:decision", "-n", "2")
    assert done.code == 0
    assert done.out.splitlines()[0].split() == ["#", "at", "entry", "about", "what"]
    assert "load: block (refused) by mal" in done.out
    assert "3 more; `--limit 0` prints all" in done.err
    everything = cli("search", "--limit", "0")
    assert everything.err.strip() == f"{len(everything.out.splitlines()) - 1} entries", (
        "a line is the heading"
    )
    assert "at most 4 more" in cli("search", "kind:decision", "since:2026-11-22", "-n", "1").err
    assert len(numbers(cli("search", "--json", "-n", "0"))) == 12


def test_nothing_from_the_log_acts_on_a_terminal(story: Story, cli: Cli) -> None:
    decision = story.entries(EntryKind.DECISION)[-1].entry
    for arguments in (
        ["search"], ["search", "--json"], ["tail"], ["tail", "--json"], ["show", decision.id, "--facts"],
        ["show", decision.id, "--json"], ["who-loaded", "fraud", "-n", "0"], ["who-loaded", "fraud", "--json"], ["replay", decision.id],
        ["search", "actor:\x1b[31m"], ["show", "\x1b[31m"], ["who-loaded", "\x1b]0;x\x07"], ["search", "\x9b31m:x"],
    ):  # fmt: skip
        done = cli(*arguments)
        assert {char for char in done.out + done.err if not char.isprintable()} <= {"\n"}, arguments
    line = next(line for line in cli("search", "--json", "decision:block").out.splitlines())
    assert json.loads(line)["entry"]["body"]["actor"]["name"] == decision.body["actor"]["name"]  # type: ignore[call-overload,index]


@pytest.mark.parametrize(("arguments", "message"), [
    (["search", "decison:block"], "`decison` is not a word of a selection, did you mean `decision`? (at position 1)"),
    (["search", "--since", "2016-12-31T23:59:60Z"], "is a leap second, and no entry can bear that time"),
    (["search", "--until", "2026-02-30"], "is not a time: day is out of range"),
    (["search", "--since", "\u0665d"], "`\u0665d` is not a time"), (["replay", "--all", "--since", "\u0665d"], "`\u0665d` is not a time"),
    (["search", "--since", "2026-01-01T\u0660\u0660:00Z"], "is not a time"), (["search", "since:2026-01-01T\u0660\u0660:00Z"], "is not a time"),
    (["search", "--since", "5D"], "How far back is `90d`"),
    (["search", "since:2026-12-01", "--since", "2026-01-01"], "`since` is given twice, as a word and as an option"),
    (["search", "until:2026-12-01", "--until", "1d"], "`until` is given twice, as a word and as an option"),
    (["search", "--digest", "12"], "`12` is not a SHA-256 in hex"), (["tail", "--kind", "gossip"], "`gossip` is not a kind of entry"),
    (["show", "nothing"], "no entry and no sequence has the id `nothing`"), (["replay"], "one decision is named by its id"),
    (["search", "--since", "2026-11-23", "--until", "2026-11-22"], "the period ends before it begins"),
    (["replay", "--all", "--since", "1d", "--until", "2d"], "the period ends before it begins"),
    (["search", "-n", "9" * 30], "invalid value for `--limit` / `-n`"), (["show", "99"], "there is no entry 99"), (["search", "--rule", "malicious"], "`malicious` is not the full name of a rule"),
    (["tail", "rule:trial/"], "`trial/` is not the full name of a rule"),
    (["who-loaded", "sha512:" + "a" * 128], "does not start with `sha256:`"), (["who-loaded", "MD5:" + "a" * 32], "does not start with"),
    (["replay", "nothing"], "no entry has the id `nothing`"), (["who-loaded", "pkg:"], "`pkg:` is not a package URL"),
])  # fmt: skip
def test_mistakes_are_told_with_what_to_do(
    story: Story, cli: Cli, arguments: list[str], message: str
) -> None:
    done = cli(*arguments)
    assert done.code == 2
    assert f"error: {message}" in done.err or message in done.err
    assert "what to do: " in done.err or "day is out" in message


def test_a_broken_entry_is_named_and_ends_with_4(story: Story, cli: Cli, tmp_path: Path) -> None:
    assert cli("search").code == 0  # the index knows the entry as it was
    tamper(
        tmp_path / "log" / "audit.sqlite",
        "UPDATE entry SET data = CAST(replace(data, 'alice', 'carol') AS BLOB) WHERE seq = 4",
    )
    for arguments in (
        ["search", "actor:alice"],
        ["search", "actor:alice", "--scan"],
        ["who-loaded", CVE],
        ["tail"],
    ):
        done = cli(*arguments)
        assert done.code == 4, arguments
        assert "entry 4: the entry was changed after it was recorded" in done.err
    assert "load: allow" in cli("search", "actor:alice").out  # the other one is told all the same
    assert cli("replay", "--all").code == 4
    (tmp_path / "log" / "audit.sqlite.index").unlink()
    assert "entry 4: " in cli("search", "actor:nobody").err


def test_a_lost_or_foreign_index_is_told_of(story: Story, cli: Cli, tmp_path: Path) -> None:
    index = tmp_path / "log" / "audit.sqlite.index"
    assert numbers(cli("search", "--json", "decision:block")) == [10]
    index.write_bytes(b"nonsense" * 1_000)
    for name in ("-wal", "-shm"):
        index.with_name(index.name + name).unlink(missing_ok=True)
    done = cli("search", "--json", "decision:block")
    assert numbers(done) == [10]
    assert "the index was damaged and is built anew" in done.err
    index.unlink()
    index.mkdir()
    done = cli("search", "--json", "decision:block")
    assert numbers(done) == [10]
    assert "no index can be kept at" in done.err
    assert "every entry is read instead" in done.err


def test_an_entry_is_named_by_its_number_as_tables_show_it_or_by_its_id_in_any_case(
    story: Story, cli: Cli
) -> None:
    stored = story.entries(EntryKind.DECISION)[2]
    told = cli("show", stored.entry.id).out
    assert cli("show", str(stored.index)).out == told
    assert cli("show", stored.entry.id.upper()).out == told
    assert "1 decision comes out the same" in cli("replay", str(stored.index)).out
    assert main(["policy", "explain", str(stored.index)]) == 0


def test_a_replay_of_nothing_does_not_look_like_a_good_one(story: Story, cli: Cli) -> None:
    done = cli("replay", "--all", "--since", "2030-01-01")
    assert (done.code, "no decision is among these entries: nothing was replayed" in done.out) == (0, True)
    assert "the same" not in done.out


def test_show_tells_the_sequence(story: Story, cli: Cli) -> None:
    decision = story.entries(EntryKind.DECISION)[2].entry
    text = cli("show", decision.id).out
    places = [text.index(part) for part in (
        "alice asks to load models/fraud/1", "facts gathered", "world: 4 facts, 0:02:00 old at most", "verdict allow", "let through",
        "load done", "weights.bin: sha256:222", "replayed now: the same verdict, byte for byte",
    )]  # fmt: skip
    assert places == sorted(places)
    tree = json.loads(cli("show", decision.id, "--json").out)
    assert [step["what"] for step in tree["steps"]] == [
        "request",
        "facts",
        "verdict",
        "permit",
        "outcome",
        "replay",
    ]


def test_who_loaded_tells_people_places_and_what_it_cannot_know(story: Story, cli: Cli) -> None:
    done = cli("who-loaded", CVE)
    assert done.code == 0
    for part in (
        "advisory CVE-2025-32434",
        "3 by 2 actors",
        "fraud/1",
        "load: allow, done",
        "prod",
        "serve-1",
        "the same bytes",
    ):
        assert part in done.out
    assert "the log begins at 2026-11-22T12:00:00Z, and knows nothing from before" in done.err
    tree = json.loads(cli("who-loaded", CVE, "--json").out)
    assert len(tree["acts"]) == 3
    assert any("Artifactory's own log" in sentence for sentence in tree["not_known"])
    assert "no decision on record" in cli("who-loaded", "CVE-1999-0001").err


def test_who_loaded_does_not_call_clean_what_is_not_known(story: Story, cli: Cli) -> None:
    story.bench.world.facts = {
        "xray.malicious": False,
        "scan.complete": True,
        "vulnerabilities": Collection((), "Xray: the server failed"),
    }
    ask(story, 1, "unlucky")
    done = cli("who-loaded", "CVE-1999-0001")
    assert "no decision on record is known to be about anything that contains it" in done.err
    told = "whether 1 other loads and downloads contain it is not known: their advisories were not known to the last"
    assert told in done.err
    assert told in json.loads(cli("who-loaded", "CVE-1999-0001", "--scan", "--json").out)["not_known"]


def test_who_loaded_tells_a_load_that_failed_from_one_that_came_to_its_end(story: Story, cli: Cli) -> None:
    story.bench.world.facts = {"xray.malicious": False, "scan.complete": True}
    ask(story, 1, "unlucky", fails=True)
    told = cli("who-loaded", CVE).out
    assert "3 by 2 actors" in told
    assert told.count("unlucky") == 1
    fetched, failed = told.split("who was let through, and failed")
    assert "unlucky" not in fetched
    assert "load: allow, failed" in failed
    acts = json.loads(cli("who-loaded", CVE, "--json").out)["acts"]
    assert [(act["actor"], act["ended"]) for act in acts if act["failed"]] == [("unlucky", ["failed"])]
    assert "some may have failed" not in cli("who-loaded", CVE).err
    assert "how 3 older loads and downloads ended was not looked up" in cli("who-loaded", CVE, "-n", "1").err


def test_who_loaded_names_what_was_registered_and_never_asked_for(story: Story, cli: Cli) -> None:
    """Put straight into Artifactory, and registered."""
    fresh = replace(gate.request().artifact, path="fraud/3", files=(FileEntry(path=parse_relative_path("w"), sha256=story.weights[2], size=1),))  # fmt: skip
    for event, more in (("created", {"source": "models:/m-1"}), ("alias-set", {"alias": "champion"})):
        done = RegistryEvent(
            event=event, name="shop", version="7", actor=Actor(name="zoe"), artifact=fresh, more=more
        )
        record_registration(story.log, done, correlation="r")
    told = cli("who-loaded", "shop")
    assert "no decision on record" in told.err
    for part in ("shop/7", "champion", fresh.ref, str(fresh.digest)):
        assert part in told.out, part


def test_replay_of_one_of_all_and_of_what_is_gone(story: Story, cli: Cli) -> None:
    first = story.entries(EntryKind.DECISION)[0].entry
    assert "1 decision comes out the same, byte for byte" in cli("replay", first.id).out
    assert "5 decisions come out the same" in cli("replay", "--all").out
    assert (
        "2 decisions come out the same"
        in cli("replay", "--all", "--since", utc_text(story.entries(EntryKind.DECISION)[3].entry.at)).out
    )
    assert json.loads(cli("replay", "--all", "environment:prod", "--json", "--scan").out)["same"] == 2
    assert (
        "records `outcome`, not a decision" in cli("replay", story.entries(EntryKind.OUTCOME)[0].entry.id).err
    )
    story.log.store.erase([first.body["facts"]])  # type: ignore[list-item]
    done = cli("replay", "--all")
    assert done.code == 3
    assert f"not replayable: entry 2, decision {first.id}: the facts " in done.err


def test_a_decision_judged_by_earlier_rules_is_not_told_as_a_changed_entry(story: Story, cli: Cli) -> None:
    then = story.entries(EntryKind.DECISION)[0].entry
    verdict = then.body["verdict"]
    assert isinstance(verdict, dict)
    assert verdict["decision"] == "allow"
    story.log.append(
        EntryKind.DECISION,
        {**then.body, "verdict": verdict | {"decision": "warn"}},
        subject=then.subject,
        correlation="earlier",
    )
    done = cli("replay", "--all")
    assert done.code == 1
    assert '`verdict.decision` was "warn" and is now "allow"' in " ".join(done.err.split())
    assert "this program judges otherwise than the one that recorded it" in " ".join(done.err.split())
    assert cli("verify").code == 0


def test_replay_in_several_processes(story: Story, cli: Cli) -> None:
    done = cli("replay", "--all", "--jobs", "2", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["same"] == 5


def test_words_are_listed(story: Story, cli: Cli) -> None:
    assert "environment  " in cli("words").out


def test_tail_follows_what_other_processes_write(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables(tmp_path, monkeypatch)
    process = subprocess.Popen(
        [sys.executable, "-m", "governance.cli.main", "audit", "tail", "-n", "1", "--follow", "--json", "kind:decision"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert json.loads(process.stdout.readline())["id"] == story.entries(EntryKind.DECISION)[-1].entry.id
        ask(story, 1, "carol")
        assert json.loads(process.stdout.readline())["body"]["actor"]["name"] == "carol"
        before = _cpu(process.pid)
        time.sleep(1.0)
        assert _cpu(process.pid) - before < 0.5  # seconds: it waits, and does not turn in circles
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, rest) == (130, "")
    assert "Traceback" not in errors


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_log_that_is_not_there_is_told_of(cli: Cli) -> None:
    done = cli("search")
    assert done.code == 4
    assert "there is no audit log" in done.err


def test_reading_writes_nothing_into_the_log(story: Story, cli: Cli) -> None:
    log: AuditLog = story.log
    size = log.store.frontier()
    for arguments in (["search"], ["show", "c-1"], ["who-loaded", "fraud"], ["replay", "--all"], ["tail"]):
        assert cli(*arguments).code == 0
    assert log.store.frontier() == size
