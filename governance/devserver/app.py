"""The web application: one catch-all handler in front of our own router, with faults and refusals around it.

Promises that an unexpected error answers 500 without its text and is logged. Does not listen (`server`).
"""

from __future__ import annotations

import asyncio
import uuid
from urllib.parse import unquote

from aiohttp import web

from governance.devserver import (
    accounts,
    administration,
    aql,
    builds,
    content,
    download,
    evidence,
    huggingface,
    huggingface_upload,
    machinelearning,
    moving,
    permissions,
    platform_api,
    storage,
    xray,
    xray_graph,
    xray_policies,
    xray_search,
)
from governance.devserver.delivery import FileResponse
from governance.devserver.faults import Fault
from governance.devserver.platform import LOGGER, Platform
from governance.devserver.problems import Problem, render
from governance.devserver.routing import Call, Router


def build_router() -> Router:
    """All routes. Contents come last, since they match nearly everything."""
    router = Router()
    for add_routes in (
        administration.add_routes,
        storage.add_routes,
        moving.add_routes,
        aql.add_routes,
        accounts.add_routes,
        permissions.add_routes,
        platform_api.add_routes,
        xray.add_routes,
        xray_graph.add_routes,
        xray_policies.add_routes,
        xray_search.add_routes,
        builds.add_routes,
        machinelearning.add_routes,
        evidence.add_routes,
        huggingface_upload.add_routes,
        huggingface.add_routes,
        download.add_routes,
        content.add_routes,
    ):
        add_routes(router)
    return router


def build_app(platform: Platform) -> web.Application:
    """The application over one platform. The caller closes the platform."""
    router = build_router()

    async def handle(request: web.Request) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        fault = platform.faults.take(request.method, unquote(path), query)
        if fault is not None and (early := await _before(fault, request)) is not None:
            return early
        response = await _answer(platform, router, request, path)
        response.headers["X-JFrog-Version"] = f"Artifactory/{platform.config.version} devserver"
        response.headers["X-Request-ID"] = uuid.uuid4().hex
        return response if fault is None else _after(fault, request, response)

    app = web.Application(client_max_size=0)
    app.router.add_route("*", "/{everything:.*}", handle)
    return app


async def _answer(platform: Platform, router: Router, request: web.Request, path: str) -> web.StreamResponse:
    try:
        handler, params = router.find(request.method, path)
        caller = platform.security.identify(request.headers)
        return await handler(Call(request=request, platform=platform, caller=caller, params=params))
    except Problem as problem:
        return render(problem, path)
    except web.HTTPException:
        raise
    except UnicodeDecodeError:
        return render(Problem(400, "The path is not UTF-8"), path)
    except ConnectionError:
        return _to_nobody()
    except (AttributeError, KeyError, TypeError, ValueError):
        # Bodies are read without a schema: a number where a list belongs shows here. Logged whole, as it may be our mistake.
        LOGGER.warning("%s %s cannot be understood", request.method, path, exc_info=True)
        return render(Problem(400, "The request cannot be understood"), path)
    except Exception:  # noqa: BLE001 - whatever a handler did not foresee becomes 500, and is logged whole
        LOGGER.exception("%s %s failed", request.method, path)
        return render(Problem(500, "Internal Server Error"), path)


def _to_nobody() -> web.Response:
    """What the framework may try to send to a client that has gone."""
    response = web.Response(status=499, reason="Client Closed Request")
    response.force_close()
    return response


# -- faults


async def _before(fault: Fault, request: web.Request) -> web.StreamResponse | None:
    """What a fault does before the request is looked at."""
    if fault.delay:
        await asyncio.sleep(fault.delay)
    if fault.drop or fault.drop_after is not None:
        return await _drop(request, fault.drop_after)
    if fault.status is None:
        return None
    if fault.body is not None:
        return web.Response(status=fault.status, reason=fault.reason, body=fault.body, headers=fault.headers)
    problem = Problem(fault.status, fault.message, headers=fault.headers, reason=fault.reason)
    return render(problem, request.path)


async def _drop(request: web.Request, after: int | None) -> web.Response:
    """Close the connection without an answer, perhaps in the middle of the request's body."""
    received = 0
    while after is not None and received < after:
        chunk = await request.content.readany()
        if not chunk:
            break
        received += len(chunk)
    if request.transport is not None:
        request.transport.abort()
    return _to_nobody()


def _after(fault: Fault, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """What a fault does to an answer."""
    if isinstance(response, FileResponse):
        response.truncate_at, response.corrupt_at = fault.truncate_at, fault.corrupt_at
    elif isinstance(response, web.Response) and isinstance(response.body, bytes):
        if fault.rewrite is not None and response.status in {200, 201}:
            response.body = fault.rewrite(response.body)
        if fault.truncate_at is not None:
            response = _Truncated(response, request, fault.truncate_at)
    for name, value in fault.headers.items():
        response.headers[name] = value
    return response


class _Truncated(web.StreamResponse):
    """A small answer that breaks off after some bytes."""

    def __init__(self, whole: web.Response, request: web.Request, at: int) -> None:
        super().__init__(status=whole.status, headers=whole.headers)
        body = whole.body if isinstance(whole.body, bytes) else b""
        self.content_length = len(body)
        self._kept, self._request = body[:at], request

    async def write_eof(self, data: bytes = b"") -> None:
        del data
        await self.write(self._kept)
        if self._request.transport is not None:
            self._request.transport.close()
