"""Who guesses an agent's password is shut out by the POP's packet filter before ten guesses were answered."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dialplans.schema import Engine
from tests.lab import guesser
from tests.lab.errors import wait_until
from tests.lab.host import Host
from tests.lab.lab import ROOT, Lab
from tests.lab.process import Process
from tests.lab.stack import Stack

GUARD_PASSWORD = secrets.token_urlsafe(24)
ROUND_TRIP_MS = 50
"""From where they guess: on a busy machine a media server tells some milliseconds later."""
SETS = ROOT / "playbooks" / "roles" / "hardening" / "templates" / "bans.nft"


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    adapted = lambda pop, _: pop.model_copy(update={"guard_password": GUARD_PASSWORD})  # noqa: E731
    async with Stack.start(lab, engine=engine, adapted=adapted) as started:
        yield started


def guard(stack: Stack, **more: str) -> Process:
    """The program, with the table that role hardening makes."""
    stack.pop.run(["nft", "-f", SETS], rootfs=False)
    env = {
        "CALLPLANE_GUARD_ENGINE": stack.settings.engine,
        "CALLPLANE_GUARD_AMI_PASSWORD": GUARD_PASSWORD,
        "CALLPLANE_GUARD_ESL_PASSWORD": stack.settings.esl_password,
        **more,
    }
    process = stack.pop.spawn([sys.executable, "-m", "pbx.guard", "run"], name="guard", env=env, cwd=ROOT)
    wait_until(lambda: "tells of refused passwords" in process.log_text(), 30, "the guard", process.log_text)
    return process


async def guesses(stack: Stack, host: Host, account: str, most: int = 60) -> int:
    """How many of ``most`` guesses are answered."""
    where = [stack.pop.address, str(stack.settings.sip_port), "udp"]
    command: list[str | Path] = [sys.executable, Path(guesser.__file__), *where, account, str(most), str(ROUND_TRIP_MS)]
    done = await asyncio.to_thread(lambda: host.run(command, rootfs=False, timeout_s=60))
    return int(done.stdout.split()[-1])


def banned(stack: Stack) -> str:
    return stack.pop.run(["nft", "list", "set", "inet", "callplane_bans", "banned4"], rootfs=False).stdout


async def test_who_guesses_is_shut_out_and_nobody_else(stack: Stack, lab: Lab) -> None:
    agent = await stack.add_agent("anna")
    await stack.synced()
    intruder = lab.host(f"{lab.prefix()}intruder")
    process = guard(stack)
    assert 5 <= await guesses(stack, intruder, agent.phone_id) < 10
    assert intruder.address in banned(stack)
    assert await guesses(stack, intruder, agent.phone_id, 1) == 0
    assert intruder.address not in process.log_text()
    assert "anna" not in process.log_text()
    # An account that does not exist counts as well, from whichever address; and who has the password gets in.
    other = lab.host(f"{lab.prefix()}other")
    assert await guesses(stack, other, "nobody") < 10
    async with stack.agent("anna", reuse=True):
        assert stack.phones.address not in banned(stack)


async def test_a_ban_ends_and_some_are_never_banned(stack: Stack, lab: Lab) -> None:
    agent = await stack.add_agent("anna")
    await stack.synced()
    intruder, office = (lab.host(f"{lab.prefix()}{name}") for name in ("intruder", "office"))
    guard(stack, CALLPLANE_GUARD_BAN_S="2", CALLPLANE_GUARD_NEVER=f'["{office.address}/32"]')
    assert await guesses(stack, intruder, agent.phone_id) < 10
    wait_until(lambda: intruder.address not in banned(stack), 30, "the end of the ban")
    assert await guesses(stack, intruder, agent.phone_id, 1) == 1
    assert await guesses(stack, office, agent.phone_id, 30) == 30
