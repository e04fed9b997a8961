"""The API as an aiohttp application."""

from __future__ import annotations

import asyncio
from functools import cache
from importlib import metadata

import orjson
from aiohttp import web
from aiohttp.typedefs import Middleware

from orchestrator.api import auth, docs_page, errors
from orchestrator.api.registry import LONGEST_BODY, SERVICES, Registry, openapi
from orchestrator.api.v1 import (
    agents,
    audit,
    callbacks,
    calls,
    catalogue,
    consent_policies,
    corrections,
    countries,
    dids,
    erasures,
    events,
    exports,
    flow_drafts,
    flows,
    health,
    holds,
    imports,
    login,
    minors,
    pops,
    prompts,
    queues,
    recordings,
    reports,
    retention,
    roles,
    schedules,
    tokens,
    trunks,
    units,
    users,
    voicemails,
    waiting_calls,
    webhook_deliveries,
    webhooks,
)
from orchestrator.api.webhook_payloads import DESCRIBED
from orchestrator.services.context import Services

OPENAPI_PATH = "/api/v1/openapi.json"


def registry() -> Registry:
    made = Registry()
    nouns = (
        pops,
        trunks,
        countries,
        catalogue,
        schedules,
        consent_policies,
        dids,
        agents,
        imports,
        queues,
        prompts,
        flows,
        flow_drafts,
        calls,
        corrections,
        waiting_calls,
        callbacks,
        recordings,
        voicemails,
        exports,
        erasures,
        holds,
        minors,
        retention,
        events,
        reports,
        webhooks,
        webhook_deliveries,
        tokens,
        units,
        users,
        roles,
        login,
        audit,
        health,
    )
    for noun in nouns:
        noun.routes(made)
    return made


def make_app(services: Services, watch: Middleware) -> web.Application:
    """``watch`` sees every request and its answer."""
    routes = registry()
    public = routes.public_paths | docs_page.PATHS | {OPENAPI_PATH}
    app = web.Application(client_max_size=LONGEST_BODY, middlewares=[watch, errors.middleware, auth.middleware(public)])
    app[SERVICES] = services
    app[events.STOPPING] = asyncio.Event()
    routes.install(app)

    @cache
    def document() -> bytes:
        return orjson.dumps(openapi(routes, "Callplane", metadata.version("callplane"), DESCRIBED))

    async def describe(_request: web.Request) -> web.Response:
        """Made when it is first asked for: the centre starts without it."""
        response = web.Response(body=await asyncio.to_thread(document), content_type="application/json")
        response.enable_compression()
        return response

    async def end_streams(ending: web.Application) -> None:
        ending[events.STOPPING].set()

    app.router.add_get(OPENAPI_PATH, describe)
    docs_page.install(app)
    app.on_shutdown.append(end_streams)
    return app
