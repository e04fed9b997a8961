"""A replay of what is more than a call that is queued and answered: hours, shifts, last agents, outside numbers and
callbacks, with a controller that dies among them."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pbx.adapters.memory.engine import Callee
from pbx.domain.e164 import cli_of, e164
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import LegId
from pbx.simulation.replay import replay
from pbx.simulation.replay_cli import main
from pbx.simulation.replay_read import read
from pbx.simulation.virtual_time import VirtualTimeLoop
from pbx.wire import messages as wire
from tests.support.busy import killed
from tests.support.world import DID, World
from tests.unit.test_callbacks import FLOW, morning

pytestmark = pytest.mark.long

OUTSIDE = "+49891234567"


def _each_hour(begin: int, end: int, country: str | None = None) -> wire.HoursConfig:
    every = [f"{hour:02}:{begin:02}-{hour:02}:{end:02}" for hour in range(24)]
    days = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    return wire.HoursConfig(time_zone="UTC", weekly=dict.fromkeys(days, every), country=country)


QUEUE: dict[str, Any] = {
    "steps": (
        wire.QueueStepConfig(after_s=8, action=wire.OfferCallbackStep()),
        wire.QueueStepConfig(after_s=25, action=wire.OverflowToNumberStep(number=OUTSIDE, ring_s=5)),
    ),
    "wrap_up_s": 5, "ring_timeout_s": 8, "shift": "only", "last_agent_s": 15.0, "closing": "end",
    "hours": _each_hour(0, 55, "DE-BY"),
}  # fmt: skip
CALLERS = [f"+49170111{n:04}" for n in range(30)]


async def _busy(world: World, seed: int, calls: int = 150, for_s: float = 4000.0) -> None:
    chance = random.Random(seed)
    for n in range(3):
        shifts = (_each_hour(0, 30), _each_hour(20, 50), None)[n]
        world.agent(f"agent{n}", shifts=shifts, site=("bonn", None, "ulm")[n]).answers_after_s = 2.0
    for number in (*CALLERS, OUTSIDE):
        world.engine.callees[number] = Callee(number)
    people = [_caller(world, chance, chance.uniform(0, for_s)) for _ in range(calls)]
    await asyncio.gather(_customers(world, chance, for_s), *people)


async def _customers(world: World, chance: random.Random, for_s: float) -> None:
    """Two of three who are called back answer, and hang up some time later; nobody does at the outside number."""
    rung: set[LegId | None] = {None}
    until: dict[LegId, float] = {}
    end = world.clock() + for_s
    while world.clock() < end:
        await asyncio.sleep(0.7)
        for number in CALLERS:
            leg_id = world.engine.callees[number].leg_id
            if leg_id is not None and leg_id not in rung and leg_id in world.engine.legs and chance.random() < 0.67:
                world.engine.pick_up(leg_id)
                until[leg_id] = world.clock() + chance.uniform(20, 90)
            rung.add(leg_id)
        for leg_id in [leg_id for leg_id, at in until.items() if at <= world.clock()]:
            del until[leg_id]
            if leg_id in world.engine.legs:
                world.engine.end_leg(world.engine.legs[leg_id], HangupCause.NORMAL_CLEARING)


async def _caller(world: World, chance: random.Random, after_s: float) -> None:
    patience_s, talk_s, presses = chance.expovariate(1 / 60), chance.uniform(20, 120), chance.random() < 0.4
    await asyncio.sleep(after_s)
    caller = world.engine.call(DID, cli_of(e164(chance.choice(CALLERS))), "DE")
    end = world.clock() + patience_s
    while caller.cause is None and caller.hears != "talk" and world.clock() < end:
        if presses and caller.hears == "de/callback-offer":
            caller.press("1")
            presses = False
        await asyncio.sleep(0.31)
    if caller.hears == "talk":
        await asyncio.sleep(talk_s)
    if caller.cause is None:
        caller.hang_up()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(_recorded(tmp_path_factory.mktemp("replay")))


async def _recorded(directory: Path) -> Path:
    first = directory / "first"
    first.mkdir()
    async with World(first, FLOW, **QUEUE) as world:
        await morning(world)
        hour = asyncio.create_task(_busy(world, 1))
        await world.run(3300.0)
        again = killed(world, directory / "again")
        await hour
    async with World(again, FLOW, **QUEUE) as world:
        await morning(world)
        await _busy(world, 2)
    return again / "journal.sqlite"


def test_hours_shifts_last_agents_numbers_and_callbacks_replay(recorded: Path) -> None:
    report = replay(read(recorded))
    assert report.difference is None
    assert (report.runs, report.guessed) == (2, 0)
    assert report.offers > 100
    db = sqlite3.connect(recorded)
    kinds = Counter(kind for (kind,) in db.execute("SELECT kind FROM events"))
    for kind in ("CallbackQueued", "CallbackDialled", "CallbackReached", "CallbackMissed", "CallbackOffered"):
        assert kinds[kind] > 10, kind
    [(preferred, again, hours)] = db.execute(
        "SELECT sum(kind = 'QueueJoined' AND CAST(data AS TEXT) LIKE '%\"preferred\":\"%'),"
        " sum(kind = 'QueueJoined' AND CAST(data AS TEXT) LIKE '%\"tried\":1%'),"
        " sum(kind = 'TimerFired' AND CAST(data AS TEXT) LIKE '%\"hours:%') FROM events"
    )
    assert min(preferred, again, hours) > 5
    assert kinds["QueueRefused"] > 5  # all of them closed


@pytest.mark.parametrize(
    "harm",
    [
        "DELETE FROM events WHERE kind = 'CallbackQueued'",
        "DELETE FROM events WHERE kind = 'TimerFired' AND CAST(data AS TEXT) LIKE '%\"hours:%'",
        "UPDATE events SET data = CAST(json_remove(CAST(data AS TEXT), '$.asked.preferred') AS BLOB)"
        " WHERE kind = 'QueueJoined'",
        "UPDATE config_history SET entry = CAST(json_remove(CAST(entry AS TEXT), '$.shifts') AS BLOB)"
        " WHERE key LIKE 'agent.%'",
    ],
)
def test_each_of_them_is_needed(recorded: Path, tmp_path: Path, harm: str) -> None:
    journal = Path(shutil.copy(recorded, tmp_path / "journal.sqlite"))
    with sqlite3.connect(journal) as db:
        assert db.execute(harm).rowcount > 0
    db.close()
    assert replay(read(journal)).difference is not None


async def test_an_ordinary_call_writes_no_row_for_a_replay(tmp_path: Path) -> None:
    async with World(tmp_path, FLOW, wrap_up_s=5) as world:
        world.agent("anna")
        await world.run(1.0)
        [(before,)] = world.journal._db.execute("SELECT coalesce(max(seq), 0) FROM events")
        caller = await world.call()
        await world.until(lambda: caller.hears == "talk")
        caller.hang_up()
        await world.ended(caller)
        await world.run(10.0)
        rows = world.journal._db.execute("SELECT call_id, kind FROM events WHERE seq > ?", (before,)).fetchall()
        of_the_router = [kind for call_id, kind in rows if call_id is None]
        assert of_the_router == ["AgentChanged"] * 5  # reserved, ringing, on call, wrap-up, idle
        assert len(rows) == 20  # as many as before there was a replay


def _rows(recorded: Path, rules: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(rules))
    assert main([str(recorded), "--queues", str(file), "--json"]) == 0
    rows: dict[str, Any] = {row["queue_id"]: row for row in json.loads(capsys.readouterr().out)["queues"]}["support"]
    return rows


def test_callbacks_under_the_same_rules_are_as_they_were(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = _rows(recorded, {"support": {"name": "Another name"}}, tmp_path, capsys)
    seen, before = row["callbacks_recorded"], row["callbacks_before"]
    assert row["callbacks_after"] == before
    db = sqlite3.connect(recorded)
    kinds = Counter(kind for (kind,) in db.execute("SELECT kind FROM events"))
    db.close()
    # Every attempt has its agent; some promises were made twice, and some last into the next run.
    assert seen["attempts"] == pytest.approx(kinds["CallbackDialled"], abs=3)
    assert seen["promised"] >= kinds["CallbackRequested"] - 3
    assert kinds["CallbackDone"] - 3 <= seen["reached"] <= kinds["CallbackDone"]
    for name in ("promised", "attempts", "reached"):
        assert before[name] == pytest.approx(seen[name], rel=0.25), name
    assert row["before"]["abandoned"] == pytest.approx(row["recorded"]["abandoned"], rel=0.25)


def test_who_is_not_told_of_callbacks_waits_or_gives_up(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = _rows(recorded, {"support": {"steps": []}}, tmp_path, capsys)
    assert row["callbacks_after"]["promised"] == 0  # those of the run before are owed all the same
    assert row["callbacks_after"]["attempts"] < row["callbacks_before"]["attempts"]
    after, before = row["after"], row["before"]
    assert after["answered"] + after["abandoned"] > before["answered"] + before["abandoned"] + 20


def test_more_hands_call_fewer_back(recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without wrap-up there is more time for everybody; fewer callers are still there to be told."""
    row = _rows(recorded, {"support": {"wrap_up_s": 0, "shift": "any"}}, tmp_path, capsys)
    after, before = row["callbacks_after"], row["callbacks_before"]
    assert after["promised"] < before["promised"]
    assert after["attempts"] < before["attempts"]


def test_callers_who_were_never_told_of_callbacks_leave_numbers_like_the_others(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Told after 2 s instead of 8, more callers are still there."""
    steps = [{"after_s": 2, "action": {"type": "offer_callback"}}]
    row = _rows(recorded, {"support": {"steps": steps}}, tmp_path, capsys)
    assert row["callbacks_after"]["promised"] > row["callbacks_before"]["promised"] + 5
    assert row["callbacks_after"]["attempts"] > row["callbacks_before"]["attempts"]


def test_the_table_has_callbacks(recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rules.yml"
    file.write_text("support: {wrap_up_s: 1}\n")
    assert main([str(recorded), "--queues", str(file)]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("callbacks promised", "called back", "called back after"))
