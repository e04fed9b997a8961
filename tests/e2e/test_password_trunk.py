"""A carrier (or a softphone) that authenticates by user name and password, on the real media server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from dialplans.schema import Engine, Trunk
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.phone import Account, Phone
from tests.lab.stack import DID, Stack

TRUNK = Trunk(name="customer", username="customer-7", password="as-long-as-it-takes")


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    async with Stack.start(lab, more_trunks=[TRUNK], engine=engine) as started:
        yield started


def server(stack: Stack) -> str:
    return f"{stack.pop.address}:{stack.settings.sip_port}"


async def test_it_registers_and_its_calls_come_in_as_a_carriers(stack: Stack) -> None:
    phone = Phone.start(stack.phones, TRUNK.endpoint, tone_hz=1000, server=server(stack), password=TRUNK.password)
    async with phone as customer:
        await customer.wait_registered()
        await customer.dial(f"sip:{DID}@{server(stack)}")
        await customer.wait_for("CALL_ESTABLISHED")
        entered = await stack.event("NodeEntered", node="language")
        await customer.hang_up()
        cdr = await stack.record(entered["call_id"])
    assert (cdr["trunk"], cdr["did"], cdr["cli"]) == ("customer", DID, "unknown")


async def test_a_carrier_whose_from_is_the_callers_number_is_known_by_its_digest_user(stack: Stack) -> None:
    number = "+491709876543"
    account = Account(uri=f"sip:{number}@{server(stack)}", password=TRUNK.password, auth_user=TRUNK.username)
    async with Phone.start(stack.phones, "by-digest", tone_hz=1000, account=account) as carrier:
        await carrier.dial(f"sip:{DID}@{server(stack)}")
        await carrier.wait_for("CALL_ESTABLISHED")
        call_id = await stack.call_id(carrier)
        await carrier.hang_up()
        cdr = await stack.record(call_id)
    assert (cdr["trunk"], cdr["cli"], cdr["caller_country"]) == ("customer", number, "DE")


async def test_a_wrong_password_neither_registers_nor_calls(stack: Stack) -> None:
    offered = sum(event["kind"] == "LegOffered" for event in stack.journal())
    wrong = Phone.start(stack.phones, TRUNK.endpoint, tone_hz=1000, server=server(stack), password="a-guess-and-wrong")
    async with wrong as customer:
        with pytest.raises(LabError, match="registration refused"):
            await customer.wait_registered()
        await customer.dial(f"sip:{DID}@{server(stack)}")
        await customer.wait_for("CALL_CLOSED")
    assert sum(event["kind"] == "LegOffered" for event in stack.journal()) == offered
