"""Registered model versions, as searches, the blast radius and the report tell of them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from governance.audit.bodies import registration_body
from governance.audit.entry import Entry, EntryKind, Writer
from governance.audit.parcel import CLIENT_KINDS
from governance.audit.sqlite import SqliteStore
from governance.cli.audit import summary
from governance.model.artifact import Artifact, FileEntry, Kind, RelativePath, RepositoryKey
from governance.model.digest import Sha256
from governance.model.request import Actor
from governance.registrations import RegistryEvent, record_registration
from governance.report.index.lookup import Index
from governance.report.index.terms import TermReader, term
from governance.report.making import Asked, make_report
from governance.report.question import parse_question
from governance.report.selection import parse_selection
from governance.report.timeline import timeline
from governance.report.to_cyclonedx import CycloneDxFormat
from governance.report.who_loaded import Radius, who_loaded
from governance.report.words import READERS
from tests.audit_tools import START
from tests.story import NUMPY, Story, tell

EVE = Actor(name="eve", authentication="basic-auth")


def artifact(version: int) -> Artifact:
    """The bytes of a version of the story's model, at a place of their own."""
    files = tuple(
        FileEntry(path=RelativePath(path), sha256=Sha256(digit * 64), size=10)
        for path, digit in (("MLmodel", "1"), ("weights.bin", str(version + 1)))
    )
    return Artifact(
        kind=Kind.MODEL, host="127.0.0.1", repository=RepositoryKey("models"), path=f"registered/{version}", name="m", files=files
    )  # fmt: skip


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    made = tell(tmp_path, SqliteStore(tmp_path / "audit.sqlite"))
    yield made
    made.log.close()


def register(story: Story, event: str, version: int | None, *, name: str = "shop", **more: str) -> str:
    done = RegistryEvent(
        event=event, name=name, version=None if version is None else str(version), actor=EVE,
        artifact=None if version is None else artifact(version), more=more,
    )  # fmt: skip
    return record_registration(story.log, done, correlation="r").id


def radius(story: Story, text: str, tmp_path: Path | None) -> Radius:
    index = None if tmp_path is None else Index(story.log.store, tmp_path / "i")
    return who_loaded(story.log, parse_question(text), index)


@pytest.mark.parametrize("scan", [False, True])
def test_a_registered_name_leads_to_everybody_who_loaded_these_bytes(
    story: Story, tmp_path: Path, scan: bool
) -> None:
    register(story, "created", 1, source="models:/m-1")
    register(story, "created", 2)
    made = radius(story, "shop/1", None if scan else tmp_path)
    assert {act.actor for act in made.fetched} == {"alice", "early"}
    assert {act.because for act in made.acts} == {"the same bytes"}, "none of these requests named it"
    assert {*made.registered} == {"shop/1", "fraud/1"}
    (version,) = made.versions.values()
    assert (version.registered, version.by) == ("shop/1", "eve")


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize("asked", [NUMPY, "2" * 64, "fraud/1"])
def test_what_contains_it_is_told_with_its_registered_versions(
    story: Story, tmp_path: Path, asked: str, scan: bool
) -> None:
    register(story, "created", 1)
    register(story, "created", 2)
    made = radius(story, asked, None if scan else tmp_path)
    assert "shop/1" in made.registered
    assert "shop/2" not in made.registered
    assert [each.words for each in made.registrations] == ["shop/1 registered"]


def test_an_alias_is_where_it_was_put_last(story: Story, tmp_path: Path) -> None:
    for event, version, more in (
        ("created", 1, {}), ("alias-set", 1, {"alias": "champion"}), ("alias-set", 1, {"alias": "blue"}),
        ("stage-set", 1, {"stage": "Staging"}), ("alias-set", 2, {"alias": "champion"}), ("alias-removed", 2, {"alias": "other"}),
    ):  # fmt: skip
        register(story, event, version, **more)
    (known,) = radius(story, "shop/1", tmp_path).versions.values()
    assert (known.aliases, known.stage, known.deleted) == (["blue"], "Staging", None)
    register(story, "deleted", 1)
    (known,) = radius(story, "shop/1", tmp_path).versions.values()
    assert known.aliases == []
    assert known.deleted is not None


@pytest.mark.parametrize("scan", [False, True])
def test_what_becomes_of_a_whole_model_becomes_of_its_versions(
    story: Story, tmp_path: Path, scan: bool
) -> None:
    register(story, "created", 1)
    register(story, "created", 1, name="other")
    register(story, "renamed", None, name="store", before="shop")
    register(story, "removed", None, name="other")
    made = radius(story, "2" * 64, None if scan else tmp_path)
    told = {name: each.deleted is not None for name, each in made.versions.items()}
    assert told == {"store/1": False, "other/1": True}
    register(story, "created", 1, name="other")
    assert radius(story, "2" * 64, None if scan else tmp_path).versions["other/1"].deleted is None


