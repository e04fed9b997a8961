"""A controller dies at each step of a call; the next one takes the call up: it goes on, and ends with one record."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from pbx.adapters.memory.engine import Answer, Caller, Phone
from pbx.adapters.vault.sealed import SealedVault
from pbx.controller import reconciler
from pbx.domain.cdr import Cdr
from pbx.domain.consent import Regime, RegimeTable
from pbx.domain.e164 import cli_of
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import LegId, derive
from pbx.wire import messages as wire
from tests.support.world import DID, SHORT_FLOW, World

pytestmark = pytest.mark.parametrize("kill", [True, False], ids=["killed", "stopped"])

NONE = RegimeTable({"DE": Regime.NONE}, Regime.NONE)
MUSIC = "music:default"


class Restart:
    """A caller, Anna, and controllers that come and go."""

    def __init__(self, world: World, kill: bool) -> None:
        self.world, self.kill = world, kill
        self.caller: Caller
        self.anna: Phone

    async def calls(self) -> Caller:
        self.caller = await self.world.call()
        return self.caller

    async def hears(self, sound: str) -> None:
        await self.world.until(lambda: self.caller.hears == sound, sound)

    async def passes(self, *keys: str) -> None:
        """Greeting and menus, up to what follows them."""
        for prompt, key in zip(("choose-language", "menu"), keys, strict=False):
            await self.hears("de/" + prompt)
            self.caller.press(key)

    async def restart(self, away_s: float = 0.5) -> None:
        await self.world.restart(kill=self.kill, away_s=away_s)
        await self.world.run(0.1)

    async def talks(self) -> None:
        self.world.config.regimes = NONE
        self.anna = self.world.agent("anna")
        await self.calls()
        await self.hears("talk")
        await self.world.until(lambda: bool(self.world.engine.recordings))

    async def ends(self) -> Cdr:
        """The caller hangs up; one record, and nothing is left."""
        world = self.world
        if self.caller.cause is None:
            self.caller.hang_up()
        cdr = await world.ended(self.caller)
        assert world.kinds(self.caller).count("CallEnded") == 1
        assert world.kinds(self.caller).count("LegOffered") == 1
        await world.run(30)
        assert not world.engine.legs
        assert not world.engine.bridges
        assert not world.engine.recordings
        assert not list(world.recordings.glob("*"))
        assert world.journal.live_calls() == []
        assert {agent.state.value for agent in world.pop.router.acd.agents.values()} <= {"IDLE"}
        return cdr


async def test_greeting_is_said_again(tmp_path: Path, kill: bool) -> None:
    async with World(tmp_path) as world:
        scene = Restart(world, kill)
        await scene.calls()
        await scene.hears("de/greeting")
        await scene.restart()
        await scene.hears("de/greeting")
        assert scene.caller.heard == ["de/greeting", "de/greeting"]
        await scene.hears("de/choose-language")
        cdr = await scene.ends()
        assert cdr.nodes == ["greeting", "language"]
        assert cdr.end_reason == "caller_hung_up"


async def test_menu_is_asked_again_and_counts_what_was_wrong_before(tmp_path: Path, kill: bool) -> None:
    async with World(tmp_path) as world:
        scene = Restart(world, kill)
        await scene.calls()
        await scene.passes("1")
        await scene.hears("de/menu")
        scene.caller.press("9")
        await world.run(0.5)
        scene.caller.press("9")
        await world.run(0.5)
        await scene.restart()
        await scene.hears("de/menu")
        scene.caller.press("9")
        await scene.hears("de/goodbye")
        cdr = await scene.ends()
        assert cdr.nodes == ["greeting", "language", "menu", "goodbye"]


async def test_who_waited_for_a_key_is_asked_again(tmp_path: Path, kill: bool) -> None:
    async with World(tmp_path) as world:
        scene = Restart(world, kill)
        await scene.calls()
        await scene.passes("2")
        await world.until(lambda: scene.caller.hears == "en/menu")
        await world.until(lambda: scene.caller.hears is None)
        await scene.restart(away_s=60)
        await scene.hears("en/menu")
        assert scene.caller.heard.count("en/menu") == 2
        scene.caller.press("1")
        await world.until(lambda: (scene.caller.hears or "").startswith("en/consent"))
        assert (await scene.ends()).language == "en"


@pytest.mark.parametrize("stage", ["notice", "keys", "waiting"])
async def test_consent_is_asked_again_and_none_is_assumed(tmp_path: Path, kill: bool, stage: str) -> None:
    async with World(tmp_path) as world:
        world.agent("anna")
        scene = Restart(world, kill)
        await scene.calls()
        await scene.passes("1", "1")
        asked = "de/consent-ask"
        await scene.hears(asked)
        if stage != "notice":
            await world.until(lambda: scene.caller.hears != asked)
        if stage == "waiting":
            await world.until(lambda: scene.caller.hears is None)
        await scene.restart()
        await scene.hears(asked)
        scene.caller.press("1")  # before it was told to the end
        await world.until(lambda: scene.caller.hears != asked)
        assert "ConsentGranted" not in world.kinds(scene.caller)
        scene.caller.press("1")
        await scene.hears("talk")
        await world.run(5)
        cdr = await scene.ends()
        assert [(one.granted, one.digit, one.played_ms) for one in cdr.consents] == [(True, "1", 2000)]
        assert len(cdr.recordings) == len(world.files()) == 1


@pytest.mark.parametrize("stage", ["welcome", "music"])
async def test_waiting_callers_keep_place_age_and_music(tmp_path: Path, kill: bool, stage: str) -> None:
    graph = SHORT_FLOW | {"nodes": SHORT_FLOW["nodes"] | {}}
    graph["nodes"]["wait"] = SHORT_FLOW["nodes"]["wait"] | {"priority": 2, "needs": [{"skill": "vip", "least": 1}]}
    async with World(tmp_path, graph) as world:
        scene = Restart(world, kill)
        first = await scene.calls()
        if stage == "music":
            await world.until(lambda: first.hears == MUSIC)
            await world.run(20)
        second = await world.call("+4917099999999")
        await world.run(1)
        before = world.pop.router.acd._waiting[world.call_id(first)]
        heard = len(first.heard)
        await scene.restart(away_s=3)
        await world.until(lambda: first.hears == MUSIC)
        after = world.pop.router.acd._waiting[world.call_id(first)]
        names = ("place", "since", "entered_at", "priority", "needs", "queue_id", "caller", "value")
        assert [getattr(before, name) for name in names] == [getattr(after, name) for name in names]
        assert set(first.heard[heard:]) <= {MUSIC} | ({"de/position-1"} if stage == "welcome" else set())
        acd = world.pop.router.acd
        assert acd.waiting_calls(after.queue_id) == [world.call_id(first), world.call_id(second)]
        world.agent("anna", skills={"support": 1, "vip": 2})
        await scene.hears("talk")
        assert second.hears != "talk"
        joined = world.cdr(world.call_id(first)).queued_at
        assert joined == before.since
        second.hang_up()
        cdr = await scene.ends()
        assert cdr.talk_started_at is not None
        assert cdr.wait_s == pytest.approx(cdr.talk_started_at - before.since)
        assert [offer.outcome for offer in cdr.offers] == ["answered"]


async def test_who_was_handed_on_keeps_age_steps_and_the_wait_for_one_agent(tmp_path: Path, kill: bool) -> None:
    steps = (wire.QueueStepConfig(after_s=25, action=wire.RaisePriorityStep(by=5)),)
    async with World(tmp_path, SHORT_FLOW, steps=steps) as world:
        scene = Restart(world, kill)
        await scene.calls()
        await world.run(10)
        anna = world.agent("anna")
        await scene.hears("talk")
        bela = world.agent("bela", available=False)
        world.status("bela", "NOT_READY", "LUNCH")
        call_id = world.call_id(scene.caller)
        assert await world.command(wire.TransferCall(call_id=call_id, agent_id="bela")) is None
        await world.run(5)
        before = world.pop.router.acd._waiting[call_id]
        handed_at = world.clock() - 5
        await scene.restart()
        after = world.pop.router.acd._waiting[call_id]
        names = ("since", "entered_at", "place", "step", "preferred")
        assert [getattr(before, name) for name in names] == [getattr(after, name) for name in names]
        assert after.preferred == "bela"
        await world.until(lambda: after.preferred is None)
        assert world.clock() - handed_at == pytest.approx(30, abs=0.5)
        assert after.raised == 5
        await world.until(lambda: anna.rung == 2)
        assert bela.rung == 0
        await scene.ends()


async def test_ringing_goes_on(tmp_path: Path, kill: bool) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        world.config.regimes = NONE
        anna = world.agent("anna")
        anna.behaviour = Answer.NEVER
        scene = Restart(world, kill)
        await scene.calls()
        await world.until(lambda: world.state("anna")[2] == "RINGING")
        leg = anna.leg_id
        await scene.restart()
        assert world.state("anna") == ("AVAILABLE", None, "RINGING")
        assert (anna.rung, anna.leg_id) == (1, leg)
        world.engine.pick_up(leg or LegId(""))
        await scene.hears("talk")
        assert world.state("anna")[2] == "ON_CALL"
        await world.run(3)
        cdr = await scene.ends()
        assert [(offer.agent_id, offer.outcome) for offer in cdr.offers] == [("anna", "answered")]
        assert len(cdr.recordings) == len(world.files()) == 1
        assert anna.rung == 1


@pytest.mark.parametrize("what", ["answers", "rejects", "caller leaves"])
async def test_what_happened_while_the_phone_rang_and_nobody_was_there(tmp_path: Path, kill: bool, what: str) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        world.config.regimes = NONE
        anna = world.agent("anna")
        anna.behaviour = Answer.NEVER
        scene = Restart(world, kill)
        await scene.calls()
        await world.until(lambda: world.state("anna")[2] == "RINGING")
        place = world.pop.router.acd._waiting[world.call_id(scene.caller)].place
        await world.die(kill=kill)
        leg = world.engine.legs[anna.leg_id or LegId("")]
        if what == "answers":
            world.engine.pick_up(leg.leg_id)
        elif what == "rejects":
            world.engine.end_leg(leg, HangupCause.USER_BUSY)
        else:
            scene.caller.hang_up()
        anna.behaviour = Answer.ANSWER
        await world.live()
        if what == "caller leaves":
            cdr = await scene.ends()
            assert [offer.outcome for offer in cdr.offers] == ["caller_gone"]
            assert (cdr.abandoned, cdr.cause) == (True, HangupCause.NETWORK_OUT_OF_ORDER)
            return
        if what == "rejects":
            await world.run(0.1)
            assert world.pop.router.acd._waiting[world.call_id(scene.caller)].place == place
        await scene.hears("talk")
        assert anna.rung == (1 if what == "answers" else 2)
        cdr = await scene.ends()
        assert [offer.outcome for offer in cdr.offers] == ["failed"] * (what == "rejects") + ["answered"]


async def test_the_longest_idle_is_so_after_a_restart_and_status_is_kept(tmp_path: Path, kill: bool) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        anna = world.agent("anna")
        await world.run(5)
        world.agent("bela")
        world.agent("carl", available=False)
        world.status("carl", "NOT_READY", "LUNCH")
        scene = Restart(world, kill)
        await world.run(1)
        await scene.restart()
        assert [world.state(name) for name in ("anna", "bela", "carl")] == [
            ("AVAILABLE", None, "IDLE"),
            ("AVAILABLE", None, "IDLE"),
            ("NOT_READY", "LUNCH", "IDLE"),
        ]
        await scene.calls()
        await scene.hears("talk")
        assert anna.rung == 1
        await scene.ends()


async def test_talking_parties_hear_nothing_and_the_recording_is_one_file(tmp_path: Path, kill: bool) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Restart(world, kill)
        await scene.talks()
        [recording_id] = world.engine.recordings
        heard = [list(world.engine.legs[leg or LegId("")].hearing) for leg in (scene.caller.leg_id, scene.anna.leg_id)]
        await world.run(10)
        await scene.restart(away_s=2)
        await world.run(8)
        after = [list(world.engine.legs[leg or LegId("")].hearing) for leg in (scene.caller.leg_id, scene.anna.leg_id)]
        assert heard == after
        assert list(world.engine.recordings) == [recording_id] == world.engine.recorded
        assert world.state("anna")[2] == "ON_CALL"
        cdr = await scene.ends()
        [recording] = cdr.recordings
        assert recording.recording_id == recording_id
        assert recording.duration_ms == pytest.approx(20_100, abs=300)
        assert cdr.talk_s == pytest.approx(20.1, abs=0.5)
        assert world.files() == [f"{recording_id}.sealed"]
        assert (cdr.end_reason, len(cdr.talks)) == ("caller_hung_up", 1)


async def test_a_recording_can_be_stopped_and_paused_after_a_restart(tmp_path: Path, kill: bool) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Restart(world, kill)
        await scene.talks()
        [recording_id] = world.engine.recordings
        await world.run(4)
        await scene.restart()
        await world.engine.pause_recording(recording_id, scene.caller.leg_id)
        await world.engine.resume_recording(recording_id, scene.caller.leg_id)
        stop = wire.StopCallRecording(call_id=world.call_id(scene.caller), by="agent")
        assert await world.command(stop) is None
        await world.until(lambda: not world.engine.recordings)
        await scene.restart()
        assert scene.caller.hears == "talk"
        assert world.engine.recorded == [recording_id]
        await scene.ends()
        assert world.files() == [f"{recording_id}.sealed"]


async def test_agent_hangs_up_while_nobody_is_there(tmp_path: Path, kill: bool) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Restart(world, kill)
        await scene.talks()
        await world.run(3)
        await world.die(kill=kill)
        world.engine.end_leg(world.engine.legs[scene.anna.leg_id or LegId("")], HangupCause.NORMAL_CLEARING)
        await world.live()
        await world.until(lambda: scene.caller.cause is not None)
        cdr = await scene.ends()
        assert cdr.end_reason == "agent_hung_up"
        assert len(cdr.recordings) == len(world.files()) == 1


async def test_both_hang_up_while_nobody_is_there(tmp_path: Path, kill: bool) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Restart(world, kill)
        await scene.talks()
        await world.run(3)
        await world.die(kill=kill)
        scene.caller.hang_up()
        world.engine.end_leg(world.engine.legs[scene.anna.leg_id or LegId("")], HangupCause.NORMAL_CLEARING)
        await world.live()
        cdr = await scene.ends()
        assert cdr.end_reason == "caller_hung_up"
        [recording] = cdr.recordings
        assert recording.duration_ms == pytest.approx(3000, abs=300)
        assert world.files() == [f"{recording.recording_id}.sealed"]


async def test_hold_and_mute_stay(tmp_path: Path, kill: bool) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Restart(world, kill)
        await scene.talks()
        call_id = world.call_id(scene.caller)
        assert await world.command(wire.MuteAgent(call_id=call_id, muted=True)) is None
        assert await world.command(wire.HoldCall(call_id=call_id)) is None
        await scene.restart()
        assert scene.caller.hears == MUSIC
        assert await world.command(wire.HoldCall(call_id=call_id)) == "already_held"
        assert await world.command(wire.ResumeCall(call_id=call_id)) is None
        await scene.restart()
        assert (world.hears(scene.caller.leg_id), world.hears(scene.anna.leg_id)) == (set(), {"caller"})
        assert await world.command(wire.MuteAgent(call_id=call_id, muted=False)) is None
        assert world.hears(scene.caller.leg_id) == {"anna"}
        kinds = world.kinds(scene.caller)
        assert [kinds.count(kind) for kind in ("HoldStarted", "HoldEnded", "MuteChanged")] == [1, 1, 2]
        await scene.ends()


async def test_wrap_up_goes_on_for_the_rest_of_its_time(tmp_path: Path, kill: bool) -> None:
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=30) as world:
        scene = Restart(world, kill)
        await scene.talks()
        scene.caller.hang_up()
        await world.until(lambda: world.state("anna")[2] == "WRAP_UP")
        began = world.clock()
        world.told(wire.ExtendWrapUp(agent_id="anna", by_s=10))
        await world.run(5)
        await scene.restart(away_s=5)
        assert world.state("anna") == ("AVAILABLE", None, "WRAP_UP")
        await world.until(lambda: world.state("anna")[2] == "IDLE")
        assert world.clock() - began == pytest.approx(40, abs=0.5)
        await scene.ends()


async def test_wrap_up_that_ended_meanwhile_is_over(tmp_path: Path, kill: bool) -> None:
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=30) as world:
        scene = Restart(world, kill)
        await scene.talks()
        scene.caller.hang_up()
        await world.until(lambda: world.state("anna")[2] == "WRAP_UP")
        await scene.restart(away_s=60)
        assert world.state("anna") == ("AVAILABLE", None, "IDLE")
        await scene.ends()


async def test_a_call_keeps_the_flow_it_began_with(tmp_path: Path, kill: bool) -> None:
    async with World(tmp_path) as world:
        scene = Restart(world, kill)
        await scene.calls()
        await scene.passes("1")
        await scene.hears("de/menu")
        world.put_flow("main", SHORT_FLOW, version=2)
        world.pop.config_changed("queue.support", None)
        await scene.restart()
        await scene.hears("de/menu")
        late = await world.call("+4917088888888")
        await world.until(lambda: late.hears == "de/queue-full")
        scene.caller.press("1")
        await world.until(lambda: (scene.caller.hears or "").startswith("de/consent"))
        late.hang_up()
        await scene.restart()
        await world.until(lambda: (scene.caller.hears or "").startswith("de/consent"))
        assert (await scene.ends()).flow_version == 1


async def test_a_caller_who_comes_while_nobody_is_there_is_taken_or_hung_up(tmp_path: Path, kill: bool) -> None:
    """The simulated server tells nothing later: such a leg is nobody's, and ended."""
    async with World(tmp_path, SHORT_FLOW) as world:
        await world.die(kill=kill)
        stray = world.engine.call(DID, cli_of("+4917000000001"))
        await world.live()
        await world.until(lambda: stray.cause is HangupCause.RECOVERY_ON_TIMER_EXPIRY)


