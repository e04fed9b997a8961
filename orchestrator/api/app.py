"""The API as an aiohttp application."""

from __future__ import annotations

import asyncio
from importlib import metadata

from aiohttp import web

from orchestrator.api import auth, errors
from orchestrator.api.registry import MAX_BODY, SERVICES, Registry, openapi
from orchestrator.api.v1 import (
    agents,
    callbacks,
    calls,
    dids,
    events,
    flow_drafts,
    flows,
    health,
    pops,
    queues,
    recordings,
    reports,
    tokens,
    voicemails,
)
from orchestrator.services.context import Services

OPENAPI_PATH = "/api/v1/openapi.json"


def registry() -> Registry:
    made = Registry()
    nouns = (
        pops,
        dids,
        agents,
        queues,
        flows,
        flow_drafts,
        calls,
        callbacks,
        recordings,
        voicemails,
        events,
        reports,
        tokens,
        health,
    )
    for noun in nouns:
        noun.routes(made)
    return made


def make_app(services: Services) -> web.Application:
    routes = registry()
    public = routes.public_paths | {OPENAPI_PATH}
    app = web.Application(client_max_size=MAX_BODY, middlewares=[errors.middleware, auth.middleware(public)])
    app[SERVICES] = services
    app[events.STOPPING] = asyncio.Event()
    routes.install(app)
    document = openapi(routes, "Callplane", metadata.version("callplane"))

    async def describe(_request: web.Request) -> web.Response:
        return web.json_response(document)

    async def end_streams(ending: web.Application) -> None:
        ending[events.STOPPING].set()

    app.router.add_get(OPENAPI_PATH, describe)
    app.on_shutdown.append(end_streams)
    return app
