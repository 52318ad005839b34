"""A quorum that the settings demand: who counts as having kept a head, how long that lasts, and what is refused after it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from governance.audit.anchor import Anchor, FolderAnchor, publish_head
from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog
from governance.audit.memory import MemoryStore
from governance.audit.note import make_signer
from governance.audit.quorum import Quorum, attempts, record_attempt, require_keeper, unkept_words
from governance.audit.sqlite import SqliteStore
from governance.audit.stamp import stamp_of
from governance.audit.store import draft_of
from governance.audit.witness import WitnessAnchor
from governance.auditing import make_anchors, require_distinct
from governance.cli.exits import exit_code
from governance.errors import AuditQuorumError, AuditUnavailableError, SettingsError
from governance.gate import Gate
from governance.model.request import Action, Actor, utc_text
from governance.settings import load_settings
from governance.wiring import Assembly
from plugin.errors import GovernanceUnavailableError, mlflow_error
from tests.audit_server import audit_server
from tests.audit_tools import START, body, fill, make_log, signer
from tests.mlflow_tools import environment
from tests.unit.gate_kit import ONE, Fixed, World, compiled, request
from tests.unit.test_audit_anchor import make_witness, served, witness_signer

HOUR = timedelta(hours=1)


@dataclass
class Setting:
    """A log over whatever store, the clock of all that is around it, and folders that may be in the way of a file."""

    folder: Path
    store: Any = field(default_factory=MemoryStore)
    at: datetime = START

    def now(self) -> datetime:
        return self.at

    def log(self) -> AuditLog:
        return make_log(self.store, now=self.now, signers=[signer()])

    def anchor(self, name: str) -> FolderAnchor:
        return FolderAnchor(folder=self.folder / name / "heads")

    def break_off(self, name: str) -> None:
        place = self.folder / name
        if place.is_dir():
            place.rename(self.folder / f"{name}-away")
        place.write_text("in the way")

    def mend(self, name: str) -> None:
        (self.folder / name).unlink()
        away = self.folder / f"{name}-away"
        if away.exists():
            away.rename(self.folder / name)

    def send(self, log: AuditLog, anchors: list[Anchor], needed: int, *, is_routine: bool = False) -> bool:
        try:
            publish_head(log, anchors, quorum=needed, is_routine=is_routine)
        except AuditUnavailableError:
            return False
        return True

    def quorum(self, log: AuditLog, anchors: list[Anchor], needed: int, age: timedelta = HOUR) -> Quorum:
        return Quorum(log, [each.name for each in anchors], needed=needed, max_age=age, now=self.now)


@pytest.fixture
def around(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


def test_nothing_is_permitted_before_the_first_head_nor_long_after_the_last(around: Setting) -> None:
    log = around.log()
    anchors: list[Anchor] = [around.anchor("a"), around.anchor("b")]
    quorum = around.quorum(log, anchors, 2)
    with pytest.raises(
        AuditQuorumError, match="no head of the audit log was ever kept by 2 of 2 places"
    ) as never:
        quorum.require()
    assert (never.value.since, never.value.failed, never.value.max_age) == (None, (), 3600.0)
    assert "none was sent: is the process that sends them running?" in never.value.message

    assert around.send(log, anchors, 2)
    kept_at = around.at
    for minutes in (0, 30, 60):
        around.at = kept_at + timedelta(minutes=minutes)
        quorum.require()
    around.break_off("b")
    assert not around.send(log, anchors, 2)
    around.at = kept_at + timedelta(minutes=60, seconds=1)
    with pytest.raises(AuditQuorumError) as lapsed:
        quorum.require()
    assert (lapsed.value.since, lapsed.value.failed) == (kept_at, (anchors[1].name,))
    assert (
        f"that 2 of 2 places kept is of {utc_text(kept_at)}, and 3600 s is the most" in lapsed.value.message
    )
    assert (
        f"{anchors[1].name}: kept none since {utc_text(kept_at)} (AuditUnavailableError)"
        in lapsed.value.message
    )
    assert anchors[0].name not in lapsed.value.message.replace(anchors[1].name, "")
    assert "`mlgov audit checkpoint`" in (lapsed.value.hint or "")

    # Reading and verification go on, and so does the record.
    fill(log, 3)
    assert log.verify().is_good
    assert len(list(log.find(kind=EntryKind.OUTCOME))) == 3

    around.mend("b")
    assert around.send(log, anchors, 2)
    quorum.require()


def test_a_restart_does_not_forget_in_either_direction(around: Setting) -> None:
    around.store = SqliteStore(around.folder / "audit.sqlite")
    anchors: list[Anchor] = [around.anchor("a")]
    with contextlib.closing(around.log()) as log:
        assert around.send(log, anchors, 1)
        around.break_off("a")
        around.at += 2 * HOUR
        assert not around.send(log, anchors, 1)
    for _ in range(2):  # other processes, which saw nothing of it themselves
        around.store = SqliteStore(around.folder / "audit.sqlite")
        with contextlib.closing(around.log()) as log:
            with pytest.raises(AuditQuorumError) as caught:
                around.quorum(log, anchors, 1).require()
            assert (caught.value.since, caught.value.failed) == (START, (anchors[0].name,))
    around.store = SqliteStore(around.folder / "audit.sqlite")
    with contextlib.closing(around.log()) as log:
        around.mend("a")
        assert around.send(log, anchors, 1)
    around.store = SqliteStore(around.folder / "audit.sqlite")
    with contextlib.closing(around.log()) as log:
        around.quorum(log, anchors, 1).require()


def test_a_witness_that_goes_away_and_comes_back(around: Setting, tmp_path: Path) -> None:
    """Over real HTTP: what it forgets is nothing, so the head it signs when it is back continues the one before."""
    log = around.log()
    with served(make_witness(tmp_path / "w")) as transport:
        anchors: list[Anchor] = [WitnessAnchor(transport, witness_signer().key)]
        quorum = around.quorum(log, anchors, 1)
        assert around.send(log, anchors, 1)
        quorum.require()
    around.at += 2 * HOUR
    assert not around.send(log, anchors, 1)
    with pytest.raises(AuditQuorumError, match=r"witness .*: kept none since .* \(UnreachableError\)"):
        quorum.require()
    fill(log, 5)
    with served(make_witness(tmp_path / "w")) as transport:
        assert around.send(log, [WitnessAnchor(transport, witness_signer().key)], 1)
    quorum.require()


def test_what_counts_is_what_the_settings_demand_and_not_the_attempt(around: Setting) -> None:
    log = around.log()
    inside, outside = around.anchor("a"), around.anchor("elsewhere")
    both: list[Anchor] = [inside, around.anchor("b")]
    assert around.send(log, [inside, outside], 1)  # by hand, with `--to` and `--quorum 1`
    with pytest.raises(AuditQuorumError):
        around.quorum(log, both, 2).require()
    assert around.send(log, [outside], 1)
    around.quorum(log, both, 1).require()
    with pytest.raises(AuditQuorumError):
        around.quorum(log, [around.anchor("b")], 1).require()


def test_a_place_that_shares_its_name_does_not_stand_for_the_other(around: Setting) -> None:
    log = around.log()
    record_attempt(log, log.checkpoint(), kept=["repository heads"], failed={}, quorum=1)
    with pytest.raises(AuditQuorumError):
        Quorum(log, ["repository heads"] * 2, needed=2, max_age=HOUR, now=around.now).require()


def test_heads_from_the_future_do_not_count(around: Setting) -> None:
    """A clock that was wrong for a while, and is set right, does not hold the door open for that long."""
    log = around.log()
    anchors: list[Anchor] = [around.anchor("a")]
    quorum = around.quorum(log, anchors, 1)
    around.at += timedelta(days=400)
    assert around.send(log, anchors, 1)
    quorum.require()
    around.at -= timedelta(days=400)
    with pytest.raises(AuditQuorumError, match="ever kept"):
        quorum.require()


def test_nobody_writes_from_afar_that_a_head_was_kept(around: Setting) -> None:
    """The intake refuses the kind; an entry under a client's stamp would not count either."""
    log = around.log()
    source = around.log()
    record_attempt(source, source.checkpoint(), kept=["folder a"], failed={}, quorum=1)
    (made,) = source.find(kind=EntryKind.CHECKPOINT)
    stamped = stamp_of(Actor(name="mallory", authentication="basic-auth"), None).apply(made.entry, ())
    around.store = MemoryStore()
    log = around.log()
    log.store.append([draft_of(*stamped)])
    assert list(log.find(kind=EntryKind.CHECKPOINT))
    assert not list(attempts(log))


