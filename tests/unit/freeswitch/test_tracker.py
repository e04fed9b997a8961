"""Events of the server to events of the core."""

from __future__ import annotations

from typing import Any

import pytest

from pbx.adapters.freeswitch.models import ServerEvent
from pbx.adapters.freeswitch.tracker import Bridge, Tracker
from pbx.domain.e164 import CliKind
from pbx.domain.events import (
    DigitPressed,
    Event,
    LegAnswered,
    LegEnded,
    LegOffered,
    LegRinging,
    LegsBridged,
    PlayEnded,
)
from pbx.domain.hangup_cause import HangupCause

AT = 1795253422.123456


class Core:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.taken: list[str] = []
        self.refused: list[str] = []
        self.tracker = Tracker(
            self.events.append, self.taken.append, self.refused.append, lambda _: None, lambda _: "DE"
        )

    def say(self, name: str, uuid: str = "L1", **fields: Any) -> None:
        self.tracker.handle(ServerEvent(name=name, uuid=uuid, at_us="1795253422123456", **fields))

    def offered(self) -> None:
        self.say("CHANNEL_PARK", did="+49305550100", cli="+491701234567", trunk="carrier")

    def stopped(self, play: str, status: str = "done", samples: int = 4000, **fields: Any) -> None:
        values = {"read_rate": "8000", "file_ms": "500", "answer_state": "answered"} | fields
        self.say("PLAYBACK_STOP", play=play, playback_status=status, played_samples=str(samples), **values)

    def kinds(self) -> list[type[Event]]:
        return [type(event) for event in self.events]


@pytest.fixture
def core() -> Core:
    return Core()


@pytest.fixture
def leg(core: Core) -> Core:
    core.offered()
    core.tracker.answered("L1", AT)
    core.events.clear()
    return core


def test_offered_once_answered_once(core: Core) -> None:
    core.offered()
    core.offered()
    core.tracker.answered("L1", AT)
    core.tracker.answered("L1", AT)
    assert core.kinds() == [LegOffered, LegAnswered]
    offered = core.events[0]
    assert isinstance(offered, LegOffered)
    assert (offered.did, offered.cli.kind, offered.trunk) == ("+49305550100", CliKind.NUMBER, "carrier")
    assert offered.at == AT
    assert core.taken == ["L1"]


def test_what_is_not_ours_or_no_number(core: Core) -> None:
    core.say("CHANNEL_PARK")
    core.say("CHANNEL_PARK", did="4930")
    core.say("DTMF", digit="1")
    core.say("HEARTBEAT")
    core.tracker.handle(ServerEvent(name="CHANNEL_PARK", uuid="L2", did="+49305550100", at_us="soon"))
    assert not core.events
    assert core.refused == ["L1"]


def test_outbound_leg_is_answered_when_it_is_parked(core: Core) -> None:
    core.tracker.originating("L1")
    core.say("CHANNEL_PROGRESS")
    core.say("CHANNEL_PROGRESS_MEDIA")
    assert core.kinds() == [LegRinging]
    core.say("CHANNEL_PARK")
    core.say("CHANNEL_PARK")
    assert core.kinds() == [LegRinging, LegAnswered]


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"cause": "USER_BUSY", "q850": "17", "sip_status": "486"}, HangupCause.USER_BUSY),
        ({"cause": "CALL_REJECTED", "q850": "21", "sip_status": "486"}, HangupCause.USER_BUSY),
        ({"cause": "NO_ANSWER", "q850": "19", "sip_status": "487"}, HangupCause.NO_ANSWER),
        ({"cause": "ALLOTTED_TIMEOUT", "q850": "602"}, HangupCause.NO_ANSWER),
        ({"cause": "USER_NOT_REGISTERED"}, HangupCause.SUBSCRIBER_ABSENT),
        ({"cause": "BRAND_NEW", "q850": "38"}, HangupCause.NETWORK_OUT_OF_ORDER),
        ({"cause": "BRAND_NEW", "q850": "\xb2"}, HangupCause.NORMAL_UNSPECIFIED),
        ({}, HangupCause.NORMAL_UNSPECIFIED),
    ],
)
def test_causes_of_a_leg_that_was_not_answered(core: Core, fields: dict[str, str], cause: HangupCause) -> None:
    core.tracker.originating("L1")
    core.say("CHANNEL_HANGUP_COMPLETE", **fields)
    core.say("CHANNEL_HANGUP_COMPLETE", **fields)
    (ended,) = core.events
    assert isinstance(ended, LegEnded)
    assert ended.cause is cause


