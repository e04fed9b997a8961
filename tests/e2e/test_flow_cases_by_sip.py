"""``callplane flow test --sip`` against a POP with real calls, and a flow that is published while a caller is in it."""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dialplans.schema import Engine
from tests.lab.lab import ROOT, Lab
from tests.lab.stack import API_PORT, DID, Stack

NUMBERS = itertools.count(1)
CALLER = "+491701234999"
FLOW: dict[str, Any] = {
    "start": "greeting",
    "languages": ["de", "en"],
    "nodes": {
        "greeting": {"type": "say", "prompts": ["greeting"], "next": "language"},
        "language": {"type": "language", "choices": {"1": "de", "2": "en"}, "next": "menu"},
        "menu": {"type": "menu", "prompt": "menu", "choices": {"1": "wait", "2": "goodbye"}, "on_failure": "goodbye"},
        "wait": {"type": "queue", "queue": "support", "welcome": False, "on_refused": "goodbye"},
        "goodbye": {"type": "hang_up", "cause": "USER_BUSY"},
    },
}
CASES: dict[str, Any] = {
    "flow": FLOW,
    "caller": {"number": CALLER},
    "did": {"time_zone": "Europe/Berlin"},
    "cases": [
        {
            "name": "into the queue",
            "steps": [
                {"hears": ["de/greeting"]},
                {"presses": "2"},
                {"at": "menu"},
                {"hears": ["en/menu"]},
                {"presses": "1"},
                {"hears": ["position-1"]},
                {"ends": {"queue": "support"}},
            ],
        },
        {"name": "expects another prompt", "steps": [{"hears": ["greeting", "menu"]}]},
        {"name": "at night", "at": "2026-11-23 03:00", "steps": ["hangs_up"]},
    ],
}


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    async with Stack.start(lab, engine=engine, flow=FLOW) as started:
        yield started
        started.server.wait_idle()


async def flow_test(stack: Stack, cases: dict[str, Any], **options: str) -> tuple[int, str]:
    """Run the command on the carrier's host, where baresip is that of the lab's file system; status and output."""
    host = stack.carrier
    directory = host.state_dir / f"flow-test-{next(NUMBERS)}"
    (directory / "bin").mkdir(parents=True)
    baresip = directory / "bin" / "baresip"
    baresip.write_text(f'#!/bin/sh\nexec chroot {host.root} /usr/bin/baresip "$@"\n')
    baresip.chmod(0o755)
    (directory / "cases.json").write_text(json.dumps(cases))
    (directory / "token").write_text(stack.api.token)
    asked = {
        "centre": f"http://{stack.centre.address}:{API_PORT}",
        "token-file": str(directory / "token"),
        "did": DID,
        "pop": f"{stack.pop.address}:{stack.settings.sip_port}",
    } | options
    words = [word for name, value in asked.items() for word in (f"--{name}", value)]
    process = host.spawn(
        [Path(sys.executable).parent / "callplane", "flow", "test", directory / "cases.json", "--sip", *words],
        name=directory.name,
        env={"PATH": f"{directory / 'bin'}:{os.environ['PATH']}", "TMPDIR": str(directory), "COLUMNS": "120"},
        cwd=ROOT,
    )
    return await asyncio.to_thread(process.wait, 60), process.log_text()


async def test_cases_are_real_calls_and_one_that_fails_is_told(stack: Stack) -> None:
    status, said = await flow_test(stack, CASES)
    assert "1 passed, 1 failed, 1 skipped" in said, said
    assert status == 1
    assert "expected prompt menu; the caller heard de/choose-language. Heard so far: de/greeting, de/choose" in said
    assert "into the queue:" not in said
    assert "at night: skipped, 'at': the POP has the time it has" in said
    assert stack.api.token not in said
    calls = await stack.ended_calls(2)
    assert [call["cli"] for call in calls] == [CALLER, CALLER], "real calls, with records"
    assert calls[0]["queue_id"] == "support"

    # A caller who is in the menu while another version is published goes on in the one he knows.
    changed = copy.deepcopy(FLOW)
    changed["nodes"]["menu"]["choices"] = {"1": "goodbye", "2": "wait"}
    async with stack.caller() as caller:
        await caller.wait_for("CALL_ESTABLISHED")
        await stack.at_node(caller, "greeting")
        await caller.send_digits("1")
        await stack.at_node(caller, "menu")
        draft = await stack.api.ask("PUT", "flows/main/draft", {"graph": changed})
        published = await stack.api.post("flows/main/publish", {"draft_revision": draft["draft_revision"]})
        assert published["version"] == 2
        await stack.synced()
        await caller.send_digits("1")
        await stack.at_node(caller, "wait")
        call_id = await stack.call_id(caller)
        await caller.hang_up()
    assert (await stack.record(call_id))["flow_version"] == 1
    status, said = await flow_test(stack, CASES)
    assert status == 2
    assert "is not what is published as main" in said
    steps = [{"presses": "11"}, {"ends": {"hung_up": "USER_BUSY"}}]
    new = {**CASES, "flow": changed, "cases": [{"name": "goodbye at once", "steps": steps}]}
    status, said = await flow_test(stack, new)
    assert (status, "1 passed, 0 failed" in said) == (0, True), said
    assert (await stack.ended_calls(4))[-1]["flow_version"] == 2
