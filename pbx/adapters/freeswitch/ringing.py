"""Ringing a phone or a number, and hanging up: also what the server has only been told to ring."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine, Sequence

from pbx.adapters.freeswitch import phones
from pbx.adapters.freeswitch.causes import NAMES, cause_named, status_to_force
from pbx.adapters.freeswitch.esl import EslLink
from pbx.adapters.freeswitch.snapshot import OUTBOUND
from pbx.adapters.freeswitch.sounds import word
from pbx.adapters.freeswitch.tracker import Tracker
from pbx.domain.commands import OriginateLeg, ToAgent, ToPhone
from pbx.domain.e164 import Cli
from pbx.domain.errors import EngineError, EngineUnknown, LegGone
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import LegId
from pbx.ports.media_engine import Clock
from pbx.wire.offer_header import OFFER_HEADER, offer_text

log = logging.getLogger(__name__)

NO_CHANNEL_S = 0.3
"""A leg that could not be rung may have had a channel, which says more about the cause and a moment later."""
CANCEL_S = 5.0
CANCEL_EVERY_S = 0.02


class Ringing:
    def __init__(
        self,
        link: EslLink,
        tracker: Tracker,
        clock: Clock,
        run: Callable[[Coroutine[None, None, None], str], None],
        codecs: Sequence[str],
        codecs_of: Callable[[str], Sequence[str]],
    ) -> None:
        """``codecs_of`` a phone's class; none: ``codecs``."""
        self._codecs, self._codecs_of = tuple(codecs), codecs_of
        self._link, self._tracker, self._clock, self._run = link, tracker, clock, run

    async def originate(self, leg: OriginateLeg) -> None:
        word(leg.leg_id, "leg_id")
        timeout_s = max(1, math.ceil(leg.timeout_s))
        number = _caller_id(leg.cli)
        variables = {
            "origination_uuid": leg.leg_id,
            "origination_caller_id_number": number,
            "origination_caller_id_name": number,
            "originate_timeout": str(timeout_s),
            "ignore_early_media": "true",
            "callplane_leg": OUTBOUND,
        }
        if isinstance(leg.to, ToPhone):
            target = phones.dial_string(leg.to.phone_id)
            codec = self._tracker.legs[leg.peer_leg_id].codec if leg.peer_leg_id is not None else None
            own = tuple(self._codecs_of(leg.to.phone_id))
            usable = own or self._codecs
            if own or codec in usable:
                order = [name for name in (codec,) if name in usable]
                order += [other for other in usable if other != codec]
                variables["absolute_codec_string"] = f"^^:{':'.join(order)}"
        elif isinstance(leg.to, ToAgent):
            target = f"user/{word(leg.to.pop_id, 'pop_id')}@mesh"
            variables[f"sip_h_{OFFER_HEADER}"] = offer_text(leg.to)
        else:
            target = f"user/{word(leg.to.trunk, 'trunk')}@trunks"
            variables["callplane_number"] = str(leg.to.number)
        told = ",".join(f"{name}={value}" for name, value in variables.items())
        line = f"originate {{{told}}}{target} &park()"
        self._tracker.originating(leg.leg_id)
        try:
            job = await self._link.start_job(line, timeout_s + 10.0)
        except EngineUnknown:
            raise
        except EngineError:
            self._tracker.legs.pop(leg.leg_id, None)
            raise
        self._run(self._rung(leg.leg_id, job), "freeswitch-originate")

    async def _rung(self, leg_id: LegId, job: asyncio.Future[str]) -> None:
        """What came of ringing. The channel says it better, if there was one."""
        try:
            text = (await job).strip()
        except EngineError as error:
            log.info("what became of a leg is not known: %s", error)
            if self._link.connected:
                # Long overdue, and no snapshot will come to settle it.
                self._link.send_unattended(f"api uuid_kill {leg_id}")
                self._tracker.end(leg_id, self._clock(), HangupCause.TEMPORARY_FAILURE)
            return
        leg = self._tracker.legs.get(leg_id)
        if leg is not None:
            leg.ringing_job = False
        if text.startswith("+OK"):
            return
        cause = cause_named(text.removeprefix("-ERR").strip())
        if cause is not HangupCause.SUBSCRIBER_ABSENT:
            await asyncio.sleep(NO_CHANNEL_S)
        self._tracker.end(leg_id, self._clock(), cause)

    async def hang_up(self, leg_id: LegId, cause: HangupCause) -> None:
        leg = self._tracker.legs[leg_id]
        status = status_to_force(cause)
        if leg.inbound and not leg.answered and status is not None:
            self._link.send_unattended(f"api uuid_setvar {leg_id} last_bridge_proto_specific_hangup_cause sip:{status}")
        try:
            await self._link.api(f"uuid_kill {leg_id} {NAMES[cause]}")
        except LegGone:
            if not leg.ringing_job:
                raise
            self._run(self._cancel(leg_id, NAMES[cause]), "freeswitch-cancel")

    async def _cancel(self, leg_id: LegId, cause: str) -> None:
        """The server was told to ring a phone and has not begun: as soon as there is a channel it is hung up."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CANCEL_S
        while (leg := self._tracker.legs.get(leg_id)) is not None and leg.ringing_job and loop.time() < deadline:
            await asyncio.sleep(CANCEL_EVERY_S)
            try:
                await self._link.api(f"uuid_kill {leg_id} {cause}")
            except LegGone:
                continue
            except EngineError as error:
                log.info("a leg that was to be cancelled is settled by snapshot: %s", error)
            return


def _caller_id(cli: Cli) -> str:
    """What the phone shows. A withheld number stays withheld."""
    return str(cli.number) if cli.number is not None else cli.kind.value
