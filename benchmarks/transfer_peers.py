"""One measured transfer in a process of its own: `python -m benchmarks.transfer_peers PEER VERB URI LOCAL`.

VERB is `upload`, `download` or `download again`. Prints a JSON object with wall and CPU seconds of the transfer alone (imports and set-up are done before the clock starts)
and the peak memory of the whole process in MiB.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import requests

CHUNK = 1 << 20


def bare_upload(session: requests.Session, base: str, local: Path) -> None:
    for path in sorted(local.rglob("*")):
        if path.is_file():
            with path.open("rb") as body:
                session.put(f"{base}/{path.relative_to(local)}", data=body).raise_for_status()


def bare_download(session: requests.Session, base: str, local: Path, names: list[str]) -> None:
    for name in names:
        with session.get(f"{base}/{name}", stream=True) as answer:
            answer.raise_for_status()
            with (local / name).open("wb") as file:
                for chunk in answer.iter_content(CHUNK):
                    file.write(chunk)


def bare(verb: str, uri: str, local: Path, names: list[str]) -> Callable[[], object]:
    """The loop that anybody would write: one session, one connection, one file after the other, no hashes."""
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {os.environ['ARTIFACTORY_AUTH_TOKEN']}"
    base = uri.replace("artifactory://", "http://", 1)
    session.get(f"{base.partition('/artifactory/')[0]}/artifactory/api/system/ping").raise_for_status()
    if verb == "upload":
        return lambda: bare_upload(session, base, local)
    return lambda: bare_download(session, base, local, names)


def through_mlflow(verb: str, uri: str, local: Path, names: list[str]) -> Callable[[], object]:
    """Our plugin, as MLflow's registry holds it."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    del names
    repository = get_artifact_repository(uri)
    repository.list_artifacts()  # connections, keys and policies are set up
    if verb == "upload":
        return lambda: repository.log_artifacts(str(local))
    if verb == "download again":
        with tempfile.TemporaryDirectory(dir=local.parent) as first:
            repository.download_artifacts("", first)
    return lambda: repository.download_artifacts("", str(local))


def jfrog(verb: str, uri: str, local: Path, names: list[str]) -> Callable[[], object]:
    """JFrog's plugin, from the folder that `BENCHMARK_JFROG` names: beside ours, MLflow would not find it."""
    module = Path(os.environ["BENCHMARK_JFROG"]) / "plugin/artifactory_repository.py"
    spec = importlib.util.spec_from_file_location("jfrog_plugin", module)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    repository = loaded.JFrogArtifactoryRepository(uri)
    assert verb == "upload", "it cannot download a folder"
    del names
    return lambda: repository.log_artifacts(str(local))


def main() -> None:
    peer, verb, uri, local, *names = sys.argv[1:]
    make = {"bare": bare, "plugin": through_mlflow, "jfrog": jfrog}[peer]
    work = make(verb, uri, Path(local), names)
    gc.collect()  # what imports and set-up left is not the transfer's to clear away
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    result = {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
