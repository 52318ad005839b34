"""A large audit log, made quickly: canonical entries, a whole tree, evidence, straight into the SQLite file.

The models are requests of `benchmarks.policy_world`, judged by its policy of 27 rules: each has a folder of files, declared
packages, facts with all of it, and a verdict as the gate would record it. Each pair of entries after that is a decision about one
of them and its outcome, by one of 400 actors on one of 40 hosts; a few are loaded often and most seldom. What a real log has and
this one has not: facts of their own for each decision (here all decisions about a model name the same document), since ten
million of them would take 50 GB.

    python -m benchmarks.report_log FILE --entries 10000000
"""

from __future__ import annotations

import argparse
import itertools
import random
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import apsw

from benchmarks.policy_world import NOW, SEED, make_requests, our_request, policy_yaml, realistic_rules
from governance.audit.bodies import OutcomeStatus, decision_body, moved_documents, outcome_body, policy_body
from governance.audit.entry import evidence_digest, parse_entry
from governance.audit.merkle import Frontier
from governance.audit.sqlite_file import connect, make_file, migrate
from governance.audit.tiles import WIDTH, pack_tile
from governance.collect.request import request_facts
from governance.model.artifact import Artifact, FileEntry, Kind, parse_relative_path
from governance.model.canonical import canonical_bytes
from governance.model.digest import Sha256
from governance.model.facts import Collection, Facts, Item, Origin
from governance.model.request import MlflowContext, Request, utc_text
from governance.model.verdict import Effect, Mode
from governance.policy.compile import CompiledPolicy, compile_bundle
from governance.policy.evaluate import evaluate
from governance.policy.load import load_files

ACTORS = [f"user{number:03}" for number in range(380)] + [f"svc-{number:02}" for number in range(20)]
HOSTS = [f"serve-{number:02}.example.org" for number in range(40)]
_START = datetime(2025, 11, 1, tzinfo=UTC)
_BATCH = 65_536
_ACTOR = "@the-actor@"
_INDEXES = ("entry_subject", "entry_correlation", "entry_kind")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a log was grown from, to ask about."""

    models: tuple[Model, ...]
    policy: CompiledPolicy
    entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model, and the bytes that entries about it are made of."""

    digest: str
    name: str
    version: str
    ref: str
    files: tuple[str, ...]
    packages: tuple[str, ...]
    advisories: tuple[str, ...]
    is_refused: bool
    decision: tuple[bytes, bytes]
    outcome: tuple[bytes, bytes]
    evidence: tuple[tuple[Sha256, bytes], ...]


def grow_log(path: Path, entries: int, *, models: int | None = None) -> World:
    """Make a log of so many entries at `path`, which must not exist."""
    if path.exists():
        raise FileExistsError(path)
    world = make_world(entries, models)
    make_file(path, may_create=True)
    migrate(path)
    with closing(connect(path)) as connection:
        shapes = [str(next(connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)))[0]) for name in _INDEXES]  # fmt: skip
        for name in _INDEXES:
            connection.execute(f"DROP INDEX {name}")
        for pragma in (
            "journal_mode = OFF",
            "synchronous = OFF",
            "cache_size = -400000",
            "locking_mode = EXCLUSIVE",
        ):
            connection.execute(f"PRAGMA {pragma}")
        _fill(connection, world, entries)
        for shape in shapes:
            connection.execute(shape)
        connection.execute("PRAGMA locking_mode = NORMAL")
        connection.execute("PRAGMA journal_mode = WAL")
    return world


