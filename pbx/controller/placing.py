"""Calls that agents place, from their phones or by the API: who calls what, shown as which number, over which trunk."""

from __future__ import annotations

import logging
from collections.abc import Callable

from pbx.controller.config_store import ConfigStore
from pbx.controller.router import Router
from pbx.domain import events as ev
from pbx.domain.dialling import Outbound, OutsideNumber
from pbx.domain.e164 import E164, Cli, CliKind, e164
from pbx.domain.errors import BadValue
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, CallId, LegId, PhoneId, PopId, QueueId, derive
from pbx.ports.media_engine import Clock
from pbx.wire import messages as wire

log = logging.getLogger(__name__)

RING_S = 60.0
"""How long a number is rung."""

Begin = Callable[[CallId, ev.CallPlaced], None]
Refuse = Callable[[CallId, ev.CallPlaced, tuple[ev.Event, ...], ev.EndReason, HangupCause], None]


class PlacingDesk:
    """``begin`` makes it a call; ``refuse`` writes the record of one that is none, and hangs up; ``hang_up`` ends a leg
    of which there is nothing to record."""

    def __init__(
        self,
        pop_id: PopId,
        router: Router,
        config: ConfigStore,
        outbound: Outbound,
        clock: Clock,
        begin: Begin,
        refuse: Refuse,
        hang_up: Callable[[LegId, HangupCause], None],
    ) -> None:
        self._pop_id, self._router, self._config = pop_id, router, config
        self._outbound, self._clock = outbound, clock
        self._begin, self._refuse, self._hang_up = begin, refuse, hang_up

    def dialled(self, event: ev.NumberDialled) -> None:
        """An agent's phone dialled a number."""
        agent_id = self._router.agent_of(event.phone_id)
        shown = event.shown or self._shown(event.number)
        if agent_id is None or shown is None:
            why = "is no agent's" if agent_id is None else "has no number to show: set CALLPLANE_POP_CLI_BY_DESTINATION"
            log.error("a call from phone %s was refused: it %s", event.phone_id, why)
            self._hang_up(event.leg_id, HangupCause.CALL_REJECTED)
            return
        call_id, placed, refused = self._of_phone(event, agent_id, shown)
        if self._config.pop.draining:
            self._refuse(call_id, placed, (), ev.EndReason.DRAINING, HangupCause.SWITCH_CONGESTION)
        elif refused is not None:
            self._refuse(
                call_id, placed, (_refusal(event.at, refused),), ev.EndReason.NUMBER_REFUSED, HangupCause.CALL_REJECTED
            )
        else:
            self._begin(call_id, placed)

    def alone(self, event: ev.NumberDialled) -> tuple[ev.CallPlaced, tuple[ev.Event, ...]] | None:
        """How the record of a call begins that the dialplan dialled without a controller, and what was refused; None
        where the phone is nobody's, or there is nothing that the number can have been shown."""
        agent_id, shown = self._router.agent_of(event.phone_id), event.shown or self._shown(event.number)
        if agent_id is None or shown is None:
            return None
        _, placed, refused = self._of_phone(event, agent_id, shown)
        return placed, () if refused is None else (_refusal(event.at, refused),)

    def _of_phone(
        self, event: ev.NumberDialled, agent_id: AgentId, shown: E164
    ) -> tuple[CallId, ev.CallPlaced, str | None]:
        """The call of what a phone dialled, and why the number may not be called."""
        try:
            target, refused = self._outbound.number_of(event.number), None
        except BadValue as error:
            target, refused = OutsideNumber(event.number, "refused"), error.reason
        call_id = CallId(derive(event.at, self._pop_id, event.leg_id))
        trunk = event.trunk or self._config.dialling.trunk or ""
        about = (call_id, agent_id, event.phone_id, event.leg_id, target, shown, trunk, None, event.at)
        return call_id, self._placed(*about, by="phone"), refused

    def place(self, key: str, command: wire.PlaceCall) -> wire.CommandReply:
        """The agent's phone is rung first. Nothing is begun by a command that is refused."""
        agent = self._router.agent(AgentId(command.agent_id))
        if agent is None:
            return _refused("unknown_agent", f"agent {command.agent_id} is not at this POP")
        if self._config.pop.draining:
            return _refused("draining", "the POP takes no new calls")
        if command.queue_id is not None and QueueId(command.queue_id) not in self._config.queues:
            return _refused("unknown_queue", f"there is no queue {command.queue_id} at this POP")
        trunk = self._config.dialling.trunk
        if trunk is None:
            return _refused("no_trunk", "the POP calls nobody of itself: set CALLPLANE_POP_OUTSIDE_TRUNK")
        try:
            target = self._outbound.number_of(e164(command.number))
        except BadValue as error:
            return _refused("number_refused", f"number: {error.reason}")
        shown = self._shown(target.number)
        if shown is None:
            return _refused("no_cli", "the POP has no number to show: set CALLPLANE_POP_CLI_BY_DESTINATION")
        if (reason := self._router.why_not_engaged(agent.agent_id)) is not None:
            return _refused(reason, "the agent's phone cannot be rung now")
        now = self._clock()
        phone_leg = LegId(derive(now, "leg", self._pop_id, key))
        call_id = CallId(derive(now, self._pop_id, phone_leg))
        queue_id = None if command.queue_id is None else QueueId(command.queue_id)
        self._begin(
            call_id,
            self._placed(
                call_id, agent.agent_id, agent.phone_id, phone_leg, target, shown, trunk, queue_id, now, by="api"
            ),
        )
        return wire.CommandReply(call_id=call_id)

    def _placed(
        self,
        call_id: CallId,
        agent_id: AgentId,
        phone_id: PhoneId,
        phone_leg: LegId,
        target: OutsideNumber,
        shown: E164,
        trunk: str,
        queue_id: QueueId | None,
        at: float,
        by: str,
    ) -> ev.CallPlaced:
        agent = self._router.agent(agent_id)
        queue_id = queue_id or self._outbound.queue_id
        return ev.CallPlaced(
            at=at,
            leg_id=LegId(derive(at, "leg", call_id, "number")),
            agent_id=agent_id,
            agent_country=None if agent is None else agent.country,
            phone_id=phone_id,
            phone_leg=phone_leg,
            did=shown,
            cli=Cli(CliKind.NUMBER, target.number),
            caller_country=self._outbound.country_of(target.number),
            trunk=trunk,
            language=self._language(target.number, shown),
            queue_id=queue_id if queue_id in self._config.queues else QueueId(""),
            ring_s=RING_S,
            by=by,
            kind=target.kind,
            allowed=target.allowed,
        )

    def _shown(self, number: E164) -> E164 | None:
        """By destination; where nothing is said of it, the first of the POP's DIDs."""
        return self._outbound.shown(number) or min(self._config.dids, default=None)

    def _language(self, number: E164, shown: E164) -> str:
        """The first of the number's country in which there are prompts; else that of the DID."""
        did = self._config.dids.get(shown)
        spoken = (*self._outbound.languages_of(number), *(() if did is None else (did.language,)), "en")
        found: str = next((one for one in spoken if ("consent-notice", one) in self._config.prompts), spoken[0])
        return found


def _refusal(at: float, reason: str) -> ev.ForwardRefused:
    return ev.ForwardRefused(at=at, why="placed", reason=reason)


def _refused(error_id: str, detail: str) -> wire.CommandReply:
    return wire.CommandReply(error_id=error_id, detail=detail)
