"""A media server that exists in memory only: same port, same promises, no sound. For tests, simulation and flow
checks; where it differs from a real one, it is wrong.

Its far ends are ``Caller`` and ``Phone`` objects that a test drives. Prompts last ``prompt_s``. Everything takes its
time from the running event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from pbx.domain import events as ev
from pbx.domain.commands import OriginateLeg, Prompt, ToPhone
from pbx.domain.consent import RecordingGrant
from pbx.domain.e164 import Cli, e164
from pbx.domain.errors import EngineRefused, LegGone
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import BridgeId, LegId, PhoneId, PlayId, RecordingId
from pbx.ports.media_engine import (
    Clock,
    EngineCapabilities,
    EngineListener,
    EngineSnapshot,
    LegSnapshot,
    PhoneAccount,
)

SECOND_OF_STEREO = b"\x01\x00\x02\x00" * 8000


class Answer(Enum):
    """What a phone does when it is rung."""

    ANSWER = "answer"
    NEVER = "never"
    BUSY = "busy"
    REJECT = "reject"


@dataclass(slots=True)
class Phone:
    phone_id: PhoneId
    registered: bool = True
    behaviour: Answer = Answer.ANSWER
    answers_after_s: float = 1.0
    hangs_up_after_s: float | None = None
    rung: int = 0


@dataclass(slots=True)
class _Leg:
    leg_id: LegId
    answered: bool = False
    bridge_id: BridgeId | None = None
    music: str | None = None
    play_id: PlayId | None = None
    heard: list[str] = field(default_factory=list)
    """``language/prompt`` and ``music:class`` in the order in which they began."""
    handles: list[asyncio.TimerHandle] = field(default_factory=list)
    cause: HangupCause | None = None
    on_end: Callable[[], None] | None = None


@dataclass(slots=True)
class _Play:
    leg: _Leg
    started_at: float
    left: list[str]
    next: asyncio.TimerHandle | None = None


class Caller:
    """A caller's side of an inbound leg."""

    def __init__(self, engine: SimulatedEngine, leg: _Leg) -> None:
        self._engine = engine
        self._leg = leg

    @property
    def leg_id(self) -> LegId:
        return self._leg.leg_id

    @property
    def heard(self) -> list[str]:
        return self._leg.heard

    @property
    def hears(self) -> str | None:
        """What plays now: a prompt, ``music:class``, ``talk``, or None."""
        if self._leg.bridge_id is not None:
            return "talk"
        if self._leg.play_id is not None:
            return self._leg.heard[-1]
        return f"music:{self._leg.music}" if self._leg.music else None

    @property
    def cause(self) -> HangupCause | None:
        """Why the leg ended; None while it lives."""
        return self._leg.cause

    def press(self, digit: str) -> None:
        self._engine.emit(ev.DigitPressed(at=self._engine.clock(), leg_id=self._leg.leg_id, digit=digit))

    def hang_up(self) -> None:
        self._engine.end_leg(self._leg, HangupCause.NORMAL_CLEARING)


