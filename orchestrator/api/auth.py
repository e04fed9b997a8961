"""Bearer tokens (RFC 6750). Everything asks for one but the registry's public routes."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import cast

from aiohttp import web
from aiohttp.typedefs import Middleware

from orchestrator.api.registry import SERVICES
from orchestrator.domain.grants import Caller, calling, current
from orchestrator.domain.problems import Problem, Unauthorized
from orchestrator.services import audit, recording_links, tokens

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


def who(_request: web.Request) -> str:
    """Name of the token or user that the request was made with."""
    return current().name


def _source(request: web.Request) -> str:
    """Address that the request came from, behind a proxy of ours the one that the proxy saw."""
    source, proxies = request.remote or "", request.app[SERVICES].proxies
    for hop in reversed(request.headers.get("X-Forwarded-For", "").split(",")):
        if source not in proxies or not hop.strip():
            break
        source = hop.strip()
    return source


async def _audited(caller: Caller, handler: Next, request: web.Request) -> web.StreamResponse:
    """What was done has its row by now, unless it changed nothing in the database; what was refused gets one."""
    try:
        response = await handler(request)
    except Problem as problem:
        await caller.note(problem.error_id)
        raise
    if not caller.entries and response.status < 400:
        await caller.note(audit.DONE)
    return response


async def _linked(request: web.Request, text: str, source: str) -> Caller:
    """Who made the link, if it is one for this path and its maker's token is still good. Raises Unauthorized, with a
    row of the audit log where it is known whose link it was."""
    services, now = request.app[SERVICES], time.time()
    link = recording_links.read(services.secrets, request.path, text)
    if link is None:
        services.gate.bad_bearer(text[:200], source)
        raise Unauthorized("the link is not good for this")
    async with services.database.read() as session:
        known = await tokens.again(session, link.token_id, now)
    caller = link.caller() if known is None else known
    caller.source, caller.thing = source, request.path.removeprefix("/api/v1/")
    caller.purpose, caller.linked, caller.noting = link.purpose, True, partial(audit.note, services.database)
    if known is None or link.expires_at <= now:
        caller.recorded, caller.action = True, "recordings_link"
        with calling(caller):
            await caller.note("link_expired")
        raise Unauthorized("the link has expired")
    return caller


def middleware(public_paths: frozenset[str]) -> Middleware:
    @web.middleware
    async def authenticate(request: web.Request, handler: Next) -> web.StreamResponse:
        source = _source(request)
        if request.path in public_paths:
            with calling(Caller("", "", (), source=source)):
                return await handler(request)
        if "Authorization" not in request.headers and request.method == "GET" and "link" in request.query:
            linked = await _linked(request, request.query["link"], source)
            with calling(linked):
                return await _audited(linked, handler, request)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized("a bearer token is needed")
        known = await request.app[SERVICES].callers.find(token.strip())
        if known is None:
            request.app[SERVICES].gate.bad_bearer(token.strip(), source)
            raise Unauthorized("the bearer token is not known")
        path = request.path if request.path.isprintable() else request.rel_url.raw_path
        known.source, known.thing = source, path.removeprefix("/api/v1/")
        known.noting = partial(audit.note, request.app[SERVICES].database)
        with calling(known):
            return await _audited(known, handler, request)

    return cast(Middleware, authenticate)
