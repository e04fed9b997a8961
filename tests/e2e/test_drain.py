"""A POP is drained from the command line: its call goes on, the next one goes to the carrier's next route."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator

import pytest

from dialplans.schema import Engine
from tests.e2e.test_supervision import ANNA_HZ, CALLER_HZ, hear
from tests.lab.lab import ROOT, Lab
from tests.lab.stack import API_PORT, POP_ID, Stack


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    async with Stack.start(lab, engine=engine) as started:
        yield started
        started.server.wait_idle()


async def callplane(stack: Stack, *words: str) -> asyncio.subprocess.Process:
    there = {"CALLPLANE_URL": f"http://{stack.centre.address}:{API_PORT}", "CALLPLANE_TOKEN": stack.api.token}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "orchestrator.cli", *words, "--allow-plain-http",
        env={**os.environ, **there}, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def said(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, out.decode(), err.decode()


async def test_the_live_call_goes_on_and_the_next_is_refused(stack: Stack) -> None:
    async with stack.agent("anna", tone_hz=ANNA_HZ) as anna, stack.caller("first", tone_hz=CALLER_HZ) as first:
        await stack.through_menu(first)
        await stack.answer_consent(first, "1")
        await stack.talking(first)
        draining = await callplane(stack, "drain", POP_ID, "--wait", "50")
        assert draining.stderr is not None
        await asyncio.wait_for(draining.stderr.readuntil(b"is draining: 1 live call"), 30)
        async with stack.caller("second", cli="+491700000002") as second:
            closed = await second.wait_for("CALL_CLOSED")
            assert closed.param.startswith("503")
        await hear((first, {ANNA_HZ}), (anna, {CALLER_HZ}))
        [refusal] = [event for event in stack.journal() if event["kind"] == "CallEnded"]
        assert (refusal["reason"], refusal["cause"]) == ("draining", 42)
        await first.hang_up()
        code, out, err = await said(draining)
        assert (code, out) == (0, f"{POP_ID} is drained: 0 live calls\n"), err
        code, _, err = await said(await callplane(stack, "undrain", POP_ID))
        assert code == 0, err
        await stack.synced()
        async with stack.caller("third", cli="+491700000003", tone_hz=CALLER_HZ) as third:
            await stack.through_menu(third)
            await third.hang_up()
