"""Two units in two regions, each with everything that may belong to one, and callers of every role and scope."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from orchestrator.adapters.db.models import DeliveryRow, ErasureRow, EventRow, MinorMarkRow
from orchestrator.bootstrap import Centre
from orchestrator.services import callbacks, records
from orchestrator.services.report_sums import Deltas
from orchestrator.services.webhook_queue import delivery
from pbx.domain import callback_events as cb
from pbx.domain import events as ev
from pbx.domain.e164 import E164, cli_of
from pbx.domain.ids import AgentId, CallbackId, CallId, FlowId, LegId, OfferId, PhoneId, QueueId, RecordingId, derive
from tests.integration.centre.support import QUEUE, Api, agent, did, graph

START = 1_790_000_000.0
POPS = {"eu": "de-fra-1", "us": "us-nyc-1"}


@dataclass(frozen=True)
class Scope:
    units: frozenset[str] | None = None
    regions: frozenset[str] | None = None

    def unit(self, place: Place) -> bool:
        return self.units is None or place.unit in self.units

    def region(self, place: Place) -> bool:
        return self.regions is None or place.region in self.regions


@dataclass(frozen=True)
class Place:
    """Something of everything, of one unit in one region. ``ids``: the path's parameter -> what it is here."""

    unit: str | None
    region: str
    ids: dict[str, str]

    @property
    def name(self) -> str:
        return f"{self.unit or 'none'}-{self.region}"


SCOPES = {
    "sales": Scope(units=frozenset({"sales"})),
    "eu": Scope(regions=frozenset({"eu"})),
    "sales in eu": Scope(frozenset({"sales"}), frozenset({"eu"})),
}
PLACES: list[tuple[str | None, str]] = [("sales", "eu"), ("billing", "eu"), ("sales", "us"), (None, "eu")]
BY_UNIT = frozenset({"unit_id", "queue_id", "flow_id", "version"})
"""Nouns that are in every region."""
OF_EVERY_REGION = frozenset({"webhook_id", "delivery_id"})
"""Nouns of a unit that tell of every region: seen and changed only with a grant for all of those."""
BY_REGION = frozenset({"pop_id"})
"""Nouns that are for every unit."""
OF_WHO_ASKED = frozenset({"erasure_id"})
"""Nouns that only their maker sees, and who has a grant for everything."""
SHARED = {
    "region_id": "eu",
    "skill_id": "lang:de",
    "hours_id": "office",
    "shifts_id": "early",
    "holidays_id": "bridge",
    "consent_policy_id": "strict",
    "role": "supervisor",
    "country": "DE",
    "language": "de",
    "prompt_id": "promo",
}
"""Nouns that everybody may name and nobody with limits may change."""
WEEK: dict[str, Any] = {"time_zone": "Europe/Berlin", "weekly": {"mon": ["09:00-17:00"]}}


def flow_of(unit: str | None) -> dict[str, Any]:
    made = graph()
    nodes = {**made["nodes"], "wait": {"type": "queue", "queue": f"q-{unit or 'none'}", "on_refused": "bye"}}
    return {**made, "nodes": nodes}


@dataclass
class World:
    api: Api
    centre: Centre
    places: dict[tuple[str | None, str], Place]

    async def token(self, *grants: dict[str, Any]) -> dict[str, str]:
        """The header of a caller with these grants."""
        made = await self.api.made("/tokens", {"name": "someone", "grants": list(grants)})
        return {"Authorization": f"Bearer {made['token']}", "X-Purpose": "a test"}

    async def caller(self, role: str, scope: Scope) -> dict[str, str]:
        if role == "agent":
            return await self.token({"role": role, "agent_id": self.places["sales", "eu"].ids["agent_id"]})
        limits = {
            "units": None if scope.units is None else sorted(scope.units),
            "regions": None if scope.regions is None else sorted(scope.regions),
        }
        return await self.token({"role": role, **limits})


