"""Users with passwords: sessions, their end, wrong passwords, locks."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from orchestrator.adapters.db.access_models import UserRow
from orchestrator.adapters.db.models import TokenRow
from orchestrator.bootstrap import Centre
from tests.integration.centre.support import Answer, Api

PASSWORD = "correct horse battery"
ADA: dict[str, Any] = {"login": "Ada", "name": "Ada L.", "password": PASSWORD, "grants": [{"role": "supervisor"}]}


async def log_in(api: Api, password: str = PASSWORD, login: str = "ada", **headers: str) -> Answer:
    body = {"login": login, "password": password}
    return await api.ask("POST", "/login", body, headers={"Authorization": "", **headers})


def bearer(answer: Answer) -> dict[str, str]:
    assert answer.status == 200, answer.body
    return {"Authorization": f"Bearer {answer.body['token']}"}


async def test_a_user_logs_in_and_out(api: Api, centre: tuple[Centre, str]) -> None:
    user = await api.made("/users", ADA)
    assert user["login"] == "ada"
    assert "password" not in str(user)
    session = bearer(await log_in(api, login="ADA"))
    me = (await api.get("/session", headers=session)).body
    assert (me["name"], me["user_id"], me["grants"][0]["role"]) == ("Ada L.", user["user_id"], "supervisor")
    assert (await api.get("/agents", headers=session)).status == 200
    assert (await api.get("/users", headers=session)).status == 403
    [listed] = [t for t in (await api.get("/tokens")).body["items"] if t["user_id"]]
    assert (listed["role"], listed["grants"]) == ("session", [])
    assert (await api.ask("DELETE", "/session", headers=session)).status == 204
    assert (await api.get("/session", headers=session)).status == 401
    base = centre[0].database
    assert base is not None
    async with base.read() as reading:
        row = await reading.scalar(select(UserRow))
        assert row is not None
        assert str(row.password_hash).startswith("$argon2id$")
        assert PASSWORD not in str(vars(row))
    found = [(e["action"], e["outcome"], e["caller"]) for e in (await api.get("/audit")).body["items"]]
    assert ("login", "done", "Ada L.") in found
    assert ("login_log_out", "done", "Ada L.") in found


async def test_what_a_user_may_follows_at_once(api: Api) -> None:
    user = await api.made("/users", ADA)
    session = bearer(await log_in(api))
    path, change = f"/users/{user['user_id']}", {"name": "Ada L.", "grants": [{"role": "engineer", "units": ["x"]}]}
    assert (await api.put(path, change)).status == 200
    assert (await api.get("/agents", headers=session)).status == 200
    assert (await api.get("/recordings", headers=session)).status == 403
    assert (await api.put(path, {**change, "password": "another long password"})).status == 200
    assert (await api.get("/session", headers=session)).status == 401
    assert (await log_in(api)).status == 401
    session = bearer(await log_in(api, "another long password"))
    assert (await api.put(path, {**change, "disabled": True})).status == 200
    assert (await api.get("/session", headers=session)).status == 401
    assert (await log_in(api, "another long password")).status == 401
    assert (await api.put(path, change)).status == 200
    session = bearer(await log_in(api, "another long password"))
    assert (await api.delete(path)).status == 204
    assert (await api.get("/session", headers=session)).status == 401
    assert (await api.get(path)).error_id == "unknown_user"


async def test_a_session_ends_by_itself_and_is_cleared_away(api: Api, centre: tuple[Centre, str]) -> None:
    await api.made("/users", ADA)
    session = bearer(await log_in(api))
    base = centre[0].database
    assert base is not None
    async with base.write() as writing:
        row = await writing.scalar(select(TokenRow).where(TokenRow.user_id.is_not(None)))
        assert row is not None
        row.expires_at = 1.0
    assert (await api.get("/session", headers=session)).status == 401
    bearer(await log_in(api))
    async with base.read() as reading:
        rows = list(await reading.scalars(select(TokenRow).where(TokenRow.user_id.is_not(None))))
    assert len(rows) == 1


async def test_wrong_names_and_passwords_are_not_told_apart_and_lock(api: Api) -> None:
    await api.made("/users", ADA)
    for _ in range(4):
        wrong = await log_in(api, "not the password")
        unknown = await log_in(api, login="nobody")
        assert (wrong.status, unknown.status) == (401, 401)
        assert wrong.body == unknown.body
    assert (await log_in(api, "not the password")).status == 401
    locked = await log_in(api)
    assert (locked.status, locked.error_id) == (429, "too_many_failures")
    assert 50 <= int(locked.headers["Retry-After"]) <= 60
    assert PASSWORD not in str(await entries(api))
    assert [e["outcome"] for e in await entries(api)].count("unauthorized") == 9
    assert "nobody" not in str(await entries(api))


async def entries(api: Api) -> list[dict[str, Any]]:
    return list((await api.get("/audit?action=login")).body["items"])


async def test_guessing_tokens_is_slowed_and_good_ones_still_get_in(api: Api) -> None:
    seen = set()
    for n in range(40):
        answer = await api.get("/pops", headers={"Authorization": f"Bearer cp_{n}"})
        seen.add(answer.status)
    assert seen == {401, 429}
    assert int(answer.headers["Retry-After"]) > 0
    assert (await api.get("/pops")).status == 200


async def test_nobody_is_believed_to_come_from_elsewhere(api: Api) -> None:
    await api.made("/users", ADA)
    await log_in(api, "wrong wrong wrong", **{"X-Forwarded-For": "198.51.100.1"})
    assert (await entries(api))[0]["source"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"password": "short"}, "password"),
        ({"login": "two words"}, "login"),
        ({"grants": []}, "grants"),
        ({"grants": [{"role": "agent", "agent_id": "nobody"}]}, "grants.0.agent_id"),
        ({"name": ""}, "name"),
    ],
)
async def test_a_bad_user_is_refused(api: Api, change: dict[str, Any], field: str) -> None:
    answer = await api.post("/users", {**ADA, **change})
    assert answer.status == 422
    assert field in answer.fields
    assert PASSWORD not in str(answer.body)
    assert (await api.get("/users")).body["items"] == []
    await api.made("/users", ADA)
    assert (await api.post("/users", {**ADA, "login": "ADA"})).error_id == "user_exists"
