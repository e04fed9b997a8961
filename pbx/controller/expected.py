"""What a call has asked of the media server, the router and the timers, and what has come of it: worked out from its
facts and commands alone, whatever steps it went through. What is still under way here was asked for; whether it was
ever done is what a snapshot must say."""

from __future__ import annotations

from dataclasses import dataclass, field

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.agent_state import State
from pbx.domain.e164 import E164
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, BridgeId, LegId, OfferId, QueueId, RecordingId
from pbx.domain.queue_rules import Asked


@dataclass(slots=True)
class Kept:
    """An agent whom the router keeps for the call."""

    state: State
    since: float
    queue_id: QueueId | None = None
    offer_id: OfferId | None = None
    epoch: int = 0


@dataclass(slots=True)
class Wait:
    """The call's place."""

    asked: Asked
    queue_id: QueueId
    joined_at: float
    since: float
    """From when the queue's steps count: the caller's age is kept."""
    tried: tuple[E164, ...] = ()
    caller: E164 | None = None
    hops: int = 0
    offered: bool = False
    """An offer of this wait came to nothing, so it waits for nobody in particular."""
    callback_told: bool = False


@dataclass(slots=True)
class Expected:
    legs: dict[LegId, bool] = field(default_factory=dict)
    """Those that may live, and whether they are answered."""
    hung_up: dict[LegId, HangupCause] = field(default_factory=dict)
    bridges: dict[BridgeId, tuple[LegId, LegId]] = field(default_factory=dict)
    joining: dict[BridgeId, cmd.BridgeLegs] = field(default_factory=dict)
    """Bridges of which the media server has not said yet that they are up."""
    held: dict[LegId, str] = field(default_factory=dict)
    """With which music."""
    muted: dict[LegId, bool] = field(default_factory=dict)
    music: dict[LegId, cmd.StartMusic | cmd.StartRinging | cmd.StartTone] = field(default_factory=dict)
    supervising: dict[LegId, cmd.SuperviseLeg] = field(default_factory=dict)
    recordings: dict[RecordingId, cmd.StartRecording] = field(default_factory=dict)
    """Those that are not over."""
    captured: set[RecordingId] = field(default_factory=set)
    """Of these the media server has said that they began."""
    stopping: dict[RecordingId, cmd.StopRecording] = field(default_factory=dict)
    pausing: dict[RecordingId, cmd.PauseRecording | cmd.ResumeRecording] = field(default_factory=dict)
    """What was asked last of those that are not over."""
    erasing: dict[RecordingId, cmd.EraseRecording] = field(default_factory=dict)
    timers: dict[str, float] = field(default_factory=dict)
    """When each is due."""
    agents: dict[AgentId, Kept] = field(default_factory=dict)
    wait: Wait | None = None
    joined: cmd.JoinQueue | None = None
    asked: dict[str, cmd.EngageAgent | cmd.RequestCallback | cmd.JoinQueue] = field(default_factory=dict)
    """What the router, or the keeper of callbacks, has not answered yet."""

    # --- facts ------------------------------------------------------------------------------------------------------

    def heard(self, event: ev.Event) -> None:
        match event:
            case ev.LegOffered(leg_id=leg_id):
                self.legs[leg_id] = False
            case ev.LegAnswered(leg_id=leg_id):
                self.legs[leg_id] = True
            case ev.LegEnded(leg_id=leg_id):
                self._gone(leg_id)
            case ev.LegsBridged(bridge_id=bridge_id):
                self.joining.pop(bridge_id, None)
            case ev.RecordingStarted(recording_id=recording_id):
                self.captured.add(recording_id)
            case ev.RecordingEnded(recording_id=recording_id):
                self._placed(recording_id)
            case ev.RecordingErased(recording_id=recording_id):
                self.erasing.pop(recording_id, None)
            case ev.TimerFired(timer=timer):
                self.timers.pop(timer, None)
            case ev.CommandFailed():
                self._failed(event)
            case ev.AgentEngaged(request=request, agent_id=agent_id):
                self.asked.pop(request, None)
                self.agents[agent_id] = Kept(State.ENGAGED, event.at)
            case ev.AgentNotEngaged(request=request):
                self.asked.pop(request, None)
            case ev.CallbackPromised() | ev.CallbackRefused():
                self.asked.pop("callback", None)
            case ev.CallbackDialled():
                self._called_back(event)
            case ev.CallPlaced(phone_leg=phone_leg):
                self.legs[phone_leg] = False
            case _:
                self._queue(event)

    def _queue(self, event: ev.Event) -> None:
        match event:
            case ev.QueueJoined(asked=Asked() as asked):
                self.asked.pop("join", None)
                join = self.joined
                tried, caller = (join.tried, join.caller) if join is not None else ((), None)
                self.wait = Wait(asked, event.queue_id, event.at, asked.entered_at, tried, caller)
            case ev.QueueRefused() | ev.WaitEnded():
                self.asked.pop("join", None)
                self.wait = None
            case ev.QueueOverflowed(queue_id=queue_id) if self.wait is not None:
                self.wait.queue_id, self.wait.since, self.wait.callback_told = queue_id, event.at, False
                self.wait.hops += 1
            case ev.CallbackOffered() if self.wait is not None:
                self.wait.callback_told = True
            case ev.OfferMade():
                kept = Kept(State.RESERVED, event.at, event.queue_id, event.offer_id, event.epoch)
                self.agents[event.agent_id] = kept
            case _:
                pass

    def _called_back(self, event: ev.CallbackDialled) -> None:
        """The callback waited in the ACD before it was a call, and waits on under the call's name."""
        asked = Asked(event.queue_id, event.entered_at, event.priority, event.needs, callback=True)
        self.legs[event.leg_id] = False
        self.wait = Wait(asked, event.queue_id, event.at, event.entered_at)

    def _gone(self, leg_id: LegId) -> None:
        for known in (self.legs, self.hung_up, self.held, self.muted, self.music, self.supervising):
            known.pop(leg_id, None)
        self.bridges = {bridge_id: legs for bridge_id, legs in self.bridges.items() if leg_id not in legs}
        self.joining = {bridge_id: made for bridge_id, made in self.joining.items() if leg_id not in made.leg_ids}

    def _placed(self, recording_id: RecordingId) -> None:
        self.recordings.pop(recording_id, None)
        self.stopping.pop(recording_id, None)
        self.pausing.pop(recording_id, None)
        self.captured.discard(recording_id)

    def _failed(self, event: ev.CommandFailed) -> None:
        subject = event.subject
        match event.command:
            case "BridgeLegs":
                self.joining.pop(BridgeId(subject), None)
                self.bridges.pop(BridgeId(subject), None)
            case "StartRecording":
                self._placed(RecordingId(subject))
            case "PauseRecording" | "ResumeRecording":
                self.pausing.pop(RecordingId(subject), None)
            case "EraseRecording":
                self.erasing.pop(RecordingId(subject), None)
            case "OriginateLeg" if not event.unknown:
                self._gone(LegId(subject))
            case "HoldLeg":
                self.held.pop(LegId(subject), None)
            case "SuperviseLeg":
                self.supervising.pop(LegId(subject), None)
            case _:
                pass

    # --- commands ---------------------------------------------------------------------------------------------------

    def asks(self, command: cmd.Command, now: float) -> None:
        match command:
            case cmd.SetTimer(timer=timer, delay_s=delay_s):
                self.timers[timer] = now + delay_s
            case cmd.CancelTimer(timer=timer):
                self.timers.pop(timer, None)
            case cmd.OriginateLeg(leg_id=leg_id):
                self.legs[leg_id] = False
            case cmd.HangUpLeg(leg_id=leg_id, cause=cause):
                self.hung_up[leg_id] = cause
            case cmd.BridgeLegs(bridge_id=bridge_id, leg_ids=leg_ids):
                self._bridge(bridge_id, leg_ids)
                self.joining[bridge_id] = command
            case cmd.DestroyBridge(bridge_id=bridge_id):
                self.bridges.pop(bridge_id, None)
                self.joining.pop(bridge_id, None)
            case cmd.PlayPrompts(leg_id=leg_id) | cmd.StopMusic(leg_id=leg_id):
                self.music.pop(leg_id, None)
            case cmd.StartMusic(leg_id=leg_id) | cmd.StartRinging(leg_id=leg_id) | cmd.StartTone(leg_id=leg_id):
                self.music[leg_id] = command
            case cmd.HoldLeg(leg_id=leg_id, music_class=music_class):
                self.held[leg_id] = music_class
            case cmd.ResumeLeg(leg_id=leg_id):
                self.held.pop(leg_id, None)
            case cmd.MuteLeg(leg_id=leg_id, muted=muted):
                self.muted[leg_id] = muted
            case cmd.SuperviseLeg(leg_id=leg_id):
                self.supervising[leg_id] = command
                self.music.pop(leg_id, None)
            case cmd.StartRecording(recording_id=recording_id):
                self.recordings[recording_id] = command
            case cmd.StopRecording(recording_id=recording_id):
                self.stopping[recording_id] = command
            case cmd.PauseRecording(recording_id=recording_id) | cmd.ResumeRecording(recording_id=recording_id):
                self.pausing[recording_id] = command
            case cmd.EraseRecording(recording_id=recording_id):
                self.erasing[recording_id] = command
            case _:
                self._asks_router(command, now)

    def _bridge(self, bridge_id: BridgeId, leg_ids: tuple[LegId, LegId]) -> None:
        for leg_id in leg_ids:
            for known in (self.held, self.music, self.supervising):
                known.pop(leg_id, None)
        kept = {one: legs for one, legs in self.bridges.items() if not set(legs) & set(leg_ids)}
        self.bridges = {**kept, bridge_id: leg_ids}
        self.joining = {one: made for one, made in self.joining.items() if one in kept}

    def _asks_router(self, command: cmd.Command, now: float) -> None:
        match command:
            case cmd.JoinQueue():
                self.asked["join"] = self.joined = command
            case cmd.LeaveQueue():
                self.asked.pop("join", None)
                self.wait = None
            case cmd.RequestCallback():
                self.asked["callback"] = command
            case cmd.EngageAgent(request=request):
                self.asked[request] = command
            case cmd.AgentRings(agent_id=agent_id) if agent_id in self.agents:
                self.agents[agent_id].state = State.RINGING
            case cmd.EndOffer():
                self._offer_ended(command)
            case cmd.PutOnCall(agent_id=agent_id, queue_id=queue_id):
                self.agents[agent_id] = Kept(State.ON_CALL, now, queue_id)
            case cmd.ReleaseAgent(agent_id=agent_id) | cmd.FreeAgent(agent_id=agent_id):
                self.agents.pop(agent_id, None)
                engaging = (cmd.EngageAgent, agent_id)
                for request, asked in list(self.asked.items()):
                    if (type(asked), getattr(asked, "agent_id", None)) == engaging:
                        del self.asked[request]
            case _:
                pass

    def _offer_ended(self, command: cmd.EndOffer) -> None:
        kept = self.agents.get(command.agent_id)
        if kept is None or kept.offer_id != command.offer_id:
            return
        if command.outcome is ev.OfferOutcome.ANSWERED:
            kept.state, kept.offer_id = State.ON_CALL, None
            self.wait = None
            return
        del self.agents[command.agent_id]
        if command.outcome is ev.OfferOutcome.CALLER_GONE:
            self.wait = None
        elif self.wait is not None:
            self.wait.offered = True
