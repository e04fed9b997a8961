"""Random calls, and a controller that dies at one of its commits: just after it, with nothing done yet, or just before.
The next one takes the call up, and it ends with one record, nobody stuck, nothing recorded or rung twice."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import pytest

from pbx.adapters.memory.engine import Answer, Callee, Caller
from pbx.domain.consent import Regime, RegimeTable
from pbx.domain.e164 import cli_of
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import CallId
from pbx.simulation.replay import replay
from pbx.simulation.replay_read import read
from pbx.wire import messages as wire
from tests.support.world import CALLER, DID, World

NUMBER = "+49305550999"
GRAPH: dict[str, Any] = {
    "start": "greeting",
    "languages": ["de", "en"],
    "nodes": {
        "greeting": {"type": "say", "prompts": ["greeting"], "next": "language"},
        "language": {"type": "language", "choices": {"1": "de", "2": "en"}, "next": "consent"},
        "consent": {"type": "consent", "next": "card"},
        "card": {
            "type": "collect", "prompts": ["menu"], "variable": "card", "next": "lookup", "on_failure": "lookup",
            "max_digits": 3, "timeout_s": 3,
        },
        "lookup": {
            "type": "lookup", "url": "https://crm.example/{card}", "take": {"tier": "tier"}, "next": "wait",
            "on_failure": "wait",
        },
        "wait": {
            "type": "queue", "queue": "support", "on_refused": "mailbox", "after": "rating", "max_wait_s": 60,
            "on_timeout": "out", "priority": 1,
        },
        "out": {"type": "transfer", "number": NUMBER, "ring_s": 10, "on_failure": "mailbox"},
        "rating": {
            "type": "survey", "questions": [{"id": "csat", "prompts": ["survey-rating"], "digits": "12345"}],
            "next": "mailbox",
        },
        "mailbox": {"type": "voicemail", "mailbox": "support", "max_s": 15, "next": "bye", "on_failure": "bye"},
        "bye": {"type": "hang_up", "prompts": ["goodbye"]},
    },
}  # fmt: skip
ASKS = ("hold", "resume", "mute", "consult", "swap", "conference", "complete", "cancel", "supervise", "take", "park",
        "retrieve", "transfer", "out", "stop", "pause", "record", "withdraw", "agent leaves", "other leaves",
        "picks up")  # fmt: skip


class Day:
    """One caller and what people do, by chance; whoever decides about it may die."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.chance = world, random.Random(seed)
        self.callee = world.engine.callees[NUMBER] = Callee(NUMBER)
        self.caller: Caller

    async def play(self) -> None:
        world, chance = self.world, self.chance
        world.config.regimes = RegimeTable({"DE": Regime.OPT_OUT}, Regime.OPT_OUT)
        self.phones = {name: world.agent(name, available=name != "boss") for name in ("anna", "bela", "boss")}
        self.phones["bela"].behaviour = chance.choice((Answer.NEVER, Answer.BUSY, Answer.ANSWER))
        world.status("boss", "NOT_READY", "MEETING")
        if chance.random() < 0.4:
            world.status("anna", "NOT_READY", "LUNCH")
            world.status("bela", "NOT_READY", "LUNCH")
        await world.run(0.1)
        self.caller = world.engine.call(DID, cli_of(CALLER))
        for _ in range(chance.randint(10, 60)):
            await world.run(chance.choice((0.05, 0.3, 1.0, 2.0, 4.0)))
            if world.dead:
                await world.live()
            if self.caller.cause is not None:
                break
            await self.act()

    async def act(self) -> None:
        chance, heard = self.chance, self.caller.hears
        if chance.random() < 0.4:
            self.caller.press(chance.choice("123#") if heard != "talk" else chance.choice("59"))
        elif chance.random() < 0.6 and (call_id := self.call_id()) is not None and not self.world.dead:
            await self.ask(call_id, chance.choice(ASKS))
        elif chance.random() < 0.03:
            self.caller.hang_up()

    def call_id(self) -> CallId | None:
        return next(iter(self.world._call_ids(self.caller)), None)  # type: ignore[return-value]

    async def ask(self, call_id: CallId, what: str) -> None:
        """Whether it can be done now is nobody's concern here."""
        world, other = self.world, self.chance.choice(("boss", "bela", "anna"))
        engine = world.engine
        commands: dict[str, wire.PopCommand] = {
            "hold": wire.HoldCall(call_id=call_id),
            "resume": wire.ResumeCall(call_id=call_id),
            "mute": wire.MuteAgent(call_id=call_id, muted=self.chance.random() < 0.5),
            "consult": wire.ConsultAgent(call_id=call_id, agent_id=other),
            "supervise": wire.SuperviseCall(
                call_id=call_id, agent_id=other, mode=self.chance.choice(("listen", "barge"))
            ),
            "take": wire.TakeOverCall(call_id=call_id),
            "park": wire.ParkCall(call_id=call_id),
            "retrieve": wire.RetrieveCall(call_id=call_id, agent_id=other),
            "transfer": wire.TransferCall(call_id=call_id, queue_id="support"),
            "out": wire.TransferCall(call_id=call_id, number=NUMBER),
            "pause": wire.PauseRecording(call_id=call_id, paused=True),
            "record": wire.PauseRecording(call_id=call_id, paused=False),
            "stop": wire.StopCallRecording(call_id=call_id, by="agent"),
            "withdraw": wire.StopCallRecording(call_id=call_id, by="caller"),
        }
        steps = ("swap", "conference", "complete", "cancel")
        commands |= {step: wire.StepConsultation(call_id=call_id, step=step) for step in steps}
        if what in commands:
            task = asyncio.get_running_loop().create_task(world.command(commands[what]))
            await asyncio.wait((task,), timeout=3)
            task.cancel()
        elif what == "picks up":
            if (leg := self.callee.leg_id) in engine.legs and leg is not None and not engine.legs[leg].answered:
                engine.pick_up(leg)
        else:
            names = {"agent leaves": "anna", "other leaves": other}
            leg = self.phones[names[what]].leg_id
            if leg in engine.legs and leg is not None:
                engine.end_leg(engine.legs[leg], HangupCause.NORMAL_CLEARING)

    async def check(self, restarted: bool) -> None:
        world, caller = self.world, self.caller
        world.spare()
        if world.dead:
            await world.live()
        if caller.cause is None:
            caller.hang_up()
        await world.run(90)
        call_id = self.call_id()
        if call_id is None:
            assert caller.cause in (HangupCause.RECOVERY_ON_TIMER_EXPIRY, HangupCause.NORMAL_CLEARING)
            return
        kinds = world.kinds(caller)
        cdr = world.cdr(call_id)
        assert kinds.count("CallEnded") == 1
        assert kinds[-1] == "CallEnded"
        assert kinds.count("CallReadopted") <= restarted
        assert cdr.end_reason != "interrupted"
        assert not world.pop.calls
        assert not world.engine.legs
        assert not world.engine.bridges
        assert world.journal.live_calls() == []
        assert len(world.engine.recorded) == len(set(world.engine.recorded))
        placed = [one.recording_id for one in cdr.recordings if not one.discarded]
        assert world.files() == sorted(f"{recording}.wav" for recording in placed)
        states = {name: world.state(name)[2] for name in self.phones}
        assert set(states.values()) == {"IDLE"}, states
        assert world.state("boss")[:2] == ("NOT_READY", "MEETING")
        if cdr.talks:
            assert all(one.ended_at is not None and one.ended_at >= one.started_at for one in cdr.talks)
        assert all(offer.outcome is not None for offer in cdr.offers)
        difference = replay(read(world.directory / "journal.sqlite")).difference
        assert difference is None, str(difference)


async def commits(tmp_path: Path, seed: int) -> int:
    """How many there are when nobody dies."""
    number = 0
    async with World(tmp_path, GRAPH) as world:
        day, flush = Day(world, seed), world.journal._flush

        def counted(*, closing: bool = False) -> None:
            nonlocal number
            number += 1
            flush(closing=closing)

        world.journal._flush = counted  # type: ignore[method-assign]
        await day.play()
        await day.check(restarted=False)
        return number


SEEDS = range(int(os.environ.get("CALLPLANE_SEEDS", "12")))


@pytest.mark.long
@pytest.mark.parametrize("written", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("seed", SEEDS)
async def test_killed_at_any_commit(tmp_path: Path, seed: int, written: bool) -> None:
    directory = tmp_path / "undisturbed"
    directory.mkdir()
    number = await commits(directory, seed)
    assert number > 0
    step = max(1, number // int(os.environ.get("CALLPLANE_KILLS", "8")))
    for at in range(seed % step, number, step):
        directory = tmp_path / str(at)
        directory.mkdir()
        async with World(directory, GRAPH) as world:
            day = Day(world, seed)
            world.kill_at_commit(at, written)
            try:
                await day.play()
                await day.check(restarted=True)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, killed at commit {at}") from error