async def test_captures_without_a_grant_are_destroyed(tmp_path: Path, kill: bool) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Restart(world, kill)
        await scene.talks()
        [granted] = world.engine.recordings
        stray = world.recordings / "01K00000000000000000000000.raw"
        stray.write_bytes(b"1234")
        await scene.restart()
        assert not stray.exists()
        assert (world.recordings / f"{granted}.raw").exists()
        await scene.ends()


async def test_a_reconnect_is_no_restart(tmp_path: Path, kill: bool) -> None:
    """What is captured then was granted by this controller, whatever the journal has of it yet."""
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Restart(world, kill)
        await scene.restart()
        await scene.talks()
        fresh = world.recordings / "01K00000000000000000000000.raw"
        fresh.write_bytes(b"1234")
        world.pop.engine_down("test")
        world.pop.engine_up(await world.engine.snapshot())
        await world.run(5)
        assert fresh.exists()
        assert world.kinds(scene.caller).count("CallReadopted") == 0
        fresh.unlink()
        await scene.ends()


async def test_a_defect_of_readoption_costs_one_call(
    tmp_path: Path, kill: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Restart(world, kill)
        victim = await scene.calls()
        other = await world.call("+4917099999999")
        await world.run(5)
        broken, reconcile = world.call_id(victim), reconciler.reconcile

        def fails(rebuilt: Any, *rest: Any) -> Any:
            if rebuilt.call.call_id == broken:
                raise ZeroDivisionError
            return reconcile(rebuilt, *rest)

        monkeypatch.setattr(reconciler, "reconcile", fails)
        await scene.restart()
        await world.until(lambda: victim.cause is HangupCause.RECOVERY_ON_TIMER_EXPIRY)
        assert (await world.ended(victim)).end_reason == "interrupted"
        scene.caller = other
        world.agent("anna")
        await scene.hears("talk")
        await scene.ends()


async def test_a_recording_that_was_placed_before_the_controller_could_say_so(tmp_path: Path, kill: bool) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Restart(world, kill)
        await scene.talks()
        [recording_id] = world.engine.recordings
        await world.run(2)
        await world.die(kill=kill)
        await world.engine.stop_recording(recording_id, scene.caller.leg_id)
        placed = world.pop.vault.store(recording_id, "eu", world.recordings / f"{recording_id}.raw")
        await world.live()
        cdr = await scene.ends()
        [recording] = cdr.recordings
        assert (recording.sha256, recording.size_bytes, recording.discarded) == (
            placed.sha256,
            placed.size_bytes,
            False,
        )
        assert recording.duration_ms == placed.duration_ms


async def test_again_and_again(tmp_path: Path, kill: bool) -> None:
    times = 3
    async with World(tmp_path) as world:
        world.agent("anna").answers_after_s = 4
        scene = Restart(world, kill)
        await scene.calls()
        for prompt in ("de/greeting", "de/choose-language", "de/menu"):
            for _ in range(times):
                await scene.hears(prompt)
                await scene.restart()
            if prompt != "de/greeting":
                scene.caller.press("1")
        await scene.hears("de/consent-ask")
        await world.until(lambda: scene.caller.hears != "de/consent-ask")
        scene.caller.press("1")
        await world.until(lambda: world.state("anna")[2] == "RINGING")
        for _ in range(times):
            await scene.restart()
        await scene.hears("talk")
        for _ in range(times):
            await world.run(1)
            await scene.restart()
        assert len(world.engine.recorded) == 1
        cdr = await scene.ends()
        assert [offer.outcome for offer in cdr.offers] == ["answered"]
        [recording] = cdr.recordings
        assert recording.duration_ms == pytest.approx(4_800, abs=500)


def _unreadable(path: Path, kind: str) -> None:
    db = sqlite3.connect(path)
    db.execute("UPDATE events SET kind = 'SomethingNew' WHERE kind = ?", (kind,))
    db.commit()
    db.close()


async def test_people_in_a_call_that_cannot_be_followed_talk_on(tmp_path: Path, kill: bool) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Restart(world, kill)
        await scene.talks()
        [recording_id] = world.engine.recordings
        await world.run(3)
        await world.die(kill=kill)
        _unreadable(tmp_path / "journal.sqlite", "QueueJoined")
        await world.live()
        await world.run(20)
        assert scene.caller.hears == "talk"
        assert world.state("anna")[2] == "IDLE"
        cdr = world.cdr(world.call_id(scene.caller))
        assert cdr.end_reason == "interrupted"
        assert world.files() == [f"{recording_id}.sealed"]
        assert [one.discarded for one in cdr.recordings] == [False]
        scene.caller.hang_up()
        await world.until(lambda: not world.engine.legs)
        await scene.ends()


async def test_others_of_a_call_that_cannot_be_followed_are_hung_up(tmp_path: Path, kill: bool) -> None:
    async with World(tmp_path) as world:
        scene = Restart(world, kill)
        await scene.calls()
        await scene.passes("1")
        await scene.hears("de/menu")
        await world.die(kill=kill)
        _unreadable(tmp_path / "journal.sqlite", "LanguageChosen")
        await world.live()
        await world.until(lambda: scene.caller.cause is HangupCause.RECOVERY_ON_TIMER_EXPIRY)
        assert (await scene.ends()).end_reason == "interrupted"


def _flow(**nodes: Any) -> dict[str, Any]:
    return {"start": next(iter(nodes)), "languages": ["de"], "nodes": nodes}


async def test_hidden_digits_are_known_after_a_restart_and_in_no_journal(tmp_path: Path, kill: bool) -> None:
    graph = _flow(
        card={
            "type": "collect", "prompts": ["greeting"], "variable": "card", "next": "check", "on_failure": "no",
            "min_digits": 4, "max_digits": 4, "terminator": "none",
        },
        check={"type": "menu", "prompt": "menu", "choices": {"1": "branch"}, "on_failure": "no"},
        branch={
            "type": "branch", "conditions": [{"variable": "card", "equals": "4711", "next": "yes"}], "otherwise": "no"
        },
        yes={"type": "hang_up", "prompts": ["goodbye"]},
        no={"type": "hang_up", "prompts": ["queue-full"]},
    )  # fmt: skip
    async with World(tmp_path, graph) as world:
        scene = Restart(world, kill)
        await scene.calls()
        await scene.hears("de/greeting")
        for digit in "47":
            scene.caller.press(digit)
        await world.run(0.3)
        await scene.restart()
        await scene.hears("de/greeting")
        for digit in "4711":
            scene.caller.press(digit)
        await scene.hears("de/menu")
        await scene.restart()
        await scene.hears("de/menu")
        assert [path.name for path in (tmp_path / "hidden").iterdir()] == [world.call_id(scene.caller)]
        scene.caller.press("1")
        await scene.hears("de/goodbye")
        await world.ended(scene.caller)
        await scene.ends()
        assert list((tmp_path / "hidden").iterdir()) == []
        pressed = world.journal._db.execute("SELECT data FROM events WHERE kind = 'DigitPressed'").fetchall()
        assert [b'"digit":"?"' in data for (data,) in pressed] == [True] * 6 + [False]


async def test_hidden_digits_that_are_lost_end_the_call(tmp_path: Path, kill: bool) -> None:
    graph = _flow(
        card={"type": "collect", "prompts": ["greeting"], "variable": "card", "next": "wait", "on_failure": "wait"},
        wait={"type": "queue", "queue": "support", "on_refused": "no"},
        no={"type": "hang_up"},
    )
    async with World(tmp_path, graph) as world:
        scene = Restart(world, kill)
        await scene.calls()
        await scene.hears("de/greeting")
        for digit in "12#":
            scene.caller.press(digit)
        await scene.hears(MUSIC)
        await world.die(kill=kill)
        for path in (tmp_path / "hidden").iterdir():
            path.unlink()
        await world.live()
        await world.until(lambda: scene.caller.cause is not None)
        assert (await scene.ends()).end_reason == "interrupted"


# --- captures that outlived their calls -------------------------------------------------------------------------------


async def test_what_could_not_be_placed_is_placed_by_the_next_controller(
    tmp_path: Path, kill: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk was full when the call ended; its record then says what the vault has."""
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Restart(world, kill)
        await scene.talks()
        [recording_id] = world.engine.recordings
        await world.run(4)
        with monkeypatch.context() as full:
            full.setattr(SealedVault, "store", _no_space)
            scene.caller.hang_up()
            [recording] = (await world.ended(scene.caller)).recordings
            assert (recording.size_bytes, recording.discarded) == (0, False)
            assert world.files() == [f"{recording_id}.raw"]
            await scene.restart()
            await world.run(5)
            assert world.files() == [f"{recording_id}.raw"], "still full"
        await scene.restart()
        await world.until(lambda: world.files() == [f"{recording_id}.sealed"])
        await world.run(5)
        [recording] = world.cdr(world.call_id(scene.caller)).recordings
        assert recording.duration_ms == pytest.approx(4000, abs=300)
        assert world.unsealed(recording_id).stat().st_size == recording.size_bytes
        assert world.kinds(scene.caller).count("RecordingEnded") == 2


async def test_what_nobody_granted_is_destroyed(tmp_path: Path, kill: bool, caplog: pytest.LogCaptureFixture) -> None:
    """And what was withdrawn, where the controller died before it had destroyed it."""
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = Restart(world, kill)
        await scene.talks()
        [recording_id] = world.engine.recordings
        await world.run(2)
        raw = world.recordings / f"{recording_id}.raw"
        kept = raw.read_bytes()
        call_id = world.call_id(scene.caller)
        assert await world.command(wire.StopCallRecording(call_id=call_id, by="caller")) is None
        await world.until(lambda: world.files() == [])
        await scene.ends()
        [record] = world.cdr(world.call_id(scene.caller)).recordings
        assert record.discarded
        raw.write_bytes(kept)
        (world.recordings / f"{derive(5.0, 'nobody')}.raw").write_bytes(b"said")
        await scene.restart()
        await world.until(lambda: world.files() == [])
        assert "nobody has granted" in caplog.text
        [record] = world.cdr(world.call_id(scene.caller)).recordings
        assert record.discarded


def _no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "no space left on device")
