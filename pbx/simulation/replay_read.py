"""What a POP's journal says about its queues, in the order in which the router was told it.

The router writes what it is told itself (agents' changes, phones, due steps, callers who leave, callbacks,
configuration), so the order of those rows is the order of its acts. What calls ask stands in the calls' own events,
written a moment later: joins are put in their place by the router's time, which they carry.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import msgspec

from pbx.domain import events as ev
from pbx.domain.events import BY_NAME, Event
from pbx.domain.ids import AgentId, CallId, OfferId, PhoneId, QueueId
from pbx.domain.queue_rules import Asked
from pbx.wire.codec import decode_event
from pbx.wire.messages import AgentConfig, QueueConfig

OF_THE_ROUTER = (
    ev.AgentChanged,
    ev.PhoneReachable,
    ev.TimerFired,
    ev.QueueLeft,
    ev.CallbackQueued,
    ev.AgentAdopted,
    ev.WaitAdopted,
    ev.QueuesShared,
    ev.ProposalTaken,
    ev.AgentLent,
    ev.LentOfferEnded,
    ev.RouterAwaited,
)
DECISIONS = (ev.OfferMade, ev.OfferWithdrawn, ev.QueueRefused, ev.QueueOverflowed, ev.WaitEnded, ev.CallbackOffered)
_READ = {kind.__name__ for kind in (*OF_THE_ROUTER, *DECISIONS, ev.QueueJoined, ev.OfferEnded, ev.TalkStarted)}
_READ |= {kind.__name__ for kind in (ev.AgentEngaged, ev.CallEnded, ev.LegOffered)}
_READ |= {kind.__name__ for kind in (ev.CallbackRequested, ev.CallbackPromised)}

_ENTITY = msgspec.json.Decoder(QueueConfig | AgentConfig)


SAME_ACT_S = 0.05
"""A change so soon after a change of the configuration is taken to be its effect, if it is one."""
PROMISE_S = 1.0
"""Who leaves a queue for a callback is promised it within this."""


class UnusableJournal(Exception):
    """A file that cannot be replayed; the message says what is wrong and where."""


@dataclass(frozen=True, slots=True)
class Configured:
    """The centre set a queue or an agent; ``entity`` None: it deleted the key."""

    at: float
    key: str
    entity: QueueConfig | AgentConfig | None


@dataclass(frozen=True, slots=True)
class Row:
    seq: int
    call_id: CallId | None
    event: Event | Configured

    @property
    def at(self) -> float:
        return self.event.at


@dataclass(slots=True)
class Run:
    """From one start of the controller to the next."""

    in_force: list[Configured]
    """At its start."""
    rows: list[Row] = field(default_factory=list)
    """What the router was told and did, in order."""
    decisions: dict[CallId, list[Row]] = field(default_factory=lambda: defaultdict(list))
    """What calls were told, in order."""
    last_heard: dict[CallId, float] = field(default_factory=dict)
    """Time of the last event read of each call."""
    offered: dict[tuple[AgentId, float], CallId] = field(default_factory=dict)
    outcomes: dict[OfferId, ev.OfferOutcome] = field(default_factory=dict)
    engaged: dict[tuple[AgentId, float], tuple[CallId, str]] = field(default_factory=dict)
    talked: dict[tuple[CallId, AgentId], QueueId] = field(default_factory=dict)
    promised: dict[CallId, float] = field(default_factory=dict)
    """When the caller was promised a callback."""
    promises: dict[tuple[QueueId, float], ev.CallbackRequested] = field(default_factory=dict)
    """By queue and the time whose place they keep; those of former runs, too."""

    @property
    def began_at(self) -> float:
        """When something happened first: no shift and no queue's hours began or ended before, that would be a row."""
        return self.rows[0].at if self.rows else 0.0

    def left_a_number(self, call_id: CallId | None, at: float) -> bool:
        """Whether the call left its queue then because a callback was promised instead."""
        promised_at = self.promised.get(call_id or CallId(""))
        return promised_at is not None and 0 <= promised_at - at < PROMISE_S

    def promise(self, asked: Asked, at: float) -> ev.CallbackRequested | None:
        """What a callback that waits from then on was asked for."""
        for (queue_id, entered_at), requested in self.promises.items():
            if queue_id == asked.queue_id and min(entered_at, at) == asked.entered_at:
                return requested
        return None

    def offer(self, taken: ev.ProposalTaken) -> ev.OfferMade:
        """What the call was told of an agent of another POP; its own event was lost where the controller died."""
        for row in self.decisions.get(taken.call_id, ()):
            if isinstance(row.event, ev.OfferMade) and row.event.offer_id == taken.offer_id:
                return row.event
        return ev.OfferMade(
            at=taken.at,
            offer_id=taken.offer_id or OfferId(""),
            queue_id=QueueId(""),
            agent_id=taken.agent_id,
            phone_id=PhoneId(""),
            agent_country=None,
            epoch=0,
            ring_timeout_s=0.0,
        )

    def left_to_router(self, number: int) -> bool:
        """Whether row ``number`` led to an agent being left to the router of the queues that span POPs. It has the time
        of what led to it; that of a change of the configuration is a little earlier."""
        act, changed = self.rows[number], set[AgentId]()
        slack_s = SAME_ACT_S if isinstance(act.event, Configured) else 0.0
        for row in islice(self.rows, number + 1, None):
            match row.event:
                case ev.AgentChanged(agent_id=agent_id):
                    changed.add(agent_id)
                case ev.RouterAwaited(agent_id=agent_id, at=at) if at - act.at <= slack_s:
                    if not isinstance(act.event, ev.AgentChanged):
                        return True
                    # Else it is what that agent did, and did last.
                    if act.event.agent_id == agent_id and agent_id not in changed:
                        return True
                case _:
                    break
        return False

    def reserved_for(self, change: ev.AgentChanged) -> CallId | None:
        """The call whose offer this change is."""
        return self.offered.get((change.agent_id, change.at)) if change.state == "RESERVED" else None