def test_sip_status_of_an_answered_leg_is_no_cause(leg: Core) -> None:
    leg.say("CHANNEL_HANGUP_COMPLETE", cause="NORMAL_CLEARING", q850="16", sip_status="404")
    assert isinstance(leg.events[0], LegEnded)
    assert leg.events[0].cause is HangupCause.NORMAL_CLEARING


def test_late_events_of_an_ended_leg(leg: Core) -> None:
    leg.say("CHANNEL_HANGUP_COMPLETE", cause="NORMAL_CLEARING")
    leg.offered()
    leg.say("DTMF", digit="1")
    leg.tracker.answered("L1", AT)
    assert leg.kinds() == [LegEnded]


def test_digits(leg: Core) -> None:
    for digit in ("1", "*", "a", ""):
        leg.say("DTMF", digit=digit)
    assert [event.digit for event in leg.events if isinstance(event, DigitPressed)] == ["1", "*", "A"]


def played(core: Core) -> list[tuple[str, int, bool]]:
    return [(e.play_id, e.played_ms, e.completed) for e in core.events if isinstance(e, PlayEnded)]


def test_complete_when_every_prompt_was_played_to_its_end(leg: Core) -> None:
    leg.tracker.playing("P", "L1", 2)
    leg.stopped("P")
    assert not leg.events
    leg.stopped("P")
    leg.stopped("P")
    assert played(leg) == [("P", 1000, True)]


@pytest.mark.parametrize(
    ("fields", "ms"),
    [
        ({"status": "break", "samples": 1600}, 200),
        ({"answer_state": "hangup", "samples": 1600}, 200),
        ({"samples": 1600}, 200),
        ({"file_ms": ""}, 500),
        ({"samples": 0, "file_ms": "0"}, 0),
    ],
)
def test_not_complete(leg: Core, fields: dict[str, Any], ms: int) -> None:
    leg.tracker.playing("P", "L1", 1)
    leg.stopped("P", **fields)
    assert played(leg) == [("P", ms, False)]


def test_wideband_leg(leg: Core) -> None:
    leg.tracker.playing("P", "L1", 1)
    leg.stopped("P", samples=8000, read_rate="16000")
    assert played(leg) == [("P", 500, True)]


def test_missing_prompt(leg: Core) -> None:
    leg.tracker.playing("P", "L1", 2)
    leg.say("CHANNEL_EXECUTE_COMPLETE", application_uuid="P.0", application_response="FILE NOT FOUND")
    leg.stopped("P")
    assert played(leg) == [("P", 500, False)]


def test_stopped_play_and_the_next(leg: Core) -> None:
    leg.tracker.playing("P1", "L1", 3)
    leg.tracker.stopping("P1")
    leg.tracker.playing("P2", "L1", 1)
    leg.stopped("P2")
    leg.stopped("P1", "break")
    assert played(leg) == [("P1", 0, False), ("P2", 500, True)]


def test_play_that_nobody_heard_of(leg: Core) -> None:
    leg.stopped("another")
    leg.tracker.end_play("never", 1.0)
    assert not leg.events


def test_plays_end_before_their_leg(leg: Core) -> None:
    leg.tracker.playing("P1", "L1", 1)
    leg.tracker.stopping("P1")
    leg.tracker.playing("P2", "L1", 1)
    leg.say("CHANNEL_HANGUP_COMPLETE", cause="NORMAL_CLEARING")
    assert leg.kinds() == [PlayEnded, PlayEnded, LegEnded]
    assert [play for play, _, _ in played(leg)] == ["P1", "P2"]
    assert not leg.tracker.plays


def test_bridge_is_announced_once_and_ends_with_a_leg(leg: Core) -> None:
    leg.tracker.originating("L2")
    leg.say("CHANNEL_PARK", "L2")
    leg.events.clear()
    leg.tracker.bridges["B"] = Bridge(("L1", "L2"))
    for name in ("L1", "L2"):
        leg.tracker.legs[name].bridge = "B"
    leg.say("CHANNEL_BRIDGE", bridge_a="L2", bridge_b="L1")
    leg.say("CHANNEL_BRIDGE", bridge_a="L2", bridge_b="L1")
    leg.say("CHANNEL_BRIDGE", bridge_a="L2", bridge_b="stranger")
    assert leg.kinds() == [LegsBridged]
    leg.tracker.watch("L2", "L1")
    leg.say("CHANNEL_HANGUP_COMPLETE", cause="NORMAL_CLEARING")
    assert not leg.tracker.bridges
    assert (leg.tracker.legs["L2"].bridge, leg.tracker.legs["L2"].watching) == (None, None)
