"""What a restarted controller finds on its disk, and how it is settled with what the media server has."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from pbx.adapters.hidden.files import HiddenFiles
from pbx.adapters.journal.sqlite import SqliteJournal
from pbx.bootstrap import fresh_vault
from pbx.controller.expected import Expected
from pbx.controller.reconciler import adopt_agents, adopt_wait
from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.acd import Acd, ToCall
from pbx.domain.agent_state import State
from pbx.domain.e164 import WITHHELD, e164
from pbx.domain.errors import BadValue
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, BridgeId, CallId, LegId, OfferId, PhoneId, QueueId, RecordingId, derive
from pbx.domain.queue import Queue
from pbx.domain.queue_rules import Asked, OfferCallback, OverflowToQueue, RaisePriority, WaitStep
from pbx.wire import messages as wire

CALL, OTHER = CallId(derive(1000.0, "call")), CallId(derive(1000.0, "other"))
DID = e164("+49305550100")


def offered(at: float = 1.0) -> ev.LegOffered:
    return ev.LegOffered(at=at, leg_id=LegId("in"), did=DID, cli=WITHHELD, caller_country=None, trunk="carrier")


def ended(at: float = 9.0) -> ev.CallEnded:
    return ev.CallEnded(at=at, reason=ev.EndReason.ASKED, cause=HangupCause.NORMAL_CLEARING, ended_at=at)


def queue(**more: object) -> wire.ConfigEntry:
    return wire.ConfigEntry(revision=1, entity=wire.QueueConfig(queue_id="q", name="q", skills={}, **more))  # type: ignore[arg-type]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    opened = SqliteJournal(tmp_path / "journal.sqlite")
    yield opened
    opened.close()


async def test_live_calls_are_those_that_began_and_did_not_end(journal: SqliteJournal) -> None:
    await journal.append(CALL, (offered(),))
    await journal.append(OTHER, (offered(2.0),))
    await journal.append(CALL, (ev.LegAnswered(at=3.0, leg_id=LegId("in")),))
    await journal.append(None, (ev.TimerFired(at=3.5, timer="hours:"),))
    await journal.append(OTHER, (ended(),))
    [live] = journal.live_calls()
    assert (live.call_id, live.seq) == (CALL, 1)
    assert live.events == [offered(), ev.LegAnswered(at=3.0, leg_id=LegId("in"))]


async def test_calls_of_an_older_version_are_found(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.sqlite")
    await journal.append(CALL, (offered(),))
    await journal.append(OTHER, (offered(2.0),))
    await journal.append(OTHER, (ended(),))
    journal.close()
    db = sqlite3.connect(tmp_path / "journal.sqlite")
    db.executescript("DROP TABLE live_calls; DROP TABLE config_past")
    db.close()
    journal = SqliteJournal(tmp_path / "journal.sqlite")
    assert [(live.call_id, live.seq) for live in journal.live_calls()] == [(CALL, 1)]
    journal.close()


async def test_configuration_of_the_time_when_a_call_began(journal: SqliteJournal) -> None:
    journal.put_config("queue.q", queue())
    await journal.append(CALL, (offered(),))
    assert journal.changed_after(1) is None
    journal.put_config("queue.q", queue())  # the same again, as after a reconnect
    assert journal.changed_after(1) is None
    journal.put_config("queue.q", queue(max_waiting=5))
    await journal.append(OTHER, (offered(2.0),))
    journal.delete_config("queue.q")
    journal.put_config(
        "flow.new", wire.ConfigEntry(revision=1, entity=wire.FlowConfig(flow_id="f", version=1, graph={}))
    )
    first, second = journal.changed_after(1), journal.changed_after(2)
    assert first is not None
    assert second is not None
    assert journal.config_before(first) == {"queue.q": queue()}
    assert journal.config_before(second) == {"queue.q": queue(max_waiting=5)}


async def test_former_configuration_goes_with_the_calls(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.sqlite")
    journal.put_config("queue.q", queue())
    await journal.append(CALL, (offered(),))
    journal.put_config("queue.q", queue(max_waiting=5))
    await journal.append(CALL, (ended(),))
    journal.close()
    journal = SqliteJournal(tmp_path / "journal.sqlite")
    assert journal._db.execute("SELECT count(*) FROM config_past").fetchone() == (0,)
    journal.close()


async def test_which_recordings_are_known(journal: SqliteJournal) -> None:
    recording = RecordingId(derive(1.0, "recording"))
    await journal.append(CALL, (ev.RecordingStarted(at=1.0, recording_id=recording, leg_id=LegId("in")),))
    assert journal.call_of_recording(recording) == CALL
    assert journal.call_of_recording(RecordingId(derive(1.0, "another"))) is None


def test_hidden_values(tmp_path: Path) -> None:
    hidden = HiddenFiles(tmp_path / "hidden")
    hidden.keep(CALL, 0, "4")
    hidden.keep(CALL, 1, {"name": "Ada", "vip": True})
    hidden.keep(OTHER, 0, "9")
    hidden.keep(CALL, 1, "7")
    with (tmp_path / "hidden" / CALL).open("ab") as file:
        file.write(b'[2,"8')  # cut by a crash
    assert hidden.of(CALL) == {0: "4", 1: "7"}
    assert (tmp_path / "hidden").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "hidden" / CALL).stat().st_mode & 0o777 == 0o600
    hidden.keep_only(frozenset({CALL}))
    assert hidden.of(OTHER) == {}
    hidden.forget(CALL)
    hidden.forget(CALL)
    assert list((tmp_path / "hidden").iterdir()) == []
    with pytest.raises(BadValue):
        hidden.keep(CallId("../x"), 0, "1")


def test_what_the_vault_has(tmp_path: Path) -> None:
    vault, raw = fresh_vault(tmp_path, {"eu"}), tmp_path / "one.raw"
    recording = RecordingId(derive(1.0, "recording"))
    assert vault.find(recording) is None
    raw.write_bytes(b"\x01\x02\x03\x04" * 8000)
    assert vault.find(recording) is None
    stored = vault.store(recording, "eu", raw)
    assert vault.find(recording) == stored


# --- what a call has asked for ---------------------------------------------------------------------------------------


def test_expected_follows_conversations() -> None:
    expected, caller, anna, boss = Expected(), LegId("in"), LegId("anna"), LegId("boss")
    one, two = BridgeId("one"), BridgeId("two")
    expected.asks(cmd.BridgeLegs(one, (caller, anna)), 1.0)
    assert set(expected.joining) == {one}
    expected.heard(ev.LegsBridged(at=1.0, bridge_id=one, leg_ids=(caller, anna)))
    expected.asks(cmd.HoldLeg(caller, "default"), 2.0)
    expected.asks(cmd.BridgeLegs(two, (anna, boss)), 3.0)
    assert (expected.bridges, set(expected.joining), expected.held) == ({two: (anna, boss)}, {two}, {caller: "default"})
    expected.heard(ev.CommandFailed(at=4.0, command="BridgeLegs", subject=two, error="x", unknown=False))
    assert (expected.bridges, expected.joining) == ({}, {})
    expected.asks(cmd.BridgeLegs(one, (caller, anna)), 5.0)
    assert expected.held == {}
    expected.heard(ev.LegEnded(at=6.0, leg_id=anna, cause=HangupCause.NORMAL_CLEARING))
    assert (expected.bridges, expected.joining) == ({}, {})


def test_expected_timers_and_requests() -> None:
    expected = Expected()
    expected.asks(cmd.SetTimer("input:1", 5.0), 10.0)
    expected.asks(cmd.SetTimer("max:2", 5.0), 10.0)
    expected.asks(cmd.CancelTimer("max:2"), 11.0)
    assert expected.timers == {"input:1": 15.0}
    expected.heard(ev.TimerFired(at=15.0, timer="input:1"))
    assert expected.timers == {}
    engage = cmd.EngageAgent("r", AgentId("anna"))
    expected.asks(engage, 16.0)
    assert list(expected.asked.values()) == [engage]
    expected.asks(cmd.FreeAgent(AgentId("anna")), 17.0)
    assert expected.asked == {}


def changed(state: State, at: float = 100.0, until: float | None = None) -> ev.AgentChanged:
    anna = AgentId("anna")
    return ev.AgentChanged(at=at, agent_id=anna, status="AVAILABLE", reason=None, state=state.value, until=until)


@pytest.mark.parametrize("was", list(State))
def test_an_agent_without_a_call_is_idle_or_in_wrap_up(was: State) -> None:
    [adopted] = adopt_agents([changed(was, until=150.0 if was is State.WRAP_UP else None)], {}, 120.0)
    kept = was is State.WRAP_UP
    assert (adopted.state, adopted.was, adopted.until) == (
        (State.WRAP_UP if kept else State.IDLE).value, was.value, 150.0 if kept else None
    )  # fmt: skip
    assert adopted.since == (100.0 if kept or was is State.IDLE else 120.0)


def waiting(steps: tuple[WaitStep, ...], **more: object) -> tuple[Acd, ev.WaitAdopted]:
    acd = Acd()
    acd.put_queue(Queue(queue_id=QueueId("other"), requirement=frozenset()), 0.0)
    acd.put_queue(Queue(queue_id=QueueId("q"), requirement=frozenset({("s", 1)}), steps=steps), 0.0)
    acd.put_agent(AgentId("anna"), PhoneId("anna"), {"s": 3}, "DE", 0.0)
    adopted = ev.WaitAdopted(at=100.0, call_id=CALL, queue_id=QueueId("q"), asked=Asked(QueueId("q"), 40.0), since=50.0)
    for name, value in more.items():
        object.__setattr__(adopted, name, value)
    return acd, adopted


def told(decisions: list[object]) -> list[str]:
    return [type(one.event).__name__ for one in decisions if isinstance(one, ToCall)]


def test_steps_that_were_taken_are_not_taken_again() -> None:
    steps = (WaitStep(10.0, RaisePriority(3)), WaitStep(20.0, OfferCallback()), WaitStep(90.0, RaisePriority(2)))
    acd, adopted = waiting(steps, callback_told=True)
    decisions = acd.adopt_wait(adopted, None, 100.0)
    assert told(list(decisions)) == []
    assert acd._waiting[CALL].effective_priority == 3
    assert [(one.timer, one.delay_s) for one in decisions if isinstance(one, cmd.SetTimer)] == [(f"step:{CALL}", 40.0)]
    acd.check()


def test_steps_that_became_due_meanwhile_are_taken() -> None:
    acd, adopted = waiting((WaitStep(10.0, RaisePriority(3)), WaitStep(20.0, OfferCallback())))
    assert told(list(acd.adopt_wait(adopted, None, 100.0))) == ["CallbackOffered"]
    acd, adopted = waiting((WaitStep(20.0, OverflowToQueue(QueueId("other"))),))
    acd.adopt_agent(adopt_agents([changed(State.IDLE)], {}, 100.0)[0], 100.0)
    assert told(list(acd.adopt_wait(adopted, None, 100.0))) == ["QueueOverflowed"]
    assert acd.waits_in(CALL) == "other"


def test_a_queue_that_is_no_more_refuses() -> None:
    acd, adopted = waiting((), queue_id=QueueId("gone"))
    assert told(list(acd.adopt_wait(adopted, None, 100.0))) == ["QueueRefused"]


def test_who_is_rung_is_rung_and_the_call_is_under_offer() -> None:
    expected = Expected()
    asked = Asked(QueueId("q"), 40.0)
    expected.heard(ev.QueueJoined(at=50.0, queue_id=QueueId("q"), position=1, asked=asked))
    made = ev.OfferMade(
        at=60.0, offer_id=OfferId("o"), queue_id=QueueId("q"), agent_id=AgentId("anna"), phone_id=PhoneId("anna"),
        agent_country="DE", epoch=7, ring_timeout_s=20.0,
    )  # fmt: skip
    expected.heard(made)
    acd, _ = waiting(())
    [agent] = adopt_agents([changed(State.RINGING)], {CALL: expected}, 70.0)
    wait = adopt_wait(CALL, expected, 70.0)
    assert wait is not None
    assert acd.adopt_agent(agent, 70.0) == []
    assert acd.adopt_wait(wait, None, 70.0) == []
    acd.check()
    anna = acd.agents[AgentId("anna")]
    assert (anna.state, anna.offer_id, anna.epoch, anna.call_id) == (State.RINGING, "o", 7, CALL)
    acd.handle(CALL, cmd.EndOffer(OfferId("o"), AgentId("anna"), ev.OfferOutcome.NO_ANSWER), 80.0)
    assert acd.waits_in(CALL) == "q"
    acd.check()
