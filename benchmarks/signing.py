"""What signing costs beside hashing: `python -m benchmarks.signing [--json] [--quick]`.

Every program runs in a process of its own, in turns with the others. Two things are counted of it. The act (key, hashing,
signing, writing) once everything is imported, as in a process that uses MLflow anyway: that is held against a bare pass
of `readinto` and SHA-256, which does nothing else, and the standard library's `hashlib.file_digest`. And the whole life of
the process, interpreter and imports included: that is held against the command line of `model_signing`, and shown beside
the bare pass as well. CPU seconds are the process's own (user and system), so that a busy machine disturbs them little; each
figure is the median of its runs.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from governance.devserver import DevServer

MIB = 1 << 20
PASSPHRASE = "benchmark"
ROOT = Path(__file__).resolve().parents[1]

START = "import time; since = time.process_time(), time.perf_counter()"
END = """
print(time.process_time() - since[0], time.perf_counter() - since[1],
      [line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])
"""

NOTHING = START + END

FILE_DIGEST = f"""
import hashlib, os, sys
{START}
for folder, _, names in os.walk(sys.argv[1]):
    for name in names:
        with open(os.path.join(folder, name), 'rb', buffering=0) as file:
            hashlib.file_digest(file, 'sha256').hexdigest()
{END}
"""

# The strongest bare pass that we know: a buffer aligned to its page, as ours. A `bytearray` costs half as much again.
BARE = f"""
import hashlib, mmap, os, sys
{START}
buffer = mmap.mmap(-1, 262144); view = memoryview(buffer)
for folder, _, names in os.walk(sys.argv[1]):
    for name in names:
        digest = hashlib.sha256()
        with open(os.path.join(folder, name), 'rb', buffering=0) as file:
            while count := file.readinto(buffer):
                digest.update(view[:count])
        digest.hexdigest()
{END}
"""

SIGN = f"""
import sys
from pathlib import Path
from governance.signing.hashing import hash_folder
from governance.signing.keys import LocalSigner, load_signer
from governance.signing.sign import sign_manifest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
{START}
model, key, out, workers = sys.argv[1:]
manifest = hash_folder(Path(model), workers=int(workers))
if key.endswith('bare.pem'):
    signer = LocalSigner(load_pem_private_key(Path(key).read_bytes(), None))
else:
    signer = load_signer(key, '{PASSPHRASE}')
Path(out).write_bytes(sign_manifest(manifest, name='model', signer=signer))
{END}
"""

VERIFY = f"""
import sys
from datetime import datetime, UTC
from pathlib import Path
from governance.signing.publickey import parse_public_key
from governance.signing.trust import TrustStore
from governance.signing.verify import require_valid, verify_folder
{START}
model, key, out = sys.argv[1:]
trust = TrustStore.of_key(parse_public_key(Path(key).read_bytes()))
require_valid(verify_folder(Path(out).read_bytes(), Path(model), trust, at=datetime.now(UTC), workers=1))
{END}
"""


@dataclass(frozen=True)
class Run:
    """One process: CPU seconds of its whole life; of the act alone CPU and wall seconds, and its peak memory in MiB, where
    it said so."""

    life: float
    cpu: float = 0.0
    wall: float = 0.0
    peak: float = 0.0


@dataclass(frozen=True)
class Figure:
    """One line of the result. `ratio` is ours to the peer's; `target` is its upper bound."""

    figure: str
    value: float
    unit: str
    peer: str
    ratio: float | None
    target: float | None
    met: bool | None


@dataclass(frozen=True)
class Files:
    """Where keys and signatures of one run lie."""

    folder: Path

    @property
    def key(self) -> Path:
        """The private half, encrypted."""
        return self.folder / "key.pem"

    @property
    def bare_key(self) -> Path:
        """The same key unencrypted: the peer fails on every encrypted one."""
        return self.folder / "bare.pem"

    @property
    def public(self) -> Path:
        """The public half."""
        return self.folder / "key.pub"

    @property
    def signature(self) -> Path:
        """What we sign and verify again."""
        return self.folder / "ours.sig"


