"""Records of calls that the dialplan served with no controller, from the lines that it notes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dialplans.render import ALONE_LOG
from pbx.controller.served_alone import fields_of, read
from pbx.domain.cdr import Cdr
from pbx.domain.e164 import cli_of
from pbx.domain.errors import JournalError
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import CallId, LegId
from pbx.ports.media_engine import EngineSnapshot, LegSnapshot
from tests.support.world import CALLER, DID, World

OVERFLOW, NUMBER, PREMIUM = "+49305550199", "+49305550777", "+499001234567"
CAME = "began leg=1.1 at=1800001000 did=%s cli=%s trunk=carrier over=%s handed=%s\n"
DIALLED = "began leg=2.1 at=1800002000 number=%s shown=%s trunk=carrier phone=anna handed=\n"
ENDED = "ended leg=%s at=%d cause=%d dial=%s talk=%s\n"


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return World(tmp_path)


def came(cli: str = CALLER, over: str = OVERFLOW, handed: str = "") -> str:
    return CAME % (DID, cli, over, handed)


def noted(world: World, *lines: str) -> None:
    with (world.recordings / ALONE_LOG).open("a") as file:
        file.writelines(lines)


async def records(world: World) -> list[Cdr]:
    await world.pop.served_alone.take()
    ended = world.journal._db.execute("SELECT call_id FROM events WHERE kind = 'CallEnded' ORDER BY seq").fetchall()
    return [world.cdr(CallId(call_id)) for (call_id,) in ended]


async def test_a_caller_who_reached_the_overflow_number_has_a_record(world: World) -> None:
    async with world:
        noted(world, came(), ENDED % ("1.1", 1800001060, 16, "ANSWER", "40"))
        [cdr] = await records(world)
        assert list(world.recordings.glob(f"{ALONE_LOG}*")) == []
        assert await records(world) == [cdr]
    assert (cdr.direction, cdr.did, cdr.cli, cdr.trunk, cdr.caller_country) == ("inbound", DID, CALLER, "carrier", "DE")
    assert (cdr.offered_at, cdr.answered_at, cdr.ended_at, cdr.cause) == (1800001000, 1800001000, 1800001060, 16)
    assert (cdr.end_reason, cdr.recordings, cdr.consents, cdr.queue_id) == ("no_controller", [], [], None)
    [forward] = cdr.forwards
    assert (forward.number, forward.answered_at, forward.ended_at, forward.outcome) == (
        OVERFLOW,
        1800001020,
        1800001060,
        "answered",
    )


async def test_a_call_whose_lines_were_written_twice_has_one_record(world: World) -> None:
    """FreeSWITCH's notes become lines, and are deleted then: who dies between writes them again."""
    lines = (came(), ENDED % ("1.1", 1800001060, 16, "ANSWER", "40"))
    async with world:
        noted(world, *lines, *lines)
        [cdr] = await records(world)
        noted(world, *lines)
        assert await records(world) == [cdr]


@pytest.mark.parametrize(("cause", "outcome"), [(17, "busy"), (19, "no_answer"), (16, "caller_gone"), (38, "failed")])
async def test_what_came_of_the_overflow(world: World, cause: int, outcome: str) -> None:
    async with world:
        noted(world, came(cli="withheld"), ENDED % ("1.1", 1800001030, cause, "BUSY", ""))
        [cdr] = await records(world)
    assert (cdr.cli, cdr.forwards[0].outcome, cdr.forwards[0].answered_at) == ("withheld", outcome, None)


async def test_who_only_heard_the_announcement_was_not_answered(world: World) -> None:
    async with world:
        noted(world, came(over=""), ENDED % ("1.1", 1800001030, 42, "", ""))
        [cdr] = await records(world)
    assert (cdr.answered_at, cdr.forwards, cdr.cause) == (None, [], int(HangupCause.SWITCH_CONGESTION))


async def test_calls_that_agents_dialled_are_theirs(world: World) -> None:
    async with world:
        world.agent("anna")
        noted(world, DIALLED % (NUMBER, DID), ENDED % ("2.1", 1800002050, 16, "ANSWER", "30"))
        noted(world, (DIALLED % (PREMIUM, "")).replace("2.1", "2.2"), ENDED % ("2.2", 1800002050, 21, "", ""))
        noted(world, (DIALLED % (NUMBER, DID)).replace("2.1", "2.3").replace("anna", "nobodys"))
        noted(world, ENDED % ("2.3", 1800002050, 16, "ANSWER", "30"))
        talked, barred = await records(world)
    assert (talked.direction, talked.placed_by, talked.cli, talked.did) == ("outbound", "anna", NUMBER, DID)
    assert (talked.answered_at, talked.ended_at, talked.end_reason) == (1800002020, 1800002050, "no_controller")
    assert (barred.cli, barred.answered_at, barred.forwards[0].outcome, barred.cause) == (PREMIUM, None, "refused", 21)


async def test_a_call_that_goes_on_is_written_when_it_is_over(world: World) -> None:
    async with world:
        noted(world, came())
        assert await records(world) == []
        noted(world, ENDED % ("1.1", 1800001060, 16, "ANSWER", "40"))
        assert len(await records(world)) == 1


