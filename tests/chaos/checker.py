"""What must be true after any faults, judged from the outside: SIP on the wire, the POP's journal, the centre's tables.

Nothing of the product is imported here, nor of what made the evidence: this reads files, as anybody could.
``check`` returns what is wrong, in words; an empty list is the only good answer.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

Event = dict[str, Any]
"""``seq``, ``call`` (id or None), ``kind``, ``at`` and the event's own fields."""

SETTLED_S = 0.5
"""Who entered the queue that long before an offer was made must have been seen by it."""
NOTED_S = 10.0
"""Who had the fallback has a record that long after the end, with a controller there."""
LENT_OVER_S = 1.0
"""An agent of another POP may be offered, and talk, so long before the POP of the last caller has ended that call: when
one of the two POPs lost its power, that the agent is free is heard before the end of the conversation. That the phone
has one call at a time is looked at on the wire."""
CLEARED_S = 10.0
"""A call whose offer failed is in the line again when the media server has answered to two requests, of at most 5 s."""


@dataclass(frozen=True, slots=True)
class Dialog:
    """One INVITE on the wire and what became of it. Times are seconds since the epoch."""

    call_id: str
    source: str
    target: str
    caller: str
    """User part of From."""
    called: str
    """User part of the request URI."""
    began_at: float
    answered_at: float | None = None
    ended_at: float | None = None
    """BYE, CANCEL or a final refusal; None: none was seen."""


@dataclass(slots=True)
class Evidence:
    events: list[Event]
    dialogs: list[Dialog]
    calls: list[Event]
    """Rows of the centre's table: ``call_id``, ``ended_at``."""
    recordings: list[str]
    """Ids of all recordings that rest at the POP, finished or not, and of those that the centre knows."""
    pop: str = ""
    """Its address."""
    deaths: list[float] = field(default_factory=list)
    """When the media server was killed: its dialogs are over then."""
    away: list[tuple[float, float]] = field(default_factory=list)
    """When there was no controller, or none that the media server knew: who came then may have had the fallback."""
    unnoted: list[tuple[float, float]] = field(default_factory=list)
    """When the disk was full on which the media server notes calls that it serves alone."""
    taken_at: float = float("inf")
    """When all this was put together."""
    spans: bool = False
    """The queue is served by several POPs: who comes first is not told by one journal alone (see ``together.py``)."""


def check(evidence: Evidence) -> list[str]:
    """All that is wrong."""
    of_call: dict[str, list[Event]] = defaultdict(list)
    for event in evidence.events:
        if event["call"] is not None:
            of_call[event["call"]].append(event)
    found: list[str] = []
    found += _records(evidence, of_call)
    found += _callers(evidence, of_call)
    found += _hung_up(evidence)
    found += _offers(evidence.events)
    found += _talks(evidence.events)
    found += _rung(evidence)
    found += _recordings(evidence, of_call)
    found += _places(evidence.events, of_call, in_order=not evidence.spans)
    return found


def _kinds(history: Iterable[Event]) -> Counter[str]:
    return Counter(event["kind"] for event in history)


def _records(evidence: Evidence, of_call: dict[str, list[Event]]) -> Iterator[str]:
    """Exactly one record for each call, in the journal and at the centre."""
    for call, history in of_call.items():
        kinds = _kinds(history)
        if (begins := kinds["LegOffered"] + kinds["CallbackDialled"]) != 1:
            yield f"call {call} begins {begins} times in the journal"
        if kinds["CallEnded"] != 1:
            yield f"call {call} ends {kinds['CallEnded']} times in the journal"
        elif history[-1]["kind"] not in ("CallEnded", "RecordingEnded", "RecordingErased"):
            yield f"call {call} goes on after its end: {history[-1]['kind']}"
    rows = Counter(row["call_id"] for row in evidence.calls)
    for call in of_call.keys() - rows.keys():
        yield f"call {call} has no record at the centre"
    for call, number in rows.items():
        if number != 1:
            yield f"call {call} has {number} records at the centre"
        if call not in of_call:
            yield f"record {call} at the centre is of no call of the journal"
    for row in evidence.calls:
        if row["ended_at"] is None:
            yield f"record {row['call_id']} at the centre never ends"


def _number(event: Event) -> str:
    return str(event["cli"].get("number") or "withheld").lstrip("+")


