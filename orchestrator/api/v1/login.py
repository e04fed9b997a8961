"""/api/v1/login: from a password, or a provider's word, to a session's token. /api/v1/session: whose it is, its end."""

from __future__ import annotations

import hmac

from aiohttp import web
from pydantic import Field

from orchestrator.api.access import EVERYBODY
from orchestrator.api.access_schemas import Me, Session, me_of
from orchestrator.api.registry import Registry
from orchestrator.domain.access_resources import LoginSpec
from orchestrator.domain.grants import current
from orchestrator.domain.problems import Unauthorized
from orchestrator.domain.strict import Strict
from orchestrator.services import tokens, users
from orchestrator.services.context import Services

COOKIE = "callplane_login"
COOKIE_S = 600


async def log_in(services: Services, body: LoginSpec) -> Session:
    """Log in with name and password. The answer holds the session's token, which expires. 401 says no more than that
    one of the two is wrong; after too many failures 429, and how long to wait in Retry-After."""
    row, token = await users.log_in(services, body, services.session_s)
    return Session.model_validate({"token": token, "expires_at": row.expires_at})


async def me(services: Services) -> Me:
    """Who the request comes from, and what the bearer token is good for."""
    return me_of(current())


async def log_out(services: Services) -> None:
    """End the session: its token is good for nothing from now on. So is a program's token after this."""
    async with services.database.write() as session:
        await tokens.end(session, current().caller_id)


async def begin_oidc(services: Services, request: web.Request) -> web.StreamResponse:
    """Send the browser to the OpenID Connect provider (authorization code, PKCE). 404 when none is configured."""
    from orchestrator.adapters import oidc

    provider = oidc.configured(services.provider)
    callback = provider.callback(str(request.url.origin()))
    began = await provider.begin(callback)
    response = web.Response(status=302, headers={"Location": began.url, "Cache-Control": "no-store"})
    response.set_cookie(
        COOKIE,
        began.secret,
        max_age=COOKIE_S,
        path="/api/v1/login",
        httponly=True,
        samesite="Lax",
        secure=callback.startswith("https:"),
    )
    return response


class OidcAnswer(Strict):
    code: str | None = Field(default=None, max_length=4096)
    state: str = Field(max_length=200)
    error: str | None = Field(default=None, max_length=200)
    error_description: str | None = Field(default=None, max_length=2000)
    error_uri: str | None = Field(default=None, max_length=2000)
    iss: str | None = Field(default=None, max_length=2000)
    scope: str | None = Field(default=None, max_length=2000)
    session_state: str | None = Field(default=None, max_length=2000)


async def end_oidc(services: Services, request: web.Request, query: OidcAnswer) -> web.StreamResponse:
    """Where the provider sends the browser back. The answer is that of ``POST /login``. 401: the provider refused, or
    this browser did not begin the login; 403: its claims are mapped to no role."""
    from orchestrator.adapters import oidc

    provider = oidc.configured(services.provider)
    secret = request.cookies.get(COOKIE, "")
    if not hmac.compare_digest(oidc.state_of(secret), query.state) or not secret:
        raise Unauthorized("this browser did not begin the login, or too long ago")
    if query.code is None:
        raise Unauthorized("the provider did not let the user in")
    word = await provider.end(query.code, secret, provider.callback(str(request.url.origin())))
    row, token = await users.come_from_provider(
        services, provider.issuer, word.subject, word.name, provider.grants_of(word), services.session_s
    )
    body = Session.model_validate({"token": token, "expires_at": row.expires_at})
    response = web.Response(
        body=body.model_dump_json(), content_type="application/json", headers={"Cache-Control": "no-store"}
    )
    response.del_cookie(COOKIE, path="/api/v1/login")
    return response


def routes(registry: Registry) -> None:
    path = "/api/v1/login"
    registry.route("POST", path, tag="login", public=True, problems=(401, 429))(log_in)
    registry.route("GET", "/api/v1/session", tag="login", roles=EVERYBODY)(me)
    registry.route("DELETE", "/api/v1/session", tag="login", status=204, roles=EVERYBODY)(log_out)
    registry.route("GET", path + "/oidc", tag="login", status=302, public=True, problems=(404,))(begin_oidc)
    registry.route("GET", path + "/oidc/callback", tag="login", public=True, problems=(401, 403, 404))(end_oidc)
