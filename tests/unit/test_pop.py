"""Configuration, commands and faults at the POP."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from pbx.adapters.memory.engine import Answer
from pbx.controller.pop import ORPHAN_GRACE_S
from pbx.domain.call import Call
from pbx.domain.consent import Regime
from pbx.domain.e164 import cli_of
from pbx.domain.errors import EngineRefused, JournalError
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, LegId, PhoneId, RecordingId
from pbx.ports.link import LinkHandler
from pbx.wire import messages as wire
from tests.support.world import CALLER, DID, SHORT_FLOW, World


def request(command: wire.PopCommand) -> wire.CommandRequest:
    return wire.CommandRequest(idempotency_key="k", deadline_at=2e9, command=command)


@pytest.mark.parametrize(
    ("key", "entity", "said"),
    [
        (
            "flow.main",
            wire.FlowConfig(flow_id="main", version=2, graph={"start": "x", "languages": ["de"], "nodes": {}}),
            "graph.start",
        ),
        (
            "flow.main",
            wire.FlowConfig(
                flow_id="main",
                version=2,
                graph={
                    "start": "x",
                    "languages": ["de"],
                    "nodes": {"x": {"type": "hang_up", "prompts": ["no-such-prompt"]}},
                },
            ),
            "no-such-prompt",
        ),
        (
            "queue.support",
            wire.QueueConfig(queue_id="support", name="s", skills={}, consent_floor="x"),
            "consent_floor",
        ),
        (
            "did.030",
            wire.DidConfig(number="030", flow_id="main", country="DE", language="de", time_zone="UTC", region="eu"),
            "number",
        ),
    ],
)
async def test_bad_configuration_leaves_the_former_in_force(
    tmp_path: Path, key: str, entity: wire.EntityConfig, said: str
) -> None:
    async with World(tmp_path) as world:
        before = world.journal.config()
        world.configure(key, entity)
        assert said in world.pop.heartbeat().config_errors[key]
        assert world.journal.config() == before
        caller = await world.call()
        await world.until(lambda: caller.hears == "de/greeting")
        caller.hang_up()
        await world.ended(caller)


async def test_phones_follow_the_agents(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        world.agent("anna")
        await world.until(world.pop.phones.settled.is_set)
        assert world.engine.accounts.keys() == {"anna"}
        config = wire.AgentConfig(agent_id="anna", name="A", phone_id="anna2", ha1="1" * 32, skills={}, country="DE")
        world.configure("agent.anna", config)
        await world.until(world.pop.phones.settled.is_set)
        assert world.engine.accounts.keys() == {"anna2"}
        world.pop.config_changed("agent.anna", None)
        await world.until(world.pop.phones.settled.is_set)
        assert world.engine.accounts == {}


async def test_commands(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        world.config.regimes = world.config.regimes.__class__({"DE": Regime.NONE}, Regime.NONE)
        world.agent("anna")
        caller = await world.call()
        await world.until(lambda: bool(world.engine.recordings))
        call_id = world.call_id(caller)
        await world.run(3)
        stop = await world.pop.command(request(wire.StopCallRecording(call_id=call_id, by="agent")))
        assert stop.error_id is None
        await world.until(lambda: world.cdr(call_id).recordings[0].sha256 is not None)
        assert caller.hears == "talk"
        recording = RecordingId(world.cdr(call_id).recordings[0].recording_id)
        read = wire.ReadRecording(recording_id=recording, offset=0, length=12)
        reply = await world.pop.command(request(read))
        assert (reply.blob[:4], reply.blob[8:12]) == (b"RIFF", b"WAVE")
        assert reply.total_size == world.cdr(call_id).recordings[0].size_bytes
        assert (await world.pop.command(request(wire.HangUpCall(call_id=call_id)))).error_id is None
        assert (await world.ended(caller)).end_reason == "asked"
        refused: list[tuple[wire.PopCommand, str]] = [
            (wire.HangUpCall(call_id=call_id), "unknown-call"),
            (wire.ReadRecording(recording_id="../../etc/passwd", offset=0, length=9), "unknown-recording"),
            (wire.SetAgentStatus(agent_id="nobody", status="AVAILABLE"), "unknown-agent"),
            (wire.SetAgentStatus(agent_id="anna", status="ASLEEP"), "bad-status"),
        ]
        for command, error in refused:
            assert (await world.pop.command(request(command))).error_id == error


async def test_a_caller_who_withdraws_has_the_recording_destroyed(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        world.config.regimes = world.config.regimes.__class__({"DE": Regime.NONE}, Regime.NONE)
        world.agent("anna")
        caller = await world.call()
        await world.until(lambda: bool(world.engine.recordings))
        await world.run(3)
        command = wire.StopCallRecording(call_id=world.call_id(caller), by="caller")
        await world.pop.command(request(command))
        caller.hang_up()
        cdr = await world.ended(caller)
        assert world.files() == []
        assert [r.discarded for r in cdr.recordings] == [True]


async def test_agents_choice_survives_a_restart(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    async with World(tmp_path / "a") as world:
        world.agent("anna")
        world.status("anna", "NOT_READY", "LUNCH")
        await world.run(1)
    (tmp_path / "a" / "recording").rmdir()
    async with World(tmp_path / "a") as world:
        assert world.state("anna") == ("NOT_READY", "LUNCH", "IDLE")
        assert world.config.agents.keys() == {"anna"}


async def test_no_evidence_on_disk_no_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full: calls go on, nothing is recorded."""
    async with World(tmp_path, SHORT_FLOW) as world:
        world.config.regimes = world.config.regimes.__class__({"DE": Regime.NONE}, Regime.NONE)
        world.agent("anna")
        caller = await world.call()
        await world.until(lambda: world.state("anna")[2] == "RINGING")

        async def full(*_: Any) -> None:
            raise JournalError("disk full")

        monkeypatch.setattr(world.journal, "append", full)
        await world.until(lambda: caller.hears == "talk")
        await world.run(2)
        assert world.engine.recorded == []
        caller.hang_up()
        await world.until(lambda: not world.pop.calls)


