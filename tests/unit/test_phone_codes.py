"""Supervision dialled at a phone, and codes keyed in during a conversation."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbx.adapters.memory.engine import Callee, Caller
from pbx.controller.phone_codes import PhoneCodes
from pbx.domain import events as ev
from pbx.domain.ids import LegId
from pbx.domain.keyed_codes import PAUSE_S, Act, Keyed, Keys
from pbx.wire import messages as wire
from tests.support.scene import Scene
from tests.support.world import SHORT_FLOW, World

MUSIC = {"music:default"}


def read(keys: str, pause_s: float = 0.1) -> list[Keyed]:
    one = Keys()
    pressed = (one.press(key, 100 + number * pause_s) for number, key in enumerate(keys))
    return [keyed for keyed in pressed if keyed is not None]


@pytest.mark.parametrize(
    ("keys", "means"),
    [
        ("*1", [Keyed(Act.HOLD)]),
        ("*4*5", [Keyed(Act.SWAP), Keyed(Act.COMPLETE)]),
        ("*2101#", [Keyed(Act.TRANSFER, "101")]),
        ("*3123456#", [Keyed(Act.CONSULT, "123456")]),
        ("*31234567#", []),
        ("*3#", []),
        ("*3#1", []),
        ("*310*1", [Keyed(Act.HOLD)]),
        ("*0101#*6", [Keyed(Act.RECORDING), Keyed(Act.CONFERENCE)]),
        ("*#", [Keyed(Act.STOP_RECORDING)]),
        ("**7", [Keyed(Act.CANCEL)]),
        ("4711#", []),
        ("*A1", []),
    ],
)
def test_what_keys_mean(keys: str, means: list[Keyed]) -> None:
    assert read(keys) == means
    assert read(keys, PAUSE_S + 0.1) == []


class AtThePhone(Scene):
    async def begin_with(self, keyed_codes: bool = True, supervises: bool = True) -> None:
        world = self.world
        await self.begin()
        world.pop.codes = PhoneCodes(world.pop.router, world.config, keyed_codes)
        for name, extension, may in (("anna", "101", False), ("boss", "102", supervises)):
            config = wire.AgentConfig(
                agent_id=name, name=name, phone_id=name, ha1="0" * 32, skills={"support": 3}, country="DE",
                extension=extension, supervises=may,
            )  # fmt: skip
            world.configure(f"agent.{name}", config)

    async def dial(self, code: str) -> Caller:
        dialled = self.world.engine.dial_feature(self.boss, code)
        await self.world.until(lambda: dialled.cause is not None, "the end of the feature call")
        return dialled

    async def key(self, keys: str, leg_id: LegId | None = None) -> None:
        for digit in keys:
            leg = leg_id or self.anna.leg_id or LegId("")
            self.world.engine.emit(ev.DigitPressed(at=self.world.clock(), leg_id=leg, digit=digit))
        await self.world.run(0.2)


# --- dialled --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "hear"),
    [
        ("*21101", ({"anna"}, {"caller"}, {"caller", "anna"})),
        ("*22101", ({"anna"}, {"caller", "boss"}, {"caller", "anna"})),
        ("*23101", ({"anna", "boss"}, {"caller", "boss"}, {"caller", "anna"})),
    ],
)
async def test_supervision_by_code(tmp_path: Path, code: str, hear: tuple[set[str], set[str], set[str]]) -> None:
    """The phone is told, hung up, and only then rung."""
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = AtThePhone(world)
        await scene.begin_with()
        dialled = await scene.dial(code)
        assert dialled.heard == ["de/agent-will-be-rung"]
        await world.until(lambda: "SupervisionStarted" in world.kinds(scene.caller))
        await world.run(0.1)
        assert (scene.hear(), scene.boss.rung) == (hear, 1)
        await scene.finish()


async def test_take_over_by_code(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = AtThePhone(world)
        await scene.begin_with()
        await scene.dial("*24101")
        await world.until(lambda: world.state("boss")[2] == "ON_CALL")
        await world.run(0.1)
        assert (world.hears(scene.caller.leg_id), world.hears(scene.boss.leg_id)) == ({"boss"}, {"caller"})
        assert [t.ended for t in (await scene.finish()).talks] == ["taken_over", None]


async def test_who_listens_already_takes_over_by_code_at_a_second_line(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = AtThePhone(world)
        await scene.begin_with()
        await scene.attached()
        await scene.dial("*24101")
        await world.until(lambda: world.state("boss")[2] == "ON_CALL")
        assert scene.boss.rung == 1
        assert [s.modes for s in (await scene.finish()).supervisions] == [["listen"]]


@pytest.mark.parametrize("code", ["*21999", "*21102"])
async def test_nobody_talks_there(tmp_path: Path, code: str) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = AtThePhone(world)
        await scene.begin_with()
        assert (await scene.dial(code)).heard == ["de/agent-code-refused"]
        await world.run(5)
        assert scene.boss.rung == 0
        await scene.finish()


async def test_who_may_not_supervise(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = AtThePhone(world)
        await scene.begin_with(supervises=False)
        assert (await scene.dial("*21101")).heard == ["de/agent-code-refused"]
        assert (await scene.dial("*24101")).heard == ["de/agent-code-refused"]
        await world.run(5)
        assert (scene.boss.rung, world.state("boss")[2]) == (0, "IDLE")
        await scene.finish()


async def test_the_call_is_over_before_the_phone_is_free(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = AtThePhone(world)
        await scene.begin_with()
        dialled = world.engine.dial_feature(scene.boss, "*21101")
        await world.until(lambda: bool(dialled.heard))
        scene.caller.hang_up()
        await world.until(lambda: dialled.cause is not None)
        await scene.finish()
        assert scene.boss.rung == 0


# --- keyed in ---------------------------------------------------------------------------------------------------------


async def test_a_whole_consultation_by_keys(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = AtThePhone(world)
        await scene.begin_with()
        await scene.key("*1")
        assert world.hears(scene.caller.leg_id) == MUSIC
        await scene.key("*1")
        assert world.hears(scene.caller.leg_id) == {"anna"}
        await scene.key("*3102#")
        await world.until(lambda: "ConsultationStarted" in world.kinds(scene.caller))
        await world.run(0.1)
        assert scene.hear() == (MUSIC, {"boss"}, {"anna"})
        await scene.key("*4")
        assert scene.hear() == ({"anna"}, {"caller"}, MUSIC)
        await scene.key("*7")
        assert scene.boss.leg_id not in world.engine.legs
        await scene.key("*3102#")
        await world.until(lambda: world.kinds(scene.caller).count("ConsultationStarted") == 2)
        await scene.key("*6")
        assert scene.hear() == ({"anna", "boss"}, {"caller", "boss"}, {"caller", "anna"})
        await scene.key("*5", scene.boss.leg_id)  # it is not the consulted agent's to say
        assert world.state("boss")[2] == "ENGAGED"
        await scene.key("*5")
        assert world.state("boss")[2] == "ON_CALL"
        await scene.key("*1", scene.boss.leg_id)  # but now it is
        assert world.hears(scene.caller.leg_id) == MUSIC
        cdr = await scene.finish()
        assert [c.ended for c in cdr.consultations] == ["cancelled", "completed"]


async def test_blind_transfer_by_keys(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = AtThePhone(world)
        await scene.begin_with()
        await scene.key("*2999#")  # nobody's
        assert world.hears(scene.caller.leg_id) == {"anna"}
        world.status("boss", "AVAILABLE")
        await scene.key("*2102#")
        await world.until(lambda: world.state("boss")[2] == "ON_CALL")
        scene.caller.hang_up()
        cdr = await world.ended(scene.caller)
        assert [t.agent_id for t in cdr.talks] == ["anna", "boss"]


async def test_queues_by_keys(tmp_path: Path) -> None:
    """Consulted, and handed to, by the queue's extension."""
    async with World(tmp_path, SHORT_FLOW) as world:
        billing = wire.QueueConfig(queue_id="billing", name="Billing", skills={"billing": 1}, extension="500")
        world.configure("queue.billing", billing)
        scene = AtThePhone(world)
        await scene.begin_with()
        bela = world.agent("bela", skills={"billing": 1})
        await scene.key("*3500#")
        await world.until(lambda: world.hears(bela.leg_id) == {"anna"})
        await scene.key("*7")
        assert world.hears(scene.caller.leg_id) == {"anna"}
        await world.until(lambda: world.state("bela")[2] == "IDLE")
        await scene.key("*2501#")  # nobody's
        assert world.hears(scene.caller.leg_id) == {"anna"}
        await scene.key("*2500#")
        await world.until(lambda: bela.leg_id in world.engine.legs and world.hears(bela.leg_id) == {"caller"})
        cdr = await scene.finish()
        assert [(t.agent_id, t.queue_id) for t in cdr.talks] == [("anna", "support"), ("bela", "billing")]