@dataclass(frozen=True, slots=True)
class Journal:
    runs: list[Run]
    unknown: dict[str, int]
    """Events of kinds that this version does not know, which were skipped."""


def read(path: Path) -> Journal:
    """Raises UnusableJournal. The file is not changed; a controller may go on writing it."""
    if not path.is_file():
        raise UnusableJournal(f"{path} is not a file: name a POP's journal, journal.sqlite")
    try:
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            events = db.execute("SELECT seq, call_id, kind, data FROM events ORDER BY seq").fetchall()
            history = db.execute("SELECT after_seq, at, key, entry FROM config_history ORDER BY n").fetchall()
        finally:
            db.close()
    except sqlite3.Error as error:
        raise UnusableJournal(f"{path} cannot be replayed: {error}; it must be a journal of this version") from error
    unknown: dict[str, int] = {}
    rows: list[Row] = []
    for seq, call_id, kind, data in events:
        if kind in _READ:
            rows.append(Row(seq, call_id, _decoded(seq, kind, data)))
        elif kind not in BY_NAME:
            unknown[kind] = unknown.get(kind, 0) + 1
    return Journal(_runs(rows, history), unknown)


def _decoded(seq: int, kind: str, data: bytes) -> Event:
    try:
        event = decode_event(kind, data)
    except (msgspec.MsgspecError, ValueError) as error:
        raise UnusableJournal(f"event {seq} ({kind}) cannot be read: {error}; the journal is damaged there") from error
    if event is None:
        raise AssertionError(f"{kind} is a known kind")
    return event


def _configured(after_seq: int, at: float, key: str, entry: bytes | None) -> Configured:
    try:
        return Configured(at, key, None if entry is None else _ENTITY.decode(entry))
    except msgspec.MsgspecError as error:
        raise UnusableJournal(f"configuration {key} after event {after_seq} cannot be read: {error}") from error


