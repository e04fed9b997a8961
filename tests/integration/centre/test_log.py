"""What a centre writes to its log in a run: neither tokens nor passwords nor numbers, whatever is asked of it."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import aiohttp
import pytest

from tests.integration.centre.support import Api, agent, did, graph, pop, until
from tests.integration.centre.test_calls import a_call
from tests.integration.centre.test_process import _command, _environment, started
from tests.support.ports import free_port

PASSWORD = "correct horse battery"
WRONG = "wrong horse battery"


@pytest.mark.parametrize("form", ["text", "json"])
async def test_no_secret_and_no_number_is_logged(tmp_path: Path, form: str) -> None:
    bus = free_port()
    environment = _environment(
        tmp_path / "centre",
        bus_port=str(bus),
        log_level="DEBUG",
        log_format=form,
        webhook_networks='["127.0.0.0/8"]',
    )
    secrets: list[str] = [PASSWORD, WRONG, "+49305550100", "305550100", "+49306667788", "Grace Hopper"]
    code, token, err = await _command(environment, "centre", "token", "create", "lab", "--role", "admin")
    assert code == 0
    secrets.append(token.strip())
    async with started(environment) as running:
        assert running.process.stdout is not None
        assert running.process.stderr is not None
        reading = [asyncio.create_task(pipe.read()) for pipe in (running.process.stdout, running.process.stderr)]
        headers = {"Authorization": f"Bearer {token.strip()}", "X-Purpose": "a test"}
        async with aiohttp.ClientSession(f"http://127.0.0.1:{running.port()}", headers=headers) as session:
            api = Api(session)
            key = await api.new_pop()
            nobody = f"http://127.0.0.1:{free_port()}/a-token-in-the-address"
            hook = await api.made("/webhooks", {"url": nobody, "events": ["*"]})
            secrets += [hook["secret"], "a-token-in-the-address"]
            await api.made("/queues", {"queue_id": "sales", "name": "Sales"})
            await api.made("/flows", {"flow_id": "main", "graph": {**graph(), "nodes": {"hello": {"type": "hang_up"}}}})
            await api.made("/dids", did())
            made = await api.made("/agents", agent(name="Grace Hopper"))
            grants = [{"role": "supervisor"}]
            await api.made("/users", {"login": "ada", "name": "Ada", "password": PASSWORD, "grants": grants})
            other = await api.made("/tokens", {"name": "other"})
            body = {"login": "ada", "password": PASSWORD}
            login = await api.ask("POST", "/login", body, headers={"Authorization": ""})
            secrets += [key, made["sip"]["password"], other["token"], login.body["token"]]
            for _ in range(6):
                await api.ask("POST", "/login", {**body, "password": WRONG}, headers={"Authorization": ""})
            for path, bad in [
                ("/dids", did(number="+49305550100", flow_id="none")),
                ("/users", {"login": "x y", "name": "x", "password": PASSWORD, "grants": []}),
                ("/callbacks", {"did": "+49305550100", "queue_id": "sales", "number": "+49306667788"}),
            ]:
                assert (await api.post(path, bad)).status >= 400
            await api.get("/pops", headers={"Authorization": f"Bearer cp_{WRONG.replace(' ', '_')}"})
            async with pop(tmp_path / "j.db", bus, key) as site:
                call, _, events = a_call("one")
                await site.journal.append(call, events)
                site.link.events_waiting()

                async def there() -> bool:
                    return (await api.get(f"/calls/{call}")).status == 200

                await until(there)

                async def failed() -> bool:
                    return bool((await api.get(f"/webhooks/{hook['webhook_id']}/backlog")).body["last_error"])

                await until(failed)
        running.process.terminate()
        log = err + "".join(said.decode() for said in await asyncio.wait_for(asyncio.gather(*reading), 15))
    assert "API at" in log
    assert [secret for secret in secrets if secret in log] == []
    assert re.findall(r"cp_[A-Za-z0-9_-]{20,}|\$argon2|\+?49\d{7,}", log) == []
    if form == "json":
        lines = [json.loads(line) for line in log.splitlines()]
        assert all(line.keys() >= {"time", "level", "logger", "message"} for line in lines)
        assert all(line["time"].endswith("Z") for line in lines)