def test_a_failure_that_goes_on_is_recorded_once_an_hour(around: Setting) -> None:
    log = around.log()
    anchors: list[Anchor] = [around.anchor("a"), around.anchor("b")]
    around.break_off("a")
    for _ in range(60):
        around.at += timedelta(minutes=1)
        assert not around.send(log, anchors, 2, is_routine=True)
    assert len([each for each in attempts(log) if each.failed]) == 1
    around.break_off("b")  # something else about it is another record
    assert not around.send(log, anchors, 2, is_routine=True)
    assert len([each for each in attempts(log) if each.failed]) == 2
    around.at += 2 * HOUR
    assert not around.send(log, anchors, 2, is_routine=True)
    last = [*attempts(log)][-1]
    assert (last.kept, set(last.failed)) == ((), {each.name for each in anchors})


@given(
    steps=st.lists(st.tuples(st.integers(1, 90), st.sets(st.integers(0, 2)), st.integers(1, 3)), max_size=8),
    later=st.integers(0, 120),
    needed=st.integers(1, 3),
    restarts=st.booleans(),
)
def test_it_is_met_exactly_where_enough_of_the_places_kept_a_head_in_time(
    steps: list[tuple[int, set[int], int]], later: int, needed: int, restarts: bool
) -> None:
    """Whatever was asked for, whoever kept, and whether the one who asks saw it happen."""
    around = Setting(Path("/nonexistent"))
    log, names = around.log(), ["a", "b", "c"]
    quorum = Quorum(log, names, needed=needed, max_age=HOUR, now=around.now)
    good: list[datetime] = []
    for minutes, kept, asked in steps:
        around.at += timedelta(minutes=minutes)
        held = [names[number] for number in sorted(kept)]
        failed = {name: "UnreachableError" for name in names if name not in held}
        record_attempt(log, log.checkpoint(), kept=held, failed=failed, quorum=asked)
        if len(held) >= needed:
            good.append(around.at)
        assert (quorum.objection() is None) == bool(good and around.at - good[-1] <= HOUR)
    around.at += timedelta(minutes=later)
    if restarts:
        quorum = Quorum(log, names, needed=needed, max_age=HOUR, now=around.now)
    objection = quorum.objection()
    assert (objection is None) == bool(good and around.at - good[-1] <= HOUR)
    if objection is not None:
        assert objection.since == (good[-1] if good else None)


