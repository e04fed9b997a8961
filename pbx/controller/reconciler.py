"""From a call's journal to the call, and from a snapshot of the media server to what must be done about it. Pure.

A call is rebuilt by running its facts again; the findings that it makes must be those in the journal. Its differences
from the media server are settled by the rules of pbx/README.md. Nothing is dialled again, and what was recorded goes on
or is placed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from pbx.controller.expected import Expected, Kept
from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.agent_state import State
from pbx.domain.call import Call
from pbx.domain.call_context import CallConfig
from pbx.domain.ids import AgentId, BridgeId, CallId, LegId, RecordingId
from pbx.ports.hidden import Hidden
from pbx.ports.media_engine import EngineSnapshot, LegSnapshot

_FINDINGS = frozenset(ev.FINDINGS)


class NotFollowed(Exception):
    """The journal's facts do not lead to the journal's findings; the message says where, and no personal data."""


@dataclass(slots=True)
class Rebuilt:
    call: Call
    expected: Expected
    at: float
    """Of its last fact."""
    hidden: int
    """How many values the journal did not hold."""


def rebuild(call_id: CallId, events: Iterable[ev.Event], config: CallConfig, hidden: Mapping[int, Hidden]) -> Rebuilt:
    """The call as it was when its last event was written. ``hidden``: by number, from 0. Raises NotFollowed."""
    rows = list(events)
    first = rows[0] if rows else None
    if not isinstance(first, ev.CallBegun):
        raise NotFollowed("it does not begin with its beginning")
    call, expected = Call(call_id, first, config), Expected()
    found: deque[ev.Event] = deque()
    at, number = 0.0, 0
    for event in rows:
        if type(event) in _FINDINGS:
            if not found or _evidence_aside(found.popleft()) != _evidence_aside(event):
                raise NotFollowed(f"{type(event).__name__} is not what the core finds now")
            continue
        if found:
            raise NotFollowed(f"the core finds {type(found[0]).__name__} now, the journal does not")
        shown = call.for_journal(event)
        if shown is not event:
            if number not in hidden:
                raise NotFollowed("what the journal does not hold is not known any more")
            event = _told(event, hidden[number])
            number += 1
        at = max(at, event.at)
        expected.heard(event)
        for command in call.handle(event, at):
            if isinstance(command, cmd.Record):
                found.append(command.event)
            else:
                expected.asks(command, at)
    if found:
        raise NotFollowed(f"the core finds {type(found[0]).__name__} now, the journal does not")
    return Rebuilt(call, expected, at, number)


def _told(event: ev.Event, hidden: Hidden) -> ev.Event:
    if isinstance(event, ev.DigitPressed) and isinstance(hidden, str):
        return replace(event, digit=hidden)
    if isinstance(event, ev.LookupEnded) and isinstance(hidden, dict):
        return replace(event, values=hidden)
    raise NotFollowed("what the journal does not hold is of another kind")


def _evidence_aside(event: ev.Event) -> ev.Event:
    """Prompts may have been spoken anew since; which one was heard is in the journal, and stays there."""
    match event:
        case ev.ConsentGranted() | ev.ConsentRefused():
            return replace(event, prompt_sha256="")
        case ev.VoicemailGranted():
            return replace(event, prompt_sha256s=())
        case _:
            return event


# --- against the media server -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Plan:
    """What makes call and media server agree again. In this order: recordings, commands, timers, facts."""

    recordings: list[cmd.StartRecording] = field(default_factory=list)
    """Captures that go on."""
    commands: list[cmd.Command] = field(default_factory=list)
    """Asked for before, and perhaps not done."""
    timers: dict[str, float] = field(default_factory=dict)
    """In how many seconds each is due."""
    facts: list[ev.Event] = field(default_factory=list)
    lost: list[LegId] = field(default_factory=list)
    """Legs that are not there; their end may still be on its way."""


def reconcile(rebuilt: Rebuilt, snapshot: EngineSnapshot, files: Collection[RecordingId], now: float) -> Plan:
    """``files``: recordings of which something has been captured and not been placed."""
    expected, call = rebuilt.expected, rebuilt.call
    legs = {leg.leg_id: leg for leg in snapshot.legs}
    caller = call.lives_by
    # The caller's first: where nobody is left, nobody knows who hung up, and it counts as the caller.
    plan = Plan(lost=sorted((leg for leg in expected.legs if leg not in legs), key=lambda leg: (leg != caller, leg)))
    plan.timers = {name: max(0.0, due - now) for name, due in expected.timers.items()}
    _recordings(plan, expected, legs, files, now)
    for leg_id, cause in sorted(expected.hung_up.items()):
        if leg_id in legs:
            plan.commands.append(cmd.HangUpLeg(leg_id, cause))
    if caller in legs:
        plan.facts.append(ev.CallReadopted(at=now))
        for leg_id, answered in sorted(expected.legs.items()):
            if not answered and leg_id in legs and legs[leg_id].answered and leg_id not in expected.hung_up:
                plan.facts.append(ev.LegAnswered(at=now, leg_id=leg_id))
        _conversations(plan, expected, legs, snapshot, now)
        plan.commands += expected.asked.values()
    return plan


def _recordings(
    plan: Plan, expected: Expected, legs: Mapping[LegId, LegSnapshot], files: Collection[RecordingId], now: float
) -> None:
    for recording_id, start in expected.recordings.items():
        there, begun = recording_id in files, recording_id in expected.captured
        if there or begun:
            plan.recordings.append(start)
        if there and not begun:
            plan.facts.append(ev.RecordingStarted(at=now, recording_id=recording_id, leg_id=start.leg_id))
        if recording_id in expected.stopping:
            plan.commands.append(expected.stopping[recording_id])
        elif begun and not there:
            plan.commands.append(cmd.StopRecording(recording_id, start.leg_id))
        elif not there and start.leg_id in legs:
            plan.commands.append(start)
        if recording_id in expected.pausing and recording_id not in expected.stopping:
            plan.commands.append(expected.pausing[recording_id])
    plan.commands += expected.erasing.values()


def _conversations(
    plan: Plan, expected: Expected, legs: Mapping[LegId, LegSnapshot], snapshot: EngineSnapshot, now: float
) -> None:
    ours = [leg_id for leg_id in sorted(expected.legs) if leg_id in legs]
    strange = {legs[leg_id].bridge_id for leg_id in ours} - expected.bridges.keys() - {None}
    plan.commands += [cmd.DestroyBridge(bridge_id) for bridge_id in sorted(filter(None, strange))]
    for bridge_id, pair in expected.bridges.items():
        if not all(leg_id in legs and legs[leg_id].answered for leg_id in pair):
            continue
        if all(legs[leg_id].bridge_id == bridge_id for leg_id in pair):
            if bridge_id in expected.joining:
                plan.facts.append(ev.LegsBridged(at=now, bridge_id=bridge_id, leg_ids=pair))
            else:  # a media server may count a leg that is held
                plan.commands += [cmd.ResumeLeg(leg_id) for leg_id in pair if leg_id not in expected.held]
        elif not any(leg_id in expected.held for leg_id in pair):
            plan.commands += _joined(bridge_id, pair, snapshot, bridge_id in expected.joining)
            if bridge_id in expected.joining and bridge_id in snapshot.bridges:
                failed = ev.CommandFailed(at=now, command="BridgeLegs", subject=bridge_id, error="half", unknown=False)
                plan.facts.append(failed)
    for leg_id in ours:
        if leg_id in expected.held:
            plan.commands.append(cmd.HoldLeg(leg_id, expected.held[leg_id]))
        elif leg_id in expected.music and legs[leg_id].bridge_id is None:
            plan.commands.append(expected.music[leg_id])
        if leg_id in expected.muted:
            plan.commands.append(cmd.MuteLeg(leg_id, expected.muted[leg_id]))
        watch = expected.supervising.get(leg_id)
        if watch is not None and legs[leg_id].supervises != watch.watched:
            plan.commands.append(watch)


def _joined(
    bridge_id: BridgeId, pair: tuple[LegId, LegId], snapshot: EngineSnapshot, joining: bool
) -> list[cmd.Command]:
    """A conversation whose legs are not together: made anew; or, where the bridge is there, who was held is brought
    back, and a bridge that was only half made is taken apart."""
    if bridge_id not in snapshot.bridges:
        return [cmd.BridgeLegs(bridge_id, pair)]
    if joining:
        return [cmd.DestroyBridge(bridge_id)]
    return [cmd.ResumeLeg(leg_id) for leg_id in pair]


# --- agents -----------------------------------------------------------------------------------------------------------


def adopt_agents(
    known: Iterable[ev.AgentChanged], calls: Mapping[CallId, Expected], now: float
) -> list[ev.AgentAdopted]:
    """Each agent as the calls have it; who is in none is in wrap-up for the rest of the time, or idle."""
    kept: dict[AgentId, tuple[CallId, Kept]] = {}
    for call_id, expected in calls.items():
        kept |= {agent_id: (call_id, one) for agent_id, one in expected.agents.items()}
    return [_adopted(changed, kept.get(changed.agent_id), now) for changed in known]


def _adopted(changed: ev.AgentChanged, kept: tuple[CallId, Kept] | None, now: float) -> ev.AgentAdopted:
    adopted = ev.AgentAdopted(
        at=now,
        agent_id=changed.agent_id,
        status=changed.status,
        reason=changed.reason,
        state=State.IDLE.value,
        was=changed.state,
        since=changed.at if changed.state == State.IDLE.value else now,
    )
    if kept is None:
        if changed.state == State.WRAP_UP.value:
            return replace(adopted, state=changed.state, since=changed.at, until=changed.until)
        return adopted
    call_id, one = kept
    rings = one.state is State.RESERVED and changed.state == State.RINGING.value
    return replace(
        adopted,
        state=(State.RINGING if rings else one.state).value,
        since=one.since,
        call_id=call_id,
        queue_id=one.queue_id,
        offer_id=one.offer_id,
        epoch=one.epoch,
    )


def adopt_wait(call_id: CallId, expected: Expected, now: float) -> ev.WaitAdopted | None:
    """The place of a call that waits, also while an agent is rung for it."""
    wait = expected.wait
    if wait is None:
        return None
    alone = wait.asked.preferred is not None and not wait.offered and wait.hops == 0
    return ev.WaitAdopted(
        at=now,
        call_id=call_id,
        queue_id=wait.queue_id,
        asked=wait.asked,
        since=wait.since,
        hops=wait.hops,
        tried=wait.tried,
        offer_id=next((one.offer_id for one in expected.agents.values() if one.offer_id is not None), None),
        preferred_until=wait.joined_at + wait.asked.preferred_s if alone else None,
        callback_told=wait.callback_told,
    )
