"""Each fact leaves the adapter once, whatever the server says and how often."""

from __future__ import annotations

import logging

import pytest

from pbx.adapters.asterisk import models as m
from pbx.adapters.asterisk.tracker import ORIGINATED, SNOOP, Adopted, Bridge, Tracker, time_of
from pbx.domain.e164 import WITHHELD
from pbx.domain.events import Event, LegAnswered, LegEnded, LegOffered, LegRinging, LegsBridged, PlayEnded
from pbx.domain.hangup_cause import HangupCause


class World:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.heard = 0
        self.taken: list[str] = []
        self.refused: list[str] = []
        self.forgotten: list[str] = []
        self.snoops: list[tuple[str, bool]] = []
        self.tracker = Tracker(
            self.events.append,
            self.taken.append,
            self.refused.append,
            self.forgotten.append,
            lambda _: "DE",
            snoop=lambda channel_id, there: self.snoops.append((channel_id, there)),
        )

    def say(self, *events: m.Message) -> list[Event]:
        for event in events:
            self.tracker.handle(event)
        return self.said()

    def bridged(self, bridge: str) -> list[Event]:
        self.tracker.bridged(bridge, 1.0)
        return self.said()

    def said(self) -> list[Event]:
        """What is new."""
        said = self.events[self.heard :]
        self.heard = len(self.events)
        return said


@pytest.fixture
def world() -> World:
    return World()


def at(ms: int) -> str:
    return f"2026-01-31T10:20:{30 + ms // 1000:02d}.{ms % 1000:03d}+0000"


def channel(leg: str, state: str = "Up") -> m.ChannelRef:
    return m.ChannelRef(leg, state)


def start(leg: str = "L", *args: str, state: str = "Ring") -> m.StasisStart:
    return m.StasisStart(at(0), list(args or ("+49305550100", "withheld", "t")), channel(leg, state))


def adopted(leg: str, answered: bool = True, bridge: str | None = None) -> Adopted:
    return Adopted(leg, inbound=True, answered=answered, bridge=bridge, held=False)


def finished(play: str, ms: int, state: str = "done") -> m.PlaybackFinished:
    return m.PlaybackFinished(at(ms), m.Playback(play, state, "channel:L"))


def started(play: str, ms: int) -> m.PlaybackStarted:
    return m.PlaybackStarted(at(ms), m.Playback(play, "playing", "channel:L"))


def test_leg_of_which_the_news_was_lost_is_offered_once(world: World) -> None:
    args = ["+49305550100", "withheld", "t"]
    for leg, answered in (("L", False), ("A", True)):
        world.tracker.adopt([adopted(leg, answered=answered)], 1.0)
        world.tracker.offer_again(leg, args, 2.0)
    [offered] = world.said()
    assert isinstance(offered, LegOffered)
    assert (offered.leg_id, offered.did, world.taken) == ("L", "+49305550100", ["L"])
    world.tracker.offer_again("L", args, 3.0)
    world.tracker.offer_again("gone", args, 3.0)
    assert world.say(start()) == []


@pytest.mark.parametrize("over", [False, True])
def test_restarted_server_may_give_an_id_again(world: World, over: bool) -> None:
    """Channel ids are seconds and a count from zero: a server that is back within a second repeats itself."""
    world.say(start())
    if over:
        world.say(m.ChannelDestroyed(at(50), 16, channel("L")))
    world.said()
    world.tracker.server_restarted(1.0)
    ended = world.said()
    assert [(type(e), e.leg_id) for e in ended if isinstance(e, LegEnded)] == ([] if over else [(LegEnded, "L")])
    (offered,) = world.say(start())
    assert isinstance(offered, LegOffered)


def test_offered_once_although_handed_over_twice(world: World) -> None:
    (offered,) = world.say(start(), start())
    assert isinstance(offered, LegOffered)
    assert offered.cli is WITHHELD
    assert offered.caller_country is None
    assert world.taken == ["L"]


@pytest.mark.parametrize("args", [("12345", "unknown", "t"), ("+49305550100",), ("",)])
def test_nonsense_from_the_dialplan_is_refused_without_its_text(
    world: World, caplog: pytest.LogCaptureFixture, args: tuple[str, ...]
) -> None:
    assert world.say(start("L", *args)) == []
    assert world.refused == ["L"]
    assert "12345" not in caplog.text


