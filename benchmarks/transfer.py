"""What the plugin costs, or saves, on transfers: `python -m benchmarks.transfer [--json] [--quick] [--jfrog FOLDER]`.

One file of 1 GiB and a folder of 1,000 files of 100 KiB, up and down, against the same embedded server in a process of its
own: through the plugin, with facts, decision, audit records, hashes, signature and properties; through a bare `requests`
loop with one connection, which does none of that; and through JFrog's plugin, if FOLDER is where
`pip install --no-deps --target FOLDER mlflow-jfrog-plugin` put it (it cannot be installed beside ours).

Each transfer runs in a process of its own, in turns with the others; each figure is the median of its rounds, wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.embedded import REPOSITORY, ROOT, Embedded, embedded

MIB = 1 << 20
AGAIN = "download again"
"""Within the 30 seconds for which a decision about the same bytes stands: no facts are gathered anew."""

PASSPHRASE = "benchmark"
POLICY = """
apiVersion: mlgov/v1
kind: Policy
metadata: {name: benchmark}
spec:
  match: {actions: [download, load, upload, delete], repositories: ["*"]}
  default: allow
  rules:
    - id: signed
      effect: block
      severity: high
      when: {fact: signature.valid, is: false}
      onUnknown: skip
      message: not signed
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the result. `ratio` is ours to the peer's in time, smaller is better; `target` bounds it (or, where
    there is no peer, the value)."""

    figure: str
    value: float
    unit: str
    peer: str
    ratio: float | None
    target: float | None
    met: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A set of files. `target` is the most that our time may be of the bare loop's."""

    name: str
    files: int
    size: int
    target: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One transfer."""

    wall: float
    cpu: float
    peak: float


def cases(*, quick: bool) -> tuple[Case, Case]:
    size, files = (64 * MIB, 100) if quick else (1024 * MIB, 1000)
    return (
        Case(name=f"one file of {size // MIB} MiB", files=1, size=size, target=1.25),
        Case(name=f"{files} files of 100 KiB", files=files, size=100 << 10, target=0.5),
    )


def make_files(case: Case, folder: Path) -> list[str]:
    folder.mkdir(parents=True)
    names = [f"part-{number:05}.bin" for number in range(case.files)]
    for name in names:
        with (folder / name).open("wb") as file:
            left = case.size
            while left:
                left -= file.write(os.urandom(min(left, MIB)))
    return names


def make_home(folder: Path, server: Embedded) -> dict[str, str]:
    """Key, trust and policy for the plugin; the variables serve both plugins."""
    from governance.signing.keyring import init_key

    init_key(
        folder / "keys/signing.pem",
        folder / "trust.json",
        PASSPHRASE,
        name="bench",
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    (folder / "policy.yaml").write_text(POLICY)
    return {
        "MLGOV_HOME": str(folder),
        "MLGOV_POLICY_PATH": str(folder / "policy.yaml"),
        "MLGOV_ENVIRONMENT": "production",
        "MLGOV_KEY_PASSPHRASE": PASSPHRASE,
        "MLGOV_ARTIFACTORY_URL": f"http://{server.host}/artifactory",
        "MLGOV_XRAY_URL": f"http://{server.host}/xray",
        "ARTIFACTORY_AUTH_TOKEN": server.token,
        "ARTIFACTORY_NO_SSL": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }


def run(peer: str, verb: str, *, uri: str, local: Path, names: Sequence[str], env: dict[str, str]) -> Run:
    command = [sys.executable, "-m", "benchmarks.transfer_peers", peer, verb, uri, str(local), *names]
    done = subprocess.run(
        command, env=os.environ | env, capture_output=True, text=True, cwd=ROOT, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{peer} {verb}: {done.stderr[-1500:]}")
    return Run(**json.loads(done.stdout.splitlines()[-1]))


def measure(
    case: Case, server: Embedded, env: dict[str, str], folder: Path, *, rounds: int, jfrog: Path | None
) -> dict[tuple[str, str], list[Run]]:
    source = folder / "source"
    names = make_files(case, source)
    base = f"artifactory://{server.host}/artifactory/{REPOSITORY}/{case.files}"
    found: dict[tuple[str, str], list[Run]] = {}
    # The many small files of a round stay until the end. Where ext4 has no journal, it passes over every inode that was
    # deleted within the last minute before it makes a new file, which would be charged to whoever comes next. For the
    # same reason, wait a few minutes between two runs on such a disk, or set TMPDIR to one in memory.
    for number in range(rounds):
        for peer, verb, extra in turns(jfrog):
            target = folder / f"{peer}-{verb}-{number}"
            target.mkdir()
            local = source if verb == "upload" else target
            uri = f"{base}/{peer}-{number}"
            wanted = names if verb.startswith("download") else ()
            os.sync()  # so that no transfer pays for what the one before it left to the disk
            result = run(peer, verb, uri=uri, local=local, names=wanted, env=env | extra)
            found.setdefault((peer, verb), []).append(result)
            check_stored(server, f"{case.files}/{peer}-{number}", case, signed=peer == "plugin")
            if case.files == 1:
                shutil.rmtree(target)
    shutil.rmtree(folder)
    return found


def check_stored(server: Embedded, path: str, case: Case, *, signed: bool) -> None:
    """A transfer that did not arrive would be a fast one."""
    import requests

    place = f"http://{server.host}/artifactory/api/storage/{REPOSITORY}/{path}"
    headers = {"Authorization": f"Bearer {server.token}"}
    listed = requests.get(place, params={"list": "", "deep": "1"}, headers=headers, timeout=60)
    sizes = [row["size"] for row in listed.json()["files"]]
    if sizes.count(case.size) != case.files or len(sizes) != case.files + signed:
        raise RuntimeError(f"`{path}` holds {len(sizes)} files instead of {case.files}")


def turns(jfrog: Path | None) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Peers and verbs of one round. JFrog's plugin cannot download a folder, so it only uploads."""
    for verb in ("upload", "download"):
        yield "bare", verb, {}
        yield "plugin", verb, {}
    yield "plugin", AGAIN, {}
    if jfrog is not None:
        yield "jfrog", "upload", {"BENCHMARK_JFROG": str(jfrog.resolve())}


