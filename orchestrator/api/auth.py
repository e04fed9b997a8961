"""Bearer tokens (RFC 6750). Everything asks for one but the registry's public routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

from aiohttp import web
from aiohttp.typedefs import Middleware

from orchestrator.api.registry import SERVICES
from orchestrator.domain.problems import Unauthorized
from orchestrator.services import tokens

_WHO = web.RequestKey("who", str)

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


def who(request: web.Request) -> str:
    """Name of the token that the request was made with."""
    return request[_WHO]


def middleware(public_paths: frozenset[str]) -> Middleware:
    @web.middleware
    async def authenticate(request: web.Request, handler: Next) -> web.StreamResponse:
        if request.path in public_paths:
            return await handler(request)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized("a bearer token is needed")
        async with request.app[SERVICES].database.read() as session:
            known = await tokens.find(session, token.strip())
        if known is None:
            raise Unauthorized("the bearer token is not known")
        request[_WHO] = known.name
        return await handler(request)

    return cast(Middleware, authenticate)