# -- the gate


def gate(
    around: Setting, log: AuditLog, may_act: Callable[[], None], mode: str = "enforce"
) -> tuple[Gate, World]:
    world = World()
    return Gate(
        policies=Fixed(compiled(around.folder, mode)),
        collectors=[world],
        log=log,
        now=around.now,
        reuse_seconds=(4 * HOUR).total_seconds(),
        may_act=may_act,
    ), world


@pytest.mark.parametrize("mode", ["enforce", "observe"])
def test_the_gate_records_the_decision_and_keeps_the_door_shut(around: Setting, mode: str) -> None:
    """In observe mode too, and for a decision that still stands from before: it is not the policy that says no."""
    log = around.log()
    anchors: list[Anchor] = [around.anchor("a")]
    door, world = gate(around, log, around.quorum(log, anchors, 1).require, mode)
    assert around.send(log, anchors, 1)
    with door.admit(request(at=around.at)) as permit:
        permit.moved("model.pkl", ONE)
    around.at += 2 * HOUR
    for _ in range(2):
        with pytest.raises(AuditQuorumError), door.admit(request(at=around.at)):
            raise AssertionError("the body ran")
    assert world.asked == 1, "the decision of before was asked about"
    ended = [stored.entry.body for stored in log.find(kind=EntryKind.OUTCOME)]
    assert [(each["status"], each["error"]) for each in ended] == [
        ("done", None),
        ("failed", "AuditQuorumError"),
        ("failed", "AuditQuorumError"),
    ]
    assert door.decide(request(at=around.at)).verdict.decision.word == "allow", "asking goes on"
    assert around.send(log, anchors, 1)
    with door.admit(request(at=around.at)) as permit:
        permit.moved("model.pkl", ONE)


