"""Repositories, system calls and the small searches.

Promises the status codes on which clients insist: 200 for a created repository, 400 for an unknown one. Does not
implement settings beyond storing them.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from aiohttp import web

from governance.devserver import access, wire
from governance.devserver.items import Item
from governance.devserver.problems import Problem
from governance.devserver.repositories import Config
from governance.devserver.routing import Call, Router


def add_routes(router: Router) -> None:
    """`api/repositories`, `api/system`, `api/search`, `api/v1/uploads`."""
    router.add("GET", "/artifactory/api/repositories", list_repositories)
    router.add("GET", "/artifactory/api/repositories/configurations", all_configurations)
    router.add("GET|HEAD", "/artifactory/api/repositories/{key}", get_repository)
    router.add("PUT", "/artifactory/api/repositories/{key}", create_repository)
    router.add("POST", "/artifactory/api/repositories/{key}", update_repository)
    router.add("DELETE", "/artifactory/api/repositories/{key}", delete_repository)
    router.add("GET|HEAD", "/artifactory/api/system/ping", ping)
    router.add("GET", "/artifactory/api/system/version", version)
    router.add("GET", "/artifactory/api/system/service_id", service_id)
    router.add("GET", "/artifactory/api/storageinfo", storage_info)
    router.add("GET", "/artifactory/api/v1/uploads/config", uploads_config)
    router.add("GET", "/artifactory/api/search/prop", search_properties)
    router.add("GET", "/artifactory/api/search/checksum", search_checksum)
    router.add("GET", "/artifactory/api/search/artifact", search_name)


# -- repositories


async def list_repositories(call: Call) -> web.Response:
    """Short rows; `type` is in capitals here and nowhere else."""
    call.signed_in()
    kind, package = call.query("type").lower(), call.query("packageType").lower()
    rows = [
        {
            "key": config["key"],
            "type": config["rclass"].upper(),
            "url": f"{call.base()}/{config['key']}",
            "description": config["description"],
            "packageType": config["packageType"],
        }
        for config in call.platform.store.repositories.all()
        if kind in ("", config["rclass"]) and package in ("", config["packageType"])
    ]
    return web.json_response(rows)


async def all_configurations(call: Call) -> web.Response:
    """Full configurations by class, for administrators."""
    call.platform.security.require_admin(call.caller)
    grouped: dict[str, list[Config]] = {}
    for config in call.platform.store.repositories.all():
        grouped.setdefault(config["rclass"].upper(), []).append(config)
    return web.json_response(grouped)


async def get_repository(call: Call) -> web.Response:
    """One configuration. Real servers say 400 for an unknown key."""
    call.signed_in()
    config = call.platform.store.repositories.get(call.params["key"])
    if config is None:
        raise Problem(400, "Bad Request")
    return web.json_response(config)


async def create_repository(call: Call) -> web.Response:
    """Create a repository."""
    call.platform.security.require_admin(call.caller)
    key = call.params["key"]
    call.platform.store.create_repository(key, await call.json_object())
    return web.Response(text=f"Successfully created repository '{key}' \n")


async def update_repository(call: Call) -> web.Response:
    """Change a repository's settings."""
    call.platform.security.require_admin(call.caller)
    key, changes = call.params["key"], await call.json_object()
    if key not in call.platform.store.repositories:
        raise Problem(400, "Bad Request")
    call.platform.store.repositories.update(key, changes)
    return web.Response(text=f"Repository {key} update successfully.\n")


async def delete_repository(call: Call) -> web.Response:
    """Remove a repository with its contents."""
    call.platform.security.require_admin(call.caller)
    key = call.params["key"]
    if key not in call.platform.store.repositories:
        raise Problem(404, f"Repository {key} does not exist.")
    call.platform.store.remove_repository(key)
    return web.Response(text=f"Repository {key} and all its content have been removed successfully.\n")


# -- system


async def ping(_: Call) -> web.Response:
    """Whether the server is up; needs no credentials."""
    return web.Response(text="OK")


async def version(call: Call) -> web.Response:
    """What the server calls itself."""
    body = {"version": call.platform.config.version, "revision": "devserver", "addons": ["aql", "properties"]}
    return web.json_response(body | {"license": "devserver"})


async def service_id(call: Call) -> web.Response:
    """The service's id."""
    call.signed_in()
    return web.Response(text="jfrt@01devserver0000000000000000")


async def storage_info(call: Call) -> web.Response:
    """Sizes; all numbers are texts."""
    call.platform.security.require_admin(call.caller)
    store = call.platform.store
    files = [
        i for config in store.repositories.all() for i in store.everything(config["key"]) if not i.folder
    ]
    size = sum(item.content.size for item in files)
    binaries = {item.blob: item.content.size for item in files}
    summary = {
        "binariesCount": str(len(binaries)),
        "binariesSize": f"{sum(binaries.values())} bytes",
        "artifactsSize": f"{size} bytes",
        "artifactsCount": str(len(files)),
    }
    return web.json_response({"binariesSummary": summary, "repositoriesSummaryList": []})


async def uploads_config(call: Call) -> web.Response:
    """Multipart uploads are not offered, which sends clients to plain deploys."""
    call.signed_in()
    return web.json_response({"supported": False})


# -- searches


def _readable_files(call: Call) -> list[Item]:
    store = call.platform.store
    call.signed_in()
    wanted = {key for key in call.query("repos").split(",") if key}
    return [
        item
        for config in store.repositories.all()
        if not wanted or config["key"] in wanted
        for item in store.everything(config["key"])
        if access.has(call, "r", item.repo, item.path)
    ]


def _results(call: Call, items: list[Item]) -> web.Response:
    detail = call.request.headers.get("X-Result-Detail", "")
    rows: list[dict[str, Any]] = []
    for item in items:
        row: dict[str, Any] = {"uri": wire.storage_uri(call.base(), item.repo, item.path)}
        if "info" in detail:
            row |= wire.item_info(item, shown_as=item.repo, base=call.base(), children=())
        if "properties" in detail:
            row["properties"] = {key: list(values) for key, values in item.properties.items()}
        rows.append(row)
    return web.json_response({"results": rows})


async def search_properties(call: Call) -> web.Response:
    """Items with all the named properties; a missing value means any."""
    wanted = {key: value for key, value in call.request.query.items() if key != "repos"}

    def matches(item: Item) -> bool:
        return all(
            key in item.properties
            and (value in ("", "*") or bool(set(value.split(",")).intersection(item.properties[key])))
            for key, value in wanted.items()
        )

    return _results(call, [item for item in _readable_files(call) if matches(item)])


async def search_checksum(call: Call) -> web.Response:
    """Files by one checksum."""
    algorithm = next((name for name in ("sha256", "sha1", "md5") if call.query(name)), None)
    if algorithm is None:
        raise Problem(400, "The search term cannot be empty")
    value = call.query(algorithm).lower()
    files = (item for item in _readable_files(call) if not item.folder)
    return _results(call, [item for item in files if item.content.by_name()[algorithm] == value])


async def search_name(call: Call) -> web.Response:
    """Files by name, with `*` and `?`."""
    name = call.query("name")
    if not name:
        raise Problem(400, "The search term cannot be empty")
    files = (item for item in _readable_files(call) if not item.folder)
    return _results(call, [item for item in files if fnmatchcase(item.name, name)])