async def test_the_file_that_the_media_server_writes_is_never_made_here(world: World) -> None:
    """It runs as another user: what the controller makes, with its umask, the server cannot write to, and calls that
    come alone while one goes on would leave no line."""
    async with world:
        noted(world, came())
        for _ in range(2):
            assert await records(world) == []
            assert not (world.recordings / ALONE_LOG).exists()
        noted(world, came().replace("1.1", "1.2"), ENDED % ("1.2", 1800001050, 16, "ANSWER", "40"))
        assert [cdr.ended_at for cdr in await records(world)] == [1800001050]
        noted(world, ENDED % ("1.1", 1800001060, 16, "ANSWER", "40"))
        assert [cdr.ended_at for cdr in await records(world)] == [1800001050, 1800001060]
        assert list(world.recordings.glob(f"{ALONE_LOG}*")) == []


async def test_killed_after_the_record_of_a_call_whose_end_was_not_noted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world:
        noted(world, came())
        assert await records(world) == []
        monkeypatch.setattr(world.pop.served_alone, "_clock", lambda: 1800001050.0)
        world.pop.served_alone.seen(EngineSnapshot((), (), frozenset()))

        def dies(*_: object, **__: object) -> None:
            raise OSError("killed")

        with monkeypatch.context() as killed:
            killed.setattr(Path, "unlink", dies)
            with pytest.raises(OSError, match="killed"):
                await world.pop.served_alone.take()
        assert len(await records(world)) == 1
        assert list(world.recordings.glob(f"{ALONE_LOG}*")) == []


async def test_a_media_server_that_was_killed_ended_its_calls(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world:
        noted(world, came(), came().replace("1.1", "1.2"))
        live = LegSnapshot(LegId("1.2"), answered=True, bridge_id=None, in_control=False)
        monkeypatch.setattr(world.pop.served_alone, "_clock", lambda: 1800001050.0)
        world.pop.served_alone.seen(EngineSnapshot((live,), (), frozenset()))
        [cdr] = await records(world)
        assert (cdr.cause, cdr.end_reason) == (int(HangupCause.NORMAL_UNSPECIFIED), "no_controller")
        noted(world, ENDED % ("1.2", 1800001060, 16, "ANSWER", "40"))
        assert [one.cause for one in await records(world)] == [cdr.cause, 16]


async def test_a_caller_whom_a_controller_took_before_it_died_has_one_record(world: World) -> None:
    async with world:
        caller = world.engine.call(DID, cli_of(CALLER), "DE")
        await world.until(lambda: world.journal.knows_leg(caller.leg_id), "the call")
        lines = (
            came(handed="yes").replace("1.1", caller.leg_id),
            ENDED % (caller.leg_id, 1800001060, 16, "ANSWER", "40"),
        )
        noted(world, *lines, came(handed="yes"), ENDED % ("1.1", 1800001060, 16, "ANSWER", "40"))
        assert [cdr.offered_at for cdr in await records(world)] == [1800001000]
        caller.hang_up()
        await world.until(lambda: not world.pop.calls, "the end")


async def test_killed_at_any_moment_there_is_one_record_each(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world:
        lines = came(), ENDED % ("1.1", 1800001060, 16, "ANSWER", "40"), came().replace("1.1", "1.2")
        noted(world, *lines)

        def dies(*_: object, **__: object) -> None:
            raise OSError("killed")

        with monkeypatch.context() as killed:
            killed.setattr(Path, "unlink", dies)
            with pytest.raises(OSError, match="killed"):
                await world.pop.served_alone.take()
        noted(world, ENDED % ("1.2", 1800001070, 16, "ANSWER", "40"))  # meanwhile
        assert len(await records(world)) == 1
        assert [cdr.ended_at for cdr in await records(world)] == [1800001060, 1800001070]
        assert len(await records(world)) == 2
        assert list(world.recordings.glob(f"{ALONE_LOG}*")) == []


async def test_a_disk_that_refuses_loses_none_and_doubles_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world:
        noted(world, came(), ENDED % ("1.1", 1800001060, 16, "ANSWER", "40"))
        with monkeypatch.context() as full:
            full.setattr(world.journal, "writable", lambda: False)
            assert await records(world) == []
        append = world.journal.append

        async def full_by_now(*written: Any) -> None:
            await append(*written)  # as the journal does when there is room again
            raise JournalError("full")

        with monkeypatch.context() as full:
            full.setattr(world.journal, "append", full_by_now)
            with pytest.raises(JournalError):
                await world.pop.served_alone.take()
        assert len(await records(world)) == 1
        assert list(world.recordings.glob(f"{ALONE_LOG}*")) == []


def test_lines_that_cannot_be_read_harm_no_other(caplog: pytest.LogCaptureFixture) -> None:
    ended = ENDED % ("1.1", 1800001060, 16, "ANSWER", "40")
    lines = [
        "\n",
        "began leg=",
        came()[:30],
        "ended leg=9.9 at=x cause= dial= talk=\n",
        came(),
        ended,
        "more\n",
        ended[:20],
    ]
    calls, going_on = read(lines, lambda *_: False, 5000.0)
    assert [(call.leg_id, call.talk_s) for call in calls] == [("1.1", 40.0)]
    assert going_on == []
    assert "6 lines" in caplog.text
    assert fields_of(came()[:-1]) is None, "cut off"
