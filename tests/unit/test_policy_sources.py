"""Policy files in force: taken up when they change, and the old ones kept where the new are broken or half written."""

from __future__ import annotations

import logging
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from governance.errors import AuditUnavailableError, GovernanceError, PolicyInvalidError
from governance.policy.source import PolicySource
from governance.policy_wiring import policy_source
from governance.settings import Settings
from tests.unit.policy_kit import MALICIOUS, Clock, bundle, policy, rule


def replace_file(path: Path, text: str) -> None:
    """Write a file as an editor does, so that no reader sees half of it."""
    temporary = path.with_suffix(".new")
    temporary.write_text(text)
    temporary.replace(path)


def test_a_changed_policy_is_taken_without_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, clock = tmp_path / "p.yaml", Clock()
    replace_file(file, policy())
    source = PolicySource([tmp_path], clock=clock)
    first = source.current()
    replace_file(file, policy(rule(MALICIOUS)))
    assert source.current() is first, "it is looked at once a second"
    clock.now += 2
    second = source.current()
    assert second.digest != first.digest
    assert source.current() is second
    assert "replaces" in caplog.text


def test_what_is_still_being_written_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, clock = tmp_path / "p.yaml", Clock()
    whole = policy(rule(MALICIOUS))
    replace_file(file, whole)
    source = PolicySource([tmp_path], settle=0.25, clock=clock, sleep=lambda _: None)
    first = source.current()
    halves = (whole[: whole.index("  rules")], whole[: whole.index("  when")], "")
    for half in halves:
        file.write_text(half)
        clock.now += 1
        assert source.current() is first
        clock.now += 0.2
        assert source.current() is first
    file.write_text(whole.replace("it matched", "it did"))
    clock.now += 0.1
    assert source.current() is first
    clock.now += 0.26
    assert source.current().digest != first.digest
    assert "BROKEN" not in caplog.text


def test_the_first_decision_after_a_change_is_the_new_policys(tmp_path: Path) -> None:
    """On a server that nobody asked since, a change may be hours old. Whoever asks while more is written does not wait again."""
    file, clock = tmp_path / "p.yaml", Clock()
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.now += seconds
        if writing:
            (tmp_path / "more.yaml").write_text(policy(name=writing.pop()))

    writing: list[str] = []
    replace_file(file, policy())
    source = PolicySource([tmp_path], settle=0.25, clock=clock, sleep=sleep)
    first = source.current()
    replace_file(file, policy(rule(MALICIOUS)))
    clock.now += 3600
    second = source.current()
    assert (second.digest != first.digest, slept) == (True, [0.25])

    file.write_text(policy())
    writing.append("q")
    clock.now += 3600
    assert [source.current() for _ in range(3)] == [second] * 3
    assert slept == [0.25, 0.25]
    clock.now += 0.25
    assert {one.name for one in source.current().bundle.policies} == {"p", "q"}


def test_who_asks_while_another_waits_for_a_change_to_settle_gets_the_new_policy_too(tmp_path: Path) -> None:
    """MLflow fetches the files of a model all at once, hours after the change."""
    file, clock = tmp_path / "p.yaml", Clock()
    others: list[threading.Thread] = []
    got: list[str] = []

    def sleep(seconds: float) -> None:
        for _ in range(3):
            others.append(threading.Thread(target=lambda: got.append(source.current().digest)))
            others[-1].start()
        others[0].join(0.05)  # with the old policy in its hands it would be done by now
        clock.now += seconds

    replace_file(file, policy())
    source = PolicySource([tmp_path], settle=0.25, clock=clock, sleep=sleep)
    first = source.current()
    replace_file(file, policy(rule(MALICIOUS)))
    clock.now += 3600
    second = source.current()
    for thread in others:
        thread.join()
    assert second.digest != first.digest
    assert got == [second.digest] * 3


def test_what_a_reading_rests_on_besides_is_watched_too(tmp_path: Path) -> None:
    file, besides, clock = tmp_path / "p.yaml", tmp_path / "home" / "trust.json", Clock()
    besides.parent.mkdir()
    replace_file(file, policy())
    read: list[bool] = []

    def load() -> Any:
        read.append(besides.exists())
        return bundle(file.read_text())

    source = PolicySource([file], load=load, also=[besides], clock=clock)
    source.current()
    besides.write_text("{}")
    clock.now += 2
    source.current()
    besides.unlink()
    clock.now += 2
    source.current()
    assert read == [False, True, False]


