"""A flow that collects, looks up, branches, runs another one, and queues whose steps lead on, on real servers."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dialplans.schema import Engine
from tests.e2e.test_wait_announced import Listening
from tests.lab.errors import wait_until
from tests.lab.lab import Lab
from tests.lab.process import Process
from tests.lab.stack import CRM_PORT, Stack, recordings_on_disk

BYTES_S = 8000 * 4
SAID = ("number-2", "number-thousand", "number-42", "number-1", "number-2", "number-3")
"""2042 and the account."""
WAIT: dict[str, Any] = {"type": "queue", "on_refused": "sorry", "welcome": False, "announce_position": False}
GOLD: dict[str, Any] = {
    "start": "dear",
    "languages": ["de"],
    "nodes": {
        "dear": {"type": "set", "values": {"dear": "{name}"}, "next": "back"},
        "back": {"type": "return"},
    },
}


def flow(crm: str) -> dict[str, Any]:
    return {
        "start": "account",
        "languages": ["de"],
        "nodes": {
            "account": {
                "type": "collect",
                "prompts": ["menu"],
                "variable": "account",
                "min_digits": 3,
                "max_digits": 3,
                "next": "customer",
                "on_failure": "sorry",
            },
            "customer": {
                "type": "lookup",
                "url": crm + "/{account}.json",
                "take": {"tier": "contract.tier", "name": "name", "orders": "orders"},
                "next": "tier",
                "on_failure": "hours",
            },
            "tier": {
                "type": "branch",
                "conditions": [{"variable": "tier", "equals": "gold", "next": "gold"}],
                "otherwise": "sorry",
            },
            "gold": {"type": "flow", "flow": "gold", "next": "known"},
            "known": {
                "type": "branch",
                "conditions": [{"variable": "dear", "equals": "Ada", "next": "told"}],
                "otherwise": "sorry",
            },
            "told": {"type": "say", "prompts": [{"number": "{orders}"}, {"digits": "{account}"}], "next": "wait"},
            "wait": {**WAIT, "queue": "experts", "needs": [{"skill": "{tier}", "least": 1}]},
            "hours": {"type": "hours", "time_zone": "UTC", "weekly": {}, "open": "sorry", "closed": "goodbye"},
            "goodbye": {"type": "hang_up", "prompts": ["goodbye"]},
            "sorry": {"type": "hang_up", "prompts": ["queue-full"]},
        },
    }


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    async with Stack.start(lab, engine=engine) as started:
        yield started
        started.server.wait_idle()


async def crm(stack: Stack) -> Process:
    """An HTTP service that knows one customer."""
    directory = stack.centre.state_dir / "crm"
    directory.mkdir()
    (directory / "123.json").write_text(json.dumps({"name": "Ada", "orders": 2042, "contract": {"tier": "gold"}}))
    command = [sys.executable, "-m", "http.server", str(CRM_PORT), "--bind", stack.centre.address]
    process = stack.centre.spawn([*command, "--directory", directory], name="crm", env={"PYTHONUNBUFFERED": "1"})
    await asyncio.to_thread(wait_until, lambda: "Serving HTTP" in process.log_text(), 20, "the HTTP service")
    return process


async def test_a_known_customer_and_an_unknown_one(stack: Stack) -> None:
    """The known one's tier becomes a skill; no expert has it, so the queue's step is not waited out: overflow to the
    next queue at once, and from there to a mailbox. The unknown one comes to closed hours."""
    steps = [{"after_s": 3, "action": {"type": "voicemail", "mailbox": "gold"}}]
    await stack.api.post("queues", {"queue_id": "backup", "name": "Backup", "steps": steps})
    steps = [{"after_s": 600, "action": {"type": "overflow_queue", "queue_id": "backup"}}]
    await stack.api.post("queues", {"queue_id": "experts", "name": "Experts", "skills": {"expert": 1}, "steps": steps})
    await stack.api.post("flows", {"flow_id": "gold", "graph": GOLD})
    origin = f"http://{stack.centre.address}:{CRM_PORT}"
    await stack.api.ask("PUT", "flows/main", {"graph": flow(origin)})
    helper = await stack.add_agent("helper", {"gold": 1, "support": 1})
    assert helper.agent_id
    await stack.synced()
    service = await crm(stack)
    try:
        await stack.status("helper", "NOT_READY", "LUNCH")
        async with stack.caller(cli="+491700000001") as caller:
            await caller.wait_for("CALL_ESTABLISHED")
            await stack.at_node(caller, "account")
            await caller.send_digits("123")
            call_id = await stack.call_id(caller)
            await Listening(caller, SAID).until(*SAID)
            await stack.event("QueueOverflowed", call_id=call_id, queue_id="backup")
            await stack.event("WaitEnded", call_id=call_id, queue_id="backup", reason="voicemail")
            await caller.send_digits("1")
            await stack.event("RecordingStarted", call_id=call_id)
            captured = lambda: sum(path.stat().st_size for path in recordings_on_disk(stack.pop)) > 2 * BYTES_S  # noqa: E731
            await asyncio.to_thread(wait_until, captured, 15, "two seconds of the message")
            await caller.send_digits("#")
            await caller.wait_for("CALL_CLOSED")
            known = await stack.record(call_id)
        async with stack.caller("other", cli="+491700000002") as other:
            await other.wait_for("CALL_ESTABLISHED")
            await stack.at_node(other, "account")
            await other.send_digits("999")
            await other.wait_for("CALL_CLOSED", deadline_s=20)
            unknown = await stack.record(await stack.call_id(other))
    finally:
        service.stop()
    assert known["nodes"] == ["account", "customer", "tier", "gold", "dear", "back", "known", "told", "wait"]
    assert [v["ended_by"] for v in known["voicemails"]] == ["terminator"]
    assert unknown["nodes"] == ["account", "customer", "hours", "goodbye"]
    journal = stack.journal()
    [found, missing] = [event for event in journal if event["kind"] == "LookupEnded"]
    assert (found["error"], found["values"], missing["error"], missing["status"]) == ("", {}, "status", 404)
    assert [event["digits"] for event in journal if event["kind"] == "DigitsCollected"] == [None, None]
    assert not [event for event in journal if event["kind"] == "DigitPressed" and event["digit"] in "239"]
    assert "123.json" in service.log_text()
