"""The checker of chaos finds each fault that it is for: a good run, then the same with one thing made wrong."""

from __future__ import annotations

import asyncio
import copy
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pbx.domain.consent import Regime, RegimeTable
from tests.chaos import evidence
from tests.chaos.checker import NOTED_S, Dialog, Evidence, check
from tests.chaos.states import States
from tests.support.virtual_time import VirtualTimeLoop
from tests.support.world import FLOW, World

POP, CARRIER, PHONES = "198.18.0.2", "198.18.0.3", "198.18.0.4"


async def lived(directory: Path) -> Evidence:
    """Callers wait, one is being rung, one talks and is recorded; the controller is killed under them; all end."""
    async with World(directory, FLOW, wrap_up_s=1, ring_timeout_s=300) as world:
        world.config.regimes = RegimeTable({"DE": Regime.OPT_IN}, Regime.OPT_IN)

        async def caller(number: int) -> Any:
            made = await world.call(f"+49170000000{number}")
            for prompt in ("choose-language", "menu"):
                await world.until(lambda told=f"de/{prompt}": made.hears == told, prompt)
                made.press("1")
            await world.until(lambda: "consent" in (made.hears or ""), "the notice")
            await world.until(lambda: made.hears is None, "the question")
            made.press("1")
            await world.until(lambda: "QueueJoined" in world.kinds(made), "the queue")
            return made

        callers = [await caller(number) for number in range(1, 5)]
        world.agent("anna")
        await world.until(lambda: callers[0].hears == "talk", "the first talk")
        await world.run(1)
        await world.restart()
        await world.run(5)
        for one in callers:
            await world.until(lambda one=one: one.hears == "talk" or one.cause is not None, "a talk")
            await world.run(2)
            if one.cause is None:
                one.hang_up()
            await world.ended(one)
            await world.run(3)
        path = directory / "journal.sqlite"
    events = evidence.journal(path)
    return Evidence(events, list(_wire(events)), _records(events), sorted(_recorded(events)), POP)


def _wire(events: list[dict[str, Any]]) -> Iterator[Dialog]:
    ends = {event["call"]: event["ended_at"] for event in events if event["kind"] == "CallEnded"}
    for event in events:
        if event["kind"] == "LegOffered":
            cli, at = event["cli"]["number"], event["at"]
            yield Dialog(event["call"], CARRIER, POP, cli, event["did"], at, at + 0.1, ends[event["call"]])
        elif event["kind"] == "OfferMade":
            at = event["at"]
            yield Dialog(event["offer_id"], POP, PHONES, "c", event["phone_id"], at, at + 0.1, ends[event["call"]])


def _records(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"call_id": event["call"], "ended_at": event["at"]} for event in events if event["kind"] == "CallEnded"]


def _recorded(events: list[dict[str, Any]]) -> set[str]:
    return {event["recording_id"] for event in events if event["kind"] == "RecordingStarted"}