def test_a_broken_new_policy_leaves_the_old_one_in_force_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, clock = tmp_path / "p.yaml", Clock()
    replace_file(file, policy())
    source = PolicySource([tmp_path], clock=clock)
    first = source.current()
    replace_file(file, "nonsense: [")
    for _ in range(3):
        clock.now += 2
        assert source.current() is first
    assert source.problem is not None
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "THE NEW POLICY IS BROKEN" in caplog.text
    file.unlink()
    clock.now += 2
    assert source.current() is first, "an empty folder opens no door"
    replace_file(file, policy(rule(MALICIOUS)))
    clock.now += 2
    assert source.current().digest != first.digest
    assert source.problem is None


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (AuditUnavailableError("the log does not say what it knows of waivers"), "what it knows of waivers"),
        (OSError(24, "hunter2"), "got a OSError"),
        (RecursionError("hunter2"), "got a RecursionError"),
        (UnicodeDecodeError("utf-8", b"hunter2", 0, 1, "hunter2"), "got a UnicodeDecodeError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_keeps_a_new_policy_from_being_taken_up_leaves_the_old_one_in_force_and_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception, said: str
) -> None:
    file, clock, errors = tmp_path / "p.yaml", Clock(), [error]
    replace_file(file, policy())

    def load() -> Any:
        if errors:
            raise errors[0]
        return bundle(file.read_text())

    source = PolicySource([tmp_path], load=load, clock=clock)
    with pytest.raises(GovernanceError, match=said):
        source.current()
    errors.clear()
    clock.now += 2
    first = source.current()
    replace_file(file, policy(rule(MALICIOUS)))
    errors.append(error)
    for _ in range(3):
        clock.now += 2
        assert source.current() is first
    assert said in str(source.problem)
    assert caplog.text.count("THE NEW POLICY COULD NOT BE TAKEN UP") == 1, "once, and not at each look"
    errors.clear()
    clock.now += 2
    assert source.current().digest != first.digest, "though no file changed since"
    assert source.problem is None
    assert "hunter2" not in caplog.text


def test_without_any_good_policy_there_is_an_error_until_there_is_one(tmp_path: Path) -> None:
    clock = Clock()
    source = PolicySource([tmp_path / "p.yaml"], clock=clock)
    for _ in range(2):
        with pytest.raises(PolicyInvalidError, match="expected a folder or file"):
            source.current()
    (tmp_path / "p.yaml").write_text(policy())
    clock.now += 2
    assert source.current().bundle.policies[0].name == "p"


def test_files_that_change_while_they_are_read_are_read_again(tmp_path: Path) -> None:
    file, clock = tmp_path / "p.yaml", Clock()
    replace_file(file, policy())
    loads = 0

    def load() -> Any:
        nonlocal loads
        loads += 1
        read = bundle(file.read_text())
        if loads == 2:
            replace_file(file, policy(name="third"))
        return read

    source = PolicySource([file], load=load, clock=clock)
    source.current()
    replace_file(file, policy(name="second"))
    clock.now += 2
    assert source.current().bundle.policies[0].name == "p", "half of each version is no version"
    assert source.current().bundle.policies[0].name == "third"


def test_where_a_policy_comes_from_is_on_record_by_a_mark_that_tells_places_apart_and_names_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    marks = [policy_source(Settings(policy_path=Path(tmp_path, name))) for name in ("one", "other", "one")]
    bundle = policy_source(Settings(policy_bundle="https://ann:hunter2@ml.example.org/"))
    assert marks[0] == marks[2] == policy_source(Settings(policy_path=Path("one")))
    assert bundle == policy_source(Settings(policy_bundle="https://ml.example.org/"))
    assert len({*marks, bundle, policy_source(Settings())}) == 4
    assert all(re.fullmatch("[0-9a-f]{16}", mark) for mark in (*marks, bundle))
