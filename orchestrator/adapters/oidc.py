"""Login by an OpenID Connect provider: authorization code with PKCE (RFC 7636), and what its ID token must say (OpenID
Connect Core 1.0, 3.1.3.7).

What has to be remembered between the two halves of a login lies in a cookie of the browser that began it, which only it
sends back; so any centre can finish a login that another one began.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import aiohttp
import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from orchestrator.domain.access_resources import ClaimRule
from orchestrator.domain.grants import Grant
from orchestrator.domain.problems import Forbidden, NotFound, ProviderUnreachable, Unauthorized

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
LEEWAY_S = 30
TIMEOUT_S = 10.0
MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Begun:
    url: str
    """Where the browser goes."""
    secret: str
    """For the cookie: state, nonce and PKCE verifier."""


@dataclass(frozen=True, slots=True)
class Word:
    """What the provider says of a user."""

    subject: str
    name: str
    claims: dict[str, Any]


def state_of(secret: str) -> str:
    return secret.partition(".")[0]


def configured(provider: Provider | None) -> Provider:
    if provider is None:
        raise NotFound("provider", "for OpenID Connect in the centre's settings")
    return provider


def checked(id_token: Any, keys: dict[str, Any], issuer: str, client_id: str, nonce: str) -> dict[str, Any]:
    """The claims of an ID token that one of ``keys`` (a JWK set) signed for us in this login. Raises Unauthorized."""
    wanted = jwt.JWTClaimsRegistry(
        leeway=LEEWAY_S,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": client_id},
        exp={"essential": True},
        iat={"essential": True},
        sub={"essential": True},
        nonce={"essential": True, "value": nonce},
    )
    try:
        token = jwt.decode(str(id_token), KeySet.import_key_set(keys), algorithms=ALGORITHMS)  # type: ignore[arg-type]
        wanted.validate(token.claims)
    except (JoseError, ValueError, KeyError, TypeError):
        raise Unauthorized("the provider's ID token does not hold") from None
    claims = dict(token.claims)
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if claims.get("azp", client_id) != client_id or (several and "azp" not in claims):
        raise Unauthorized("the provider's ID token is for somebody else")
    return claims


class Provider:
    def __init__(
        self,
        issuer: str,
        client_id: str,
        client_secret: str,
        rules: Sequence[ClaimRule],
        scopes: str = "openid profile email",
        public_url: str = "",
    ) -> None:
        self.issuer = issuer
        self._client_id = client_id
        self._client_secret = client_secret
        self._rules = rules
        self._scopes = scopes
        self._public_url = public_url
        self._endpoints: dict[str, str] = {}

    def callback(self, origin: str) -> str:
        """Where the provider sends the browser back: below ``public_url``, or ``origin`` where none is set."""
        return (self._public_url or origin).rstrip("/") + "/api/v1/login/oidc/callback"

    async def begin(self, callback: str) -> Begun:
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        asked = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": callback,
            "scope": self._scopes,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        endpoint = await self._endpoint("authorization_endpoint")
        mark = "&" if urlsplit(endpoint).query else "?"
        return Begun(f"{endpoint}{mark}{urlencode(asked)}", f"{state}.{nonce}.{verifier}")

    async def end(self, code: str, secret: str, callback: str) -> Word:
        """Raises Unauthorized when the provider does not stand by the code, or its word is not to be trusted."""
        _, nonce, verifier = (*secret.split("."), "", "")[:3]
        asked = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": callback,
            "code_verifier": verifier,
            "client_id": self._client_id,
        }
        answer = await self._json("POST", await self._endpoint("token_endpoint"), asked)
        keys = await self._json("GET", await self._endpoint("jwks_uri"))
        claims = checked(answer.get("id_token"), keys, self.issuer, self._client_id, nonce)
        name = next((claims[key] for key in ("name", "preferred_username", "email") if claims.get(key)), claims["sub"])
        return Word(str(claims["sub"]), str(name)[:200], claims)

    def grants_of(self, word: Word) -> list[Grant]:
        """Raises Forbidden when the claims are mapped to no role."""
        found: list[Grant] = []
        for rule in self._rules:
            said = word.claims.get(rule.claim)
            if rule.value in (said if isinstance(said, list) else [said]):
                found += [grant for grant in (spec.grant() for spec in rule.grants) if grant not in found]
        if not found:
            raise Forbidden("the provider knows you, but no role is mapped to what it says of you")
        return found

    async def _endpoint(self, name: str) -> str:
        if not self._endpoints:
            where = self.issuer.rstrip("/") + "/.well-known/openid-configuration"
            said = await self._json("GET", where)
            if said.get("issuer") != self.issuer:
                raise ProviderUnreachable("the provider says that it is another one than is configured")
            self._endpoints = {key: value for key, value in said.items() if isinstance(value, str)}
        if name not in self._endpoints:
            raise ProviderUnreachable(f"the provider has no {name}")
        return self._endpoints[name]

    async def _json(self, method: str, url: str, form: dict[str, str] | None = None) -> dict[str, Any]:
        headers = {}
        if form is not None and self._client_secret:
            who = (quote_plus(text) for text in (self._client_id, self._client_secret))  # RFC 6749, 2.3.1
            headers["Authorization"] = aiohttp.encode_basic_auth(*who)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(method, url, data=form, headers=headers, allow_redirects=False) as response,
            ):
                if form is not None and 400 <= response.status < 500:
                    raise Unauthorized("the provider does not stand by this login")
                if response.status != 200:
                    raise ProviderUnreachable(f"the provider answered {response.status}")
                said = orjson.loads(await response.content.read(MOST_BYTES))
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError):
            raise ProviderUnreachable("the provider does not answer, or not as a provider does") from None
        if not isinstance(said, dict):
            raise ProviderUnreachable("the provider's answer is no object")
        return said