def _callers(evidence: Evidence, of_call: dict[str, list[Event]]) -> Iterator[str]:
    """Who was answered is in the journal, each time, also who had the fallback: the next controller writes that."""
    begun = Counter(_number(event) for event in evidence.events if event["kind"] == "LegOffered")
    to_pop = [dialog for dialog in evidence.dialogs if dialog.target == evidence.pop and dialog.called.startswith("+")]
    tried = Counter(dialog.caller.lstrip("+") for dialog in to_pop)
    answered: Counter[str] = Counter()
    for dialog in to_pop:
        if dialog.answered_at is None or any(_overlaps(dialog, window) for window in evidence.unnoted):
            continue
        alone = any(_without_controller(evidence, at) for at in (dialog.began_at, dialog.answered_at))
        over = dialog.ended_at is not None and dialog.ended_at < evidence.taken_at - NOTED_S
        if over or not alone:
            answered[dialog.caller.lstrip("+")] += 1
    for caller, number in answered.items():
        if begun[caller] < number:
            yield f"a caller was answered {number} times and is in {begun[caller]} records"
    for caller, number in begun.items():
        if number > tried[caller]:
            yield f"a caller called {tried[caller]} times and is in {number} records"


def _overlaps(dialog: Dialog, window: tuple[float, float]) -> bool:
    begin, end = window
    return dialog.began_at <= end and (dialog.ended_at is None or dialog.ended_at >= begin)


def _hung_up(evidence: Evidence) -> Iterator[str]:
    """On the wire, a conversation that was begun is ended; only a media server that dies says nothing. Who had the
    fallback is in no journal, and may be on the way to the overflow number still when everybody else has gone."""
    for dialog in evidence.dialogs:
        if dialog.answered_at is None or dialog.ended_at is not None:
            continue
        died = any(at >= dialog.began_at for at in evidence.deaths)
        alone = any(_without_controller(evidence, at) for at in (dialog.began_at, dialog.answered_at))
        if not died and not alone and evidence.pop in (dialog.source, dialog.target):
            yield f"what was answered at {dialog.answered_at:.3f} is never hung up on the wire ({dialog.call_id})"


def _without_controller(evidence: Evidence, at: float) -> bool:
    return any(begin <= at <= end for begin, end in evidence.away)


def _offers(events: list[Event]) -> Iterator[str]:
    """An agent has one offer at a time, a call too."""
    agents: dict[str, str] = {}
    calls: dict[str, str] = {}
    ends = {event["offer_id"]: event["at"] for event in events if event["kind"] == "OfferEnded"}
    for event in events:
        if event["kind"] == "OfferMade":
            for open_, key, who in ((agents, event["agent_id"], "agent"), (calls, event["call"], "call")):
                lent = event.get("pop_id") is not None
                over = lent and ends.get(open_.get(key, ""), float("inf")) <= event["at"] + LENT_OVER_S
                if key in open_ and not over:
                    yield f"{who} {key} is offered {event['offer_id']} while {open_[key]} is open"
                open_[key] = event["offer_id"]
        elif event["kind"] in ("OfferEnded", "CallEnded"):
            ended = {event["offer_id"]} if event["kind"] == "OfferEnded" else {calls.get(event["call"])}
            for held in (agents, calls):
                for key in [key for key, offer in held.items() if offer in ended]:
                    del held[key]


def _talks(events: list[Event]) -> Iterator[str]:
    """An agent talks to one caller at a time, and is offered nobody meanwhile."""
    talks: dict[str, str] = {}
    lent: set[str] = set()
    ends = {event["call"]: event["at"] for event in events if event["kind"] == "CallEnded"}
    for event in events:
        agent = event.get("agent_id")
        over = ends.get(talks.get(str(agent), ""), float("inf")) <= event["at"] + LENT_OVER_S
        if event["kind"] == "OfferMade" and event.get("pop_id") is not None:
            lent.add(event["call"])
        if event["kind"] == "TalkStarted":
            if agent in talks and not (over and event["call"] in lent):
                yield f"agent {agent} talks in call {event['call']} and in call {talks[agent]}"
            talks[str(agent)] = event["call"]
        elif event["kind"] == "OfferMade" and agent in talks:
            if over and event["call"] in lent:
                continue
            yield f"agent {agent} talks in call {talks[str(agent)]} and is offered call {event['call']}"
        elif event["kind"] == "TalkEnded" or (
            event["kind"] == "AgentChanged" and event["state"] in ("WRAP_UP", "IDLE")
        ):
            talks.pop(str(agent), None)
        elif event["kind"] == "CallEnded":
            talks = {one: call for one, call in talks.items() if call != event["call"]}


