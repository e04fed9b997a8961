"""Agents' intervals: from the changes that POPs report, one fold per agent in the order of its journal.

Time ready, and time that rang, belongs to the queue of the conversation to which it led: an agent is ready for several
queues at once, and only then it is known for which. What led to none (the agent left) belongs to no queue.

A controller that was killed says nothing at that moment: what its agents did last counts until their next change.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db import bulk
from orchestrator.adapters.db.models import AgentNowRow, AgentStateRow
from orchestrator.domain.report_facts import LONGEST_INTERVAL_S, by_quarter, time_measures
from orchestrator.services.report_sums import ALL, Deltas
from pbx.domain import events as ev
from pbx.domain.service_level import BUSY
from pbx.wire.codec import decode_event

log = logging.getLogger(__name__)

NOW = cast(Table, AgentNowRow.__table__)
STATES = cast(Table, AgentStateRow.__table__)
KINDS = frozenset((ev.AgentChanged.__name__, ev.TalkStarted.__name__))
STAFFED = frozenset(("ready_ms", "busy_ms"))
_UNCLAIMED = msgspec.json.Decoder(list[dict[str, Any]])
WITH_CALL = frozenset(("ON_CALL", "WRAP_UP"))
MAX_AGENT_ID, MAX_REASON = 26, 200
MOST_INTERVALS = 5000
MOST_UNCLAIMED = 50
"""Intervals in a row that led to no conversation yet; of more the oldest belong to no queue."""

Now = dict[str, Any]


@dataclass(slots=True)
class Fold:
    """Carries agents on by events; ``now`` holds their rows of ``agents_now``, ``ended`` intervals that are over."""

    now: dict[str, Now] = field(default_factory=dict)
    ended: list[dict[str, Any]] = field(default_factory=list)
    claimed: list[dict[str, Any]] = field(default_factory=list)
    """Intervals that ended before, in ``ended`` or earlier, with the queue that is known by now."""

    def take(self, row: Mapping[str, Any], event: ev.AgentChanged | ev.TalkStarted) -> None:
        """``row`` is the event's in the table of events. What has been taken already is passed over."""
        agent_id = str(event.agent_id)
        now = self.now.get(agent_id)
        if now is None:
            now = self.now[agent_id] = dict.fromkeys(NOW.c.keys())
            now.update(agent_id=agent_id, seq=0)
        if now["journal_id"] == row["journal_id"] and row["seq"] <= now["seq"]:
            return
        now.update(pop_id=row["pop_id"], journal_id=row["journal_id"], seq=row["seq"])
        if isinstance(event, ev.TalkStarted):
            now.update(call_id=row["call_id"], queue_id=event.queue_id)
            return
        if now["since"] is not None and event.at > now["since"]:
            self.ended.append(interval := self._interval(now, event.at))
            self._claim(now, interval)
        if event.status != "AVAILABLE" and event.state not in BUSY:
            now["unclaimed"] = None
        reason = None if event.reason is None else event.reason[:MAX_REASON]
        now.update(since=event.at, status=event.status, state=event.state, reason=reason)

    def _claim(self, now: Now, interval: dict[str, Any]) -> None:
        before = now["unclaimed"]
        if interval["state"] in WITH_CALL:
            if before is not None and interval["queue_id"] is not None:
                self.claimed += ({**one, "queue_id": interval["queue_id"]} for one in _UNCLAIMED.decode(before))
                now["unclaimed"] = None
        elif STAFFED.intersection(time_measures(interval["status"], interval["state"])):
            rows = [] if before is None else _UNCLAIMED.decode(before)
            now["unclaimed"] = msgspec.json.encode([*rows, interval][-MOST_UNCLAIMED:]).decode()

    @staticmethod
    def _interval(now: Now, at: float) -> dict[str, Any]:
        with_call = now["state"] in WITH_CALL
        return {
            **{name: now[name] for name in ("agent_id", "journal_id", "seq", "pop_id", "status", "reason", "state")},
            "began_at": now["since"],
            "ended_at": at,
            "call_id": now["call_id"] if with_call else None,
            "queue_id": now["queue_id"] if with_call else None,
        }


