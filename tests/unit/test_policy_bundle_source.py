"""The bundle in force: renewed in time, kept for a bounded time where its place does not answer, and never rolled back."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest

from governance.errors import PolicyInvalidError, SettingsError
from governance.policy.bundle import BundleError, Seen, open_bundle
from governance.policy.bundlesource import BundleSource
from governance.policy.revisions import RevisionMemory
from tests.unit.bundle_kit import packed, verify
from tests.unit.policy_kit import NOON, Clock, policy, rule


def test_the_bundle_source_keeps_the_last_good_bundle_for_a_bounded_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, offered = Clock(), [packed(2)]
    memory = RevisionMemory(tmp_path / "revisions.json")
    source = BundleSource(
        lambda: offered[0], verify=verify, memory=memory, name="acme", refresh=60, max_age=3600, clock=clock
    )
    first = source.current()
    assert (first.revision, memory.highest("acme")) == (2, open_bundle(packed(2), verify=verify).seen)
    for bad in (
        packed(1),
        b"nonsense",
        packed(3, text="nonsense: ["),
        packed(3).replace(b"revision: 3", b"revision: 4"),
    ):
        offered[0] = bad
        clock.now += 61
        assert source.current() is first
        assert source.problem is not None
    assert caplog.text.count("THE POLICY BUNDLE WAS NOT TAKEN") == 4
    clock.now += 3600
    with pytest.raises(PolicyInvalidError, match="no older than 3600 s"):
        source.current()
    offered[0] = packed(3)
    clock.now += 61
    assert source.current().revision == 3
    again = BundleSource(
        lambda: packed(2),
        verify=verify,
        memory=RevisionMemory(tmp_path / "revisions.json"),
        name="acme",
        clock=clock,
    )
    with pytest.raises(PolicyInvalidError, match="revision 3 or later"):
        again.current()


@pytest.mark.parametrize("slept", ["awake", "asleep"])
def test_a_bundle_is_as_old_as_the_clock_says_that_counts_more(tmp_path: Path, slept: str) -> None:
    """What stands for a day stood for weeks on a laptop that was shut at night: the clock that measured it had stood still. The other one
    may be set back."""
    monotonic, wall, offered = Clock(), Clock(), [packed(2)]
    source = BundleSource(
        lambda: offered[0],
        verify=verify,
        memory=RevisionMemory(tmp_path / "revisions.json"),
        name="acme",
        max_age=3600,
        clock=monotonic,
        wall=wall,
    )
    first = source.current()
    offered[0] = b"nonsense"
    passing, other = (wall, monotonic) if slept == "asleep" else (monotonic, wall)
    other.now -= 5 if other is wall else 0
    passing.now += 3600
    assert source.current() is first
    passing.now += 1
    with pytest.raises(BundleError, match="no older than 3600 s"):
        source.current()
    offered[0] = packed(3)
    passing.now += 60
    assert source.current().revision == 3, "what is due is fetched by the same measure"


class SlowPlace:
    """Hands out a bundle at once, and each one after it when it is let."""

    def __init__(self, *after: bytes) -> None:
        self.let, self.came = threading.Event(), threading.Event()
        self.asked = 0
        self._offered = (packed(2), *after)

    def __call__(self) -> bytes:
        self.asked += 1
        if self.asked > 1:
            self.came.set()
            assert self.let.wait(30)
        return self._offered[min(self.asked, len(self._offered)) - 1]


def test_while_a_bundle_stands_nobody_waits_for_a_place_that_does_not_answer(tmp_path: Path) -> None:
    clock, place = Clock(), SlowPlace(packed(3))
    memory = RevisionMemory(tmp_path / "revisions.json")
    source = BundleSource(
        place, verify=verify, memory=memory, name="acme", refresh=60, max_age=3600, patience=0.01, clock=clock
    )
    try:
        first = source.current()
        for _ in range(3):
            clock.now += 61
            assert source.current() is first
        assert place.came.wait(30)
        assert place.asked == 2, "the renewal on its way is the only one"
    finally:
        place.let.set()
    clock.now = 1000 + 3600 + 30
    assert source.current().revision == 3, "too old to stand: what is on its way is waited for"


def test_a_renewal_that_ends_in_a_mistake_of_the_program_is_told_and_none_of_its_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, offered = Clock(), [packed(2)]

    def fetch() -> bytes:
        if not offered:
            raise KeyError("hunter2")
        return offered.pop()

    memory = RevisionMemory(tmp_path / "revisions.json")
    source = BundleSource(
        fetch, verify=verify, memory=memory, name="acme", refresh=60, max_age=3600, clock=clock
    )
    first = source.current()
    clock.now += 61
    assert source.current() is first
    assert "got a KeyError" in caplog.text
    clock.now += 3600
    for _ in range(2):
        with pytest.raises(BundleError, match="got a KeyError"):
            source.current()
    assert "hunter2" not in f"{caplog.text} {source.problem}"


def test_a_renewal_that_took_long_is_not_begun_again_at_once(tmp_path: Path) -> None:
    clock, asked = Clock(), []

    def fail_slowly() -> bytes:
        asked.append(clock.now)
        clock.now += 130
        raise SettingsError("no answer in time")

    memory = RevisionMemory(tmp_path / "revisions.json")
    source = BundleSource(fail_slowly, verify=verify, memory=memory, name="acme", refresh=60, clock=clock)
    for _ in range(3):
        with pytest.raises(PolicyInvalidError, match="no answer in time"):
            source.current()
    assert len(asked) == 1


def test_who_has_no_bundle_to_fall_back_on_is_not_told_that_one_stands(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    memory = RevisionMemory(tmp_path / "revisions.json")
    source = BundleSource(lambda: b"nonsense", verify=verify, memory=memory, name="acme")
    with pytest.raises(PolicyInvalidError, match="expected a tar archive") as caught:
        source.current()
    assert caught.value.hint is not None
    assert "publish a good one" in caught.value.hint
    assert "stays in force" not in caplog.text


def test_a_bundle_for_a_later_version_says_so_and_is_not_taken_in_part(tmp_path: Path) -> None:
    later = policy(rule("{fact: model.card_complete, is: false}"))
    memory = RevisionMemory(tmp_path / "revisions.json")
    source = BundleSource(lambda: packed(3, text=later), verify=verify, memory=memory, name="acme")
    with pytest.raises(PolicyInvalidError, match="expected a fact of the catalogue") as caught:
        source.current()
    assert caught.value.hint is not None
    assert "where it is for a later version, upgrade" in caught.value.hint
    assert memory.highest("acme") is None


def test_other_files_under_the_number_of_a_bundle_that_was_taken_are_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, offered, path = Clock(), [packed(2)], tmp_path / "revisions.json"
    path.write_bytes(b'{"acme":2,"other":7}')  # of an earlier release, which noted numbers alone

    def started() -> BundleSource:
        memory = RevisionMemory(path)
        return BundleSource(lambda: offered[0], verify=verify, memory=memory, name="acme", clock=clock)

    source = started()
    first = source.current()
    assert RevisionMemory(path).highest("other") == Seen(revision=7, content=None)
    offered[0] = packed(2, text=policy())
    clock.now += 61
    assert source.current() is first
    assert "the files that revision 2 had before, got others under the same number" in caplog.text
    with pytest.raises(BundleError, match="others under the same number") as caught:
        started().current()
    assert "published with a higher revision" in str(caught.value.hint)
    offered[0] = packed(2, made=NOON + timedelta(days=1))
    assert offered[0] != packed(2)
    assert started().current().digest == first.digest, "the same files, packed and signed again"
    offered[0] = packed(3, text=policy())
    assert started().current().digest != first.digest
