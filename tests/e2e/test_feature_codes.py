"""An agent logs in, takes a break and logs out at the own phone."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from dialplans.schema import Engine
from tests.lab.lab import Lab
from tests.lab.phone import Phone
from tests.lab.stack import Stack


@pytest.fixture
async def stack(lab: Lab, engine: Engine) -> AsyncIterator[Stack]:
    async with Stack.start(lab, engine=engine) as started:
        yield started
        started.server.wait_idle()


async def test_login_break_and_logout_by_code(stack: Stack) -> None:
    async with stack.agent("anna", available=False) as anna:
        agent_id = stack.agents["anna"].agent_id
        seen = 0
        for code, status, reason in [
            ("*11", "AVAILABLE", None),
            ("*132", "NOT_READY", "LUNCH"),
            ("*12", "LOGGED_OUT", None),
        ]:
            await anna.dial(f"sip:{code}@{stack.pop.address}:{stack.settings.sip_port}")
            changed = await stack.event("AgentChanged", agent_id=agent_id, status=status, reason=reason, after=seen)
            seen = int(changed["seq"])
            await anna.wait_for("CALL_CLOSED")
        samples, rate = anna.heard()
        assert len(samples) > rate  # it was told something
        assert abs(samples).max() > 0.05


async def test_a_customer_reaches_no_feature_code(stack: Stack) -> None:
    uri = f"sip:+491701234567@{stack.carrier.address}"
    async with Phone.start(stack.carrier, "caller", tone_hz=1000, uri=uri) as phone:
        await phone.dial(f"sip:*11@{stack.pop.address}:{stack.settings.sip_port}")
        closed = await phone.wait_for("CALL_CLOSED")
        assert closed.param.startswith(("404", "484"))
    assert not [event for event in stack.journal() if event["kind"] == "FeatureDialled"]