def read(row: Mapping[str, Any]) -> ev.AgentChanged | ev.TalkStarted | None:
    """The event of a row; None where it is none of an agent's."""
    if row["kind"] not in KINDS:
        return None
    try:
        event = decode_event(row["kind"], row["data"].encode())
    except msgspec.MsgspecError as error:
        log.error("a %s of POP %s does not fit its kind (%s)", row["kind"], row["pop_id"], error)
        return None
    if not isinstance(event, ev.AgentChanged | ev.TalkStarted):
        return None
    if len(event.agent_id) > MAX_AGENT_ID:
        log.error("a %s of POP %s names an agent with no agent's id", row["kind"], row["pop_id"])
        return None
    return event


async def project(session: AsyncSession, rows: Iterable[Mapping[str, Any]], deltas: Deltas) -> set[str]:
    """Carry agents on by ``rows`` of the table of events; the calls whose wrap-up is over by that."""
    events = [(row, event) for row in rows if (event := read(row)) is not None]
    if not events:
        return set()
    agents = {event.agent_id for _, event in events}
    found = await session.execute(select(NOW).where(NOW.c.agent_id.in_(agents)))
    fold = Fold({row["agent_id"]: dict(row) for row in found.mappings()})
    for row, event in events:
        fold.take(row, event)
    return await store(session, fold, deltas)


async def store(session: AsyncSession, fold: Fold, deltas: Deltas) -> set[str]:
    await bulk.put(session, NOW, list(fold.now.values()))
    await bulk.put(session, STATES, fold.ended)
    await bulk.put(session, STATES, fold.claimed)
    for interval in fold.ended:
        count(interval, deltas)
    for interval in fold.claimed:
        count(interval, deltas, of_queue=True)
    return {one["call_id"] for one in fold.ended if one["state"] == "WRAP_UP" and one["call_id"] is not None}


def count(interval: Mapping[str, Any], deltas: Deltas, *, of_queue: bool = False) -> None:
    """``of_queue``: for its queue only, the rest was counted when it ended."""
    measures = time_measures(interval["status"], interval["state"])
    if measures and interval["ended_at"] - interval["began_at"] <= LONGEST_INTERVAL_S:
        values = [] if of_queue else [(ALL, ""), ("agent_id", interval["agent_id"])]
        if interval["queue_id"] is not None:
            values.append(("queue_id", interval["queue_id"]))
        for start_at, ms in by_quarter(round(interval["began_at"] * 1000), round(interval["ended_at"] * 1000)):
            deltas.add_time(values, start_at, dict.fromkeys(measures, ms))


async def wraps_of(session: AsyncSession, calls: Iterable[str]) -> dict[str, dict[str, int]]:
    """Call -> agent -> milliseconds of wrap-up."""
    lengths = select(STATES.c.call_id, STATES.c.agent_id, STATES.c.began_at, STATES.c.ended_at).where(
        STATES.c.call_id.in_(list(calls)), STATES.c.state == "WRAP_UP"
    )
    found: dict[str, dict[str, int]] = {}
    for call_id, agent_id, began_at, ended_at in await session.execute(lengths):
        of_call = found.setdefault(call_id, {})
        of_call[agent_id] = of_call.get(agent_id, 0) + round(ended_at * 1000) - round(began_at * 1000)
    return found


async def intervals(session: AsyncSession, agent_id: str, start: float, end: float) -> list[dict[str, Any]]:
    """The agent's intervals that touch the period, oldest first, one more than ``MOST_INTERVALS`` at most. The last
    one may not be over."""
    columns = [STATES.c[name] for name in ("began_at", "ended_at", "status", "reason", "state", "call_id", "queue_id")]
    touching = STATES.c.agent_id == agent_id, STATES.c.began_at < end, STATES.c.ended_at > start
    chosen = select(*columns).where(*touching).order_by(STATES.c.began_at).limit(MOST_INTERVALS + 1)
    found = [dict(row) for row in (await session.execute(chosen)).mappings()]
    now = (await session.execute(select(NOW).where(NOW.c.agent_id == agent_id))).mappings().first()
    if now is not None and now["since"] is not None and now["since"] < end:
        with_call = now["state"] in WITH_CALL
        same = {name: now[name] for name in ("status", "reason", "state")}
        calls = {name: now[name] if with_call else None for name in ("call_id", "queue_id")}
        found.append({"began_at": now["since"], "ended_at": None, **same, **calls})
    return found