def run(arguments: Sequence[str]) -> Run:
    """Run one process to its end. Raises `RuntimeError` where it fails."""
    child = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stderr is not None
    said, wrong = child.stdout.read(), child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    child.stdout.close()
    child.stderr.close()
    if child.returncode:
        raise RuntimeError(wrong.decode()[-2000:])
    life = usage.ru_utime + usage.ru_stime
    match said.decode().split():
        case [cpu, wall, peak] if peak.isdigit():
            return Run(life=life, cpu=float(cpu), wall=float(wall), peak=int(peak) / 1024)
        case _:  # the peer speaks in words
            return Run(life=life)


def python(source: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", source, *map(str, arguments)]


def peer(verb: str, model: Path, files: Files) -> list[str]:
    key = ["--private_key", str(files.bare_key)] if verb == "sign" else ["--public_key", str(files.public)]
    signature = files.folder / "theirs.sig"
    return [
        sys.executable,
        "-m",
        "model_signing",
        verb,
        "key",
        *key,
        "--signature",
        str(signature),
        str(model),
    ]


def programs(model: Path, files: Files) -> dict[str, list[str]]:
    found = {
        "bare": python(BARE, model),
        "file_digest": python(FILE_DIGEST, model),
        # Our command line takes encrypted keys only, the peer's only bare ones: both are shown.
        "sign": python(SIGN, model, files.bare_key, files.signature, 1),
        "sign, encrypted key": python(SIGN, model, files.key, files.signature, 1),
        "sign, 2 workers": python(SIGN, model, files.key, files.signature, 2),
        "verify": python(VERIFY, model, files.public, files.signature),
    }
    if has_peer():
        found |= {
            "model_signing sign": peer("sign", model, files),
            "model_signing verify": peer("verify", model, files),
        }
    return found


def has_peer() -> bool:
    return all(importlib.util.find_spec(name) for name in ("model_signing", "OpenSSL"))


def measure(commands: dict[str, list[str]], rounds: int) -> dict[str, list[Run]]:
    """Run all programs in turns, so that a busy minute falls on each of them; the first round only warms up."""
    found: dict[str, list[Run]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            result = run(command)
            if number:
                found[name].append(result)
    return found


def compare(
    figure: str,
    ours: Sequence[Run],
    theirs: Sequence[Run],
    of: Callable[[Run], float],
    *,
    peer_name: str,
    target: float | None,
) -> Figure:
    """Our median, and the median of the rounds' ratios: neighbours in time are compared with each other."""
    ratio = median(of(mine) / of(other) for mine, other in zip(ours, theirs, strict=True))
    value = median(map(of, ours))
    met = None if target is None else ratio <= target
    return Figure(figure, round(value, 3), "s", peer_name, round(ratio, 3), target, met)


def life(result: Run) -> float:
    return result.life


def cpu(result: Run) -> float:
    return result.cpu


def wall(result: Run) -> float:
    return result.wall


def figures_of(
    name: str, runs: dict[str, list[Run]], *, bound: float, empty: Run, workers: bool
) -> list[Figure]:
    bare = runs["bare"]
    found = [
        compare(f"{verb} {name}, CPU", runs[verb], bare, cpu, peer_name="bare SHA-256", target=bound)
        for verb in ("sign", "sign, encrypted key")
    ]
    found.append(
        compare(
            f"sign {name}, CPU of the process",
            runs["sign"],
            bare,
            life,
            peer_name="bare SHA-256",
            target=None,
        )
    )
    found.append(
        compare(
            f"sign {name}, CPU",
            runs["sign"],
            runs["file_digest"],
            cpu,
            peer_name="hashlib.file_digest",
            target=bound,
        )
    )
    for verb in ("sign", "verify"):
        if f"model_signing {verb}" in runs:
            theirs = runs[f"model_signing {verb}"]
            found.append(
                compare(
                    f"{verb} {name}, CPU of the process",
                    runs[verb],
                    theirs,
                    life,
                    peer_name=f"model_signing {verb}",
                    target=0.85,
                )
            )
    if workers:
        found.append(
            compare(
                f"sign {name}, wall, 2 workers", runs["sign, 2 workers"], bare, wall,
                peer_name="bare SHA-256, 1 thread", target=0.65,
            )
        )  # fmt: skip
    peak = max(result.peak for result in runs["sign, 2 workers"]) - empty.peak
    found.append(
        Figure(
            f"sign {name}, memory above the interpreter", round(peak, 1), "MiB", "none", None, 64, peak <= 64
        )
    )
    return found


def resigning(folder: Path, count: int) -> Figure:
    """`mlgov sign` once more after one small file changed in a model in Artifactory (the embedded server): how many bytes
    the server handed out, as a part of the whole. The new signature must hold over all files.
    """
    from governance.cli.main import main as mlgov
    from governance.devserver import DevServer

    with DevServer.start() as server:
        for index in range(count):
            server.put("models-local", f"m/part-{index:05}.bin", index.to_bytes(8, "big") * (MIB // 8))
        server.put("models-local", "m/MLmodel", b"flavors: {}\n")
        os.environ |= {
            "MLGOV_HOME": str(folder / "home"),
            "MLGOV_KEY_PASSPHRASE": PASSPHRASE,
            "MLGOV_ARTIFACTORY_URL": server.artifactory_url,
            "ARTIFACTORY_AUTH_TOKEN": server.token("alice"),
        }
        with redirect_stdout(io.StringIO()):
            codes = [mlgov(["keys", "init"]), mlgov(["sign", "models-local/m"])]
            server.put("models-local", "m/part-00000.bin", b"changed")
            before = delivered(server)
            codes.append(mlgov(["sign", "models-local/m"]))
            read = delivered(server) - before
            codes.append(mlgov(["verify", "models-local/m"]))
    if any(codes):
        raise RuntimeError(f"a command failed: {codes}")
    whole = count * MIB
    return Figure(
        "bytes read to sign again after one small change",
        read,
        "B",
        f"all bytes of {count} x 1 MiB in Artifactory",
        round(read / whole, 6),
        0.001,
        read <= whole / 1000,
    )


def delivered(server: DevServer) -> int:
    """The bytes of the model's files that the server has handed out, the signature aside."""
    import requests

    total = 0
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {server.token('alice')}"
        for path in server.paths("models-local"):
            if path.endswith(".sig"):
                continue
            where = f"{server.artifactory_url}/api/storage/models-local/{path}?stats"
            count = session.get(where, timeout=10).json().get("downloadCount", 0)
            total += count * (server.item("models-local", path).content.size if count else 0)
    return total


def make_files(folder: Path, count: int, size: int) -> Path:
    folder.mkdir()
    block = os.urandom(MIB)
    for index in range(count):
        with (folder / f"part-{index:05}.bin").open("wb") as file:
            file.write(index.to_bytes(8, "big"))
            for _ in range(size // MIB):
                file.write(block)
    (folder / "MLmodel").write_text("flavors: {}\n")
    return folder


def make_keys(folder: Path) -> Files:
    from cryptography.hazmat.primitives import serialization

    from governance.signing.keys import generate_key

    files = Files(folder)
    files.public.write_text(generate_key(files.key, PASSPHRASE).pem)
    private = serialization.load_pem_private_key(files.key.read_bytes(), PASSPHRASE.encode())
    files.bare_key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="an eighth of the bytes, where starting up weighs eight times as much: shown without targets",
    )
    options = parser.parse_args()
    rounds, large, many = (3, 256 * MIB, 250) if options.quick else (7, 2048 * MIB, 2000)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="mlgov-signing-") as name:
        files = make_keys(Path(name))
        empty = run(python(NOTHING))
        for label, count, size, bound in (
            (f"one {large // MIB} MiB file", 1, large, 1.05),
            (f"{many} x 1 MiB", many, MIB, 1.15),
        ):
            model = make_files(Path(name) / "model", count, size)
            runs = measure(programs(model, files), rounds)
            figures += figures_of(label, runs, bound=bound, empty=empty, workers=count > 1)
            subprocess.run(["rm", "-r", str(model)], check=True)
        figures.append(resigning(Path(name), 25 if options.quick else 250))
    if options.quick:
        figures = [replace(each, target=None, met=None) if each.unit == "s" else each for each in figures]
    show(figures, as_json=options.json)


def show(figures: Sequence[Figure], *, as_json: bool) -> None:
    if as_json:
        print(
            json.dumps({"benchmark": "signing", "figures": [asdict(figure) for figure in figures]}, indent=1)
        )
        return
    for figure in figures:
        against = f"{figure.ratio:.3f} of {figure.peer}" if figure.ratio is not None else ""
        met = {True: "met", False: "NOT met", None: ""}[figure.met]
        print(
            f"{figure.figure:55} {figure.value:>10} {figure.unit:4} {against:40} {f'target {figure.target} {met}' if figure.target else ''}"
        )


if __name__ == "__main__":
    main()
