"""Virtual hold on real phones: the caller hangs up, keeps the place, and is called back once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from dialplans.schema import Engine
from tests.lab.lab import Lab
from tests.lab.phone import Phone
from tests.lab.stack import DID, Stack

CUSTOMER, CUSTOMER_HZ, ANNA_HZ, BELA_HZ = "+491701234567", 1000, 600, 1400
CARRIER_PORT = 5060
"""Where the POP's trunk leads to, on the carrier's host."""
FLOW: dict[str, Any] = {
    "start": "consent",
    "languages": ["de"],
    "nodes": {
        "consent": {"type": "consent", "next": "wait"},
        "wait": {"type": "queue", "queue": "support", "on_refused": "full", "welcome": False},
        "full": {"type": "hang_up", "prompts": ["queue-full"]},
    },
}
QUEUE = {"steps": [{"after_s": 1, "action": {"type": "offer_callback"}}]}


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    async with Stack.start(lab, engine=engine, flow=FLOW, queue=QUEUE) as started:
        yield started
        started.server.wait_idle()


async def promised(stack: Stack) -> str:
    """A caller refuses consent, waits, presses 1 and is gone; the call's id."""
    async with stack.caller(cli=CUSTOMER) as caller:
        await caller.wait_for("CALL_ESTABLISHED")
        await stack.at_node(caller, "consent")
        await caller.send_digits("2")
        call_id = await stack.call_id(caller)
        await stack.event("CallbackOffered", call_id=call_id)
        await caller.send_digits("1")
        await stack.event("CallbackPromised", call_id=call_id, existing=False)
        await caller.wait_for("CALL_CLOSED", deadline_s=15)
    return call_id


async def test_a_callback_through_rona_to_the_second_agent(stack: Stack) -> None:
    """Anna is reserved, the customer is called with the DID as CLI, consents, and anna's phone rings in vain: the
    customer stays on the line and is not called again; bela takes the call."""
    asked_in = await promised(stack)
    uri = f"sip:{CUSTOMER}@{stack.carrier.address}"
    async with (
        Phone.start(stack.carrier, "customer", tone_hz=CUSTOMER_HZ, uri=uri, port=CARRIER_PORT) as customer,
        stack.agent("anna", tone_hz=ANNA_HZ, auto=False) as anna,
    ):
        dialled = await stack.event("CallbackDialled")
        call_id = dialled["call_id"]
        rings = await customer.wait_for("CALL_INCOMING")
        assert DID in rings.peer
        assert [event.type for event in anna.events if event.type == "CALL_INCOMING"] == []
        await customer.answer()
        asked = await stack.event("NodeEntered", call_id=call_id, node="consent")
        await stack.event("PlayEnded", after=asked["seq"], call_id=call_id, completed=True)
        await customer.send_digits("1")
        await anna.wait_for("CALL_INCOMING", deadline_s=20)
        await stack.event("AgentChanged", status="NOT_READY", reason="RONA")

        async with stack.agent("bela", tone_hz=BELA_HZ) as bela:
            await bela.wait_for("CALL_ESTABLISHED")
            await stack.event("TalkStarted", call_id=call_id)
            await customer.hears(BELA_HZ, deadline_s=10)
            await bela.hears(CUSTOMER_HZ, deadline_s=10)
            await customer.hang_up()
            record = await stack.record(call_id)
            promise = await stack.api.get(f"callbacks/{record['callback_id']}")
        assert [event.type for event in customer.events].count("CALL_INCOMING") == 1
        # Offered in the trunk's order, so what is sent first is what the far end answers with. After a change this
        # phone records nothing any more.
        assert "decoder changed" not in customer.process.log_text()
        assert len([event for event in stack.journal() if event["kind"] == "CallbackDialled"]) == 1

    assert (record["direction"], record["callback_of"], record["end_reason"]) == (
        "outbound",
        asked_in,
        "caller_hung_up",
    )
    assert (record["cli"], record["did"]) == (CUSTOMER, DID)
    assert [offer["outcome"] for offer in record["offers"]] == ["no_answer", "answered"]
    assert [consent["granted"] for consent in record["consents"]] == [True]
    assert len(record["recordings"]) == 1
    assert (promise["state"], promise["attempts"], promise["call_id"]) == ("done", 1, call_id)
    assert (promise["asked_in"], promise["requested_by"], promise["number"]) == (asked_in, "queue", CUSTOMER)
    first = await stack.record(asked_in)
    assert (first["callback_id"], first["abandoned"]) == (record["callback_id"], False)