async def test_outside_numbers_by_keys(tmp_path: Path) -> None:
    """As they are dialled at home. What may not be called does nothing, and stands nowhere."""
    async with World(tmp_path, SHORT_FLOW) as world:
        callee = world.engine.callees["+493055501234"] = Callee("+493055501234")
        scene = AtThePhone(world)
        await scene.begin_with()
        for refused in ("*8110#", "*80900123456#", "*90033140205050#", "*8#"):
            await scene.key(refused)
            assert world.hears(scene.caller.leg_id) == {"anna"}
        await scene.key("*803055501234#")
        await world.until(lambda: callee.leg_id in world.engine.legs)
        world.engine.pick_up(callee.leg_id)  # type: ignore[arg-type]
        await world.run(0.1)
        assert world.hears(scene.caller.leg_id) == MUSIC
        await scene.key("*7")
        assert world.hears(scene.caller.leg_id) == {"anna"}
        await scene.key("*903055501234#")
        await world.until(lambda: callee.leg_id in world.engine.legs)
        world.engine.pick_up(callee.leg_id)  # type: ignore[arg-type]
        await world.run(0.1)
        assert "ForwardAnswered" in world.kinds(scene.caller)
        cdr = await scene.finish()
        assert [(f.why, f.outcome) for f in cdr.forwards] == [("consultation", "answered"), ("transfer", "answered")]
        assert not any(b"0900123456" in bytes(e.data) for e in world.journal.read_call(scene.call_id))


async def test_keys_mean_nothing_unless_the_pop_says_so(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = AtThePhone(world)
        await scene.begin_with(keyed_codes=False)
        await scene.key("*1*3102#")
        assert world.hears(scene.caller.leg_id) == {"anna"}
        await scene.finish()


async def test_an_agents_keys_do_not_reach_the_journal(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        scene = AtThePhone(world)
        await scene.begin_with()
        await scene.key("4929123412341234#*1")
        await scene.key("8", scene.caller.leg_id)
        keys = [e for e in world.journal.read_call(scene.call_id) if e.kind == "DigitPressed"]
        assert [scene.caller.leg_id in bytes(e.data).decode() for e in keys] == [True]  # the caller's is the call's
        assert "HoldStarted" in world.kinds(scene.caller)
        await scene.finish()