@pytest.mark.parametrize(
    ("events", "cause"),
    [
        ((m.ChannelHangupRequest(at(1), channel("L")), m.StasisEnd(at(2), channel("L"))), HangupCause.NORMAL_CLEARING),
        (
            (m.ChannelHangupRequest(at(1), channel("L"), cause=19), m.StasisEnd(at(2), channel("L"))),
            HangupCause.NO_ANSWER,
        ),
        (
            (m.ChannelHangupRequest(at(1), channel("L"), cause=32, soft=True), m.StasisEnd(at(2), channel("L"))),
            HangupCause.NORMAL_CLEARING,
        ),
        ((m.StasisEnd(at(2), channel("L")),), HangupCause.NORMAL_UNSPECIFIED),
        ((m.ChannelDestroyed(at(2), 17, channel("L")),), HangupCause.USER_BUSY),
        (
            (m.StasisEnd(at(2), channel("L")), m.ChannelDestroyed(at(3), 17, channel("L"))),
            HangupCause.NORMAL_UNSPECIFIED,
        ),
    ],
)
def test_ends_once_with_its_cause(world: World, events: tuple[m.Message, ...], cause: HangupCause) -> None:
    world.say(start())
    (ended,) = world.say(*events, *events)
    assert isinstance(ended, LegEnded)
    assert ended.cause is cause
    assert world.say(start()) == []


def test_originated_leg(world: World) -> None:
    world.tracker.originating("O")
    ringing = m.ChannelStateChange(at(1), channel("O", "Ringing"))
    up = m.ChannelStateChange(at(2), channel("O", "Up"))
    said = world.say(ringing, ringing, up, start("O", ORIGINATED, state="Up"), start("O", ORIGINATED, state="Up"))
    assert [type(event) for event in said] == [LegRinging, LegAnswered]


def test_play_of_two_prompts(world: World) -> None:
    world.say(start())
    world.tracker.playing("P", "L", 2)
    (ended,) = world.say(started("P", 0), started("P", 500), finished("P", 900), finished("P", 900))
    assert isinstance(ended, PlayEnded)
    assert (ended.at, ended.played_ms, ended.completed) == (time_of(at(900)), 900, True)


@pytest.mark.parametrize("why", ["stopped", "hung up", "failed", "too short", "not begun"])
def test_play_that_is_not_complete(world: World, why: str) -> None:
    world.say(start())
    world.tracker.playing("P", "L", 1)
    if why == "stopped":
        world.tracker.plays["P"].stopped = True
    if why == "hung up":
        world.say(m.ChannelHangupRequest(at(1), channel("L")))
    if why != "not begun":
        world.say(started("P", 100))
    end = finished("P", 101 if why == "too short" else 600, "failed" if why == "failed" else "done")
    (ended,) = world.say(end)
    assert isinstance(ended, PlayEnded)
    assert not ended.completed


def test_play_ends_before_its_leg(world: World) -> None:
    world.say(start())
    world.tracker.playing("P", "L", 1)
    said = world.say(started("P", 100), m.StasisEnd(at(400), channel("L")), finished("P", 500))
    assert [type(event) for event in said] == [PlayEnded, LegEnded]
    assert said[0].played_ms == 300  # type: ignore[attr-defined]


def test_bridge_is_forgotten_with_its_last_leg(world: World) -> None:
    world.say(start("A"), start("B"))
    world.tracker.bridges["X"] = Bridge(("A", "B"))
    assert [type(event) for event in world.bridged("X")] == [LegsBridged]
    world.say(m.StasisEnd(at(3), channel("A")))
    assert world.forgotten == []
    world.say(m.StasisEnd(at(3), channel("B")))
    assert world.forgotten == ["X"]


def test_snapshot_names_what_is_missing(world: World) -> None:
    world.say(start("A"), start("B"))
    assert world.tracker.adopt([adopted("B"), adopted("C")], 9.0) == {"A"}
    (ended,) = world.say(m.StasisEnd(at(3), channel("C")))
    assert isinstance(ended, LegEnded)