def make_world(entries: int, models: int | None = None) -> World:
    """The models alone: the same for the same numbers."""
    count = models or max(10, min(20_000, entries // 100))
    requests = make_requests(count)
    policy = compile_bundle(load_files({"bench.yaml": policy_yaml(realistic_rules(), requests)}))
    dice = random.Random(SEED)
    made = [_model(number, facts, policy, dice) for number, facts in enumerate(requests)]
    # What is loaded often is mostly allowed.
    made.sort(key=lambda model: model.is_refused and dice.random() < 0.9)
    return World(models=tuple(made), policy=policy, entries=entries)


def _model(number: int, facts: dict[str, Any], policy: CompiledPolicy, dice: random.Random) -> Model:
    request, known = asked(number, facts, dice)
    verdict = evaluate(policy, request, known)
    refused = verdict.decision >= Effect.QUARANTINE
    body = decision_body(request=request, verdict=verdict, mode=Mode.ENFORCE, refused=refused)
    document = known.document()
    moved = () if refused else request.artifact.files
    status = OutcomeStatus.REFUSED if refused else OutcomeStatus.DONE
    outcome = outcome_body(decision="@decision@", action=request.action.value, status=status, moved=moved)
    files, packages, advisories = (
        known.record[name] for name in ("files", "dependencies", "vulnerabilities")
    )
    assert isinstance(files, Collection)
    assert isinstance(packages, Collection)
    assert isinstance(advisories, Collection)
    return Model(
        digest=str(request.artifact.digest),
        name=str(request.mlflow.model_name),
        version=str(request.mlflow.model_version),
        ref=request.artifact.ref,
        files=tuple(str(each["sha256"]) for each in files.items),
        packages=tuple(str(each["purl"]) for each in packages.items),
        advisories=tuple(str(each["cve"]) for each in advisories.items),
        is_refused=refused,
        decision=_halves(canonical_bytes(body), _ACTOR),
        outcome=_halves(canonical_bytes(outcome), "@decision@"),
        evidence=tuple((evidence_digest(each), each) for each in (document, *moved_documents(moved))),
    )


def asked(number: int, facts: dict[str, Any], dice: random.Random) -> tuple[Request, Facts]:
    """A request about a model of twelve files and 30 packages, and what is known about it, as the gate gathers it."""
    request, known = our_request(facts)
    files = tuple(
        FileEntry(path=parse_relative_path(f"data/part-{place}"), size=1_000_000 + place, sha256=Sha256(f"{number:048x}{place:016x}"))
        for place in range(12)
    )  # fmt: skip
    artifact = Artifact(
        kind=Kind.MODEL, host="artifactory.example.org", repository=request.artifact.repository,
        path=f"mlflow/7/models/m-{number:032x}/artifacts", name=f"{facts['artifact.name']}", files=files,
    )  # fmt: skip
    request = replace(
        request,
        artifact=artifact,
        actor=replace(request.actor, name=_ACTOR, authentication="basic-auth"),
        mlflow=MlflowContext(
            model_id=f"m-{number:032x}",
            model_name=f"model-{number % 4_000}",
            model_version=str(number // 4_000 + 1),
        ),
    )
    packages: list[Item] = [
        {"purl": f"pkg:pypi/package-{place}@{place % 5}.{dice.randint(0, 9)}.0", "name": f"package-{place}", "direct": True}
        for place in sorted(dice.sample(range(3_000), 30))
    ]  # fmt: skip
    stated = request_facts(request)
    said = Origin(source="request", observed_at=utc_text(request.at))
    more = {
        "dependencies": Collection(tuple(packages)),
        "files": Collection(tuple({"path": str(each.path), "sha256": str(each.sha256), "format": "safetensors"} for each in files)),
    }  # fmt: skip
    values = {**known.values, **more, **stated}
    return request, Facts(values, {**known.origins, **dict.fromkeys(stated, said)})


def _halves(data: bytes, mark: str) -> tuple[bytes, bytes]:
    front, found, back = data.partition(mark.encode())
    if not found or mark.encode() in back:
        raise AssertionError(f"{mark} must stand once")
    return front, back


def _fill(connection: apsw.Connection, world: World, entries: int) -> None:
    """Write the entries in batches of whole tiles, each in one transaction."""
    policy = world.policy
    names = [part.policy.name for part in policy.parts]
    documents: dict[str, tuple[str, str, str, int, bytes]] = {}

    def keep(kind: str, at: str, evidence: Iterable[tuple[Sha256, bytes]]) -> None:
        for name, body in evidence:
            documents.setdefault(name, (name, kind, at, len(body), body))

    keep("policy", _at(0, 0), [(policy.digest, policy.document)])
    for model in world.models:
        keep("decision", _at(0, 0), model.evidence[:1])
        keep("outcome", _at(0, 0), model.evidence[1:])
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO evidence VALUES (?, ?, ?, ?, ?)", sorted(documents.values()))
    connection.execute("COMMIT")
    body = canonical_bytes(policy_body(digest=policy.digest, revision=policy.revision, names=names))
    rows = _rows(world, entries, body)
    frontier, roots = Frontier(), list[list[bytes]]([[]])
    while batch := list(itertools.islice(rows, _BATCH)):
        parse_entry(batch[0][7], strict=True)
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?)", batch)
        leaves = [row[6] for row in batch]
        for start in range(0, len(leaves) - WIDTH + 1, WIDTH):
            root, nodes = pack_tile(leaves[start : start + WIDTH])
            connection.execute("INSERT INTO tile VALUES (0, ?, ?, ?)", (len(roots[0]), root, nodes))
            roots[0].append(root)
            frontier = frontier.extend_subtree(8, root)
        frontier = frontier.extend(leaves[len(leaves) - len(leaves) % WIDTH :])
        connection.execute("UPDATE head SET size = ?, frontier = ?", (frontier.size, frontier.to_bytes()))
        connection.execute("COMMIT")
    connection.execute("BEGIN")
    for height in itertools.count(1):
        if len(roots[height - 1]) < WIDTH:
            break
        roots.append([])
        for number in range(len(roots[height - 1]) // WIDTH):
            root, nodes = pack_tile(roots[height - 1][number * WIDTH : (number + 1) * WIDTH])
            connection.execute("INSERT INTO tile VALUES (?, ?, ?, ?)", (height, number, root, nodes))
            roots[height].append(root)
    connection.execute("COMMIT")


def _rows(
    world: World, entries: int, policy: bytes
) -> Iterator[tuple[int, str, str, str, str, str, bytes, bytes]]:
    """The rows of the table, as quickly as this language makes them."""
    dice = random.Random(SEED + 1).random
    step = min(365 * 86_400_000_000 // max(1, entries), 30_000_000)
    models, count = world.models, len(world.models)
    actors, hosts = [name.encode() for name in ACTORS], [name.encode() for name in HOSTS]
    written = [0] * len(HOSTS)

    def row(  # noqa: PLR0917 - one line of a table
        number: int, kind: str, body: bytes, subject: str, about: str, host: int
    ) -> tuple[int, str, str, str, str, str, bytes, bytes]:
        at, entry_id = _at(number, step), _id(number)
        written[host] += 1
        data = b'{"at":"%b","body":%b,"correlation":"%b","id":"%b","kind":"%b","subject":"%b","v":1,"writer":{"boot":"%b","instance":"%b","n":%d}}' % (
            at.encode(), body, about.encode(), entry_id.encode(), kind.encode(), subject.encode(), hosts[host], hosts[host], written[host],
        )  # fmt: skip
        return (number, entry_id, at, kind, subject, about, sha256(b"\0" + data).digest(), data)

    yield row(0, "policy", policy, "policy", _id(0), 0)
    for number in range(1, entries, 2):
        model, host, decision = models[int(count * dice() ** 3)], int(len(hosts) * dice()), _id(number)
        front, back = model.decision
        yield row(number, "decision", front + actors[int(400 * dice())] + back, model.ref, decision, host)
        if number + 1 < entries:
            front, back = model.outcome
            yield row(number + 1, "outcome", front + decision.encode() + back, model.ref, decision, host)


_DAYS = tuple(f"{_START + timedelta(days=day):%Y-%m-%d}" for day in range(400))


def _at(number: int, step: int) -> str:
    """The time of an entry, as `utc_text` writes it."""
    seconds, micros = divmod(number * step, 1_000_000)
    day, second = divmod(seconds, 86_400)
    return f"{_DAYS[day]}T{second // 3_600:02}:{second // 60 % 60:02}:{second % 60:02}.{micros:06}Z"


def _id(number: int) -> str:
    """An id in the form of a UUIDv7 that grows."""
    return f"019a3b00-{number >> 16 & 0xFFFF:04x}-7{number >> 4 & 0xFFF:03x}-8000-{number:012x}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--entries", type=int, default=1_000_000)
    options = parser.parse_args()
    started = time.perf_counter()
    grow_log(options.file, options.entries)
    taken = time.perf_counter() - started
    print(
        f"{options.entries} entries in {taken:.1f} s, {options.file.stat().st_size / 2**30:.2f} GiB, judged as of {NOW:%Y-%m-%d}"
    )


if __name__ == "__main__":
    main()
