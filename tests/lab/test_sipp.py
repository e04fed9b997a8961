"""sipp as bulk callers, agents and registrations against a real Asterisk."""

from collections.abc import Iterator

import pytest

from tests.lab import tiny_asterisk
from tests.lab.asterisk import AsteriskServer
from tests.lab.errors import LabError, wait_until
from tests.lab.lab import Lab
from tests.lab.sipp import Sipp

pytestmark = pytest.mark.lab
USERS = {f"agent{number}": f"secret{number}" for number in range(5)}


@pytest.fixture(scope="module")
def server(lab: Lab) -> Iterator[AsteriskServer]:
    host = lab.host("sipptest")
    running = AsteriskServer(host, tiny_asterisk.files(host, USERS, carrier=lab.host("carrier").address), lab)
    yield running
    running.stop()


def test_fifty_calls_all_succeed(lab: Lab, server: AsteriskServer) -> None:
    calls = [(f"+491701000{number:02}", "+49305550100") for number in range(50)]
    run = Sipp.callers(lab.host("carrier"), server.host.address, calls, rate=50, hold_ms=200)
    result = run.finish(30).require_success(50)
    assert len(result.answer_ms) == 50
    assert 0 < result.answer_quantile_ms(0.5) <= result.answer_quantile_ms(0.99) < 5000
    assert "CALLER=+49170100049" in server.cli("dialplan show globals")
    server.wait_idle()


def test_callers_reach_registered_agents_who_hang_up(lab: Lab, server: AsteriskServer) -> None:
    agents_host, at = lab.host("agents"), server.host.address
    with Sipp.agents(agents_host, ring_ms=50, talk_ms=300) as agents:
        Sipp.register(agents_host, at, USERS, contact_port=agents.port).finish(15).require_success(5)
        calls = [(f"+4917{number}", f"agent{number % 5}") for number in range(10)]
        Sipp.callers(lab.host("carrier"), at, calls, rate=20, hold_ms=None).finish(30).require_success(10)
        wait_until(lambda: agents.result().successful == 10, 5, "ten calls at the agents", agents.errors)
    assert agents.result().failed == 0
    server.wait_idle()


def test_caller_hangs_up_first(lab: Lab, server: AsteriskServer) -> None:
    agents_host, at = lab.host("agents"), server.host.address
    with Sipp.agents(agents_host, ring_ms=0, talk_ms=None) as agents:
        Sipp.register(agents_host, at, USERS, contact_port=agents.port).finish(15).require_success(5)
        Sipp.callers(lab.host("carrier"), at, [("+4917", "agent1")], hold_ms=300).finish(15).require_success(1)
        wait_until(lambda: agents.result().successful == 1, 5, "the agent's side to end", agents.errors)
    server.wait_idle()


def test_agent_who_does_not_answer_is_cancelled(lab: Lab, server: AsteriskServer) -> None:
    agents_host, at = lab.host("agents"), server.host.address
    with Sipp.agents(agents_host, ring_ms=30_000) as agents:
        Sipp.register(agents_host, at, USERS, contact_port=agents.port).finish(15).require_success(5)
        caller = Sipp.callers(lab.host("carrier"), at, [("+4917", "agent1")])
        wait_until(lambda: len(server.channels()) == 2, 5, "the agent to ring", server.logs)
        server.cli("channel request hangup all")
        with pytest.raises(LabError, match="1 failed"):
            caller.finish(15).require_success()
        wait_until(lambda: agents.result().successful == 1, 5, "the cancelled call to end", agents.errors)
    server.wait_idle()


def test_digits_of_a_bulk_caller(lab: Lab, server: AsteriskServer) -> None:
    digits = [(300, "4"), (200, "2"), (200, "#")]
    run = Sipp.callers(lab.host("carrier"), server.host.address, [("+4917", "digits")], digits=digits, hold_ms=500)
    run.finish(20).require_success(1)
    assert "DIGITS=42" in server.cli("dialplan show globals")
    server.wait_idle()


def test_wrong_password_is_a_failed_registration(lab: Lab, server: AsteriskServer) -> None:
    run = Sipp.register(lab.host("agents"), server.host.address, {"agent1": "no"}, contact_port=5080)
    with pytest.raises(LabError, match="0 calls succeeded"):
        run.finish(15).require_success(1)