class SimulatedEngine:
    """Implements ``MediaEngine``."""

    def __init__(self, clock: Clock, prompt_s: float = 2.0) -> None:
        self.clock = clock
        self.prompt_s = prompt_s
        self.phones: dict[PhoneId, Phone] = {}
        self.accounts: dict[PhoneId, PhoneAccount] = {}
        self.legs: dict[LegId, _Leg] = {}
        self.bridges: dict[BridgeId, tuple[LegId, LegId]] = {}
        self.recordings: dict[RecordingId, tuple[Path, float]] = {}
        self.recorded: list[RecordingId] = []
        self._plays: dict[PlayId, _Play] = {}
        self._listener: EngineListener | None = None
        self._count = 0

    # --- far ends -------------------------------------------------------------------------------------------------

    def call(self, did: str, cli: Cli, country: str | None = "DE", trunk: str = "carrier") -> Caller:
        """A caller dials ``did``."""
        self._count += 1
        leg = _Leg(LegId(f"in-{self._count}"))
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

    def unregister(self, phone: Phone) -> None:
        phone.registered = False
        self.emit(ev.PhoneReachable(at=self.clock(), phone_id=phone.phone_id, reachable=False))

    def emit(self, event: ev.Event) -> None:
        if self._listener is not None:
            self._listener.engine_event(event)

    # --- the port -------------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> EngineCapabilities:
        return EngineCapabilities("simulated", "1")

    async def start(self, listener: EngineListener) -> None:
        self._listener = listener
        listener.engine_up(await self.snapshot())

    async def stop(self) -> None:
        self._listener = None
        for leg in self.legs.values():
            for handle in leg.handles:
                handle.cancel()

    def _leg(self, leg_id: LegId) -> _Leg:
        leg = self.legs.get(leg_id)
        if leg is None:
            raise LegGone(f"leg {leg_id} is not there")
        return leg

    def _later(self, leg: _Leg, delay_s: float, do: Callable[[], None]) -> asyncio.TimerHandle:
        handle = asyncio.get_running_loop().call_later(delay_s, do)
        leg.handles.append(handle)
        return handle

    async def answer(self, leg_id: LegId) -> None:
        leg = self._leg(leg_id)
        leg.answered = True
        self.emit(ev.LegAnswered(at=self.clock(), leg_id=leg_id))

    async def hang_up(self, leg_id: LegId, cause: HangupCause) -> None:
        self.end_leg(self._leg(leg_id), cause)

    def end_leg(self, leg: _Leg, cause: HangupCause) -> None:
        """Hang up, from whichever side."""
        if self.legs.pop(leg.leg_id, None) is None:
            return
        for handle in leg.handles:
            handle.cancel()
        if leg.play_id is not None:
            self._end_play(leg.play_id, completed=False)
        leg.cause = cause
        leg.bridge_id = None
        self.emit(ev.LegEnded(at=self.clock(), leg_id=leg.leg_id, cause=cause))

    async def play(self, leg_id: LegId, play_id: PlayId, prompts: Sequence[Prompt]) -> None:
        leg = self._leg(leg_id)
        if leg.play_id is not None:
            raise EngineRefused("a play is under way on this leg")
        leg.play_id = play_id
        self._plays[play_id] = play = _Play(leg, self.clock(), [f"{p.language}/{p.prompt_id}" for p in prompts])
        self._play_next(play_id, play)

    def _play_next(self, play_id: PlayId, play: _Play) -> None:
        if not play.left:
            self._end_play(play_id, completed=True)
            return
        play.leg.heard.append(play.left.pop(0))
        play.next = self._later(play.leg, self.prompt_s, lambda: self._play_next(play_id, play))

    def _end_play(self, play_id: PlayId, completed: bool) -> None:
        play = self._plays.pop(play_id)
        if play.next is not None:
            play.next.cancel()
        play.leg.play_id = None
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

    async def stop_music(self, leg_id: LegId) -> None:
        self._leg(leg_id).music = None

    async def originate(self, leg: OriginateLeg) -> None:
        made = _Leg(leg.leg_id)
        self.legs[leg.leg_id] = made
        phone = self.phones.get(leg.to.phone_id) if isinstance(leg.to, ToPhone) else None
        if phone is None or not phone.registered:
            self._later(made, 0, lambda: self.end_leg(made, HangupCause.SUBSCRIBER_ABSENT))
            return
        phone.rung += 1
        self._later(made, leg.timeout_s, lambda: self.end_leg(made, HangupCause.NO_ANSWER))
        refusals = {Answer.BUSY: HangupCause.USER_BUSY, Answer.REJECT: HangupCause.CALL_REJECTED}
        if phone.behaviour in refusals:
            self._later(made, 0, lambda: self.end_leg(made, refusals[phone.behaviour]))
            return
        self._later(made, 0, lambda: self.emit(ev.LegRinging(at=self.clock(), leg_id=made.leg_id)))
        if phone.behaviour is Answer.ANSWER:
            self._later(made, phone.answers_after_s, lambda: self._answered(made, phone))

    def _answered(self, leg: _Leg, phone: Phone) -> None:
        for handle in leg.handles:
            handle.cancel()
        leg.answered = True
        if phone.hangs_up_after_s is not None:
            self._later(leg, phone.hangs_up_after_s, lambda: self.end_leg(leg, HangupCause.NORMAL_CLEARING))
        self.emit(ev.LegAnswered(at=self.clock(), leg_id=leg.leg_id))

    async def bridge(self, bridge_id: BridgeId, leg_ids: tuple[LegId, LegId]) -> None:
        first, second = map(self._leg, leg_ids)
        self.bridges[bridge_id] = leg_ids
        first.bridge_id = second.bridge_id = bridge_id
        self.emit(ev.LegsBridged(at=self.clock(), bridge_id=bridge_id, leg_ids=leg_ids))

    async def destroy_bridge(self, bridge_id: BridgeId) -> None:
        for leg_id in self.bridges.pop(bridge_id, ()):
            if leg_id in self.legs:
                self.legs[leg_id].bridge_id = None

    async def start_recording(
        self, recording_id: RecordingId, leg_id: LegId, grant: RecordingGrant, path: Path
    ) -> None:
        self._leg(leg_id)
        if grant.leg_id != leg_id:
            raise EngineRefused("the grant is for another leg")
        path.touch(exist_ok=False)  # noqa: ASYNC240
        self.recordings[recording_id] = (path, self.clock())
        self.recorded.append(recording_id)

    async def stop_recording(self, recording_id: RecordingId, leg_id: LegId) -> None:
        if recording_id not in self.recordings:
            raise LegGone(f"recording {recording_id} is not under way")
        path, since = self.recordings.pop(recording_id)
        path.write_bytes(SECOND_OF_STEREO * int(self.clock() - since))

    async def put_phone(self, account: PhoneAccount) -> None:
        self.accounts[account.phone_id] = account

    async def remove_phone(self, phone_id: PhoneId) -> None:
        self.accounts.pop(phone_id, None)

    async def snapshot(self) -> EngineSnapshot:
        legs = tuple(LegSnapshot(leg.leg_id, leg.answered, leg.bridge_id, True) for leg in self.legs.values())
        phones = frozenset(phone.phone_id for phone in self.phones.values() if phone.registered)
        return EngineSnapshot(legs, tuple(self.bridges), phones)
