"""``MediaEngine`` on FreeSWITCH 1.10 or newer over its event socket."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from dialplans import self_call
from dialplans.endpoints import PhoneClass
from dialplans.freeswitch import usable
from dialplans.tones import CEPT_TONES, CallTones
from pbx.adapters.freeswitch.causes import NAMES
from pbx.adapters.freeswitch.conversations import Conversations
from pbx.adapters.freeswitch.esl import EslLink
from pbx.adapters.freeswitch.lease import Lease
from pbx.adapters.freeswitch.lone_calls import LoneCalls
from pbx.adapters.freeswitch.models import ServerEvent
from pbx.adapters.freeswitch.phones import Phones
from pbx.adapters.freeswitch.recorder import Recorder
from pbx.adapters.freeswitch.ringing import Ringing
from pbx.adapters.freeswitch.snapshot import INBOUND, adopt, encoded, snapshot
from pbx.adapters.freeswitch.sounds import MUSIC, Sounds
from pbx.adapters.freeswitch.tracker import NOT_PLAYED, Tracker
from pbx.domain.commands import OriginateLeg, Prompt, Tone
from pbx.domain.consent import RecordingGrant
from pbx.domain.e164 import E164
from pbx.domain.errors import BadValue, EngineError, EngineRefused, LegGone
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
)

log = logging.getLogger(__name__)

USUAL_CLASSES = usable({})
GRACE_S = 1.0
"""Events may still be under way when a snapshot is taken; a leg that it lacks is given up only after this."""
WHOLE = (
    "CHANNEL_PARK", "CHANNEL_PROGRESS", "CHANNEL_PROGRESS_MEDIA", "CHANNEL_BRIDGE", "CHANNEL_HANGUP_COMPLETE", "DTMF",
    "RECORD_STOP", "BACKGROUND_JOB",
)  # fmt: skip
"""Events of which every one is wanted. Each costs the server 5 to 13 KB of JSON, and that is most of what the event
socket costs: so of the others only those pass that say what a reply does not."""
PHONE_EVENTS = ("sofia::register", "sofia::unregister", "sofia::expire", "sofia::sip_user_state")
EVENTS = (*WHOLE, "PLAYBACK_STOP", "CHANNEL_EXECUTE_COMPLETE", "CUSTOM", *PHONE_EVENTS)
"""What follows CUSTOM are names of its own."""
FILTERS = (
    *(("Event-Name", name) for name in (*WHOLE, "CUSTOM")),
    ("callplane_play", "/./"),
    # Of what was executed only prompts that could not be played: the rest is most of what happens to a leg.
    *(("Application-Response", text) for text in sorted(NOT_PLAYED)),
    # Music that was broken off, and the application inside which it was played.
    ("Application-UUID", f"-{MUSIC}"),
    ("Application", "-park"),
)


class FreeSwitchEngine:
    """One media server. ``country_of`` tells the country (ISO 3166-1 alpha-2) of a caller's number; ``phone_dir`` is
    where the server's directory includes the agents' accounts from, ``prompt_suffix`` that of the prompts' files.
    ``codecs`` are those of agents' phones, the peer's is offered first; ``qualify``: phones are
    asked whether they are still there. ``tones`` are what a leg hears that is to hear a phone ring, or that it is
    busy. ``alone_log``: where calls that were served without a controller are written down. ``classes``: those that a
    phone may be of."""

    def __init__(
        self,
        *,
        esl_host: str,
        esl_port: int,
        esl_password: str,
        prompt_dir: Path,
        uploaded: Mapping[str, str] = MappingProxyType({}),
        phone_dir: Path,
        country_of: Callable[[E164], str | None],
        prompt_suffix: str = ".alaw",
        codecs: Sequence[str] = ("PCMA", "PCMU"),
        qualify: bool = True,
        tones: CallTones = CEPT_TONES,
        alone_log: Path | None = None,
        classes: Mapping[str, PhoneClass] = USUAL_CLASSES,
        clock: Clock = time.time,
        request_timeout_s: float = 5.0,
    ) -> None:
        self._link = EslLink(
            host=esl_host,
            port=esl_port,
            password=esl_password,
            events=EVENTS,
            filters=FILTERS,
            on_event=self._event,
            on_connected=self._connected,
            on_down=self._down,
            request_timeout_s=request_timeout_s,
        )
        self._clock = clock
        self._tracker = Tracker(self._emit, self._take, self._refuse, self._quiet, country_of)
        self._sounds = Sounds(self._link, self._tracker, prompt_dir, prompt_suffix, clock, tones, uploaded)
        self._conversations = Conversations(self._link, self._tracker, self._sounds)
        self._recorder = Recorder(self._link)
        self._phones = Phones(self._link, phone_dir, ping=qualify, classes=classes)
        self._ringing = Ringing(self._link, self._tracker, clock, self._run, codecs, self._phones.codecs_of)
        self._listener: EngineListener | None = None
        self._version = ""
        self._lease = Lease(self._link, clock)
        self._lone_calls = LoneCalls(self._link, alone_log)
        self._tasks: set[asyncio.Task[None]] = set()
        self._reachable: set[str] = set()

    @property
    def capabilities(self) -> EngineCapabilities:
        return EngineCapabilities(name="freeswitch", version=self._version)

    @property
    def meter(self) -> EngineMeter:
        return self._link.meter

    def expect(self) -> None:
        """The controller dials: nothing is to be done."""

    async def start(self, listener: EngineListener) -> None:
        self._listener = listener
        self._link.start()

    async def stop(self) -> None:
        """Gives the lease back, so that callers who come now get the fallback at once."""
        await self._lease.give_back()
        for task in self._tasks:
            task.cancel()
        self._sounds.stop()
        await self._link.stop()

    def cut(self) -> None:
        """Cuts the connection without a word, as a crash would (for tests)."""
        self._link.cut()

    # --- legs ---------------------------------------------------------------------------------------------------------

    def _known(self, leg_id: LegId) -> None:
        # A leg that has left may still be in the dialplan's hands: nothing of ours may touch it there.
        if leg_id not in self._tracker.legs:
            raise LegGone("the leg is over")

    async def answer(self, leg_id: LegId) -> None:
        self._known(leg_id)
        await self._link.api(f"uuid_answer {leg_id}")
        self._tracker.answered(leg_id, self._clock())

    async def hang_up(self, leg_id: LegId, cause: HangupCause) -> None:
        self._known(leg_id)
        await self._ringing.hang_up(leg_id, cause)

    async def originate(self, leg: OriginateLeg) -> None:
        if leg.peer_leg_id is not None:
            self._known(leg.peer_leg_id)
        await self._ringing.originate(leg)

    async def play(self, leg_id: LegId, play_id: PlayId, prompts: Sequence[Prompt]) -> None:
        self._known(leg_id)
        await self._sounds.play(leg_id, play_id, prompts)

    async def stop_play(self, play_id: PlayId) -> None:
        await self._sounds.stop_play(play_id)

    async def start_music(self, leg_id: LegId, music_class: str) -> None:
        self._known(leg_id)
        await self._sounds.start_music(leg_id, music_class)

    async def start_ringing(self, leg_id: LegId) -> None:
        self._known(leg_id)
        await self._sounds.start_tone(leg_id)

    async def start_tone(self, leg_id: LegId, tone: Tone) -> None:
        self._known(leg_id)
        await self._sounds.start_tone(leg_id, tone)

    async def stop_music(self, leg_id: LegId) -> None:
        self._known(leg_id)
        await self._sounds.stop_music(leg_id)

    async def set_variables(self, leg_id: LegId, variables: Mapping[str, str]) -> None:
        written = encoded(variables)
        self._known(leg_id)
        if written:
            told = ";".join(f"{name}={value}" for name, value in written.items())
            await self._link.api(f"uuid_setvar_multi {leg_id} {told}")

    # --- conversations ------------------------------------------------------------------------------------------------

    async def bridge(self, bridge_id: BridgeId, leg_ids: tuple[LegId, LegId]) -> None:
        for leg_id in leg_ids:
            self._known(leg_id)
        await self._conversations.bridge(bridge_id, leg_ids)

    async def destroy_bridge(self, bridge_id: BridgeId) -> None:
        await self._conversations.destroy(bridge_id)

    async def hold(self, leg_id: LegId, music_class: str) -> None:
        self._known(leg_id)
        await self._conversations.hold(leg_id, music_class)

    async def unhold(self, leg_id: LegId) -> None:
        self._known(leg_id)
        await self._conversations.unhold(leg_id)

    async def mute(self, leg_id: LegId, muted: bool) -> None:
        self._known(leg_id)
        await self._conversations.mute(leg_id, muted)

    async def supervise(self, leg_id: LegId, watched: LegId, mode: Supervision) -> None:
        self._known(leg_id)
        self._known(watched)
        await self._conversations.supervise(leg_id, watched, mode)

    async def stop_supervising(self, leg_id: LegId) -> None:
        self._known(leg_id)
        await self._conversations.stop_supervising(leg_id)

    # --- recording ----------------------------------------------------------------------------------------------------

    async def start_recording(
        self, recording_id: RecordingId, leg_id: LegId, grant: RecordingGrant, path: Path
    ) -> None:
        if not isinstance(grant, RecordingGrant):
            raise TypeError("nothing is recorded without a RecordingGrant")
        self._known(leg_id)
        if grant.leg_id != leg_id:
            raise EngineRefused("the grant is for another leg")
        await self._recorder.start(recording_id, leg_id, path)

    def adopt_recording(self, recording_id: RecordingId, leg_id: LegId, path: Path) -> None:
        self._recorder.adopt(recording_id, leg_id, path, there=leg_id in self._tracker.legs)

    async def stop_recording(self, recording_id: RecordingId, leg_id: LegId) -> None:
        await self._recorder.stop(recording_id, leg_id)

    async def pause_recording(self, recording_id: RecordingId, leg_id: LegId) -> None:
        await self._recorder.pause(recording_id, leg_id, paused=True)

    async def resume_recording(self, recording_id: RecordingId, leg_id: LegId) -> None:
        await self._recorder.pause(recording_id, leg_id, paused=False)

    # --- the server's call to itself ----------------------------------------------------------------------------------

    async def call_itself(self, check_id: int, directory: Path) -> None:
        """The far side's part stands in the dialplan."""
        path = directory / self_call.file_name(check_id, "local")
        if not re.fullmatch(r"/[A-Za-z0-9._/-]*", str(path)):
            raise EngineRefused("the path of the call's file holds a character that would end an argument")
        variables = f"callplane_number=far{check_id},originate_timeout=3,ignore_early_media=true,RECORD_READ_ONLY=true"
        says = f"playback:tone_stream://%({round(self_call.FOR_S * 1000)},0,{self_call.LOCAL_HZ})"
        does = f"m:^:record_session:{path}^{says}^hangup:NORMAL_CLEARING"
        line = f"originate {{{variables}}}user/callplane-self@trunks '{does}' inline"
        job = await self._link.start_job(line, 10.0)
        job.add_done_callback(lambda done: done.cancelled() or done.exception())  # what was heard says it all

    # --- phones and snapshot ------------------------------------------------------------------------------------------

    async def put_phone(self, account: PhoneAccount) -> None:
        await self._phones.put(account)

    async def remove_phone(self, phone_id: PhoneId) -> None:
        await self._phones.remove(phone_id)

    async def snapshot(self) -> EngineSnapshot:
        return (await snapshot(self._link, self._phones, tuple(self._tracker.legs)))[0]

    # --- the link -----------------------------------------------------------------------------------------------------

    def _emit(self, event: Event) -> None:
        if self._listener is not None:
            self._listener.engine_event(event)

    def _event(self, event: ServerEvent) -> None:
        if event.name == "CUSTOM":
            self._phone_event(event)
        elif event.name == "RECORD_STOP":
            self._recorder.stopped(event.record_path)
        else:
            self._tracker.handle(event)

    def _phone_event(self, event: ServerEvent) -> None:
        user = event.user or event.from_user
        if not user or event.subclass not in PHONE_EVENTS:
            return
        if event.subclass == "sofia::register":
            self._phone(user, True)
        elif event.subclass == "sofia::sip_user_state":
            self._phone(user, event.ping_status.lower() == "reachable")
        else:
            self._run(self._unregistered(user), "freeswitch-registration")

    async def _unregistered(self, user: str) -> None:
        try:
            self._phone(user, await self._phones.is_registered(user))
        except (EngineError, BadValue) as error:
            log.info("registrations are compared at the next snapshot: %s", type(error).__name__)

    def _phone(self, phone_id: str, reachable: bool) -> None:
        if reachable is (phone_id in self._reachable):
            return
        (self._reachable.add if reachable else self._reachable.discard)(phone_id)
        self._emit(PhoneReachable(at=self._clock(), phone_id=PhoneId(phone_id), reachable=reachable))

    def _take(self, leg_id: str) -> None:
        """Marks the leg as ours and lifts the limit that the dialplan set for a controller that never comes."""
        self._link.send_unattended(f"api sched_del {leg_id}")
        self._link.send_unattended(f"api uuid_setvar {leg_id} callplane_leg {INBOUND}")

    def _refuse(self, leg_id: str) -> None:
        self._link.send_unattended(f"api uuid_kill {leg_id} {NAMES[HangupCause.INVALID_NUMBER_FORMAT]}")

    def _quiet(self, leg_id: str) -> None:
        self._sounds.quiet(leg_id)

    async def _connected(self) -> None:
        self._version = (await self._link.api("version short")).strip()
        taken, found = await snapshot(self._link, self._phones, tuple(self._tracker.legs))
        missing, untaken = adopt(self._tracker, found)
        if missing:
            self._run(self._give_up(missing), "freeswitch-missing-legs")
        self._reachable = set(taken.reachable_phones)
        # At the first event about presence, usually of its first call, the server holds all events for 0.5 s.
        self._link.send_unattended("sendevent PRESENCE_OUT")
        await self._lease.take()
        log.info("the media server is up: %d legs, %d bridges", len(taken.legs), len(taken.bridges))
        if self._listener is not None:
            self._listener.engine_up(taken)
        for channel in untaken:
            self._tracker.offer(channel, self._clock())
        self._run(self._lone_calls.watch(), "freeswitch-lone-calls")

    def _run(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _give_up(self, missing: set[str]) -> None:
        await asyncio.sleep(GRACE_S)
        for leg_id in sorted(missing):
            self._tracker.end(leg_id, self._clock(), HangupCause.TEMPORARY_FAILURE)

    def _down(self, reason: str) -> None:
        log.warning("the media server's connection is down: %s", reason)
        self._lease.lose()
        if self._listener is not None:
            self._listener.engine_down(reason)