def _rung(evidence: Evidence) -> Iterator[str]:
    """On the wire, too, an agent's phone has one call at a time."""
    by_phone: dict[str, list[Dialog]] = defaultdict(list)
    for dialog in evidence.dialogs:
        if dialog.source == evidence.pop and not dialog.called.startswith("+"):
            by_phone[dialog.called].append(dialog)
    for phone, dialogs in by_phone.items():
        dialogs.sort(key=lambda dialog: dialog.began_at)
        for former, later in itertools.pairwise(dialogs):
            died = min((at for at in evidence.deaths if at >= former.began_at), default=float("inf"))
            over = min(former.ended_at if former.ended_at is not None else float("inf"), died)
            if later.began_at < over:
                yield f"phone {phone} is rung at {later.began_at:.3f} while its call of {former.began_at:.3f} is on"


def _recordings(evidence: Evidence, of_call: dict[str, list[Event]]) -> Iterator[str]:
    """Nothing is captured before the caller's consent or after its withdrawal; no recording is of nobody."""
    known = set()
    for call, history in of_call.items():
        granted = False
        for event in history:
            if event["kind"] == "ConsentGranted":
                granted = True
            elif event["kind"] == "ConsentRefused":
                granted = False
            elif event["kind"] == "RecordingStarted":
                known.add(event["recording_id"])
                if not granted:
                    yield f"call {call} is recorded without a grant"
            elif event["kind"] == "RecordingEnded":
                known.add(event["recording_id"])
    for recording in set(evidence.recordings) - known:
        yield f"recording {recording} is of no call"


@dataclass(slots=True)
class _Wait:
    queue: str
    entered_at: float
    since: float
    priority: float
    offered: bool = False
    preferred: str | None = None
    """For this agent it waits, and for nobody else, until ``preferred_until``: it was parked by him."""
    preferred_until: float = 0.0

    def would_take(self, agent: str, at: float) -> bool:
        return self.preferred in (None, agent) or at > self.preferred_until


def _made_before(offers: list[Event], offer: Event) -> bool:
    """One of these is written after ``offer``, and was made before it."""
    return any(one["seq"] > offer["seq"] and one["at"] <= offer["at"] for one in offers)


def _places(events: list[Event], of_call: dict[str, list[Event]], *, in_order: bool) -> Iterator[str]:
    """A place is given up by an agent's answer or the caller's end alone, is kept over restarts to the moment, and the
    one who waited longest is offered first. Offers count by when they were made: each is written by its own call, and
    after a restart, or on a busy machine, one that was made earlier may be written a little later."""
    waits: dict[str, _Wait] = {}
    promised: dict[str, float] = {}
    """Who is called back has a place, too: call -> since when."""
    made: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event["kind"] == "OfferMade":
            made[event["call"]].append(event)
    for event in events:
        call, kind = event["call"], event["kind"]
        if kind == "QueueJoined":
            asked = event["asked"]
            joined = _Wait(event["queue_id"], asked["entered_at"], event["at"], asked.get("priority", 0))
            joined.preferred = asked.get("preferred")
            joined.preferred_until = event["at"] + asked.get("preferred_s", 0.0)
            waits[call] = joined
        elif kind == "CallbackQueued":
            promised[event["call_id"]] = event["asked"]["entered_at"]
        elif kind == "WaitAdopted":
            wait = waits.get(event["call_id"])
            if promised.get(event["call_id"]) == event["asked"]["entered_at"]:
                continue
            if wait is None:
                yield f"call {event['call_id']} is taken up as waiting and did not wait"
            elif event["asked"]["entered_at"] != wait.entered_at:
                yield f"call {event['call_id']} lost its place at a restart"
            else:
                wait.since = event["at"]
        elif kind == "OfferMade":
            mine = waits.get(call)
            if mine is None and of_call[call][0]["kind"] == "CallbackDialled":
                continue  # the agent was reserved before the customer was called
            if mine is None:
                yield f"call {call} is offered and does not wait"
                continue
            for other_id, other in waits.items() if in_order else ():
                earlier = other.entered_at < mine.entered_at and other.since < event["at"] - SETTLED_S
                earlier = earlier and other.would_take(event["agent_id"], event["at"])
                first = earlier and other.queue == mine.queue and other.priority >= mine.priority
                if first and other_id != call and not other.offered and not _made_before(made[other_id], event):
                    yield f"call {call} is offered before {other_id}, which waited longer"
            mine.offered = True
        elif kind == "OfferEnded":
            if call in waits:
                if event["outcome"] == "answered":
                    del waits[call]
                else:
                    waits[call].offered, waits[call].since = False, event["at"] + CLEARED_S
        elif kind in ("CallEnded", "WaitEnded", "QueueRefused") or (
            # The caller's leg; an agent's is one of an offer, whose end follows.
            kind == "LegEnded" and event["leg_id"] == of_call[call][0]["leg_id"]
        ):
            waits.pop(call, None)
    for call in waits:
        yield f"call {call} waits for ever"
