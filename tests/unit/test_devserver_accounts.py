"""Who is calling, tokens, permission targets, repositories, AQL."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from governance.devserver import DevServer, DevServerConfig


@pytest.fixture
def call(devserver: DevServer) -> Iterator[Any]:
    with requests.Session() as session:

        def send(method: str, path: str, *, token: str | None = None, **options: Any) -> requests.Response:
            session.headers["Authorization"] = f"Bearer {token or devserver.token('admin')}"
            return session.request(method, f"{devserver.url}{path}", timeout=10, **options)

        yield send


def message(response: requests.Response) -> str:
    return str(response.json()["errors"][0]["message"])


# -- credentials


def test_every_kind_of_credentials_is_taken(devserver: DevServer, repo: str) -> None:
    devserver.put(repo, "a", b"x")
    url, token = f"{devserver.artifactory_url}/{repo}/a", devserver.token("alice")
    for options in (
        {"auth": ("alice", "alice")},
        {"auth": ("alice", token)},
        {"headers": {"Authorization": f"Bearer {token}"}},
        {"headers": {"X-JFrog-Art-Api": token}},
    ):
        assert requests.get(url, timeout=10, **options).status_code == 200, options


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Bearer a.b.c"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic " + base64.b64encode(b"alice:wrong").decode()},
        {"Authorization": "Basic " + base64.b64encode(b"nobody-there:x").decode()},
    ],
)
def test_bad_credentials_are_401(devserver: DevServer, repo: str, headers: dict[str, str]) -> None:
    answer = requests.get(f"{devserver.artifactory_url}/{repo}/a", headers=headers, timeout=10)
    assert answer.status_code == 401
    assert "WWW-Authenticate" in answer.headers


def test_expired_and_revoked_tokens(devserver: DevServer, call: Any, repo: str) -> None:
    path = f"/artifactory/{repo}/a"
    expired = call("GET", path, token=devserver.token("alice", expires_in=-1))
    assert (expired.status_code, message(expired)) == (401, "Token failed verification: expired")
    token = devserver.token("alice")
    devserver.revoke(token)
    assert message(call("GET", path, token=token)) == "Token failed verification: revoked"


def test_tokens_expire_by_the_server_clock() -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    with DevServer.start(DevServerConfig(now=lambda: now[0])) as server:
        headers = {"Authorization": f"Bearer {server.token('alice', expires_in=60)}"}
        url = f"{server.artifactory_url}/api/repositories"
        assert requests.get(url, headers=headers, timeout=10).status_code == 200
        now[0] += timedelta(seconds=60)
        assert requests.get(url, headers=headers, timeout=10).status_code == 401


def test_tokens_of_another_server_are_worthless(devserver: DevServer, call: Any) -> None:
    with DevServer.start(DevServerConfig()) as other:
        foreign = other.token("admin")
    assert call("GET", "/artifactory/api/repositories", token=foreign).status_code == 401


def test_token_claims_are_those_of_jfrog_access(devserver: DevServer) -> None:
    head, payload, _ = devserver.token("alice", expires_in=60).split(".")
    assert not set("-_") & set(payload)  # JFrog's Go client decodes with the other alphabet
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert json.loads(base64.urlsafe_b64decode(head + "=="))["alg"] == "RS256"
    assert claims["sub"].endswith("/users/alice")
    assert (claims["scp"], claims["aud"], claims["exp"] - claims["iat"]) == (
        "applied-permissions/user",
        "*@*",
        60,
    )


def test_tokens_over_http(call: Any, devserver: DevServer) -> None:
    made = call("POST", "/access/api/v1/tokens")  # no body at all, as JFrog's own plugin tests do
    assert made.json()["username"] == "admin"
    form = {"username": "alice", "expires_in": "60", "refreshable": "true", "include_reference_token": "true"}
    body = call("POST", "/artifactory/access/api/v1/tokens", data=form).json()
    assert len(body["reference_token"]) == 64
    assert (
        call("GET", "/artifactory/api/security/users/alice", token=body["reference_token"]).status_code == 200
    )
    fresh = call(
        "POST",
        "/access/api/v1/tokens",
        json={"grant_type": "refresh_token", "refresh_token": body["refresh_token"]},
    )
    assert fresh.json()["username"] == "alice"
    assert (
        call("GET", "/access/api/v1/tokens/me", token=fresh.json()["access_token"])
        .json()["subject"]
        .endswith("alice")
    )
    assert call("GET", "/artifactory/api/repositories", token=body["access_token"]).status_code == 401


def test_nobody_makes_themselves_an_administrator(call: Any, devserver: DevServer) -> None:
    alice = devserver.token("alice")
    for body in (
        {"username": "admin"},
        {"scope": "applied-permissions/admin"},
        {"scope": "applied-permissions/groups:a"},
    ):
        assert call("POST", "/access/api/v1/tokens", token=alice, json=body).status_code == 403
    own = call("POST", "/access/api/v1/tokens", token=alice, json={"expires_in": 10**9}).json()
    assert own["expires_in"] == 3600
    assert call("PUT", "/artifactory/api/repositories/x-local", token=alice, json={}).status_code == 403
    assert call("GET", "/artifactory/api/security/users", token=alice).status_code == 403


def test_scopes_narrow_a_token(devserver: DevServer, repo: str, call: Any) -> None:
    devserver.put(repo, "open/a", b"x")
    devserver.put(repo, "shut/a", b"x")
    token = devserver.token("alice", scope=f"artifact:{repo}/open/**:r")
    assert call("GET", f"/artifactory/{repo}/open/a", token=token).status_code == 200
    assert call("GET", f"/artifactory/{repo}/shut/a", token=token).status_code == 403
    assert call("PUT", f"/artifactory/{repo}/open/b", token=token, data=b"x").status_code == 403


# -- permission targets


def test_patterns_and_groups_of_permission_targets(devserver: DevServer, repo: str, call: Any) -> None:
    token = devserver.add_user("patterned", "x")
    call("PUT", "/artifactory/api/security/groups/team", json={"userNames": ["patterned"]})
    target = {"repositories": [repo], "includesPattern": "team/**", "excludesPattern": "team/secret/**"}
    target["principals"] = {"users": {}, "groups": {"team": ["r", "w"]}}  # type: ignore[assignment]
    assert call("PUT", f"/artifactory/api/security/permissions/t-{repo}", json=target).status_code == 201
    for path in ("team/a", "team/secret/a", "other/a"):
        devserver.put(repo, path, b"x")
    codes = [
        call("GET", f"/artifactory/{repo}/{path}", token=token).status_code
        for path in ("team/a", "team/secret/a", "other/a")
    ]
    assert codes == [200, 403, 403]
    url = f"/artifactory/api/storage/{repo}/team/a?permissions"
    assert call("GET", url, token=token).json()["principals"]["users"] == {"patterned": ["r", "w"]}


# -- properties


def test_properties_by_json_and_by_list(devserver: DevServer, repo: str, call: Any) -> None:
    devserver.put(repo, "a/m.bin", b"x")
    base = f"/artifactory/api/storage/{repo}/a/m.bin"
    assert message(call("GET", f"{base}?properties")) == "No properties could be found."
    nasty = "a;b,c=d|e\\f"
    props = {"props": {"nasty": nasty, "list": ["1", "2", "1"], "gone": None}}
    assert call("PATCH", f"/artifactory/api/metadata/{repo}/a/m.bin", json=props).status_code == 204
    assert call("PUT", f"{base}?properties=k=v%5C,w,z;lost=a=b").status_code == 204
    wanted = {"nasty": [nasty], "list": ["1", "2"], "k": ["v,w", "z"]}
    assert call("GET", f"{base}?properties").json()["properties"] == wanted
    assert call("DELETE", f"{base}?properties=k,list").status_code == 204
    assert call("GET", f"{base}?properties=nasty,k").json()["properties"] == {"nasty": [nasty]}
    assert call("PUT", f"{base}?properties=lost=a=b").status_code == 400
    bad = call("PATCH", f"/artifactory/api/metadata/{repo}/a/m.bin", json={"props": {"a b": "x"}})
    assert (bad.status_code, "invalid due to Name" in message(bad)) == (400, True)
    denied = call(
        "PATCH",
        f"/artifactory/api/metadata/{repo}/a/m.bin",
        json={"props": {}},
        token=devserver.add_user("noann", "x", rights={repo: "rw"}),
    )
    assert (denied.status_code, "not permitted to annotate" in message(denied)) == (403, True)


def test_properties_of_a_folder_reach_what_is_below(devserver: DevServer, repo: str, call: Any) -> None:
    devserver.put(repo, "a/b/m.bin", b"x")
    call("PATCH", f"/artifactory/api/metadata/{repo}/a?recursiveProperties=1", json={"props": {"k": "v"}})
    call(
        "PATCH", f"/artifactory/api/metadata/{repo}/a?recursiveProperties=0", json={"props": {"only": "here"}}
    )
    assert devserver.item(repo, "a/b/m.bin").properties == {"k": ("v",)}
    assert devserver.item(repo, "a").properties == {"k": ("v",), "only": ("here",)}


# -- repositories, system, moves


def test_repositories_as_clients_expect_them(call: Any) -> None:
    for method in ("GET", "HEAD"):
        assert call(method, "/artifactory/api/repositories/nowhere").status_code == 400
    path = "/artifactory/api/repositories/acc-ml-local"
    made = call("PUT", path, json={"rclass": "local", "packageType": "MachineLearning"})
    assert (made.status_code, "Successfully created" in made.text) == (200, True)
    assert call("GET", path).json()["packageType"] == "machinelearning"
    assert call("PUT", path, json={}).status_code == 400
    rows = {row["key"]: row for row in call("GET", "/artifactory/api/repositories?type=local").json()}
    assert rows["acc-ml-local"]["type"] == "LOCAL"
    assert call("PUT", "/artifactory/api/repositories/api", json={}).status_code == 400
    assert call("DELETE", path).status_code == 200


def test_system_calls(devserver: DevServer, call: Any) -> None:
    assert requests.get(f"{devserver.artifactory_url}/api/system/ping", timeout=10).text == "OK"
    assert call("GET", "/artifactory/api/system/version").json()["version"] == "7.125.4"
    assert call("GET", "/xray/api/v1/system/version").json()["xray_version"] == "3.140.0"
    assert call("GET", "/artifactory/api/v1/uploads/config").json() == {"supported": False}
    assert call("GET", "/artifactory/api/nothing").status_code == 404
    assert call("POST", "/artifactory/api/system/ping").status_code == 405


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/xray/api/v2/summary/artifact", {"paths": 5}),
        ("POST", "/xray/api/v2/summary/artifact", {"paths": ["default/../x"]}),
        ("POST", "/xray/api/v1/violations", {"pagination": {"limit": "x"}}),
        ("GET", "/artifactory/api/storage/models-local?list&depth=x", None),
        ("PUT", "/artifactory/%ff/x", None),
        ("PUT", "/artifactory/api/security/permissions/x", {"principals": 5}),
        ("PUT", "/artifactory/api/repositories/x-local", []),
        ("POST", "/xray/api/v1/scan/graph", {"nodes": [1]}),
    ],
)
def test_requests_of_the_wrong_shape_are_400(call: Any, method: str, path: str, body: object) -> None:
    assert call(method, path, json=body).status_code == 400


def test_administrators_see_the_whole(devserver: DevServer, call: Any, repo: str) -> None:
    devserver.put(repo, "a", b"1234")
    summary = call("GET", "/artifactory/api/storageinfo").json()["binariesSummary"]
    assert int(summary["artifactsCount"]) >= 1
    assert repo in {
        row["key"] for row in call("GET", "/artifactory/api/repositories/configurations").json()["LOCAL"]
    }
    assert call("GET", "/artifactory/api/system/service_id").text.startswith("jfrt@")
    assert call("GET", "/access/api/v1/system/ping").json()["status"] == "OK"
    assert call("GET", "/artifactory/api/storageinfo", token=devserver.token("alice")).status_code == 403


def test_bodies_are_stored_as_sent(devserver: DevServer, repo: str, call: Any) -> None:
    packed = gzip.compress(b"hello")
    assert (
        call("PUT", f"/artifactory/{repo}/a", data=packed, headers={"Content-Encoding": "gzip"}).status_code
        == 201
    )
    assert devserver.read(repo, "a") == packed


def test_copy_and_move_check_rights_first(devserver: DevServer, repo: str, call: Any) -> None:
    for name in ("a/one", "a/sub/two"):
        devserver.put(repo, name, name.encode())
    other = devserver.create_repository(f"{repo}-prod")
    token = devserver.add_user("promoter", "x", rights={repo: "rw", other: "rw"})
    moved = call("POST", f"/artifactory/api/move/{repo}/a?to=/{other}/b", token=token)
    assert moved.status_code == 403
    copied = call("POST", f"/artifactory/api/copy/{repo}/a?to={other}/b", token=token)
    assert copied.json()["messages"][0]["level"] == "INFO"
    assert devserver.paths(other) == ("b/one", "b/sub/two")
    again = call("POST", f"/artifactory/api/copy/{repo}/a/one?to={other}/b/one", token=token)
    assert (again.status_code, "needs DELETE permission" in message(again)) == (403, True)
    assert call("POST", f"/artifactory/api/copy/{repo}/a?to=/{other}/b&dry=1").status_code == 200
    missing = call("POST", f"/artifactory/api/copy/{repo}/none?to=/{other}/b")
    assert (missing.status_code, missing.json()["messages"][0]["level"]) == (404, "ERROR")
    assert call("POST", f"/artifactory/api/copy/{repo}/a?to=/{other}/b").status_code == 200
    assert "b/a/one" in devserver.paths(other)  # an existing folder receives the source below it


# -- AQL


@pytest.fixture
def find(devserver: DevServer, repo: str, call: Any) -> Any:
    for number, name in enumerate(("top.bin", "m/a.bin", "m/b.txt", "m/sub/c.bin")):
        devserver.put(repo, name, b"x" * number)
    call("PATCH", f"/artifactory/api/metadata/{repo}/m/a.bin", json={"props": {"stage": ["dev", "prod"]}})

    def query(text: str, *, token: str | None = None) -> requests.Response:
        answer = call(
            "POST", "/artifactory/api/search/aql", data=text.replace("$REPO", repo).encode(), token=token
        )
        assert isinstance(answer, requests.Response)
        return answer

    return query


@pytest.mark.parametrize(
    ("criteria", "names"),
    [
        ('"repo":"$REPO"', ["top.bin", "a.bin", "b.txt", "c.bin"]),
        ('"repo":"$REPO","path":"."', ["top.bin"]),
        ('"repo":"$REPO","path":{"$match":"m*"},"name":{"$match":"*.bin"}', ["a.bin", "c.bin"]),
        ('"repo":"$REPO","name":{"$nmatch":"*.bin"}', ["b.txt"]),
        ('"repo":"$REPO","size":{"$gt":1}', ["b.txt", "c.bin"]),
        (
            '"$or":[{"$and":[{"repo":"$REPO","name":"a.bin"}]},{"repo":"$REPO","size":0}]',
            ["top.bin", "a.bin"],
        ),
        ('"repo":"$REPO","@stage":"prod"', ["a.bin"]),
        ('"repo":"$REPO","@stage":{"$ne":"prod"}', ["top.bin", "b.txt", "c.bin"]),
        ('"repo":"$REPO","property.key":"stage"', ["a.bin"]),
        ('"repo":"$REPO","type":"folder"', ["m", "sub"]),
        ('"repo":"$REPO","type":"any","depth":1', ["top.bin", "m"]),
    ],
)
def test_aql_criteria(find: Any, criteria: str, names: list[str]) -> None:
    answer = find(f'items.find({{{criteria}}}).include("repo","path","name")')
    assert sorted(row["name"] for row in answer.json()["results"]) == sorted(names)


def test_aql_include_sort_and_range(find: Any, repo: str) -> None:
    text = 'items.find({"repo":"$REPO"}).include("repo","path","name","sha256","property","stat")'
    body = find(text + '.sort({"$desc":["name"]}).offset(1).limit(2)').json()
    assert [row["name"] for row in body["results"]] == ["c.bin", "b.txt"]
    assert body["range"] == {"start_pos": 1, "end_pos": 3, "total": 2, "limit": 2}
    row = find('items.find({"repo":"$REPO","name":"a.bin"}).include("*","property")').json()["results"][0]
    assert row["properties"] == [{"key": "stage", "value": "dev"}, {"key": "stage", "value": "prod"}]
    assert (row["size"], row["type"], row["depth"]) == (1, "file", 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", "syntax error near"),
        ('items.find({"repo":"x"}', "syntax error near"),
        ('items.find({"repo":"x"}).limit(1).sort({"$asc":["name"]})', "syntax error near"),
        (
            'items.find({"repo":"x"}).include("repo","path","name").sort({"$asc":["size"]})',
            "Only the result fields",
        ),
        ('items.find({"nofield":"x"})', "Unknown field"),
        ('items.find({"name":{"$bad":"x"}})', "Unknown comparator"),
        ('builds.find({"name":"x"})', "not supported"),
    ],
)
def test_aql_mistakes_are_plain_text(find: Any, text: str, words: str) -> None:
    answer = find(text)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert words in answer.text


def test_aql_shows_only_what_the_caller_may_read(devserver: DevServer, find: Any) -> None:
    token = devserver.add_user("aql-blind", "x")
    assert (
        find('items.find({"repo":"$REPO"}).include("repo","path","name")', token=token).json()["results"]
        == []
    )
    assert "AQL demands the following fields" in find('items.find({}).include("name")', token=token).text


def test_small_searches(devserver: DevServer, find: Any, repo: str, call: Any) -> None:
    sha256 = devserver.item(repo, "m/a.bin").content.sha256
    uri = f"{devserver.artifactory_url}/api/storage/{repo}/m/a.bin"
    for query in (
        f"prop?stage=prod&repos={repo}",
        f"checksum?sha256={sha256}&repos={repo}",
        f"artifact?name=a.*&repos={repo}",
    ):
        rows = call("GET", f"/artifactory/api/search/{query}").json()["results"]
        assert [row["uri"] for row in rows] == [uri], query
