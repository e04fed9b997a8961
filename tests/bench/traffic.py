"""Calls as POPs report them: what benchmarks of the centre feed it, event by event as real calls have them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import msgspec

from pbx.domain import events as ev
from pbx.domain.cdr import Cdr, OfferRecord, RecordingRecord, SurveyRecord, TalkRecord
from pbx.domain.e164 import E164, cli_of
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import (
    AgentId,
    BridgeId,
    CallId,
    FlowId,
    LegId,
    OfferId,
    PhoneId,
    PlayId,
    QueueId,
    RecordingId,
    derive,
)
from pbx.wire.codec import encode_event
from pbx.wire.messages import EventEnvelope

QUEUES, AGENTS, DIDS = 20, 300, 40
NORMAL = HangupCause.NORMAL_CLEARING
Fact = tuple[CallId | None, ev.Event]


@dataclass(slots=True)
class Traffic:
    """``chance`` decides; the same seed gives the same calls."""

    seed: int
    number: Iterator[int] = field(default_factory=count)
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def agent(self, pop: int) -> AgentId:
        return AgentId(f"agent-{self.chance.randrange(pop, AGENTS, 10):03}")

    def did(self) -> E164:
        return E164(f"+4930{5550000 + self.chance.randrange(DIDS)}")

    def queue(self) -> QueueId:
        return QueueId(f"queue-{min(int(self.chance.expovariate(0.25)), QUEUES - 1):02}")

    def caller(self) -> str:
        return f"+4917{self.chance.randrange(10**8):08}"

    def call(self, at: float, pop: int) -> list[Fact]:
        """23 events of one call, one in eight of which gives up; those of its agent among them."""
        chance, number = self.chance, next(self.number)
        call, offer = CallId(derive(at, self.seed, number)), OfferId(derive(at, "o", self.seed, number))
        leg, agent_leg, queue, agent = LegId(f"c{number}"), LegId(f"a{number}"), self.queue(), self.agent(pop)
        found: list[Fact] = []

        def add(after_s: float, make: type[ev.Event], **fields: object) -> None:
            found.append((call, make(at=at + after_s, **fields)))

        def agent_is(after_s: float, state: str) -> None:
            changed = ev.AgentChanged(at=at + after_s, agent_id=agent, status="AVAILABLE", reason=None, state=state)
            found.append((None, changed))

        cli = cli_of(self.caller())
        add(0, ev.LegOffered, leg_id=leg, did=self.did(), cli=cli, caller_country="DE", trunk="carrier")
        add(0, ev.FlowStarted, flow_id=FlowId("main"), version=3, language="de")
        add(0.1, ev.LegAnswered, leg_id=leg)
        add(0.1, ev.NodeEntered, node="greeting")
        add(4, ev.PlayEnded, leg_id=leg, play_id=PlayId(f"p{number}"), played_ms=3900, completed=True)
        add(4, ev.NodeEntered, node="consent")
        add(8, ev.DigitPressed, leg_id=leg, digit="1")
        add(
            8, ev.ConsentGranted, regime="opt_in", jurisdictions=("DE",), prompt_id="consent-keys-opt-in",
            prompt_sha256="ab" * 32, language="de", played_ms=3100, digit="1",
        )  # fmt: skip
        add(8, ev.NodeEntered, node="wait")
        add(8.1, ev.QueueJoined, queue_id=queue, position=chance.randint(1, 9))
        wait_s = 8.1 + chance.expovariate(1 / 15)
        if chance.random() < 0.125:
            add(wait_s, ev.LegEnded, leg_id=leg, cause=NORMAL)
            ended, reason = at + wait_s, ev.EndReason.CALLER_HUNG_UP
            add(wait_s, ev.CallEnded, reason=reason, cause=NORMAL, ended_at=ended)
            return found
        agent_is(wait_s - 0.1, "RESERVED")
        add(
            wait_s - 0.1, ev.OfferMade, offer_id=offer, queue_id=queue, agent_id=agent, phone_id=PhoneId(agent),
            agent_country="DE", epoch=number, ring_timeout_s=20,
        )  # fmt: skip
        agent_is(wait_s, "RINGING")
        talk_at = wait_s + chance.uniform(1, 6)
        add(talk_at, ev.LegAnswered, leg_id=agent_leg)
        add(talk_at, ev.OfferEnded, offer_id=offer, agent_id=agent, outcome=ev.OfferOutcome.ANSWERED)
        add(talk_at, ev.TalkStarted, agent_id=agent, queue_id=queue)
        agent_is(talk_at, "ON_CALL")
        add(talk_at, ev.LegsBridged, bridge_id=BridgeId(f"b{number}"), leg_ids=(leg, agent_leg))
        recording, end = RecordingId(derive(at, "r", self.seed, number)), talk_at + chance.expovariate(1 / 180)
        add(talk_at, ev.RecordingStarted, recording_id=recording, leg_id=agent_leg)
        add(end, ev.LegEnded, leg_id=leg, cause=NORMAL)
        add(
            end + 0.2, ev.RecordingEnded, recording_id=recording, region="eu", duration_ms=int(1000 * (end - talk_at)),
            size_bytes=1_000_000, sha256="cd" * 32,
        )  # fmt: skip
        add(end + 0.3, ev.CallEnded, reason=ev.EndReason.CALLER_HUNG_UP, cause=NORMAL, ended_at=at + end)
        agent_is(end + 0.3, "WRAP_UP")
        agent_is(end + 10.3, "IDLE")
        return found

    def record(self, at: float) -> Cdr:
        """Such a call's record, without its events."""
        chance, number = self.chance, next(self.number)
        wait_s, talk_s = chance.expovariate(1 / 15), chance.expovariate(1 / 180)
        queue, agent = self.queue(), self.agent(number % 10)
        cdr = Cdr(
            CallId(derive(at, self.seed, number)), did=self.did(), cli=self.caller(), caller_country="DE", trunk="t",
            offered_at=at, answered_at=at + 0.1, flow_id="main", flow_version=3, language="de",
            nodes=["greeting", "consent", "wait"], queue_id=queue, entered_queue_id=queue, entered_at=at + 8,
            queued_at=at + 8, end_reason="caller_hung_up", cause=16, ended_at=at + 8 + wait_s,
        )  # fmt: skip
        if chance.random() < 0.125:
            return cdr
        cdr.talk_started_at, cdr.ended_at, cdr.agent_id = at + 8 + wait_s, at + 8 + wait_s + talk_s, agent
        cdr.talks = [TalkRecord(agent, queue, cdr.talk_started_at, cdr.ended_at)]
        offered = cdr.talk_started_at - 3
        cdr.offers = [OfferRecord(derive(at, "o", number), agent, offered, "answered", cdr.talk_started_at)]
        recording = derive(at, "r", self.seed, number)
        cdr.recordings = [RecordingRecord(recording, cdr.talk_started_at, "eu", int(1000 * talk_s), 10**6, "cd" * 32)]
        if chance.random() < 0.2:
            cdr.survey = [SurveyRecord("survey", "csat", chance.choice("12344555"), cdr.ended_at, agent)]
        return cdr


def journal(traffic: Traffic, pop: int, calls: int, start: float, calls_s: float) -> list[EventEnvelope]:
    """What one POP's journal holds after ``calls`` calls that came by chance, ``calls_s`` a second."""
    at, facts = start, list[Fact]()
    for _ in range(calls):
        at += traffic.chance.expovariate(calls_s)
        facts += traffic.call(at, pop)
    facts.sort(key=lambda fact: fact[1].at)
    return [
        EventEnvelope(
            seq=seq, call_id=call, kind=type(event).__name__, at=event.at, data=msgspec.Raw(encode_event(event))
        )
        for seq, (call, event) in enumerate(facts, 1)
    ]
