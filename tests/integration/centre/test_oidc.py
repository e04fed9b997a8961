"""Login by a real OpenID Connect provider: from its pages to a session, and everything that must not get in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from pydantic import SecretStr, ValidationError

from orchestrator.config import CentreSettings
from orchestrator.domain.access_resources import ClaimRule
from tests.integration.centre.conftest import running
from tests.integration.centre.support import Api
from tests.support.oidc_provider import Provider, browser, log_in
from tests.support.ports import free_port

RULES: list[dict[str, Any]] = [
    {"claim": "groups", "value": "sales-leads", "grants": [{"role": "supervisor", "units": ["sales"]}]},
    {"claim": "groups", "value": "auditors", "grants": [{"role": "compliance"}]},
]


@dataclass
class Scene:
    provider: Provider
    url: str
    api: Api

    @property
    def start(self) -> str:
        return f"{self.url}/api/v1/login/oidc"


@pytest.fixture
async def scene(settings: CentreSettings) -> AsyncIterator[Scene]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    users = {"ada": ["sales-leads", "auditors"], "eve": ["guests"]}
    provider = Provider(free_port(), f"{url}/api/v1/login/oidc/callback", users)
    changed = settings.model_copy(
        update={
            "api_port": port,
            "oidc_issuer": provider.issuer,
            "oidc_client_id": provider.client_id,
            "oidc_client_secret": SecretStr(provider.client_secret),
            "oidc_scopes": "openid profile email groups",
            "oidc_rules": [ClaimRule.model_validate(rule) for rule in RULES],
        }
    )
    async with provider.running(), running(changed) as (_, said):
        headers = {"Authorization": f"Bearer {said[0].rsplit(' ', 1)[1]}"}
        async with aiohttp.ClientSession(url, headers=headers) as session:
            yield Scene(provider, url, Api(session))


async def answer(session: aiohttp.ClientSession, url: str) -> tuple[int, dict[str, Any]]:
    async with session.get(url, allow_redirects=False) as response:
        return response.status, await response.json()


async def test_who_the_provider_knows_gets_what_the_claims_are_mapped_to(scene: Scene) -> None:
    async with browser() as session:
        back = await log_in(session, scene.start, scene.provider, "ada", scene.provider.password)
        status, made = await answer(session, back)
        assert status == 200, made
        again, refused = await answer(session, back)
        assert (again, refused["error_id"]) == (401, "unauthorized")  # the cookie is gone, and the code is spent
    bearer = {"Authorization": f"Bearer {made['token']}"}
    me = (await scene.api.get("/session", headers=bearer)).body
    assert me["name"] == "Ada Example"
    assert [(g["role"], g["units"]) for g in me["grants"]] == [("supervisor", ["sales"]), ("compliance", None)]
    assert (await scene.api.get("/audit", headers=bearer)).status == 200
    assert (await scene.api.get("/tokens", headers=bearer)).status == 403
    async with browser() as session:
        back = await log_in(session, scene.start, scene.provider, "ada", scene.provider.password)
        assert (await answer(session, back))[0] == 200
    [user] = (await scene.api.get("/users")).body["items"]
    assert user["login"].startswith("oidc:")
    body = {"name": "Ada", "grants": [{"role": "supervisor"}], "disabled": True}
    assert (await scene.api.put(f"/users/{user['user_id']}", {**body, "password": "long enough now"})).status == 422
    assert (await scene.api.put(f"/users/{user['user_id']}", body)).status == 200
    assert (await scene.api.get("/session", headers=bearer)).status == 401
    async with browser() as session:
        back = await log_in(session, scene.start, scene.provider, "ada", scene.provider.password)
        assert (await answer(session, back))[0] == 401
    found = (await scene.api.get("/audit?action=login_oidc")).body["items"]
    outcomes = [(e["outcome"], e["caller"]) for e in found]
    assert outcomes == [("unauthorized", "Ada Example"), ("done", "Ada Example"), ("done", "Ada Example")]


async def test_who_has_no_role_stays_out(scene: Scene) -> None:
    async with browser() as session:
        back = await log_in(session, scene.start, scene.provider, "eve", scene.provider.password)
        status, refused = await answer(session, back)
    assert (status, refused["error_id"]) == (403, "forbidden")
    assert (await scene.api.get("/users")).body["items"] == []


async def test_a_login_is_finished_by_the_browser_that_began_it(scene: Scene) -> None:
    """A code that somebody else got is worth nothing here, nor is one without its verifier and nonce."""
    async with browser() as ada, browser() as other:
        back = await log_in(ada, scene.start, scene.provider, "ada", scene.provider.password)
        assert (await answer(other, back))[0] == 401  # began nothing
        async with other.get(scene.start, allow_redirects=False) as began:
            asked = parse_qs(urlsplit(began.headers["Location"]).query)
        assert (await answer(other, back))[0] == 401  # began another one
        code = parse_qs(urlsplit(back).query)["code"][0]
        mixed = f"{scene.provider.redirect_uri}?code={code}&state={asked['state'][0]}"
        assert (await answer(other, mixed))[0] == 401  # the right state, another's code: PKCE does not fit
        assert (await answer(other, f"{scene.provider.redirect_uri}?error=access_denied&state=x"))[0] == 401
    assert asked["code_challenge_method"] == ["S256"]
    assert (await scene.api.get("/users")).body["items"] == []


async def test_a_provider_that_is_away_is_said_to_be(settings: CentreSettings) -> None:
    changed = settings.model_copy(
        update={"oidc_issuer": f"http://127.0.0.1:{free_port()}", "oidc_client_id": "callplane"}
    )
    async with running(changed) as (centre, _), browser() as session:
        status, problem = await answer(session, f"http://127.0.0.1:{centre.port}/api/v1/login/oidc")
        assert (status, problem["error_id"]) == (503, "provider_unreachable")


async def test_without_a_provider_there_is_no_such_login(api: Api) -> None:
    assert (await api.get("/login/oidc", headers={"Authorization": ""})).error_id == "unknown_provider"
    refused = await api.get("/login/oidc/callback?state=x&code=y", headers={"Authorization": ""})
    assert refused.error_id == "unknown_provider"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"oidc_issuer": "https://id.example"}, "go together"),
        ({"oidc_issuer": "http://id.example", "oidc_client_id": "x"}, "https"),
        ({"oidc_rules": [{"claim": "groups", "value": "a", "grants": [{"role": "king"}]}]}, "role"),
        (
            {
                "oidc_issuer": "https://id.example",
                "oidc_client_id": "x",
                "oidc_client_secret": "a",
                "oidc_client_secret_file": "b",
            },
            "two ways",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, setting: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        CentreSettings(state_dir=tmp_path, **setting)
