"""The far ends of the simulated media server: callers and agents' phones that a test drives."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from pbx.adapters.memory.legs import Leg
from pbx.domain import events as ev
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import LegId, PhoneId

if TYPE_CHECKING:
    from pbx.adapters.memory.engine import SimulatedEngine


class Answer(Enum):
    """What a phone does when it is rung."""

    ANSWER = "answer"
    NEVER = "never"
    """Rings until somebody else ends it, or until a test calls ``SimulatedEngine.pick_up``."""
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
    leg_id: LegId | None = None
    """The leg that rang it last."""


@dataclass(slots=True)
class Callee:
    """Who can be called over a trunk. ``refusal``: the cause with which the carrier refuses; None: it rings until a
    test calls ``SimulatedEngine.pick_up``."""

    number: str
    refusal: HangupCause | None = None
    leg_id: LegId | None = None


class Caller:
    """A caller's side of an inbound leg."""

    def __init__(self, engine: SimulatedEngine, leg: Leg) -> None:
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
        if self._leg.play_id is not None:
            return self._leg.heard[-1]
        if self._leg.music is not None:
            return f"music:{self._leg.music}"
        return "talk" if self._leg.bridge_id is not None else None

    @property
    def cause(self) -> HangupCause | None:
        """Why the leg ended; None while it lives."""
        return self._leg.cause

    def press(self, digit: str) -> None:
        self._engine.emit(ev.DigitPressed(at=self._engine.clock(), leg_id=self._leg.leg_id, digit=digit))

    def hang_up(self) -> None:
        self._engine.end_leg(self._leg, HangupCause.NORMAL_CLEARING)
