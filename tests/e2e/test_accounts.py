"""When an agent's phone may register: not when the centre knows the agent, but when the POP says that its media server
has the account. A phone that comes earlier is refused as any stranger is, and may not try again soon."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dialplans.schema import Engine
from tests.lab.lab import Lab
from tests.lab.sipp import Sipp
from tests.lab.stack import POP_ID, Agent, Stack


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    async with Stack.start(lab, engine=engine) as started:
        yield started


async def registers(stack: Stack, agents: list[Agent]) -> None:
    """Each sends one REGISTER and answers one challenge; who is refused fails."""
    users = {agent.phone_id: agent.password for agent in agents}
    phones = Sipp.register(stack.phones, stack.pop.address, users, contact_port=5070)
    (await asyncio.to_thread(phones.finish, 30)).require_success(len(agents))


async def test_a_phone_registers_once_the_media_server_has_its_account(stack: Stack) -> None:
    for number in range(3):
        agent = await stack.add_agent(f"agent{number}")
        await stack.synced()
        await registers(stack, [agent])

    # A media server that takes no account for a while: the configuration is in force, the phone would be refused.
    stack.server.process.signal(signal.SIGSTOP)
    try:
        late = [await stack.add_agent(f"late{number}") for number in range(3)]

        def pending(pop: dict[str, Any]) -> bool:
            return bool(pop["revision_lag"] == 0 and pop["phones_pending"] == len(late))

        await stack.api.until(f"pops/{POP_ID}", pending)
    finally:
        stack.server.process.signal(signal.SIGCONT)
    await stack.synced()
    await registers(stack, late)

    # And one that has lost what it had in memory.
    stack.server.kill()
    stack.server.restart()
    await stack.synced(news=True)
    await registers(stack, list(stack.agents.values()))