@pytest.fixture(scope="module")
def lived_once(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(lived(tmp_path_factory.mktemp("chaos")))


@pytest.fixture
def good(lived_once: Evidence) -> Evidence:
    return copy.deepcopy(lived_once)


def test_a_good_run_is_good(good: Evidence) -> None:
    kinds = [event["kind"] for event in good.events]
    assert (kinds.count("TalkStarted"), kinds.count("WaitAdopted"), len(_recorded(good.events))) == (4, 3, 4)
    assert check(good) == []


def of(seen: Evidence, kind: str, number: int = 0) -> dict[str, Any]:
    return [event for event in seen.events if event["kind"] == kind][number]


def without(seen: Evidence, kind: str, number: int = 0) -> None:
    seen.events.remove(of(seen, kind, number))


def again(seen: Evidence, kind: str, **fields: Any) -> None:
    """The event is there a second time, right after the first."""
    event = of(seen, kind)
    seen.events.insert(seen.events.index(event) + 1, {**copy.deepcopy(event), **fields})


def lost_record(seen: Evidence) -> None:
    call = of(seen, "LegOffered")["call"]
    seen.events = [event for event in seen.events if event["call"] != call]
    seen.calls = [row for row in seen.calls if row["call_id"] != call]


def overtaken(seen: Evidence) -> None:
    """The last in the line is offered to the agent before the second."""
    second, last = of(seen, "OfferMade", 1), of(seen, "OfferMade", 3)
    place = seen.events.index(second)
    seen.events.remove(last)
    seen.events.insert(place, {**last, "at": second["at"]})


@pytest.mark.parametrize(
    ("agent", "preferred_s", "is_told"), [("bela", 3600.0, False), ("anna", 3600.0, True), ("bela", 0.1, True)]
)
def test_who_waits_for_one_agent_is_passed_over_by_others(
    good: Evidence, agent: str, preferred_s: float, is_told: bool
) -> None:
    """Who was parked waits for the agent who did it, for a while."""
    for number in (1, 2):
        of(good, "QueueJoined", number)["asked"] |= {"preferred": agent, "preferred_s": preferred_s}
    overtaken(good)
    assert any("waited longer" in line for line in check(good)) is is_told


def test_an_offer_counts_by_when_it_was_made_not_by_when_it_is_written(good: Evidence) -> None:
    first, then = of(good, "OfferMade", 1), of(good, "OfferMade", 2)
    place = good.events.index(first)
    good.events.remove(then)
    good.events.insert(place, then | {"at": first["at"] + 0.002, "seq": first["seq"] - 0.5, "agent_id": "bela"})
    assert not any("waited longer" in line for line in check(good))


def moved(seen: Evidence) -> None:
    of(seen, "WaitAdopted")["asked"]["entered_at"] += 5


def two_bridges(seen: Evidence) -> None:
    first, second = of(seen, "TalkStarted"), of(seen, "TalkStarted", 1)
    seen.events.remove(second)
    seen.events.insert(seen.events.index(first) + 1, second)


def rung_twice(seen: Evidence) -> None:
    phones = [dialog for dialog in seen.dialogs if dialog.source == POP]
    seen.dialogs.append(replace(phones[0], call_id="other", began_at=phones[0].began_at + 0.2))


def never_hung_up(seen: Evidence) -> None:
    seen.dialogs[0] = replace(seen.dialogs[0], ended_at=None)


def refused(seen: Evidence) -> None:
    of(seen, "ConsentGranted")["kind"] = "ConsentRefused"


def waits_for_ever(seen: Evidence) -> None:
    """Its caller's leg and its end are in the journal no more; neither is that anybody answered."""
    call = of(seen, "QueueJoined", 3)["call"]
    gone = {"OfferMade", "OfferEnded", "TalkStarted", "LegEnded", "CallEnded", "RecordingStarted"}
    seen.events = [event for event in seen.events if event["call"] != call or event["kind"] not in gone]


FAULTS: dict[str, tuple[Callable[[Evidence], Any], str]] = {
    "a caller without a record": (lost_record, "was answered 1 times and is in 0 records"),
    "a call that never ends": (lambda seen: without(seen, "CallEnded"), "ends 0 times in the journal"),
    "a call that ends twice": (lambda seen: again(seen, "CallEnded"), "ends 2 times in the journal"),
    "a call taken twice": (lambda seen: again(seen, "LegOffered"), "begins 2 times in the journal"),
    "a record lost at the centre": (lambda seen: seen.calls.pop(), "has no record at the centre"),
    "two records at the centre": (lambda seen: seen.calls.append(seen.calls[0]), "has 2 records at the centre"),
    "a record of nothing": (
        lambda seen: seen.calls.append({"call_id": "none", "ended_at": 1.0}),
        "is of no call of the journal",
    ),
    "a record that never ends": (lambda seen: seen.calls[0].update(ended_at=None), "never ends"),
    "an agent offered twice": (lambda seen: again(seen, "OfferMade", offer_id="x", call="y"), "agent anna is offered"),
    "a call offered twice": (lambda seen: again(seen, "OfferMade", offer_id="x", agent_id="b"), "is offered x while"),
    "two bridges for one agent": (two_bridges, "agent anna talks in call"),
    "a phone rung in a call": (rung_twice, "phone anna is rung at"),
    "a caller whom nobody hangs up": (never_hung_up, "is never hung up on the wire"),
    "recorded after a refusal": (refused, "is recorded without a grant"),
    "a recording of nobody": (lambda seen: seen.recordings.append("stray"), "recording stray is of no call"),
    "a place lost at a restart": (moved, "lost its place at a restart"),
    "a place lost to one who came later": (overtaken, "which waited longer"),
    "a call that waits for ever": (waits_for_ever, "waits for ever"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found(good: Evidence, fault: str) -> None:
    make, said = FAULTS[fault]
    make(good)
    assert any(said in line for line in check(good)), check(good)


def test_who_has_the_fallback_has_a_record_too_unless_it_could_not_be_noted(good: Evidence) -> None:
    at = max(dialog.began_at for dialog in good.dialogs) + 10
    good.dialogs.append(Dialog("f", CARRIER, POP, "+4917099", "+49305550100", at, at + 1, at + 2))
    good.away = [(at - 1, at + 1.5)]
    assert check(good) == ["a caller was answered 1 times and is in 0 records"]
    good.taken_at = at + 2 + NOTED_S - 1
    assert check(good) == [], "it has just ended"
    good.taken_at += 2
    assert check(good) == ["a caller was answered 1 times and is in 0 records"]
    good.unnoted = [(at + 1.5, at + 3)]
    assert check(good) == []


# --- what a capture holds ---------------------------------------------------------------------------------------------


def frame(source: str, target: str, text: str) -> bytes:
    payload = text.replace("\n", "\r\n").encode()
    addresses = b"".join(bytes(map(int, address.split("."))) for address in (source, target))
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(payload), 0, 0, 64, 17, 0) + addresses
    return b"\0" * 12 + b"\x08\x00" + ip + struct.pack("!HHHH", 5060, 5060, 8 + len(payload), 0) + payload


@contextmanager
def capture(path: Path) -> Iterator[Callable[[float, bytes], None]]:
    with path.open("wb") as file:
        file.write(b"\0" * 24)

        def write(at: float, packet: bytes) -> None:
            seconds = int(at)
            file.write(struct.pack("<IIII", seconds, round((at - seconds) * 1e6), len(packet), len(packet)) + packet)

        yield write


def test_dialogs_are_read_from_a_capture(tmp_path: Path) -> None:
    invite = "INVITE sip:+49305550100@pop SIP/2.0\nFrom: <sip:+4917012@c>;tag=1\nCall-ID: {}\nCSeq: 1 INVITE\n\nv=0"
    answer = "SIP/2.0 {}\nFrom: <sip:+4917012@c>;tag=1\nCall-ID: {}\nCSeq: 1 INVITE\n\n"
    bye = "BYE sip:+4917012@c SIP/2.0\nCall-ID: {}\nCSeq: 2 BYE\n\n"
    with capture(tmp_path / "c.pcap") as write:
        write(10.5, frame(CARRIER, POP, invite.format("a")))
        write(11.0, frame(CARRIER, POP, invite.format("a")))  # again: the first was lost
        write(11.25, frame(POP, CARRIER, answer.format("100 Trying", "a")))
        write(11.5, frame(POP, CARRIER, answer.format("200 OK", "a")))
        write(12.0, frame(CARRIER, POP, invite.format("b")))
        write(12.5, frame(POP, CARRIER, answer.format("503 Service Unavailable", "b")))
        write(13.0, frame(POP, CARRIER, bye.format("a")))
        write(13.5, b"\0" * 60)
    assert evidence.dialogs(tmp_path / "c.pcap") == [
        Dialog("a", CARRIER, POP, "+4917012", "+49305550100", 10.5, 11.5, 13.0),
        Dialog("b", CARRIER, POP, "+4917012", "+49305550100", 12.0, None, 12.5),
    ]


# --- in which state calls are -----------------------------------------------------------------------------------------


def test_states_are_told_by_the_last_word_of_the_journal(good: Evidence) -> None:
    known = States(Path())
    met: Counter[str] = Counter()
    for event in good.events:
        known.heard(event)
        met |= known.count()
    assert {state for state in met if met[state]} == {"ivr", "consent", "waiting", "ringing", "talking", "wrap_up"}
    assert not known.calls
    told = (
        ("CallbackDialled", "callback"),
        ("CallbackReached", "ivr"),
        ("TalkStarted", "talking"),
        ("HoldStarted", "hold"),
        ("HoldEnded", "talking"),
        ("ConsultationStarted", "consulting"),
        ("ConferenceStarted", "conference"),
        ("ConsultationEnded", "talking"),
        ("CallParked", "parked"),
    )
    for kind, state in told:
        known.heard({"call": "c", "kind": kind, "at": 1.0, "agent_id": "anna"})
        assert known.calls == {"c": state}
    known.heard({"call": "c", "kind": "CallEnded", "at": 2.0})
    assert not known.calls
