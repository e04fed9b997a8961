"""Agents whose phones register at the backup POP, on two real media servers: in a wait, in a call, when their POP is
powered off, and back again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tests.lab.asterisk import AsteriskServer
from tests.lab.errors import wait_until
from tests.lab.flows import QUEUE_FLOW
from tests.lab.lab import Lab
from tests.lab.phone import Phone
from tests.lab.second_pop import SecondPop, two_pops
from tests.lab.stack import DID, Stack

CALLER_HZ, AGENT_HZ = 1000, 600


def power_off(stack: Stack) -> None:
    """The first POP's host, at once."""
    stack.pop.unplug()
    stack.controller.kill()
    stack.server.kill()


async def boot(stack: Stack) -> None:
    """The first POP again, after longer than registrations last: it knows of none."""
    for kept in (stack.pop.state_dir / "asterisk").glob("astdb*"):
        kept.unlink()
    stack.pop.plug_in()
    await asyncio.to_thread(stack.server.restart)
    stack.restart_controller()
    await stack.synced(60, news=True)


def at(second: SecondPop) -> str:
    return f"{second.host.address}:{second.settings.sip_port}"


@contextlib.asynccontextmanager
async def agent(stack: Stack, second: SecondPop, name: str, *, available: bool) -> AsyncIterator[Phone]:
    """An agent of the first POP, whom the second has too; the phone registers at the first."""
    async with stack.agent(name, tone_hz=AGENT_HZ, available=available) as phone:
        await second.synced()
        yield phone


@contextlib.asynccontextmanager
async def dials(stack: Stack, address: str, number: int) -> AsyncIterator[Phone]:
    """A caller whom the carrier brings to the POP at that address."""
    uri = f"sip:+49170000000{number}@{stack.carrier.address}"
    async with Phone.start(stack.carrier, f"caller{number}", tone_hz=CALLER_HZ, uri=uri) as caller:
        await caller.dial(f"sip:{DID}@{address}:5060")
        yield caller


async def hear_each_other(caller: Phone, phone: Phone) -> None:
    await asyncio.gather(caller.hears(AGENT_HZ, deadline_s=20), phone.hears(CALLER_HZ, deadline_s=20))


def channels(second: SecondPop) -> list[str]:
    assert isinstance(second.server, AsteriskServer)
    return second.server.channels()


def rings_for(second: SecondPop, name: str) -> bool:
    """Whether it is the second POP that has the agent's phone in a call."""
    return any(f"PJSIP/{name}-" in channel for channel in channels(second))


async def test_a_phone_moves_to_the_backup_in_a_wait_and_in_a_call(lab: Lab) -> None:
    async with two_pops(lab, flow=QUEUE_FLOW) as (stack, second):
        await second.backs_up()
        async with agent(stack, second, "bo", available=False) as bo:
            # In a wait: the caller is at the first POP, and is answered by way of the second.
            async with dials(stack, stack.pop.address, 1) as caller:
                await caller.wait_for("CALL_ESTABLISHED")
                await bo.register_at(at(second))
                await stack.status("bo", "AVAILABLE")  # the centre asks where the agent is now
                await bo.wait_for("CALL_ESTABLISHED", deadline_s=30)
                await hear_each_other(caller, bo)
                assert rings_for(second, "bo")
                await caller.hang_up()
                cdr = await stack.record(await stack.call_id(caller))
                assert [offer["outcome"] for offer in cdr["offers"]] == ["answered"]
            await bo.wait_for("CALL_CLOSED")
            await stack.status("bo", "LOGGED_OUT")
        # In a call: it goes on, nobody else is offered meanwhile, and the next one comes by the second POP.
        async with (
            agent(stack, second, "cleo", available=True) as cleo,
            dials(stack, stack.pop.address, 2) as caller,
        ):
            await cleo.wait_for("CALL_ESTABLISHED", deadline_s=30)
            await cleo.register_at(at(second))
            async with dials(stack, stack.pop.address, 3) as waiting:
                await waiting.wait_for("CALL_ESTABLISHED")
                await hear_each_other(caller, cleo)
                assert not rings_for(second, "cleo")
                assert [event.type for event in cleo.events].count("CALL_ESTABLISHED") == 1
                await caller.hang_up()
                await cleo.wait_for("CALL_ESTABLISHED", deadline_s=30)
                await hear_each_other(waiting, cleo)
                assert rings_for(second, "cleo")
                await waiting.hang_up()
                cdr = await stack.record(await stack.call_id(waiting))
                assert [offer["outcome"] for offer in cdr["offers"]] == ["answered"]
        stack.server.wait_idle()
        second.server.wait_idle()


async def test_a_pop_is_powered_off_and_its_agents_go_on_at_the_backup_and_come_back(lab: Lab) -> None:
    async with two_pops(lab, flow=QUEUE_FLOW) as (stack, second):
        await second.backs_up()
        async with (
            agent(stack, second, "dora", available=True) as dora,
            dials(stack, stack.pop.address, 1) as lost,
        ):
            await dora.wait_for("CALL_ESTABLISHED", deadline_s=30)
            await hear_each_other(lost, dora)
            power_off(stack)
        # The phone, which hears nothing any more, takes the next of its registrars.
        password = stack.agents["dora"].password
        async with (
            dials(stack, second.host.address, 2) as caller,
            Phone.start(
                stack.phones, "dora", tone_hz=AGENT_HZ, server=at(second), password=password, answer="auto"
            ) as dora,
        ):
            await dora.wait_for("CALL_ESTABLISHED", deadline_s=30)  # by the status of before
            await hear_each_other(caller, dora)
            await boot(stack)
            await dora.register_at(f"{stack.pop.address}:{stack.settings.sip_port}")
            async with dials(stack, stack.pop.address, 3) as waiting:
                await waiting.wait_for("CALL_ESTABLISHED")
                await hear_each_other(caller, dora)
                await caller.hang_up()
                await dora.wait_for("CALL_ESTABLISHED", deadline_s=30)
                await hear_each_other(waiting, dora)
                assert not rings_for(second, "dora"), "at home again"
                await waiting.hang_up()
        wait_until(lambda: not channels(second), 20, "the end of the calls", second.logs)