async def make_world(api: Api, centre: Centre) -> World:
    for named in ("sales", "billing"):
        await api.made("/units", {"unit_id": named, "name": named})
    await _shared(api)
    for region, pop_id in POPS.items():
        await api.made("/regions", {"region_id": region, "name": region})
        await api.made("/pops", {"pop_id": pop_id, "name": pop_id, "country": "DE", "region": region})
        await api.made(
            f"/pops/{pop_id}/trunks", {"name": "carrier", "host": "203.0.113.5", "addresses": ["203.0.113.5"]}
        )
    whose: tuple[str | None, ...] = ("sales", "billing", None)
    hooks = dict[str | None, dict[str, str]]()
    for unit in whose:
        name = unit or "none"
        await api.made("/queues", {**QUEUE, "queue_id": f"q-{name}", "unit_id": unit})
        await api.made("/flows", {"flow_id": f"f-{name}", "unit_id": unit, "graph": flow_of(unit)})
        hook = {"url": "https://crm.example.org", "events": ["*"], "active": False, "unit_id": unit}
        hooks[unit] = await _hook(centre, (await api.made("/webhooks", hook))["webhook_id"])
        saved = await api.put(f"/flows/f-{name}/draft", {"graph": flow_of(unit)})
        assert saved.status == 200, saved.body
    places: dict[tuple[str | None, str], Place] = {}
    for at, (of, region) in enumerate(PLACES):
        place = await _place(api, centre, of, region, f"+4930555010{at}")
        place.ids.update(hooks[of])
        places[of, region] = place
    return World(api, centre, places)


async def _hook(centre: Centre, webhook_id: str) -> dict[str, str]:
    """With a dead letter."""
    assert centre.database is not None
    values = delivery(webhook_id, derive(START, "message", webhook_id), "CallEnded", "nobody", START, "{}", START)
    row = DeliveryRow(**{**values, "state": "dead", "next_at": None, "ended_at": START + 4e8})
    async with centre.database.write() as session:
        session.add(row)
        await session.flush()
    return {"webhook_id": webhook_id, "delivery_id": str(row.id)}


async def _shared(api: Api) -> None:
    for path, spec in (
        ("/skills", {"skill_id": SHARED["skill_id"], "name": "German"}),
        ("/hours", {"hours_id": SHARED["hours_id"], "name": "Office", **WEEK}),
        ("/shifts", {"shifts_id": SHARED["shifts_id"], "name": "Early", **WEEK}),
        ("/consent-policies", {"consent_policy_id": SHARED["consent_policy_id"], "name": "Strict", "floor": "opt_in"}),
        ("/retention-policies", {"policy_id": "audio", "kind": "recording", "keep_days": 36500, "why": "a test"}),
        ("/holidays", {"holidays_id": SHARED["holidays_id"], "name": "Bridge days", "days": ["2026-12-24"]}),
    ):
        await api.made(path, spec)
    said = await api.ask("PUT", "/prompts/de/promo", data=b"\xd5" * 800, headers={"Content-Type": "audio/PCMA"})
    assert said.status == 200, said.body


async def _place(api: Api, centre: Centre, unit: str | None, region: str, number: str) -> Place:
    name = unit or "none"
    await api.made("/dids", did(number=number, pop_id=POPS[region], flow_id=f"f-{name}", region=region, unit_id=unit))
    made = await api.made("/agents", agent(pop_id=POPS[region], unit_id=unit, name=f"Agent {name} {region}"))
    agent_id = AgentId(made["agent_id"])
    call, recording, voicemail, callback = (derive(START, kind, name, region) for kind in ("c", "r", "v", "cb"))
    ids = {
        "unit_id": name,
        "pop_id": POPS[region],
        "queue_id": f"q-{name}",
        "flow_id": f"f-{name}",
        "version": "1",
        "number": number,
        "agent_id": agent_id,
        "call_id": call,
        "recording_id": recording,
        "voicemail_id": voicemail,
        "callback_id": callback,
        "name": "carrier",
    }
    events = _events(ids, agent_id)
    await take_in(centre, POPS[region], CallId(call), events, journal=derive(START, "journal", name, region))
    hold = {"recording_id": recording, "reason": "a claim", "authority": "a court"}
    ids["hold_id"] = (await api.made("/holds", hold))["hold_id"]
    ids["mark_id"] = await _mark(centre, call, POPS[region])
    ids["erasure_id"] = await _erasure(centre, derive(START, "erasure", name, region))
    return Place(unit, region, ids)


