"""A media server that answers and carries no audio counts as down: seen, shown, audited, and over when it is over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import aiohttp
import pytest

from dialplans.schema import Engine
from tests.e2e.test_supervision import ANNA_HZ, CALLER_HZ, hear
from tests.lab.lab import Lab
from tests.lab.stack import METRICS_PORT, POP_ID, Stack, Watched

EVERY_S = 1.0
TABLE = "inet callplane_test"


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    more = {"CALLPLANE_POP_SELF_CALL_S": str(EVERY_S)}
    async with Stack.start(lab, engine=engine, more_env=more, watched=Watched(metrics=True)) as started:
        yield started


@contextmanager
def no_audio(stack: Stack) -> Iterator[None]:
    """RTP from the server to itself goes nowhere; SIP, and callers' audio, as before."""
    first, last = stack.settings.rtp_first_port, stack.settings.rtp_last_port
    rule = f'iifname "lo" udp dport {first}-{last} drop'
    made = f"table {TABLE} {{ chain input {{ type filter hook input priority 0; {rule}; }}; }}"
    stack.pop.run(["nft", made])
    try:
        yield
    finally:
        stack.pop.run(["nft", "delete", "table", *TABLE.split()])


async def ready(stack: Stack) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"http://{stack.pop.address}:{METRICS_PORT}/ready") as answer,
    ):
        return answer.status, await answer.text()


async def states(stack: Stack) -> list[tuple[str, str]]:
    entries = await stack.api.items("audit?action=pop_state")
    return [(entry["thing"], entry["outcome"]) for entry in reversed(entries)]


async def test_no_audio_is_down(stack: Stack) -> None:
    async with stack.agent("anna", tone_hz=ANNA_HZ) as anna, stack.caller(tone_hz=CALLER_HZ) as caller:
        await stack.through_menu(caller)
        await stack.answer_consent(caller, "1")
        await stack.talking(caller)
        await stack.api.until(f"pops/{POP_ID}", lambda pop: pop["carries_audio"] is True, 20)
        assert (await ready(stack))[0] == 200
        with no_audio(stack):
            down = await stack.api.until(f"pops/{POP_ID}", lambda pop: pop["state"] == "no_audio", 40)
            assert (down["connected"], down["engine_up"], down["carries_audio"]) == (True, True, False)
            assert "heard nothing" in down["audio_reason"]
            status, why = await ready(stack)
            assert status == 503
            assert "does not carry audio" in why
            assert "ALARM the media server does not carry audio" in stack.controller.log_text()
            await hear((caller, {ANNA_HZ}), (anna, {CALLER_HZ}))  # a call to itself harms no other
        await stack.api.until(f"pops/{POP_ID}", lambda pop: pop["state"] == "ok", 20)
        assert (await ready(stack))[0] == 200
        await stack.api.until("audit?action=pop_state", lambda page: len(page["items"]) == 2, 10)
        found = await states(stack)
        await caller.hang_up()
        await stack.record(await stack.call_id(caller))
    assert found == [(f"pops/{POP_ID}", "no_audio"), (f"pops/{POP_ID}", "ok")]
    kinds = [event["kind"] for event in stack.journal()]
    assert [event["carries_audio"] for event in stack.journal("kind = 'MediaChecked'")] == [True, False, True]
    assert (kinds.count("LegOffered"), len(await stack.calls())) == (1, 1)
