"""``MediaEngine`` on Asterisk 22.5 or newer: ARI for calls, AMI for recording and for the phones' registrations."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import msgspec

from dialplans.tones import CEPT_TONES, CallTones
from pbx.adapters.asterisk import models
from pbx.adapters.asterisk import snapshot as snapshots
from pbx.adapters.asterisk.ami import AmiLink
from pbx.adapters.asterisk.ari import AriLink, Query, error_of
from pbx.adapters.asterisk.conversations import Conversations
from pbx.adapters.asterisk.lease import Lease
from pbx.adapters.asterisk.phones import USUAL_PHONES, Phones, PhoneSettings
from pbx.adapters.asterisk.recorder import Recorder
from pbx.adapters.asterisk.supervision import Supervisions
from pbx.adapters.asterisk.tones import Tones
from pbx.adapters.asterisk.tracker import ORIGINATED, Leg, Tracker
from pbx.domain.commands import OriginateLeg, Prompt, ToAgent, Tone, ToPhone
from pbx.domain.consent import RecordingGrant
from pbx.domain.e164 import E164, Cli
from pbx.domain.errors import BadValue, EngineError, EngineGone, EngineRefused, LegGone
from pbx.domain.events import Event, PhoneReachable
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import BridgeId, LegId, PhoneId, PlayId, RecordingId
from pbx.ports.media_engine import (
    Clock,
    EngineCapabilities,
    EngineListener,
    EngineMeter,
    EngineSnapshot,
    PhoneAccount,
    Supervision,
    check_variables,
)
from pbx.wire.offer_header import OFFER_HEADER, offer_text

log = logging.getLogger(__name__)

APPLICATION = "callplane"
GRACE_S = 1.0
"""Events may still be under way when a snapshot is taken; a leg that it lacks is given up only after this."""

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_REFUSAL = {
    HangupCause.NETWORK_OUT_OF_ORDER: HangupCause.CONGESTION,
    HangupCause.TEMPORARY_FAILURE: HangupCause.CONGESTION,
    HangupCause.INCOMPATIBLE_DESTINATION: HangupCause.BEARER_NOT_AVAILABLE,
}
"""Causes that the server would give another SIP status than RFC 3398 does, and one that has the right status."""
_info = msgspec.json.Decoder(models.AsteriskInfo)


def _word(text: str, field: str) -> str:
    if not _WORD.fullmatch(text):
        raise BadValue(field, "is not a name of letters, digits, dots, dashes and underscores")
    return text


class AsteriskEngine:
    """One media server. ``country_of`` tells the country (ISO 3166-1 alpha-2) of a caller's number, ``phones`` how
    agents' phones are spoken to. ``tones`` are what a leg hears that is to hear a phone ring, or that it is busy."""

    def __init__(
        self,
        *,
        ari_host: str,
        ari_port: int,
        ari_user: str,
        ari_password: str,
        ami_host: str,
        ami_port: int,
        ami_user: str,
        ami_password: str,
        prompt_dir: Path,
        uploaded: Mapping[str, str] = MappingProxyType({}),
        country_of: Callable[[E164], str | None],
        phones: PhoneSettings = USUAL_PHONES,
        tones: CallTones = CEPT_TONES,
        clock: Clock = time.time,
        request_timeout_s: float = 5.0,
    ) -> None:
        self._ari = AriLink(
            host=ari_host,
            port=ari_port,
            user=ari_user,
            password=ari_password,
            application=APPLICATION,
            on_event=lambda event: self._tracker.handle(event),
            on_connected=self._connected,
            on_down=self._down,
            request_timeout_s=request_timeout_s,
        )
        self._ami = AmiLink(
            host=ami_host,
            port=ami_port,
            user=ami_user,
            password=ami_password,
            on_event=lambda event: self._phones.ami_event(event),
            on_up=self._ami_up,
            action_timeout_s=request_timeout_s,
        )
        self._recorder = Recorder(self._ami)
        self._tracker = Tracker(
            self._emit,
            self._take,
            self._refuse,
            self._forget_bridge,
            country_of,
            snoop=lambda channel_id, there: self._supervisions.snooped(channel_id, there),
            left=self._left,
        )
        self._supervisions = Supervisions(self._ari, self._tracker, APPLICATION)
        self._tones = Tones(self._ari, tones)
        self._conversations = Conversations(self._ari, self._tracker, self._supervisions, self._tones)
        self._prompt_dir, self._uploaded, self._clock = prompt_dir, uploaded, clock
        self._codecs = phones.codecs
        self._phones = Phones(self._ari, self._phone, phones)
        self._listener: EngineListener | None = None
        self._version, self._started_at = "", ""
        self._lease = Lease(self._ari, clock)
        self._checks: set[asyncio.Task[None]] = set()

    @property
    def capabilities(self) -> EngineCapabilities:
        return EngineCapabilities(name="asterisk", version=self._version, queues_events_while_away=True)

    @property
    def meter(self) -> EngineMeter:
        return self._ari.meter

    @property
    def recording_possible(self) -> bool:
        """AMI is connected; without it everything but recording works."""
        return self._ami.connected

    @property
    def ari_port(self) -> int:
        return self._ari.port

    def expect(self) -> None:
        self._ari.expect()

    async def start(self, listener: EngineListener) -> None:
        """Listens for the media server. Raises OSError when the address cannot be had."""
        self._listener = listener
        await self._ari.start()
        self._ami.start()

    async def stop(self) -> None:
        """Gives the lease back, so that callers who come now get the fallback at once."""
        await self._lease.give_back()
        for check in self._checks:
            check.cancel()
        await self._ami.stop()
        await self._ari.stop()

    def cut(self) -> None:
        """Cuts the connection without a word, as a crash would (for tests)."""
        self._ari.cut()

    # --- legs ---------------------------------------------------------------------------------------------------------

    def _known(self, leg_id: LegId) -> Leg:
        # A leg that has left may still be in the dialplan's hands: nothing of ours may touch it there.
        leg = self._tracker.legs.get(leg_id)
        if leg is None:
            raise LegGone("the leg is over")
        return leg

    async def answer(self, leg_id: LegId) -> None:
        self._known(leg_id)
        await self._ari.request("POST", f"channels/{leg_id}/answer")

    async def hang_up(self, leg_id: LegId, cause: HangupCause) -> None:
        answered = self._known(leg_id).answered
        self._tracker.hanging_up(leg_id, cause)
        code = cause if answered else _REFUSAL.get(cause, cause)
        await self._ari.request("DELETE", f"channels/{leg_id}", (("reason_code", str(int(code))),))

    async def play(self, leg_id: LegId, play_id: PlayId, prompts: Sequence[Prompt]) -> None:
        if any(not self._tracker.plays[under_way].stopped for under_way in self._known(leg_id).plays):
            raise EngineRefused("a play is under way on this leg")
        if not prompts:
            raise BadValue("prompts", "are none")
        media = ",".join(f"sound:{self._sound(prompt)}" for prompt in prompts)
        self._tones.stop(leg_id, self._known(leg_id))
        self._tracker.playing(play_id, leg_id, len(prompts))
        try:
            await self._ari.request("POST", f"channels/{leg_id}/play/{play_id}", (("media", media),))
        except (LegGone, EngineRefused, EngineGone):
            self._tracker.not_playing(play_id)
            raise

    def _sound(self, p: Prompt) -> str:
        if (uploaded := self._uploaded.get(p.sha256)) is not None:
            return uploaded
        return f"{self._prompt_dir}/{_word(p.language, 'language')}/{_word(p.prompt_id, 'prompt_id')}"

    async def stop_play(self, play_id: PlayId) -> None:
        # One that an earlier controller began is not known here; the server says whether it is over.
        play = self._tracker.plays.get(play_id)
        if play is not None:
            play.stopped = True
        await self._ari.request("DELETE", f"playbacks/{play_id}")

    async def start_music(self, leg_id: LegId, music_class: str) -> None:
        leg = self._known(leg_id)
        query = (("mohClass", _word(music_class, "music_class")),)
        self._tones.stop(leg_id, leg)
        leg.music = True
        if not leg.answered:
            # A play tells the far end to listen (183); music does not.
            self._ari.send_unattended("POST", f"channels/{leg_id}/progress")
        await self._ari.request("POST", f"channels/{leg_id}/moh", query)

    async def start_ringing(self, leg_id: LegId) -> None:
        await self._tone(leg_id, None)

    async def start_tone(self, leg_id: LegId, tone: Tone) -> None:
        await self._tone(leg_id, tone)

    async def _tone(self, leg_id: LegId, tone: Tone | None) -> None:
        leg = self._known(leg_id)
        if leg.music:
            leg.music = False
            self._ari.send_unattended("DELETE", f"channels/{leg_id}/moh")
        await self._tones.sound(leg_id, leg, tone)

    async def stop_music(self, leg_id: LegId) -> None:
        leg = self._known(leg_id)
        if self._tones.stop(leg_id, leg):
            return
        leg.music = False
        await self._ari.request("DELETE", f"channels/{leg_id}/moh")

    async def originate(self, leg: OriginateLeg) -> None:
        if leg.peer_leg_id is not None:
            self._known(leg.peer_leg_id)
        body: object = None
        if isinstance(leg.to, ToPhone):
            endpoint, absent = f"PJSIP/{_word(leg.to.phone_id, 'phone_id')}", HangupCause.SUBSCRIBER_ABSENT
        elif isinstance(leg.to, ToAgent):
            endpoint = f"PJSIP/offer@mesh-{_word(leg.to.pop_id, 'pop_id')}"
            absent = HangupCause.DESTINATION_OUT_OF_ORDER
            body = {"variables": {f"PJSIP_HEADER(add,{OFFER_HEADER})": offer_text(leg.to)}}
        else:
            endpoint = f"PJSIP/{leg.to.number}@{_word(leg.to.trunk, 'trunk')}"
            absent = HangupCause.DESTINATION_OUT_OF_ORDER
        query: Query = (
            ("endpoint", endpoint),
            ("app", APPLICATION),
            ("appArgs", ORIGINATED),
            ("timeout", str(max(1, math.ceil(leg.timeout_s)))),
            ("callerId", _caller_id(leg.cli)),
        )
        # Without either the server offers codecs in an order of its own, and begins to send another than the first.
        if leg.peer_leg_id is not None:
            query = (*query, ("originator", leg.peer_leg_id))
        else:
            codecs = self._phones.codecs_of(leg.to.phone_id) if isinstance(leg.to, ToPhone) else self._codecs
            query = (*query, ("formats", ",".join(codecs)))
        self._tracker.originating(leg.leg_id)
        try:
            response = await self._ari.send("POST", f"channels/{leg.leg_id}", query, body)
        except EngineGone:
            self._tracker.legs.pop(leg.leg_id, None)
            raise
        error = error_of(response)
        if error is None:
            return
        if response.status_code == 500:
            # "Allocation failed": there is no registered contact to ring.
            self._tracker.end(leg.leg_id, self._clock(), absent)
            return
        self._tracker.legs.pop(leg.leg_id, None)
        raise LegGone("the peer leg is over") if response.status_code == 400 else error

    async def set_variables(self, leg_id: LegId, variables: Mapping[str, str]) -> None:
        check_variables(variables)
        leg = self._known(leg_id)
        for name, value in variables.items():
            if leg.inbound or leg.answered:
                query = (("variable", name), ("value", value))
                await self._ari.request("POST", f"channels/{leg_id}/variable", query)
            else:
                # ARI reaches a leg that rings only once it is answered.
                await self._ami.action("Setvar", Channel=leg_id, Variable=name, Value=value)

    # --- conversations ------------------------------------------------------------------------------------------------

    async def bridge(self, bridge_id: BridgeId, leg_ids: tuple[LegId, LegId]) -> None:
        await self._conversations.bridge(bridge_id, leg_ids)

    async def destroy_bridge(self, bridge_id: BridgeId) -> None:
        await self._conversations.destroy_bridge(bridge_id)

    async def hold(self, leg_id: LegId, music_class: str) -> None:
        await self._conversations.hold(leg_id, _word(music_class, "music_class"))

    async def unhold(self, leg_id: LegId) -> None:
        await self._conversations.unhold(leg_id)

    async def mute(self, leg_id: LegId, muted: bool) -> None:
        await self._conversations.mute(leg_id, muted)

    async def supervise(self, leg_id: LegId, watched: LegId, mode: Supervision) -> None:
        await self._supervisions.supervise(leg_id, watched, mode)

    async def stop_supervising(self, leg_id: LegId) -> None:
        await self._supervisions.stop(leg_id)

    # --- recording ----------------------------------------------------------------------------------------------------

    async def start_recording(
        self, recording_id: RecordingId, leg_id: LegId, grant: RecordingGrant, path: Path
    ) -> None:
        if not isinstance(grant, RecordingGrant):
            raise TypeError("nothing is recorded without a RecordingGrant")
        leg = self._known(leg_id)
        if grant.leg_id != leg_id:
            raise EngineRefused("the grant is for another leg")
        await self._recorder.start(recording_id, leg_id, path)
        if leg.bridge is None and not leg.music:
            # Or it would be sent no packet at all, which far ends take for a dead call after a while.
            leg.silence = True
            self._ari.send_unattended("POST", f"channels/{leg_id}/silence")

    def adopt_recording(self, recording_id: RecordingId, leg_id: LegId, path: Path) -> None:
        self._recorder.adopt(recording_id, path)

    async def stop_recording(self, recording_id: RecordingId, leg_id: LegId) -> None:
        leg = self._tracker.legs.get(leg_id)
        if leg is not None and leg.silence:
            leg.silence = False
            self._ari.send_unattended("DELETE", f"channels/{leg_id}/silence")
        await self._recorder.stop(recording_id, leg_id)

    async def pause_recording(self, recording_id: RecordingId, leg_id: LegId) -> None:
        self._known(leg_id)
        await self._recorder.pause(leg_id, True)

    async def resume_recording(self, recording_id: RecordingId, leg_id: LegId) -> None:
        self._known(leg_id)
        await self._recorder.pause(leg_id, False)

    # --- phones -------------------------------------------------------------------------------------------------------

    async def put_phone(self, account: PhoneAccount) -> None:
        await self._phones.put(account)

    async def remove_phone(self, phone_id: PhoneId) -> None:
        await self._phones.remove(phone_id)

    # --- the server's call to itself ----------------------------------------------------------------------------------

    async def call_itself(self, check_id: int, directory: Path) -> None:
        """Where the files go stands in the dialplan. Without an application nobody is told of the channels."""
        query = (
            ("endpoint", f"PJSIP/far{check_id}@callplane-self"),
            ("context", "callplane-self"),
            ("extension", f"local{check_id}"),
            ("priority", "1"),
            ("timeout", "3"),
            ("formats", "alaw"),
        )
        await self._ari.request("POST", "channels", query)

    # --- snapshot -----------------------------------------------------------------------------------------------------

    async def snapshot(self) -> EngineSnapshot:
        return (await snapshots.take(self._ari, APPLICATION)).engine

    # --- the links ----------------------------------------------------------------------------------------------------

    def _emit(self, event: Event) -> None:
        if self._listener is not None:
            self._listener.engine_event(event)

    def _take(self, leg_id: str) -> None:
        """Lifts the limit that the dialplan set for a controller that never comes."""
        self._ari.send_unattended(
            "POST", f"channels/{leg_id}/variable", (("variable", "TIMEOUT(absolute)"), ("value", "0"))
        )

    def _refuse(self, leg_id: str) -> None:
        cause = str(int(HangupCause.INVALID_NUMBER_FORMAT))
        self._ari.send_unattended("DELETE", f"channels/{leg_id}", (("reason_code", cause),))

    def _forget_bridge(self, bridge_id: str) -> None:
        self._ari.send_unattended("DELETE", f"bridges/{bridge_id}")

    def _left(self, leg_id: str) -> None:
        self._supervisions.end(leg_id)

    async def _connected(self) -> None:
        info = _info.decode(await self._ari.request("GET", "asterisk/info", (("only", "system,status"),)))
        self._version = info.system.version if info.system is not None else ""
        started_at = info.status.startup_time if info.status is not None else ""
        if self._started_at and started_at != self._started_at:
            self._tracker.server_restarted(self._clock())
        self._started_at = started_at
        snapshot = await snapshots.take(self._ari, APPLICATION)
        missing = self._tracker.adopt(await snapshots.adopted(self._ari, snapshot), self._clock())
        self._supervisions.adopt(snapshot.snoops, snapshot.snoop_bridges)
        for bridge_id in snapshot.engine.bridges:
            if bridge_id not in self._tracker.bridges:
                # Its legs ended while there was no controller.
                self._forget_bridge(bridge_id)
        if missing:
            self._run(self._give_up(missing), "asterisk-missing-legs")
        if snapshot.handed:
            self._run(self._offer_again(snapshot.handed), "asterisk-unheard-legs")
        self._phones.found(snapshot.engine.reachable_phones)
        await self._lease.take()
        log.info("the media server is up: %d legs, %d bridges", len(snapshot.engine.legs), len(snapshot.engine.bridges))
        if self._listener is not None:
            self._listener.engine_up(snapshot.engine)

    def _run(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._checks.add(task)
        task.add_done_callback(self._checks.discard)

    async def _give_up(self, missing: set[str]) -> None:
        await asyncio.sleep(GRACE_S)
        for leg_id in missing:
            self._tracker.end(leg_id, self._clock(), HangupCause.TEMPORARY_FAILURE)

    async def _offer_again(self, handed: Mapping[str, list[str]]) -> None:
        """The server keeps events for a controller that is away, but not those that it wrote to one that had died."""
        await asyncio.sleep(GRACE_S)
        for leg_id, args in handed.items():
            self._tracker.offer_again(leg_id, args, self._clock())

    def _down(self, reason: str) -> None:
        log.warning("the media server's connection is down: %s", reason)
        self._lease.lose()
        if self._listener is not None:
            self._listener.engine_down(reason)

    def _phone(self, phone_id: PhoneId, reachable: bool) -> None:
        self._emit(PhoneReachable(at=self._clock(), phone_id=phone_id, reachable=reachable))

    def _ami_up(self) -> None:
        """AMI keeps nothing for a client that is away: ask what has changed meanwhile."""
        log.info("AMI is up")
        if self._ari.connected:
            self._run(self._compare_phones(), "asterisk-phones")

    async def _compare_phones(self) -> None:
        try:
            reachable = (await self.snapshot()).reachable_phones
        except EngineError as error:
            log.info("phones are compared when the connection is back: %s", error)
            return
        self._phones.compare(reachable)


def _caller_id(cli: Cli) -> str:
    """What the phone shows. A withheld number stays withheld."""
    number = cli.number if cli.number is not None else cli.kind.value
    return f"<{number}>"