def test_users_of_mlflow_and_of_the_command_line_are_told(around: Setting) -> None:
    objection = around.quorum(around.log(), [around.anchor("a")], 1).objection()
    assert objection is not None
    assert exit_code(objection) == 4
    told = mlflow_error(objection)
    assert isinstance(told, GovernanceUnavailableError)
    assert told.get_http_status_code() < 500, "MLflow's client would repeat it for a minute"
    assert "no act is permitted" in str(told)
    assert told.to_json()["reason"] == "AuditQuorumError"


# -- a log that a server keeps


def test_a_client_acts_only_while_the_server_has_its_heads_kept(around: Setting) -> None:
    """Its entries are recorded meanwhile, and no more than the time is told of the server's places."""
    anchors: list[Anchor] = [around.anchor("secret-place")]
    elsewhere = Setting(around.folder)  # the server's clock
    with audit_server() as server:
        server.keep(lambda log: elsewhere.quorum(log, anchors, 1).objection())
        with contextlib.closing(make_log(server.client("alice"), now=around.now)) as log:
            door, _ = gate(around, log, lambda: require_keeper(log))
            with (
                pytest.raises(AuditQuorumError, match="so far too few places") as caught,
                door.admit(request()),
            ):
                raise AssertionError("the body ran")
            assert "secret-place" not in f"{caught.value} {caught.value.hint}"
            kinds = [row.kind for row in server.store.rows(0, 100)]
            assert kinds.count("decision") == kinds.count("outcome") == 1
            assert around.send(server.log, anchors, 1)
            (kept_at,) = [each.at for each in attempts(server.log)]
            elsewhere.at = kept_at + HOUR
            fill(log, 1)  # whatever is acknowledged next says that it is over
            with door.admit(request()) as permit:
                permit.moved("model.pkl", ONE)
            elsewhere.at += timedelta(seconds=1)
            # One with a decision of its own, one with that of before.
            for asked in (request(Action.UPLOAD), request()):
                with pytest.raises(AuditQuorumError, match=f"since {utc_text(kept_at)}"), door.admit(asked):
                    raise AssertionError("the body ran")


@pytest.mark.parametrize("document", [None, [], "yes", 5, {"since": "never"}, {"since": ["x"]}, {}])
def test_an_acknowledgement_that_says_no_in_other_words_says_no(document: object) -> None:
    assert unkept_words(document).startswith("no act is permitted")


# -- settings


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "home"
    path.mkdir()
    with environment({"MLGOV_HOME": str(path)}):
        yield path


