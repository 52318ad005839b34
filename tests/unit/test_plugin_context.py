"""Who asks, and what of it is only a claim."""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, g

from governance.artifactory.address import parse_uri
from governance.cli.compliance import made_by
from governance.model.request import Actor, ActorKind
from plugin.context import CALLER, caller, is_in_server, local_user, mlflow_context, read_flavors, web_user
from plugin.server import CaptureCaller, caller_of, proxied_path

SERVER = {"_MLFLOW_SERVER_FILE_STORE": "sqlite:///x"}
MODEL = "m-" + "0" * 32


def basic(text: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", b"Basic " + base64.b64encode(text.encode()))]


def test_outside_a_server_the_caller_is_the_local_user_and_only_claimed() -> None:
    actor = caller({})
    assert actor == local_user({})
    assert not actor.is_authenticated
    assert local_user({"CI": "true"}).kind is ActorKind.CI


def test_inside_a_server_nobody_is_the_local_user() -> None:
    assert is_in_server(SERVER)
    assert caller(SERVER) == Actor(name="anonymous")


@pytest.mark.parametrize(
    ("scope", "name", "authentication"),
    [
        ({"state": {"username": "alice"}, "headers": basic("eve:x")}, "alice", "basic-auth"),
        ({"state": {}, "headers": basic("eve:x")}, "eve", None),
        ({"headers": basic("eve:x")}, "eve", None),
        ({"state": {"username": None}, "headers": []}, "anonymous", None),
        ({"headers": [(b"authorization", b"Bearer abc")]}, "anonymous", None),
        ({"headers": [(b"authorization", b"Basic !!!")]}, "anonymous", None),
        ({"headers": basic("nocolon")}, "anonymous", None),
        ({"headers": basic(":x")}, "anonymous", None),
        ({"headers": [(b"authorization", b"Basic " + base64.b64encode(b"\xff\xfe:x"))]}, "anonymous", None),
        ({"state": {"username": {"not": "a name"}}, "headers": []}, "anonymous", None),
    ],
)
def test_a_header_is_a_claim_and_a_login_is_not(
    scope: dict[str, Any], name: str, authentication: str | None
) -> None:
    actor = caller_of(scope)
    assert (actor.name, actor.authentication) == (name, authentication)


def test_names_from_outside_are_cut() -> None:
    assert len(web_user(None, "x" * 10_000).name) <= 256


def test_the_middleware_tells_the_thread_of_the_request_and_forgets() -> None:
    seen: list[Actor | None] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(await asyncio.to_thread(CALLER.get))

    async def run() -> None:
        middleware = CaptureCaller(app)
        request = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "headers": [],
            "state": {"username": "alice"},
        }
        await middleware(request, None, None)
        await middleware({"type": "lifespan"}, None, None)
        seen.append(CALLER.get())

    asyncio.run(run())
    assert seen == [Actor(name="alice", authentication="basic-auth"), None, None]


def test_flask_knows_who_logged_in() -> None:
    app = Flask("test")
    with app.test_request_context(
        "/", headers={"Authorization": "Basic " + base64.b64encode(b"eve:x").decode()}
    ):
        assert caller(SERVER) == Actor(name="eve")
        g.mlflow_authenticated_user = "alice"
        assert caller(SERVER) == Actor(name="alice", authentication="basic-auth")


def test_flask_does_not_hide_what_the_middleware_learned() -> None:
    app = Flask("test")
    token = CALLER.set(Actor(name="alice", authentication="basic-auth"))
    try:
        with app.test_request_context("/"):
            assert caller(SERVER).is_authenticated
    finally:
        CALLER.reset(token)


def test_ids_come_from_the_path_first() -> None:
    environ = {"MLFLOW_RUN_ID": "f" * 32, "MLFLOW_EXPERIMENT_ID": "9"}
    run = mlflow_context(
        parse_uri(f"artifactory://h/artifactory/r/7/{'0' * 32}/artifacts/x"), environ=environ
    )
    assert (run.run_id, run.experiment_id, run.model_id) == ("0" * 32, "7", None)
    model = mlflow_context(
        parse_uri(f"artifactory://h/artifactory/r/7/models/{MODEL}/artifacts"), environ=environ
    )
    assert (model.run_id, model.experiment_id, model.model_id) == ("f" * 32, "7", MODEL)
    other = mlflow_context(parse_uri("artifactory://h/artifactory/r"), environ={})
    assert (other.run_id, other.experiment_id, other.model_id) == (None, None, None)


@pytest.mark.parametrize(
    ("text", "flavors"),
    [
        ("flavors: {sklearn: {}, python_function: {}}", ("python_function", "sklearn")),
        ("flavors: [a]", ()),
        ("- x", ()),
        ("{", ()),
        ("", ()),
        ("!!python/object/apply:os.system [true]", ()),
    ],
)
def test_flavors_of_a_local_model(tmp_path: Path, text: str, flavors: tuple[str, ...]) -> None:
    (tmp_path / "MLmodel").write_text(text)
    assert read_flavors(tmp_path) == flavors


def test_no_model_no_flavors(tmp_path: Path) -> None:
    assert read_flavors(tmp_path) == ()


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        (f"mlflow-artifacts:/1/models/{MODEL}/artifacts", f"1/models/{MODEL}/artifacts"),
        (f"mlflow-artifacts://host:5000/1/models/{MODEL}/artifacts", f"1/models/{MODEL}/artifacts"),
        ("artifactory://h/artifactory/r/x", None),
        ("file:///x", None),
    ],
)
def test_proxied_locations_are_told_from_others(uri: str, path: str | None) -> None:
    assert proxied_path(uri) == path


def test_a_report_is_made_by_a_user_without_a_name_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under any number: no variable and no line of /etc/passwd says who that is."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2_000_000_123)
    assert local_user({}).name == "unknown"
    assert made_by().startswith("unknown on ")
