"""Models that scenarios sign and store, and a gate that is asked for one."""

from __future__ import annotations

from pathlib import Path

from governance.cli.reference import locate, parse_reference
from governance.devserver import DevServer
from governance.model.request import Action, Actor, Request, new_id
from governance.settings import load_settings
from governance.wiring import build_assembly

MODEL = {
    "MLmodel": b"flavors: {}\n",
    "requirements.txt": b"scikit-learn==1.5.0\n",
    "weights.safetensors": b"\x02\0\0\0\0\0\0\0{}",
}
"""A model that nothing speaks against: what its files hold, by their paths."""

VULNERABLE = MODEL | {"requirements.txt": b"PyYAML==5.3\n"}
PICKLE = MODEL | {"model.pkl": b"cposix\nsystem\n(S'true'\ntR."}


def store(devserver: DevServer, repo: str, path: str, files: dict[str, bytes]) -> str:
    """Put the files into Artifactory below `path`; `REPOSITORY/PATH`."""
    for name, data in files.items():
        devserver.put(repo, f"{path}/{name}", data)
    return f"{repo}/{path}"


def write(folder: Path, files: dict[str, bytes]) -> Path:
    """Write the files into a new folder; the folder."""
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def load(ref: str, actor: Actor) -> None:
    """Ask the gate of this process's settings for the whole model, on record. Raises `RefusedError`."""
    settings = load_settings()
    assembly = build_assembly(settings)
    place = parse_reference(ref, settings)
    (part,) = locate(assembly.artifactory(place.host), place)
    at = assembly.now()
    request = Request(
        action=Action.LOAD, artifact=part.artifact, actor=actor, environment=settings.environment, at=at,
        correlation=new_id(at),
    )  # fmt: skip
    try:
        with assembly.gate.admit(request) as permit:
            for entry in part.artifact.files:
                assert entry.sha256 is not None
                permit.moved(str(entry.path), entry.sha256)
    finally:
        assembly.close()