def test_adopted_leg_whose_offer_was_still_queued_is_offered(world: World) -> None:
    world.tracker.adopt([adopted("A", answered=False)], 9.0)
    (offered,) = world.say(start("A"))
    assert isinstance(offered, LegOffered)


def test_bridge_is_said_once(world: World) -> None:
    world.say(start("A"), start("B"))
    world.tracker.bridges["X"] = Bridge(("A", "B"))
    assert len(world.bridged("X")) == 1
    assert world.bridged("X") == []
    assert world.tracker.legs["A"].bridge == "X"


def test_bridge_whose_leg_has_ended_meanwhile_is_not_said(world: World) -> None:
    world.say(start("A"), start("B"))
    world.tracker.bridges["X"] = Bridge(("A", "B"))
    world.say(m.StasisEnd(at(3), channel("A")))
    assert world.bridged("X") == []


def test_bridge_whose_answer_was_lost_is_said_after_the_snapshot(world: World) -> None:
    world.say(start("A"), start("B"))
    world.tracker.bridges["X"] = Bridge(("A", "B"))
    world.tracker.adopt([adopted("A", bridge="X"), adopted("B")], 9.0)
    assert world.said() == []
    world.tracker.adopt([adopted("A", bridge="X"), adopted("B", bridge="X")], 9.0)
    assert [type(event) for event in world.said()] == [LegsBridged]


def test_snooping_channel_is_no_leg(world: World) -> None:
    snoop = "snoop~1~A~B"
    assert world.say(start(snoop, SNOOP), m.ChannelHangupRequest(at(1), channel(snoop))) == []
    assert world.say(m.StasisEnd(at(2), channel(snoop)), m.ChannelDestroyed(at(3), 16, channel(snoop))) == []
    assert world.snoops == [(snoop, True), (snoop, False)]


def test_end_of_a_leg_of_an_earlier_controller_is_told_once(world: World) -> None:
    (ended,) = world.say(
        m.ChannelHangupRequest(at(1), channel("A"), 17),
        m.StasisEnd(at(2), channel("A")),
        m.StasisEnd(at(2), channel("A")),
    )
    assert isinstance(ended, LegEnded)
    assert (ended.at, ended.cause) == (time_of(at(2)), HangupCause.USER_BUSY)


@pytest.mark.parametrize(
    ("status", "cause"),
    [(503, HangupCause.TEMPORARY_FAILURE), (None, HangupCause.CONGESTION), (0, HangupCause.CONGESTION)],
)
def test_sip_status_says_more_than_the_servers_cause(world: World, status: int | None, cause: HangupCause) -> None:
    world.tracker.originating("O")
    (ended,) = world.say(
        m.ChannelHangupRequest(at(1), channel("O", "Down"), 34, status),
        m.ChannelDestroyed(at(1), 34, channel("O", "Down")),
    )
    assert isinstance(ended, LegEnded)
    assert ended.cause is cause


def test_status_of_a_timeout_is_the_servers_own(world: World) -> None:
    world.tracker.originating("O")
    (ended,) = world.say(m.ChannelDestroyed(at(1), 19, channel("O", "Ringing")))
    assert isinstance(ended, LegEnded)
    assert ended.cause is HangupCause.NO_ANSWER


@pytest.mark.parametrize("timestamp", ["", "yesterday", "2026-01-31T10:20:30.123Z"])
def test_event_with_a_broken_time_is_logged_and_survived(
    world: World, caplog: pytest.LogCaptureFixture, timestamp: str
) -> None:
    with caplog.at_level(logging.WARNING):
        assert world.say(m.StasisStart(timestamp, ["+49305550100", "unknown", "t"], channel("L"))) == []
    assert "dropped an event" in caplog.text
    assert len(world.say(start("M"))) == 1


def test_time_zones() -> None:
    assert time_of("2026-01-31T10:20:30.250+0000") == 1769854830.25
    assert time_of("2026-01-31T12:20:30.250+0200") == 1769854830.25
    assert time_of("2026-01-31T05:50:30.250-0430") == 1769854830.25
