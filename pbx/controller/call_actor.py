"""One call, one actor, one inbox: events go in, the core says what to do, the journal has it before it is done."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from typing import get_args

from pbx.controller.reconciler import Plan, Rebuilt
from pbx.controller.router import Router
from pbx.controller.timers import Timers
from pbx.domain import commands as cmd
from pbx.domain.asked import Asked
from pbx.domain.call import Call
from pbx.domain.errors import EngineError, EngineUnknown, JournalError, LegGone, LookupFailed
from pbx.domain.events import (
    CallbackDialled,
    CallEnded,
    CommandFailed,
    DigitPressed,
    EndReason,
    Event,
    LegEnded,
    LookupEnded,
    OfferMade,
    OfferOutcome,
    RecordingErased,
    RecordingSilent,
    RecordingStarted,
    TimerFired,
)
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import CallId, LegId, RecordingId
from pbx.domain.lookup_step import taken
from pbx.ports.hidden import HiddenValues
from pbx.ports.journal import Journal
from pbx.ports.lookups import Lookups
from pbx.ports.media_engine import Clock, MediaEngine
from pbx.recording.recorder import Recorder
from pbx.wire.telemetry.logs import enter_call

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """What an actor works with. ``own_leg`` tells the dispatcher whose events a leg's are; ``closed`` that the
    call is over."""

    engine: MediaEngine
    journal: Journal
    router: Router
    recorder: Recorder
    clock: Clock
    own_leg: Callable[[LegId, CallActor], None]
    closed: Callable[[CallActor], None]
    lookups: Lookups
    request_callback: Callable[[CallId, cmd.RequestCallback], None]
    hidden: HiddenValues


_SUBJECTS = {
    cmd.AnswerLeg: "leg_id",
    cmd.HangUpLeg: "leg_id",
    cmd.OriginateLeg: "leg_id",
    cmd.PlayPrompts: "play_id",
    cmd.BridgeLegs: "bridge_id",
    cmd.StartRecording: "recording_id",
    cmd.PauseRecording: "recording_id",
    cmd.ResumeRecording: "recording_id",
    cmd.EraseRecording: "recording_id",
    cmd.HoldLeg: "leg_id",
    cmd.ResumeLeg: "leg_id",
    cmd.MuteLeg: "leg_id",
    cmd.SuperviseLeg: "leg_id",
}
"""Commands whose failure the core must know, and the field that says what they were about."""

_ANSWERED = frozenset(
    (
        cmd.OriginateLeg,
        cmd.HoldLeg,
        cmd.ResumeLeg,
        cmd.MuteLeg,
        cmd.SuperviseLeg,
        cmd.PauseRecording,
        cmd.ResumeRecording,
    )
)
"""Commands without which a request that is answered after them was not carried out."""

_INSIDE = frozenset(
    (cmd.Record, cmd.Answer, cmd.SetTimer, cmd.CancelTimer, cmd.RequestCallback, *get_args(cmd.RouterCommand))
)
"""Commands that change nothing outside this process. What they lead to goes to the journal after them, in order, and
is waited for: these need not be."""


class CallActor:
    def __init__(self, call: Call, services: Services) -> None:
        self.call = call
        self._services = services
        self._inbox: deque[Event] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._timers = Timers(self._timer_fired)
        self._background: set[asyncio.Task[None]] = set()
        self._lookups: set[asyncio.Task[None]] = set()
        self.legs: set[LegId] = set()
        self._task: asyncio.Task[None] | None = None
        self._asked: dict[str, asyncio.Future[cmd.Answer]] = {}
        self._now = 0.0
        """Of the last fact. A call goes by the times of its facts, so that it can be rebuilt from the journal."""
        self._hidden = 0
        """How many facts hold what the journal must not."""
        self._again: list[cmd.Command] = []

    def take_up(self, rebuilt: Rebuilt, plan: Plan) -> None:
        """Go on with a call of the last run."""
        self._now, self._hidden = rebuilt.at, rebuilt.hidden
        for start in plan.recordings:
            self._services.recorder.adopt(start.recording_id, start.leg_id, start.region)
            self._watch(start)
        self._again = plan.commands
        for name, delay_s in plan.timers.items():
            self._timers.set(name, delay_s)
        for event in plan.facts:
            self.post(event)
        self.start()

    def halt(self) -> None:
        """Stop without a word: the call goes on, and the next controller takes it up."""
        for task in (self._task, *self._lookups, *self._background):
            if task is not None:
                task.cancel()

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"call-{self.call.call_id}")

    def post(self, event: Event) -> None:
        """Put an event into the inbox; never blocks."""
        self._inbox.append(event)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def ask(self, event: Asked) -> asyncio.Future[cmd.Answer]:
        """Put a request into the inbox; its answer comes when it has been carried out, or when the call is over."""
        answer = self._asked[event.request] = asyncio.get_running_loop().create_future()
        self.post(event)
        return answer

    def _answer(self, answer: cmd.Answer) -> None:
        waiting = self._asked.pop(answer.request, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def _timer_fired(self, name: str) -> None:
        self.post(TimerFired(at=self._services.clock(), timer=name))

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        enter_call(self.call.call_id)
        try:
            for command in self._again:
                await self._perform_again(command)
            while not self.call.ended:
                if not self._inbox:
                    self._wake = loop.create_future()
                    await self._wake
                    self._wake = None
                await self._take(self._inbox.popleft())
        except asyncio.CancelledError:
            self._timers.cancel_all()
            raise
        except Exception:
            # A defect of ours must cost this call only, and must not leave its legs waiting for ever.
            log.exception("call %s stopped by a defect; its legs are hung up", self.call.call_id)
            await self._give_up()
        self._over()
        if self._hidden:
            await self._journal([])  # or a crash now would leave a call that has not ended and cannot be followed
            self._services.hidden.forget(self.call.call_id)

    def _over(self) -> None:
        self._timers.cancel_all()
        for task in self._lookups:
            task.cancel()
        self._services.closed(self)
        for event in self._inbox:
            if isinstance(event, OfferMade):  # crossed with the end of the call
                gone = cmd.EndOffer(event.offer_id, event.agent_id, OfferOutcome.CALLER_GONE)
                self._services.router.handle(self.call.call_id, gone)
        for request in list(self._asked):
            self._answer(cmd.Answer(request, "unknown_call", "the call has ended"))

    async def _take(self, event: Event) -> None:
        fact = self.call.for_journal(event)
        if fact is not event:
            self._hide(event)
        self._now = max(self._now, event.at)
        commands = self.call.handle(event, self._now)
        written = [fact, *(command.event for command in commands if isinstance(command, cmd.Record))]
        if _INSIDE.issuperset(map(type, commands)):
            self._services.journal.note(self.call.call_id, written)
            journalled = True
        else:
            journalled = await self._journal(written)
        failed = False
        for command in commands:
            if isinstance(command, cmd.Answer):
                if failed and command.error_id is None:
                    command = replace(command, error_id="engine_failed", detail="the media server did not do it")
                self._answer(command)
            elif not journalled and (
                isinstance(command, cmd.StartRecording)
                or (isinstance(command, cmd.OriginateLeg) and isinstance(event, CallbackDialled))
            ):
                # No evidence on disk, no recording; and nobody is called back who might be called again.
                self.post(self._failure(command, "NotJournalled", unknown=False))
            elif not isinstance(command, cmd.Record):
                failed |= not await self._perform(command) and type(command) in _ANSWERED

    def _hide(self, event: Event) -> None:
        """Kept aside before the journal has the event."""
        if isinstance(event, DigitPressed | LookupEnded):
            try:
                value = event.digit if isinstance(event, DigitPressed) else event.values
                self._services.hidden.keep(self.call.call_id, self._hidden, value)
            except OSError as error:
                log.error("ALARM call %s could not be followed after a restart: %s", self.call.call_id, error)
            self._hidden += 1

    async def _journal(self, events: list[Event]) -> bool:
        """False when the disk refused: the call goes on, and the log says what is missing."""
        try:
            await self._services.journal.append(self.call.call_id, events)
        except JournalError as error:
            kinds = ", ".join(type(event).__name__ for event in events)
            log.error("ALARM journal refused %s of call %s: %s", kinds, self.call.call_id, error)
            return False
        return True

    async def _perform_again(self, command: cmd.Command) -> None:
        """What may have been done already. Of conversations and recordings the core must know that they failed."""
        if not isinstance(command, cmd.HoldLeg | cmd.ResumeLeg | cmd.MuteLeg | cmd.HangUpLeg):
            await self._perform(command)
            return
        try:
            await self._ask_engine(command)
        except EngineError as error:
            log.debug("call %s: %s was not needed again: %s", self.call.call_id, type(command).__name__, error)

    async def _perform(self, command: cmd.Command) -> bool:
        """False when the media server did not do it."""
        match command:
            case cmd.SetTimer(timer=timer, delay_s=delay_s):
                self._timers.set(timer, delay_s)
            case cmd.CancelTimer(timer=timer):
                self._timers.cancel(timer)
            case (
                cmd.JoinQueue()
                | cmd.LeaveQueue()
                | cmd.KeepPlace()
                | cmd.AskPosition()
                | cmd.AgentRings()
                | cmd.EndOffer()
                | cmd.ReleaseAgent()
                | cmd.EngageAgent()
                | cmd.FreeAgent()
                | cmd.PutOnCall()
            ):
                self._services.router.handle(self.call.call_id, command)
            case cmd.RequestCallback():
                self._services.request_callback(self.call.call_id, command)
            case cmd.StopRecording():
                self._in_background(self._stop_recording(command))
            case cmd.EraseRecording():
                self._in_background(self._erase_recording(command))
            case cmd.Lookup():
                lookup = asyncio.get_running_loop().create_task(self._look_up(command))
                self._lookups.add(lookup)
                lookup.add_done_callback(self._lookups.discard)
            case cmd.Record() | cmd.Answer():
                pass
            case _:
                try:
                    await self._ask_engine(command)
                except EngineError as error:
                    if type(command) in _SUBJECTS:
                        self.post(self._failure(command, type(error).__name__, isinstance(error, EngineUnknown)))
                    elif not isinstance(error, LegGone):
                        log.warning("call %s: %s failed: %s", self.call.call_id, type(command).__name__, error)
                    return False
        return True

    def _in_background(self, job: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(job)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _failure(self, command: cmd.Command, error: str, unknown: bool) -> CommandFailed:
        name = type(command).__name__
        subject = getattr(command, _SUBJECTS[type(command)])
        return CommandFailed(at=self._services.clock(), command=name, subject=subject, error=error, unknown=unknown)

    async def _ask_engine(self, command: cmd.EngineCommand) -> None:
        engine = self._services.engine
        match command:
            case cmd.AnswerLeg(leg_id=leg_id):
                await engine.answer(leg_id)
            case cmd.HangUpLeg(leg_id=leg_id, cause=cause):
                await engine.hang_up(leg_id, cause)
            case cmd.PlayPrompts(leg_id=leg_id, play_id=play_id, prompts=prompts):
                await engine.play(leg_id, play_id, prompts)
            case cmd.StopPlay(play_id=play_id):
                await engine.stop_play(play_id)
            case cmd.StartMusic(leg_id=leg_id, music_class=music_class):
                await engine.start_music(leg_id, music_class)
            case cmd.StopMusic(leg_id=leg_id):
                await engine.stop_music(leg_id)
            case cmd.StartRinging(leg_id=leg_id):
                await engine.start_ringing(leg_id)
            case cmd.StartTone(leg_id=leg_id, tone=tone):
                await engine.start_tone(leg_id, tone)
            case cmd.OriginateLeg(leg_id=leg_id):
                self._services.own_leg(leg_id, self)
                await engine.originate(command)
            case cmd.BridgeLegs(bridge_id=bridge_id, leg_ids=leg_ids):
                await engine.bridge(bridge_id, leg_ids)
            case cmd.DestroyBridge(bridge_id=bridge_id):
                await engine.destroy_bridge(bridge_id)
            case cmd.StartRecording(recording_id=recording_id, leg_id=leg_id):
                await self._services.recorder.start(recording_id, leg_id, command.grant, command.region)
                self.post(RecordingStarted(at=self._services.clock(), recording_id=recording_id, leg_id=leg_id))
                self._watch(command)
            case cmd.PauseRecording(recording_id=recording_id, leg_id=leg_id):
                await engine.pause_recording(recording_id, leg_id)
            case cmd.ResumeRecording(recording_id=recording_id, leg_id=leg_id):
                await engine.resume_recording(recording_id, leg_id)
            case cmd.HoldLeg(leg_id=leg_id, music_class=music_class):
                await engine.hold(leg_id, music_class)
            case cmd.ResumeLeg(leg_id=leg_id):
                await engine.unhold(leg_id)
            case cmd.MuteLeg(leg_id=leg_id, muted=muted):
                await engine.mute(leg_id, muted)
            case cmd.SuperviseLeg(leg_id=leg_id, watched=watched, mode=mode):
                await engine.supervise(leg_id, watched, mode)
            case cmd.StopRecording():
                raise AssertionError("runs in the background")

    def _watch(self, start: cmd.StartRecording) -> None:
        recording_id = start.recording_id
        if start.silence_s is not None:
            silent = partial(self._silent, recording_id)
            self._services.recorder.watch(recording_id, start.silence_s, silent)

    def _silent(self, recording_id: RecordingId, said_s: float) -> None:
        self.post(RecordingSilent(at=self._services.clock(), recording_id=recording_id, said_s=said_s))

    async def _stop_recording(self, command: cmd.StopRecording) -> None:
        self.post(await self._services.recorder.stop(command.recording_id, command.leg_id, command.discard))

    async def _erase_recording(self, command: cmd.EraseRecording) -> None:
        recording_id = command.recording_id
        try:
            await self._services.recorder.erase(recording_id)
        except OSError as error:
            log.error("ALARM recording %s, of a caller who withdrew, could not be destroyed: %s", recording_id, error)
            self.post(self._failure(command, type(error).__name__, unknown=False))
        else:
            self.post(RecordingErased(at=self._services.clock(), recording_id=recording_id))

    async def _look_up(self, lookup: cmd.Lookup) -> None:
        status, error, values = 0, "", {}
        try:
            answer = await self._services.lookups.ask(lookup)
            status, values = answer.status, taken(answer.document, lookup.take)
        except LookupFailed as failed:
            status, error = failed.status, failed.reason
            log.warning("call %s: a lookup failed: %s", self.call.call_id, error)
        at = self._services.clock()
        self.post(LookupEnded(at=at, lookup_id=lookup.lookup_id, error=error, status=status, values=values))

    async def _give_up(self) -> None:
        for leg_id in sorted(self.call.legs):
            try:
                await self._services.engine.hang_up(leg_id, HangupCause.TEMPORARY_FAILURE)
            except EngineError as error:
                log.warning("call %s: a leg could not be hung up: %s", self.call.call_id, error)
        self._services.router.drop_call(self.call.call_id)
        now = self._services.clock()
        failed = HangupCause.TEMPORARY_FAILURE
        await self._journal([CallEnded(at=now, reason=EndReason.ENGINE_FAILED, cause=failed, ended_at=now)])

    def leg_lost(self, leg_id: LegId) -> None:
        """A snapshot does not have this leg any more."""
        self.post(LegEnded(at=self._services.clock(), leg_id=leg_id, cause=HangupCause.NETWORK_OUT_OF_ORDER))
