"""Bearer tokens (RFC 6750). Everything asks for one but the registry's public routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

from aiohttp import web
from aiohttp.typedefs import Middleware

from orchestrator.api.registry import SERVICES
from orchestrator.domain.grants import Caller, calling, current
from orchestrator.domain.problems import Unauthorized
from orchestrator.services import tokens

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


def who(_request: web.Request) -> str:
    """Name of the token or user that the request was made with."""
    return current().name


def middleware(public_paths: frozenset[str]) -> Middleware:
    @web.middleware
    async def authenticate(request: web.Request, handler: Next) -> web.StreamResponse:
        source = request.remote or ""
        if request.path in public_paths:
            with calling(Caller("", "", (), source)):
                return await handler(request)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized("a bearer token is needed")
        async with request.app[SERVICES].database.read() as session:
            known = await tokens.find(session, token.strip())
        if known is None:
            raise Unauthorized("the bearer token is not known")
        with calling(Caller(known.token_id, known.name, tokens.grants_of(known), source)):
            return await handler(request)

    return cast(Middleware, authenticate)
