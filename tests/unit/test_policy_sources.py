"""Where the policy in force comes from: files that change, and signed bundles."""

from __future__ import annotations

import io
import logging
import re
import tarfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from governance.errors import (
    AuditUnavailableError,
    GovernanceError,
    PolicyInvalidError,
    SettingsError,
    SignatureError,
)
from governance.model.digest import Sha256
from governance.policy.bundle import MANIFEST, BundleError, Seen, open_bundle, pack_bundle
from governance.policy.bundlesource import BundleSource
from governance.policy.compile import compile_bundle
from governance.policy.load import load_files
from governance.policy.revisions import RevisionMemory
from governance.policy.source import PolicySource
from governance.policy_wiring import policy_source
from governance.settings import Settings
from tests.unit.policy_kit import (
    MALICIOUS,
    NOON,
    bundle,
    policy,
    policy_set,
    rule,
)

CONTENT = Sha256("c" * 64)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


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


def sign(payload: bytes) -> bytes:
    """A stand-in for a DSSE envelope: the layer above holds keys."""
    return b"signed:" + payload


def verify(envelope: bytes) -> bytes:
    if not envelope.startswith(b"signed:"):
        raise SignatureError("the signature is not good", reason="bad-signature")
    return envelope.removeprefix(b"signed:")


def packed(revision: int = 1, *, text: str | None = None, name: str = "acme", made: datetime = NOON) -> bytes:
    files = {
        "p.yaml": (text or policy(rule(MALICIOUS))).encode(),
        "set.yaml": policy_set("  {}\n", name=name, revision=revision).encode(),
    }
    return pack_bundle(files, name=name, revision=revision, made=made, sign=sign)


def test_a_bundle_holds_what_went_in_and_is_the_same_bytes_each_time() -> None:
    archive = open_bundle(packed(48), verify=verify, name="acme", highest=Seen(revision=48, content=None))
    assert (archive.name, archive.seen.revision, archive.made, sorted(archive.files)) == (
        "acme",
        48,
        NOON,
        ["p.yaml", "set.yaml"],
    )
    assert packed(48) == packed(48)
    assert compile_bundle(load_files(archive.files)).revision == 48