def _runs(rows: list[Row], history: list[tuple[int, float, str | None, bytes | None]]) -> list[Run]:
    if not history:
        raise UnusableJournal("the journal has no history of its configuration: it is of an older version")
    runs: list[Run] = []
    in_force: dict[str, Configured] = {}
    left = iter(rows)
    row = next(left, None)
    first_seq = next((after for after, _, key, _ in history if key is None), 0)
    joins: list[Row] = []
    for after_seq, at, key, entry in history:
        while row is not None and row.seq <= after_seq:
            if runs:
                _take(runs[-1], row, joins)
            elif row.seq > first_seq:
                raise UnusableJournal(f"event {row.seq} is before the first start of a controller")
            row = next(left, None)
        if key is None:
            while runs and runs[-1].rows and isinstance(runs[-1].rows[-1].event, Configured):
                runs[-1].rows.pop()  # what changed while the controller was away, or had no effect any more
            _close(runs, joins)
            former = runs[-1].promises if runs else {}
            runs.append(Run(sorted(in_force.values(), key=lambda one: one.key), promises=dict(former)))
            continue
        configured = _configured(after_seq, at, key, entry)
        if configured.entity is None:
            in_force.pop(key, None)
        else:
            in_force[key] = configured
        if runs:
            runs[-1].rows.append(Row(after_seq, None, configured))
    while row is not None:
        _take(runs[-1], row, joins)
        row = next(left, None)
    _close(runs, joins)
    return runs


def _take(run: Run, row: Row, joins: list[Row]) -> None:
    call_id, event = row.call_id, row.event
    if call_id is None:
        if isinstance(event, OF_THE_ROUTER):
            run.rows.append(row)
        if isinstance(event, ev.LentOfferEnded):
            run.outcomes[event.offer_id] = ev.OfferOutcome(event.outcome)
        if isinstance(event, ev.CallbackRequested):
            run.promises[event.queue_id, event.entered_at] = event
        if isinstance(event, ev.AgentChanged) and event.state == "ENGAGED":
            # For whom, the call says; unless the controller died before.
            run.engaged.setdefault((event.agent_id, event.at), (CallId(""), ""))
        return
    run.last_heard[call_id] = max(event.at, run.last_heard.get(call_id, 0.0))
    match event:
        case ev.QueueJoined(asked=asked):
            if asked is None:
                raise UnusableJournal(f"event {row.seq} does not say what the call asked: it is of an older version")
            joins.append(row)
        case ev.QueueRefused(asked=asked):
            run.decisions[call_id].append(row)
            if asked is not None:
                joins.append(row)
        case ev.OfferMade():
            run.decisions[call_id].append(row)
            if event.pop_id is None:
                run.offered[event.agent_id, event.at] = call_id
        case ev.OfferWithdrawn() | ev.QueueOverflowed() | ev.WaitEnded() | ev.CallbackOffered():
            run.decisions[call_id].append(row)
        case ev.OfferEnded():
            run.outcomes[event.offer_id] = event.outcome
        case ev.CallbackPromised():
            run.promised[call_id] = event.at
        case ev.AgentEngaged():
            run.engaged[event.agent_id, event.at] = call_id, event.request
        case ev.TalkStarted():
            run.talked[call_id, event.agent_id] = event.queue_id
        case _:
            pass


def _close(runs: list[Run], joins: list[Row]) -> None:
    """Put the joins among the rows of the run that ends."""
    if runs:
        runs[-1].rows = list(_merged(runs[-1], sorted(joins, key=lambda row: (row.at, row.seq))))
    joins.clear()


def _merged(run: Run, joins: list[Row]) -> Iterable[Row]:
    """At one and the same time a join comes before the change of the agent it was offered to; one that was offered to
    nobody, after all changes."""
    rows, at = run.rows, 0
    for join in joins:
        while at < len(rows) and rows[at].at < join.at:
            yield rows[at]
            at += 1
        end, reserved = at, None
        while end < len(rows) and rows[end].at == join.at:
            event = rows[end].event
            if isinstance(event, ev.ProposalTaken) and event.call_id == join.call_id:
                reserved = end
                break
            if isinstance(event, ev.AgentChanged):
                # The last one: what a callback was offered in vain is in no call's events. Nor is what a controller
                # decided in its last moment.
                last = rows[-1].at == event.at
                unwritten = last and event.state == "RESERVED" and run.reserved_for(event) is None
                if unwritten or run.reserved_for(event) == join.call_id:
                    reserved = end
            end += 1
        end = end if reserved is None else reserved
        yield from rows[at:end]
        at = end
        yield join
    yield from rows[at:]