REFUSE = 'audit_quorum_unmet = "refuse"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{REFUSE}audit_quorum_max_age = 7200", "without `audit_anchors` no head is ever kept"),
        (f'{REFUSE}audit_anchors = ["a"]', "after how many seconds"),
        (
            f'{REFUSE}audit_anchors = ["a"]\naudit_quorum_max_age = 7199',
            "at least 7200, twice `audit_heartbeat`",
        ),
        (f'{REFUSE}audit_url = "https://mlflow.example"\naudit_quorum_max_age = 7200', "so it is said there"),
        ('audit_anchors = ["a"]\naudit_quorum_max_age = 7200', 'needs `audit_quorum_unmet = "refuse"`'),
        ('audit_anchors = ["a"]\naudit_quorum_unmet = "ignore"', "audit_quorum_unmet"),
        ('audit_anchors = ["a", "a"]', "named twice"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(home: Path, text: str, said: str) -> None:
    (home / "mlgov.toml").write_text(text + "\n")
    with pytest.raises(SettingsError, match=said):
        _ = Assembly(load_settings()).anchors


def test_one_place_that_is_spelled_in_two_ways_does_not_count_twice(home: Path, tmp_path: Path) -> None:
    """One memory is one: a quorum of two that a single witness, or one folder, can meet alone is none."""
    clock = make_signer(
        Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32), name="w.example/1", clock=lambda: 1
    )
    again = make_signer(
        Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32), name="w.example/2", clock=lambda: 1
    )
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    one = clock.key.vkey
    for first, second in (
        (f"https://w.example={one}", f"https://W.example:443/={one}"),
        (f"https://w.example={one}", f"https://elsewhere.example/w={one}"),
        (f"https://w.example={one}", f"https://w.example={again.key.vkey}"),
        (f"{tmp_path}/kept", f"{tmp_path}/kept/"), (f"{tmp_path}/kept", f"{tmp_path}/x/../kept"),
        (f"{tmp_path}/kept", f"{tmp_path}/link"),
        ("artifactory://h.example/artifactory/heads", "artifactory://H.example/artifactory/heads/"),
        ("artifactory://h.example/artifactory/heads", "artifactory://h.example/artifactory/heads/audit-heads"),
    ):  # fmt: skip
        with pytest.raises(SettingsError, match="named twice among the places for heads, before as"):
            require_distinct([first, "another", second])
        (home / "mlgov.toml").write_text(f'audit_anchors = ["{first}", "{second}"]\naudit_quorum = 2\n')
        with pytest.raises(SettingsError, match="named twice"):
            make_anchors(load_settings(), artifactory=lambda _host: None)  # type: ignore[arg-type,return-value]  # none is asked
    require_distinct([f"https://w.example={one}", f"https://w.example={witness_of(9)}", "a", "b", "tsa+https://t.example/1", "tsa+https://t.example/2"])  # fmt: skip


def witness_of(seed: int) -> str:
    private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    return make_signer(private, name="w.example/1", clock=lambda: 1).key.vkey


def test_a_logs_own_key_is_no_witness(home: Path) -> None:
    """Its signature stands under every head, so that whoever answers at that address would count as having cosigned."""
    (home / "mlgov.toml").write_text(f'audit_anchors = ["https://w.example={signer().key.vkey}"]\n')
    with pytest.raises(SettingsError, match="is the key of a log, and not of a witness"):
        _ = Assembly(load_settings()).anchors


def test_an_unmet_quorum_is_an_alarm_unless_said_otherwise(home: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("in the way")
    places = f'audit_anchors = ["{tmp_path}/kept"]\n'
    for text, stops in ((places, False), (f"{places}{REFUSE}audit_quorum_max_age = 7200\n", True)):
        (home / "mlgov.toml").write_text(text)
        with contextlib.closing(Assembly(load_settings())) as assembly:
            with pytest.raises(AuditUnavailableError, match="0 of 1 anchors"):
                assembly.send_head()
            assembly.log.append(EntryKind.OUTCOME, body(), subject="models/a", correlation="c")
            expected = pytest.raises(AuditQuorumError) if stops else contextlib.nullcontext()
            with expected:
                assembly.require_quorum()