async def test_a_defect_costs_one_call_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        world.agent("anna")
        victim = await world.call()
        await world.until(lambda: victim.hears == "talk")
        other = await world.call()
        handle = Call.handle

        def broken(call: Call, event: Any, now: float) -> Any:
            if call.call_id == world.call_id(victim):
                raise ZeroDivisionError
            return handle(call, event, now)

        monkeypatch.setattr(Call, "handle", broken)
        victim.press("5")
        await world.until(lambda: victim.cause is HangupCause.TEMPORARY_FAILURE)
        await world.until(lambda: other.hears == "talk")
        assert world.cdr(world.call_id(victim)).end_reason == "engine_failed"
        other.hang_up()
        await world.ended(other)


async def test_an_offer_that_crosses_with_the_end_of_its_call_keeps_nobody(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        anna = world.agent("anna")
        anna.behaviour = Answer.NEVER
        caller = await world.call()
        await world.until(lambda: world.state("anna")[2] == "RINGING")
        world.agent("bela")
        world.engine.end_leg(world.engine.legs[anna.leg_id or LegId("")], HangupCause.USER_BUSY)
        caller.hang_up()
        await world.ended(caller)
        await world.run(1)
        assert world.state("bela") == ("AVAILABLE", None, "IDLE")
        assert [offer.agent_id for offer in world.cdr(world.call_id(caller)).offers] == ["anna"]


async def test_engine_that_cannot_bridge_leaves_the_caller_in_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        world.agent("anna")
        bridge, failures = world.engine.bridge, iter([True])

        async def flaky(*args: Any) -> None:
            if next(failures, False):
                raise EngineRefused("no")
            await bridge(*args)

        monkeypatch.setattr(world.engine, "bridge", flaky)
        caller = await world.call()
        await world.until(lambda: caller.hears == "talk")
        assert [o.outcome for o in world.cdr(world.call_id(caller)).offers] == ["failed", "answered"]
        caller.hang_up()
        await world.ended(caller)
        assert not world.engine.legs


async def test_reconnect_ends_what_is_gone_and_orphans(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        caller = await world.call()
        world.engine.legs.pop(caller.leg_id)  # the media server restarted and forgot it
        world.engine.legs[LegId("orphan")] = world.engine.legs.get(LegId("orphan")) or type(caller._leg)(
            LegId("orphan")
        )
        world.pop.engine_down("test")
        assert not world.pop.heartbeat().engine_up
        world.pop.engine_up(await world.engine.snapshot())
        cdr = await world.ended(caller)
        assert cdr.cause == HangupCause.NETWORK_OUT_OF_ORDER
        await world.run(ORPHAN_GRACE_S + 1)
        assert not world.engine.legs


async def test_leg_with_the_id_of_one_that_has_just_ended(tmp_path: Path) -> None:
    """A media server that is back within a second begins its ids anew, while the first call is being closed."""
    async with World(tmp_path, SHORT_FLOW) as world:
        caller = await world.call()
        await world.run(1)
        first = world.call_id(caller)
        caller.hang_up()
        world.engine._count -= 1
        again = world.engine.call(DID, cli_of(CALLER), "DE")
        assert again.leg_id == caller.leg_id
        assert first in world.pop.calls, "the first is not closed yet"
        await world.until(lambda: set(world.pop.calls).isdisjoint({first}) and len(world.pop.calls) == 1)
        (second,) = world.pop.calls
        await world.until(lambda: again.hears is not None, "what callers hear first")
        again.hang_up()
        await world.until(lambda: not world.pop.calls)
        ends = [world.cdr(call_id).end_reason for call_id in (first, second)]
        assert ends == ["caller_hung_up", "caller_hung_up"]


async def test_unreachable_after_reconnect(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        phone = world.agent("anna")
        phone.behaviour = Answer.NEVER
        phone.registered = False
        world.pop.engine_up(await world.engine.snapshot())
        agent = world.pop.router.agent(AgentId("anna"))
        assert agent is not None
        assert not agent.reachable
        assert PhoneId("anna") in world.engine.phones


class PromptLink:
    """A link that has one prompt, once it is told to give it."""

    def __init__(self, sound: bytes) -> None:
        self.sound, self.gives = sound, False
        self.connected = True

    async def start(self, handler: LinkHandler) -> None:
        self.handler = handler

    async def stop(self) -> None:
        self.connected = False

    async def erased(self, after: int) -> None:
        return None

    async def prompt(self, sha256: str) -> bytes | None:
        return self.sound if self.gives and hashlib.sha256(self.sound).hexdigest() == sha256 else None

    def events_waiting(self) -> None:
        return

    def heartbeat_changed(self) -> None:
        return


async def test_a_flow_waits_for_the_prompt_it_names(tmp_path: Path) -> None:
    """What the POP refused for the lack of a prompt is in force once the prompt has come."""
    sound = b"\xd5" * 8000
    link = PromptLink(sound)
    async with World(tmp_path, SHORT_FLOW, link=link) as world:
        sha256 = hashlib.sha256(sound).hexdigest()
        told = wire.PromptConfig(prompt_id="promo", language="de", sha256=sha256, duration_ms=1000)
        world.configure("prompt.de.promo", told)
        graph = {"start": "x", "languages": ["de"], "nodes": {"x": {"type": "hang_up", "prompts": ["promo"]}}}
        world.configure("flow.main", wire.FlowConfig(flow_id="main", version=2, graph=graph))
        assert world.pop.heartbeat().config_errors.keys() == {"prompt.de.promo", "flow.main"}
        link.gives = True
        await world.until(lambda: not world.pop.heartbeat().config_errors)
        assert world.prompts["promo", "de"] == sha256
        caller = await world.call()
        await world.until(lambda: caller.hears == "de/promo")
        caller.hang_up()
        await world.ended(caller)
        world.pop.config_changed("prompt.de.promo", None)
        assert ("promo", "de") not in world.prompts
        bad = wire.PromptConfig(prompt_id="../../etc", language="de", sha256=sha256, duration_ms=1)
        world.configure("prompt.de.bad", bad)
        assert "prompt_id" in world.pop.heartbeat().config_errors["prompt.de.bad"]