def figures(case: Case, runs: dict[tuple[str, str], list[Run]]) -> Iterator[Figure]:
    for verb in ("upload", "download", AGAIN):
        ours = median(result.wall for result in runs["plugin", verb])
        plain = verb.partition(" ")[0]
        for peer in ("bare", "jfrog"):
            if (peer, plain) not in runs:
                continue
            ratio = ours / median(result.wall for result in runs[peer, plain])
            target = case.target if peer == "bare" else None
            met = None if target is None else ratio <= target
            yield Figure(
                figure=f"{verb} {case.name}",
                value=ours,
                unit="s",
                peer=peer,
                ratio=ratio,
                target=target,
                met=met,
            )
        peak = max(result.peak for result in runs["plugin", verb])
        least = max(result.peak for result in runs["bare", plain])
        yield Figure(
            figure=f"peak memory, {verb} {case.name}", value=peak, unit="MiB", peer="bare", ratio=peak / least,
            target=250.0, met=peak < 250,
        )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> list[Figure]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--quick", action="store_true", help="64 MiB and 100 files, one round")
    parser.add_argument("--jfrog", type=Path, help="folder with JFrog's plugin")
    options = parser.parse_args(arguments)
    rounds = 1 if options.quick else 3
    found: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="mlgov-bench-") as name, embedded() as server:
        folder = Path(name)
        env = make_home(folder / "home", server)
        for case in cases(quick=options.quick):
            place = folder / str(case.files)
            runs = measure(case, server, env, place, rounds=rounds, jfrog=options.jfrog)
            found.extend(figures(case, runs))
    report = {"benchmark": "transfer", "figures": [rounded(figure) for figure in found]}
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        for figure in found:
            ratio = f"{figure.ratio:.2f} x {figure.peer}" if figure.ratio is not None else ""
            print(
                f"{figure.figure:45} {figure.value:9.2f} {figure.unit:4} {ratio:14} target {figure.target} met {figure.met}"
            )
    return found


def rounded(figure: Figure) -> dict[str, object]:
    return {
        key: round(value, 3) if isinstance(value, float) else value for key, value in asdict(figure).items()
    }


if __name__ == "__main__":
    main()
