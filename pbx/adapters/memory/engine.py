"""A media server that exists in memory only: same port, same promises. For tests, simulation and flow checks; where it
differs from a real one, it is wrong (``tests/contract`` holds all of them to one class).

Its far ends are ``Caller`` and ``Phone`` objects that a test drives. Everything takes its time from the running event
loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pbx.adapters.memory.far_ends import Answer, Callee, Caller, Phone
from pbx.adapters.memory.legs import RINGING, Leg, Room
from pbx.adapters.memory.legs import Tone as Sine
from pbx.adapters.memory.recordings import Recording
from pbx.domain import events as ev
from pbx.domain.commands import OriginateLeg, Prompt, Tone, ToPhone
from pbx.domain.consent import GrantKind, RecordingGrant
from pbx.domain.e164 import Cli, e164
from pbx.domain.errors import EngineRefused, LegGone
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import BridgeId, LegId, PhoneId, PlayId, RecordingId
from pbx.ports.media_engine import (
    Clock,
    EngineCapabilities,
    EngineListener,
    EngineMeter,
    EngineSnapshot,
    LegSnapshot,
    PhoneAccount,
    Supervision,
    check_variables,
)

__all__ = ["Answer", "Callee", "Caller", "Phone", "SimulatedEngine"]


GROWTH_S = 1.0
"""How often a message that is recorded comes to its file."""


@dataclass(slots=True)
class _Play:
    leg: Leg
    started_at: float
    left: list[str]
    missing: bool = False
    next: asyncio.TimerHandle | None = None


class SimulatedEngine:
    """Implements ``MediaEngine``. ``prompts`` names the prompts there are (``language/prompt_id``) with their lengths;
    without it there is every prompt, each ``prompt_s`` long."""

    def __init__(self, clock: Clock, prompt_s: float = 2.0, prompts: Mapping[str, Sine] | None = None) -> None:
        self.clock = clock
        self.prompt_s = prompt_s
        self.prompts = prompts
        self.tones: dict[str, Sine] = dict(prompts or {})
        """What each sound sounds like (``legs.Tone``); a sound that is not here is silent in recordings."""
        self.phones: dict[PhoneId, Phone] = {}
        self.callees: dict[str, Callee] = {}
        self.accounts: dict[PhoneId, PhoneAccount] = {}
        self.recordings: dict[RecordingId, tuple[Path, float]] = {}
        """Those under way: path, and when they began."""
        self.recorded: list[RecordingId] = []
        self._room = Room()
        self.legs, self.bridges = self._room.legs, self._room.bridges
        self._recorders: dict[RecordingId, Recording] = {}
        self._plays: dict[PlayId, _Play] = {}
        self._listener: EngineListener | None = None
        self._meter = EngineMeter()
        self._count = 0
        self.outlives = False
        """It goes on when its controller stops."""

    # --- far ends -------------------------------------------------------------------------------------------------

    def call(self, did: str, cli: Cli, country: str | None = "DE", trunk: str = "carrier") -> Caller:
        """A caller dials ``did``."""
        self._count += 1
        leg = Leg(LegId(f"in-{self._count}"))
        self.legs[leg.leg_id] = leg
        offered = ev.LegOffered(
            at=self.clock(), leg_id=leg.leg_id, did=e164(did), cli=cli, caller_country=country, trunk=trunk
        )
        self.emit(offered)
        return Caller(self, leg)

    def phone(self, phone_id: str) -> Phone:
        """A phone that is registered from now on."""
        phone = Phone(PhoneId(phone_id))
        self.phones[phone.phone_id] = phone
        self.emit(ev.PhoneReachable(at=self.clock(), phone_id=phone.phone_id, reachable=True))
        return phone

    def dial_feature(self, phone: Phone, code: str) -> Caller:
        """The phone's user dials a feature code."""
        self._count += 1
        leg = Leg(LegId(f"feature-{self._count}"))
        self.legs[leg.leg_id] = leg
        dialled = ev.FeatureDialled(at=self.clock(), leg_id=leg.leg_id, phone_id=phone.phone_id, code=code)
        self.emit(dialled)
        return Caller(self, leg)

    def dial_number(self, phone: Phone, number: str, shown: str | None = None, trunk: str = "carrier") -> Caller:
        """The phone's user dials an outside number, which the dialplan hands over."""
        self._count += 1
        leg = Leg(LegId(f"dialled-{self._count}"))
        self.legs[leg.leg_id] = leg
        dialled = ev.NumberDialled(
            at=self.clock(),
            leg_id=leg.leg_id,
            phone_id=phone.phone_id,
            number=e164(number),
            shown=None if shown is None else e164(shown),
            trunk=trunk,
        )
        self.emit(dialled)
        return Caller(self, leg)

    def unregister(self, phone: Phone) -> None:
        phone.registered = False
        self.emit(ev.PhoneReachable(at=self.clock(), phone_id=phone.phone_id, reachable=False))

    def pick_up(self, leg_id: LegId) -> None:
        """The far end that ``leg_id`` rings answers."""
        self._answered(self._leg(leg_id), None)

    def emit(self, event: ev.Event) -> None:
        if self._listener is not None:
            self._listener.engine_event(event)

    def cut(self) -> None:
        """The controller is away from now on, as after a crash; what happens meanwhile it learns by snapshot only."""
        self._listener = None

    def crash(self) -> None:
        """The media server dies and is back at once: every leg is gone."""
        listener, self._listener = self._listener, None
        ended = list(self.legs.values())
        for leg in ended:
            self.end_leg(leg, HangupCause.TEMPORARY_FAILURE)
        self.bridges.clear()
        self.accounts.clear()
        for recorder in self._recorders.values():
            recorder.write(self.clock(), self.tones)
        self._recorders.clear()
        self.recordings.clear()
        self._listener = listener
        if listener is not None:
            listener.engine_down("the simulated server died")
            listener.engine_up(self._snapshot())
            for leg in ended:
                self.emit(ev.LegEnded(at=self.clock(), leg_id=leg.leg_id, cause=HangupCause.TEMPORARY_FAILURE))

    # --- the port: connection -------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> EngineCapabilities:
        return EngineCapabilities("simulated", "1")

    @property
    def meter(self) -> EngineMeter:
        """Its lease holds while there is somebody who listens."""
        self._meter.lease_renewed_at = None if self._listener is None else self.clock()
        return self._meter

    async def start(self, listener: EngineListener) -> None:
        self._listener = listener
        listener.engine_up(await self.snapshot())

    async def stop(self) -> None:
        self._listener = None
        for leg in () if self.outlives else self.legs.values():
            for handle in leg.handles:
                handle.cancel()

    # --- the port: legs -------------------------------------------------------------------------------------------

    def _leg(self, leg_id: LegId) -> Leg:
        leg = self.legs.get(leg_id)
        if leg is None:
            raise LegGone(f"leg {leg_id} is not there")
        return leg

    def _later(self, leg: Leg, delay_s: float, do: Callable[[], None]) -> asyncio.TimerHandle:
        handle = asyncio.get_running_loop().call_later(delay_s, do)
        leg.handles.append(handle)
        return handle

    def _touched(self, *legs: Leg) -> None:
        self._room.touched(self.clock(), legs)

    async def answer(self, leg_id: LegId) -> None:
        leg = self._leg(leg_id)
        if not leg.answered:
            leg.answered = True
            self._touched(leg)
            self.emit(ev.LegAnswered(at=self.clock(), leg_id=leg_id))

    async def hang_up(self, leg_id: LegId, cause: HangupCause) -> None:
        self.end_leg(self._leg(leg_id), cause)

    def end_leg(self, leg: Leg, cause: HangupCause) -> None:
        """Hang up, from whichever side."""
        if leg.leg_id not in self.legs:
            return
        for handle in leg.handles:
            handle.cancel()
        if leg.play_id is not None:
            self._end_play(leg.play_id, completed=False)
        changed = self._room.leave(leg)
        for recorder in self._recorders.values():
            if recorder.leg is leg and recorder.until is None:
                recorder.until = self.clock()
        leg.cause = cause
        self._touched(*changed)
        self.emit(ev.LegEnded(at=self.clock(), leg_id=leg.leg_id, cause=cause))

    async def play(self, leg_id: LegId, play_id: PlayId, prompts: Sequence[Prompt]) -> None:
        leg = self._leg(leg_id)
        if leg.play_id is not None:
            raise EngineRefused("a play is under way on this leg")
        leg.play_id, leg.music = play_id, None
        self._plays[play_id] = play = _Play(leg, self.clock(), [f"{p.language}/{p.prompt_id}" for p in prompts])
        self._play_next(play_id, play)

    def _play_next(self, play_id: PlayId, play: _Play) -> None:
        if self.prompts is not None:
            while play.left and play.left[0] not in self.prompts:
                play.missing = True
                del play.left[0]
        if not play.left:
            self._end_play(play_id, completed=not play.missing)
            return
        prompt = play.left.pop(0)
        play.leg.heard.append(prompt)
        self._touched(play.leg)
        seconds = self.prompts[prompt].seconds if self.prompts is not None else self.prompt_s
        play.next = self._later(play.leg, seconds, lambda: self._play_next(play_id, play))

    def _end_play(self, play_id: PlayId, completed: bool) -> None:
        play = self._plays.pop(play_id)
        if play.next is not None:
            play.next.cancel()
        play.leg.play_id = None
        self._touched(play.leg)
        self.emit(
            ev.PlayEnded(
                at=self.clock(),
                leg_id=play.leg.leg_id,
                play_id=play_id,
                played_ms=round((self.clock() - play.started_at) * 1000),
                completed=completed,
            )
        )

    async def stop_play(self, play_id: PlayId) -> None:
        if play_id not in self._plays:
            raise LegGone(f"play {play_id} is over")
        self._end_play(play_id, completed=False)

    async def start_music(self, leg_id: LegId, music_class: str) -> None:
        leg = self._leg(leg_id)
        leg.music = music_class
        leg.heard.append(f"music:{music_class}")
        self._touched(leg)

    async def start_ringing(self, leg_id: LegId) -> None:
        leg = self._leg(leg_id)
        leg.music = RINGING
        leg.heard.append(RINGING)
        self._touched(leg)

    async def start_tone(self, leg_id: LegId, tone: Tone) -> None:
        leg = self._leg(leg_id)
        leg.music = f"tone:{tone.value}"
        leg.heard.append(leg.music)
        self._touched(leg)

    async def stop_music(self, leg_id: LegId) -> None:
        leg = self._leg(leg_id)
        leg.music = None
        self._touched(leg)

    async def originate(self, leg: OriginateLeg) -> None:
        if leg.peer_leg_id is not None:
            self._leg(leg.peer_leg_id)
        made = Leg(leg.leg_id)
        self.legs[leg.leg_id] = made
        self._later(made, leg.timeout_s, lambda: self.end_leg(made, HangupCause.NO_ANSWER))
        if not isinstance(leg.to, ToPhone):
            self._ring_callee(made, self.callees.get(leg.to.number))
            return
        phone = self.phones.get(leg.to.phone_id)
        if phone is None or not phone.registered:
            self._refused(made, HangupCause.SUBSCRIBER_ABSENT)
            return
        phone.rung += 1
        phone.leg_id = made.leg_id
        refusals = {Answer.BUSY: HangupCause.USER_BUSY, Answer.REJECT: HangupCause.CALL_REJECTED}
        if phone.behaviour in refusals:
            self._refused(made, refusals[phone.behaviour])
            return
        self._later(made, 0, lambda: self.emit(ev.LegRinging(at=self.clock(), leg_id=made.leg_id)))
        if phone.behaviour is Answer.ANSWER:
            self._later(made, phone.answers_after_s, lambda: self._answered(made, phone))

    def _ring_callee(self, made: Leg, callee: Callee | None) -> None:
        if callee is None or callee.refusal is not None:
            refusal = callee.refusal if callee is not None else None
            self._refused(made, refusal or HangupCause.DESTINATION_OUT_OF_ORDER)
            return
        callee.leg_id = made.leg_id
        self._later(made, 0, lambda: self.emit(ev.LegRinging(at=self.clock(), leg_id=made.leg_id)))

    def _refused(self, made: Leg, cause: HangupCause) -> None:
        self._later(made, 0, lambda: self.end_leg(made, cause))

    def _answered(self, leg: Leg, phone: Phone | None) -> None:
        for handle in leg.handles:
            handle.cancel()
        leg.answered = True
        self._touched(leg)
        if phone is not None and phone.hangs_up_after_s is not None:
            self._later(leg, phone.hangs_up_after_s, lambda: self.end_leg(leg, HangupCause.NORMAL_CLEARING))
        self.emit(ev.LegAnswered(at=self.clock(), leg_id=leg.leg_id))

    async def set_variables(self, leg_id: LegId, variables: Mapping[str, str]) -> None:
        check_variables(variables)
        self._leg(leg_id).variables.update(variables)

    # --- the port: conversations ----------------------------------------------------------------------------------

    async def bridge(self, bridge_id: BridgeId, leg_ids: tuple[LegId, LegId]) -> None:
        both = [self._leg(leg_id) for leg_id in leg_ids]
        if bridge_id in self.bridges:
            raise EngineRefused("a bridge has this id already")
        if not all(leg.answered for leg in both):
            raise EngineRefused("a leg of the bridge is not answered")
        for leg in both:
            if leg.play_id is not None:
                self._end_play(leg.play_id, completed=False)
        self._touched(*self._room.join(bridge_id, both))
        self.emit(ev.LegsBridged(at=self.clock(), bridge_id=bridge_id, leg_ids=leg_ids))

    async def destroy_bridge(self, bridge_id: BridgeId) -> None:
        if bridge_id not in self.bridges:
            raise LegGone("the bridge is over")
        self._touched(*self._room.dissolve(bridge_id))

    async def hold(self, leg_id: LegId, music_class: str) -> None:
        leg = self._leg(leg_id)
        if leg.bridge_id is None or leg.held:
            raise EngineRefused("the leg is in no conversation, or held already")
        others = list(self._room.others(leg))
        leg.held, leg.music = True, music_class
        leg.heard.append(f"music:{music_class}")
        self._touched(leg, *others)

    async def unhold(self, leg_id: LegId) -> None:
        leg = self._leg(leg_id)
        if not leg.held:
            raise EngineRefused("the leg is not held")
        if leg.bridge_id not in self.bridges:
            leg.held, leg.bridge_id = False, None
            raise LegGone("the conversation is over")
        leg.held, leg.music = False, None
        self._touched(leg)

    async def mute(self, leg_id: LegId, muted: bool) -> None:
        leg = self._leg(leg_id)
        leg.muted = muted
        self._touched(leg)

    async def supervise(self, leg_id: LegId, watched: LegId, mode: Supervision) -> None:
        leg, other = self._leg(leg_id), self._leg(watched)
        if not leg.answered or leg.bridge_id is not None:
            raise EngineRefused("the supervisor's leg is not answered, or it is in a bridge")
        if other.bridge_id is None or other.held:
            raise EngineRefused("the watched leg is in no bridge")
        self._touched(*self._room.watch(leg, other, mode))

    async def stop_supervising(self, leg_id: LegId) -> None:
        leg = self._leg(leg_id)
        if leg.watching is None:
            raise EngineRefused("the leg supervises nobody")
        self._touched(*self._room.end_watching(leg))

    # --- the port: recordings -------------------------------------------------------------------------------------

    async def start_recording(
        self, recording_id: RecordingId, leg_id: LegId, grant: RecordingGrant, path: Path
    ) -> None:
        if not isinstance(grant, RecordingGrant):
            raise TypeError("nothing is recorded without a RecordingGrant")
        leg = self._leg(leg_id)
        if grant.leg_id != leg_id:
            raise EngineRefused("the grant is for another leg")
        if path.exists():  # noqa: ASYNC240
            raise EngineRefused("the file of the recording exists already; nothing is written over")
        path.touch()  # noqa: ASYNC240
        self.recordings[recording_id] = (path, self.clock())
        recorder = self._recorders[recording_id] = Recording(leg, path, self.clock())
        self.recorded.append(recording_id)
        if grant.kind is GrantKind.MESSAGE:  # nobody looks at another one before its end
            self._grow(recording_id, recorder)

    def _grow(self, recording_id: RecordingId, recorder: Recording) -> None:
        if recording_id in self.recordings:
            recorder.grow(self.clock(), self.tones)
            self._later(recorder.leg, GROWTH_S, lambda: self._grow(recording_id, recorder))

    def adopt_recording(self, recording_id: RecordingId, leg_id: LegId, path: Path) -> None:
        return  # whoever started it

    def _recorder(self, recording_id: RecordingId) -> Recording:
        if recording_id not in self._recorders:
            raise LegGone(f"recording {recording_id} is not under way")
        return self._recorders[recording_id]

    async def stop_recording(self, recording_id: RecordingId, leg_id: LegId) -> None:
        self._recorder(recording_id).write(self.clock(), self.tones)
        del self._recorders[recording_id], self.recordings[recording_id]

    async def pause_recording(self, recording_id: RecordingId, leg_id: LegId) -> None:
        recorder = self._recorder(recording_id)
        self._leg(leg_id)
        if not recorder.paused:
            recorder.pauses.append([self.clock()])

    async def resume_recording(self, recording_id: RecordingId, leg_id: LegId) -> None:
        recorder = self._recorder(recording_id)
        self._leg(leg_id)
        if recorder.paused:
            recorder.pauses[-1].append(self.clock())

    # --- the port: phones and snapshot ----------------------------------------------------------------------------

    async def put_phone(self, account: PhoneAccount) -> None:
        self.accounts[account.phone_id] = account

    async def remove_phone(self, phone_id: PhoneId) -> None:
        self.accounts.pop(phone_id, None)
        phone = self.phones.get(phone_id)
        if phone is not None and phone.registered:
            self.unregister(phone)

    async def snapshot(self) -> EngineSnapshot:
        return self._snapshot()

    def _snapshot(self) -> EngineSnapshot:
        legs = tuple(
            LegSnapshot(
                leg.leg_id,
                leg.answered,
                None if leg.held else leg.bridge_id,
                True,
                dict(leg.variables),
                None if leg.watching is None else leg.watching[0],
            )
            for leg in self.legs.values()
        )
        phones = frozenset(phone.phone_id for phone in self.phones.values() if phone.registered)
        return EngineSnapshot(legs, tuple(self.bridges), phones)