@pytest.mark.parametrize(
    ("event", "more", "words"),
    [
        ("created", {}, "shop/3 registered"), ("deleted", {}, "shop/3 deleted"),
        ("alias-set", {"alias": "champion"}, "alias `champion` set on shop/3"),
        ("alias-removed", {"alias": "champion"}, "alias `champion` removed from shop/3"),
        ("stage-set", {"stage": "Production"}, "shop/3 moved to stage Production"),
        ("renamed", {"before": "old"}, "old renamed to shop/3"), ("removed", {}, "shop/3 removed with all versions"),
        ("of another day", {}, "shop/3: of another day"),
    ],
)  # fmt: skip
def test_each_event_has_words(event: str, more: dict[str, str], words: str) -> None:
    body = registration_body(event=event, name="shop", version="3", actor=EVE, more=more)
    assert summary(_entry(body)) == words


def test_what_a_registration_says_is_found_with_and_without_the_index(story: Story, tmp_path: Path) -> None:
    wanted = register(story, "alias-set", 1, alias="champion", model_id="m-" + "a" * 32)
    digest = str(artifact(1).digest)
    stored = story.log.get(wanted)
    assert stored is not None
    for text in (
        "model:shop", "model:shop/1", "model:shop@champion", f"model:m-{'a' * 32}", "actor:eve", "event:alias-set",
        f"digest:{digest}", "kind:registration",
    ):  # fmt: skip
        assert parse_selection(text).matches(stored.entry), text
    groups = TermReader().entry(json.loads(stored.data), stored.data)
    terms = {each for group in groups for each in group.terms}
    assert {term(word, value) for word, read in READERS.items() if word != "correlation" for value in read(stored.entry)} <= terms  # fmt: skip
    assert wanted in {each.id for each in radius(story, "shop@champion", tmp_path).registrations}


def test_a_long_or_odd_name_does_not_keep_it_off_the_record(story: Story) -> None:
    for name in ("x" * 5_000, "mal\x1b[31mory\u202e", "\ud800", "a\nb\x00"):
        identity = register(story, "removed", None, name=name)
        assert story.log.get(identity) is not None


def test_no_client_may_write_one() -> None:
    assert EntryKind.REGISTRATION not in CLIENT_KINDS


def test_it_is_a_step_of_the_promotions_sequence(story: Story) -> None:
    decision = story.entries(EntryKind.DECISION)[3].entry
    done = RegistryEvent(
        event="alias-set", name="shop", version="2", actor=EVE, artifact=artifact(2), more={"alias": "champion", "decision": decision.id}
    )  # fmt: skip
    record_registration(story.log, done, correlation=decision.correlation)
    told = timeline(story.log, decision.id)
    assert "registration: alias `champion` set on shop/2" in [step.title for step in told.steps]


def test_the_report_names_registered_versions_of_what_is_in_use(story: Story) -> None:
    register(story, "created", 1)
    register(story, "created", 1, name="other")
    register(story, "deleted", 1, name="other")
    with make_report(story.log, Asked(), now=story.clock()) as made:
        tables = {table.name: table for table in made.section("inventory").tables}
        columns = [column.name for column in tables["inventory"].columns]
        place = columns.index("registered")
        found = {row[columns.index("artifact")]: row[place] for row in tables["inventory"].rows()}
        assert found["models/fraud/1"] == "shop/1"
        assert {row.ref: row.registered for row in made.inventory()} == found
        out = io.BytesIO()
        CycloneDxFormat().write(made, out)
        assert b'"mlgov:registered",\n          "value": "shop/1"' in out.getvalue()
        assert [row[1:4] for row in tables["registrations"].rows()] == [
            ("created", "shop", "1"), ("created", "other", "1"), ("deleted", "other", "1"),
        ]  # fmt: skip
        ((_, environment, ref, registered, result, *_),) = tables["promotions"].rows()
        assert (environment, ref, registered, result) == ("development", "models/fraud/2", None, "warned")


@pytest.mark.parametrize("selected", ["", "environment:development,production"])
def test_the_inventory_has_the_names_of_renamed_models_and_no_removed_ones(
    story: Story, selected: str
) -> None:
    register(story, "created", 1, name="gone")
    register(story, "renamed", None, name="left", before="gone")
    register(story, "removed", None, name="left")
    register(story, "created", 1)
    register(story, "renamed", None, name="store", before="shop")
    register(story, "created", 1)  # another one, under the name that was free again
    register(story, "removed", None)
    with make_report(story.log, Asked(selection=parse_selection(selected)), now=story.clock()) as made:
        named = {row.ref: row.registered for row in made.inventory()}
        assert named["models/fraud/1"] == "store/1"
        if not selected:
            (table,) = (each for each in made.section("inventory").tables if each.name == "registrations")
            place = [column.name for column in table.columns].index("before")
            assert [row[place] for row in table.rows() if row[1] == "renamed"] == ["gone", "shop"]


def _entry(body: dict[str, Any]) -> Entry:
    writer = Writer(instance="host", boot="b", n=1)
    return Entry(
        id="1", at=START, kind=EntryKind.REGISTRATION, writer=writer, correlation="c", subject="s", body=body
    )