async def _mark(centre: Centre, call: str, pop_id: str) -> str:
    """Of a recording that is gone."""
    assert centre.database is not None
    row = MinorMarkRow(
        mark_id=derive(START, "mark", call), kind="recording", call_id=call, recording_id=derive(START, "gone", call),
        pop_id=pop_id, why="said so", created_at=START, created_by="another",
    )  # fmt: skip
    async with centre.database.write() as session:
        session.add(row)
    return row.mark_id


async def _erasure(centre: Centre, erasure_id: str) -> str:
    """One that somebody else asked for, and a hold keeps."""
    assert centre.database is not None
    row = ErasureRow(
        erasure_id=erasure_id, digest=erasure_id, grants=[], requested_at=START, requested_by="another",
        caller_id="another", purpose="asked for", state="held", holds=[], issued=0,
    )  # fmt: skip
    async with centre.database.write() as session:
        session.add(row)
    return erasure_id


def _events(ids: dict[str, str], agent_id: AgentId) -> list[ev.Event]:
    leg, queue, number = LegId("leg"), QueueId(ids["queue_id"]), E164(ids["number"])
    offer = OfferId(derive(START, "offer", ids["call_id"]))
    customer = E164("+4930666" + ids["number"][-4:])
    at = START
    return [
        ev.LegOffered(at=at, leg_id=leg, did=number, cli=cli_of(customer), caller_country="DE", trunk="t1"),
        ev.FlowStarted(at=at, flow_id=FlowId(ids["flow_id"]), version=1, language="de"),
        ev.LegAnswered(at=at + 1, leg_id=leg),
        ev.QueueJoined(at=at + 2, queue_id=queue, position=1),
        ev.OfferMade(
            at=at + 3,
            offer_id=offer,
            queue_id=queue,
            agent_id=agent_id,
            phone_id=PhoneId("1001"),
            agent_country="DE",
            epoch=1,
            ring_timeout_s=20,
        ),
        ev.OfferEnded(at=at + 4, offer_id=offer, agent_id=agent_id, outcome=ev.OfferOutcome.ANSWERED),
        ev.TalkStarted(at=at + 4, agent_id=agent_id, queue_id=queue),
        ev.RecordingStarted(at=at + 4, recording_id=RecordingId(ids["recording_id"]), leg_id=leg),
        ev.VoicemailGranted(
            at=at + 5,
            mailbox="box-" + ids["queue_id"],
            recording_id=RecordingId(ids["voicemail_id"]),
            regime="opt_in",
            jurisdictions=("DE",),
            prompt_ids=("voicemail-greeting",),
            prompt_sha256s=("ab" * 32,),
            language="de",
            played_ms=3100,
            digit=None,
        ),
        ev.RecordingStarted(at=at + 5, recording_id=RecordingId(ids["voicemail_id"]), leg_id=leg),
        ev.RecordingEnded(
            at=at + 9,
            recording_id=RecordingId(ids["voicemail_id"]),
            region="eu",
            duration_ms=4000,
            size_bytes=64_044,
            sha256="cd" * 32,
        ),
        ev.VoicemailLeft(
            at=at + 9,
            mailbox="box-" + ids["queue_id"],
            recording_id=RecordingId(ids["voicemail_id"]),
            ended_by="terminator",
        ),
        cb.CallbackRequested(
            at=at + 10,
            callback_id=CallbackId(ids["callback_id"]),
            queue_id=queue,
            number=customer,
            did=number,
            trunk="t1",
            language="de",
            entered_at=at,
            priority=0,
            needs=(),
            by="flow",
            call_id=CallId(ids["call_id"]),
        ),
    ]


async def take_in(
    centre: Centre, pop_id: str, call_id: CallId | None, events: list[Any], journal: str, first: int = 1
) -> None:
    """As they come from a POP, but for the bus."""
    assert centre.database is not None
    rows = [
        {
            "pop_id": pop_id,
            "journal_id": journal,
            "seq": first + at,
            "call_id": call_id,
            "kind": type(event).__name__,
            "at": event.at,
            "data": msgspec.json.encode(event).decode(),
        }
        for at, event in enumerate(events)
    ]
    async with centre.database.write() as session:
        session.add_all(EventRow(**row) for row in rows)
        await session.flush()
        if call_id is not None:
            await records.project(session, {(pop_id, call_id)}, (), Deltas())
        await callbacks.project(session, rows)
