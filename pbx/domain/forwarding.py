"""The caller is connected with an outside number, over a trunk.

    (refused) | ringing -> clearing -> talking

While it rings the caller hears music. An answer may be a mailbox's: nobody can tell. Nothing of it is ever recorded,
for nobody asked the one who answers; a part under way is placed before the two hear each other. When either side hangs
up the call ends; when nobody answers, it goes on where ``on_failure`` says.
"""

from __future__ import annotations

from dataclasses import dataclass

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.call_context import CallContext
from pbx.domain.call_steps import End, Outcome
from pbx.domain.dialling import shown
from pbx.domain.errors import BadValue
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import BridgeId, LegId
from pbx.domain.leg_step import OUTCOMES, LegStep

RING_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Which number, and how. ``why``: ``flow``, ``queue``, ``transfer`` or ``consultation``."""

    number: str
    why: str
    ring_s: float = RING_S
    show_caller: bool = False
    music_class: str = "default"


class ForwardStep(LegStep):
    def __init__(self, context: CallContext, outside: Outside, on_failure: Outcome) -> None:
        super().__init__(context)
        self.outside, self.on_failure = outside, on_failure
        self.talking = False

    def enter(self, now: float) -> Outcome:
        context, outside = self.context, self.outside
        context.typed_ahead = None
        try:
            target = context.config.dialling.number_of(outside.number)
        except BadValue as error:
            context.record(ev.ForwardRefused(at=now, why=outside.why, reason=error.reason))
            return self.on_failure
        context.rung += 1
        leg = self.take_leg(now, "outside", context.rung)
        context.record(ev.ForwardStarted(at=now, leg_id=leg, number=target.number, kind=target.kind, why=outside.why))
        context.start_music(outside.music_class)
        context.do(
            cmd.OriginateLeg(
                leg_id=leg,
                to=cmd.ToTrunk(context.outside_trunk, target.number),
                cli=shown(context.cli, context.config.did.number, outside.show_caller),
                timeout_s=outside.ring_s,
                peer_leg_id=context.leg_id,
            )
        )
        return None

    def take_up(self, leg: LegId, bridge_id: BridgeId, now: float) -> None:
        """Instead of ``enter``, for a number that somebody else rang and that the caller hears already."""
        self.leg, self.bridge_id, self.answered = leg, bridge_id, True
        self.connected(now)

    def connected(self, now: float) -> Outcome:
        if self.leg is not None:
            self.talking = True
            self.context.record(ev.ForwardAnswered(at=now, leg_id=self.leg))
        return None

    def leg_ended(self, cause: HangupCause, now: float) -> Outcome:
        if self.talking:
            return End(HangupCause.NORMAL_CLEARING, ev.EndReason.OUTSIDE_HUNG_UP)
        outcome = ev.OfferOutcome.FAILED if self.answered else OUTCOMES.get(cause, ev.OfferOutcome.FAILED)
        self._over(outcome, now)
        self.drop_leg()
        self.context.silence()
        return self.on_failure

    def abandon(self, now: float) -> None:
        self._over(ev.OfferOutcome.ANSWERED if self.talking else ev.OfferOutcome.CALLER_GONE, now)
        super().abandon(now)

    def _over(self, outcome: ev.OfferOutcome, now: float) -> None:
        if self.leg is not None:
            self.context.record(ev.ForwardEnded(at=now, leg_id=self.leg, outcome=outcome.value))