def repacked(change: Callable[[dict[str, bytes]], None], *, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A bundle with its members changed behind the signature's back."""
    members: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(packed())) as tar:
        for entry in tar:
            stream = tar.extractfile(entry)
            assert stream is not None
            members[entry.name] = stream.read()
    change(members)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.type = len(data), kind if name == "link" else tarfile.REGTYPE
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def announcing(size: int) -> bytes:
    """A bundle whose policy says of itself that it is that long."""
    files = {"p.yaml": b"x"}
    signed = io.BytesIO(pack_bundle(files, name="acme", revision=1, made=NOON, sign=sign))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=signed) as tar, tarfile.open(fileobj=buffer, mode="w") as changed:
        for entry in tar:
            entry.pax_headers = {"size": str(size)} if entry.name == "p.yaml" else {}
            changed.addfile(entry, tar.extractfile(entry))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pé.yaml", "expected file names of ASCII characters"),
        (f"{'a' * 120}.yaml", "expected shorter file names"),
    ],
)
def test_a_name_that_no_bundle_can_hold_is_refused_when_it_is_made(name: str, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        pack_bundle({name: b"x"}, name="acme", revision=1, made=NOON, sign=sign)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "expected 1 to 2000 files, got 0"),
        ({f"{n}.yaml": b"" for n in range(2001)}, "expected 1 to 2000 files, got 2001"),
        (
            {"a.yaml": bytes(33 << 20), "b.yaml": bytes(33 << 20)},
            "expected files of at most 67108864 bytes together",
        ),
    ],
)
def test_no_bundle_is_made_that_its_reader_refuses(files: dict[str, bytes], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        pack_bundle(files, name="acme", revision=1, made=NOON, sign=sign)


def test_the_largest_number_of_files_goes_in_and_out() -> None:
    files = {f"{n}.yaml": b"" for n in range(2000)}
    data = pack_bundle(files, name="acme", revision=1, made=NOON, sign=sign)
    assert open_bundle(data, verify=verify, name="acme").files == files


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected a tar archive"),
        (announcing(10**15), "a whole tar archive; this one is cut short"),
        (b"nonsense" * 200, "expected a tar archive"),
        (packed()[:3000], "expected"),
        (repacked(lambda files: files.update({"p.yaml": b"changed"})), "expected `p.yaml` with the digest of the manifest"),
        (repacked(lambda files: files.update({"more.yaml": b"x"})), "`more.yaml` the bundle holds unnamed"),
        (repacked(lambda files: files.__delitem__("set.yaml")), "`set.yaml` the manifest names and the bundle lacks"),
        (repacked(lambda files: files.__delitem__(MANIFEST)), "expected a bundle that begins with"),
        (repacked(lambda files: files.update({MANIFEST: b"unsigned"})), "a good signature: the signature is not good"),
        (repacked(lambda files: files.update({MANIFEST: b"signed:{}"})), "expected a manifest of type"),
        (repacked(lambda files: files.update({MANIFEST: b"signed:{ }"})), "a manifest in canonical JSON"),
        (repacked(lambda files: files.update({"../up.yaml": b"x"})), "expected relative file names"),
        (repacked(lambda files: files.update({"/etc/x.yaml": b"x"})), "expected relative file names"),
        (repacked(lambda files: files.update({"link": b""}), kind=tarfile.SYMTYPE), "expected plain files only"),
        (packed(41), "expected revision 42 or later, got 41: a rollback"),
        (packed(43, name="other"), "expected the bundle of `acme`, got that of `other`"),
    ],
)  # fmt: skip
def test_a_bundle_that_is_not_right_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(BundleError, match="expected") as caught:
        open_bundle(
            data,
            verify=verify,
            name="acme",
            highest=Seen(revision=42, content=None) if "rollback" in message else None,
        )
    assert message in str(caught.value)


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


def test_revisions_that_many_note_at_once_are_all_kept(tmp_path: Path) -> None:
    """Server workers share the file, with bundles of several sets: what one noted was lost in what another had read before."""
    path = tmp_path / "revisions.json"
    names = [f"set-{number}" for number in range(8)]
    ready = threading.Barrier(len(names))

    def note(name: str) -> None:
        ready.wait(timeout=30)
        for revision in (1, 2, 3):
            RevisionMemory(path).saw(name, Seen(revision=revision, content=CONTENT))

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(note, names))
    assert [RevisionMemory(path).highest(name) for name in names] == [
        Seen(revision=3, content=CONTENT)
    ] * len(names)


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


def test_of_two_bundles_of_one_revision_that_are_taken_up_at_once_one_is_refused(tmp_path: Path) -> None:
    """Server workers share the file: each found nothing noted when it fetched its own."""
    path = tmp_path / "revisions.json"
    seen = [open_bundle(packed(2, text=text), verify=verify).seen for text in (None, policy())]
    RevisionMemory(path).saw("acme", seen[0])
    with pytest.raises(BundleError, match="others under the same number"):
        RevisionMemory(path).saw("acme", seen[1])
    assert RevisionMemory(path).highest("acme") == seen[0]


@pytest.mark.parametrize(
    "damage",
    [
        b"{", b"[]", b'{"acme":"x"}', b"{ }", b'{"acme":true}', b'{"acme":{"content":"x","revision":1}}',
        b'{"acme":{"revision":1}}',
    ],
)  # fmt: skip
def test_a_damaged_memory_of_revisions_is_no_fresh_start(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "revisions.json").write_bytes(damage)
    with pytest.raises(SettingsError, match="is damaged"):
        RevisionMemory(tmp_path / "revisions.json").highest("acme")


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
