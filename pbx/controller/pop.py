"""A POP at work: takes the media server's events to the right call, the centre's configuration and commands to
where they belong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace

from pbx.controller.call_actor import CallActor, Services
from pbx.controller.callbacks import CallbackDesk, Numbers, UnknownNumbers
from pbx.controller.command_desk import CommandDesk
from pbx.controller.config_store import ConfigStore, phone_of, shifts_of
from pbx.controller.disk_room import DiskRoom
from pbx.controller.feature_calls import FeatureCalls
from pbx.controller.parking_lot import ParkingDesk, ParkingLot
from pbx.controller.phone_book import PhoneBook
from pbx.controller.phone_codes import PhoneCodes
from pbx.controller.phone_news import PhoneNews
from pbx.controller.placing import PlacingDesk
from pbx.controller.prompt_shelf import PromptShelf
from pbx.controller.readoption import Readoption
from pbx.controller.router import Router
from pbx.controller.self_call import SelfCalls
from pbx.controller.served_alone import ServedAlone
from pbx.controller.spanning.borrowed import Borrowed
from pbx.controller.spanning.desk import SpanningDesk
from pbx.controller.spanning.guests import GuestCalls
from pbx.controller.witnesses import Witnesses
from pbx.domain import events as ev
from pbx.domain.call import Call
from pbx.domain.dialling import Outbound
from pbx.domain.e164 import cli_of
from pbx.domain.errors import EngineError, JournalError
from pbx.domain.flow import Flow
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, CallId, LegId, PhoneId, PopId, derive
from pbx.domain.pseudonyms import Pseudonyms
from pbx.domain.queue import Did, Queue
from pbx.ports.hidden import HiddenValues, NothingHidden
from pbx.ports.journal import Journal
from pbx.ports.link import Link
from pbx.ports.lookups import Lookups, NoLookups
from pbx.ports.media_engine import Clock, EngineSnapshot, MediaEngine
from pbx.ports.mesh import Mesh
from pbx.ports.vault import Vault
from pbx.recording.recorder import Recorder
from pbx.wire import messages as wire

log = logging.getLogger(__name__)

ORPHAN_GRACE_S = 3.0


class Pop:
    """Implements ``EngineListener`` and ``LinkHandler``."""

    def __init__(
        self,
        pop_id: PopId,
        engine: MediaEngine,
        journal: Journal,
        recorder: Recorder,
        vault: Vault,
        config: ConfigStore,
        clock: Clock,
        *,
        languages: Sequence[str] = ("en",),
        lookups: Lookups | None = None,
        keyed_codes: bool = False,
        numbers: Numbers | None = None,
        outbound: Outbound | None = None,
        parking: ParkingLot | None = None,
        shelf: PromptShelf | None = None,
        hidden: HiddenValues | None = None,
        witnesses: Witnesses | None = None,
        pseudonyms: Pseudonyms | None = None,
        mesh: Mesh | None = None,
        self_call_every_s: float = 0.0,
        of_system: Callable[[float], float] = lambda at: at,
    ) -> None:
        """``languages``: in which agents are spoken to, the preferred first. ``keyed_codes``: agents can key in codes
        while they talk. ``mesh``: to the other POPs; without it queues span none. ``self_call_every_s``: how often the
        media server calls itself; 0: never. ``of_system``: what ``clock`` said when the host's clock, by which the
        media server tells its times, said so."""
        self.pop_id = pop_id
        self.engine = engine
        self.journal = journal
        self.config = config
        self._shelf = shelf
        self._refused: dict[str, wire.ConfigEntry] = {}
        self.clock, self.of_system = clock, of_system
        self.engine_is_up = False
        self.calls: dict[CallId, CallActor] = {}
        self.vault = vault
        self._legs: dict[LegId, CallActor] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._link: Link | None = None
        self.router = Router(journal, clock, self._to_call)
        self.spanning = None if mesh is None else SpanningDesk(pop_id, self.router, mesh, journal, clock, self._news)
        self.guests: GuestCalls | None = None
        if self.spanning is not None:
            rules = (self.spanning.accepts, self.spanning.tell_agent, self.spanning.queues.get)
            self.guests = guests = GuestCalls(engine, self.router, *rules, self._spawn, clock)
            self.spanning.serving = lambda: guests.offers() if self.engine_is_up else None
            borrowed = Borrowed(self.calls, self._end_borrowed, clock)
            self.spanning.served, self.spanning.free = borrowed.told, borrowed.free
        self.phones = PhoneBook(engine, self._news)
        self._phone_news = PhoneNews(
            engine, self.router, None if self.spanning is None else self.spanning.moving, self._spawn
        )
        self.codes = PhoneCodes(self.router, config, keyed_codes)
        self.parking = ParkingDesk(engine, self.calls, self._own_leg, self._spawn, clock, parking or ParkingLot())
        self.features = FeatureCalls(
            engine,
            self.router,
            self.codes,
            lambda command: self.desk.asked_at_phone(command),
            config.prompts,
            languages,
            self._spawn,
            self.parking.retrieved_on,
        )
        self._lookups = lookups or NoLookups()
        self.callbacks = CallbackDesk(
            journal,
            clock,
            self.router,
            config,
            numbers or UnknownNumbers(),
            self._to_call,
            self._call_back,
        )
        self.placing = PlacingDesk(
            pop_id,
            self.router,
            config,
            outbound or Outbound(),
            clock,
            self._place,
            self._refuse,
            lambda leg_id, cause: self._spawn(self._hang_up(leg_id, cause), f"refuse-{leg_id}"),
        )
        desk_of = (
            self.calls, self.router, self.callbacks, self.parking, self.placing, engine, vault, journal, clock
        )  # fmt: skip
        self.desk = CommandDesk(*desk_of, pseudonyms, None if self.spanning is None else self.spanning.moving.elsewhere)
        self._services = Services(
            engine,
            journal,
            self.router,
            recorder,
            clock,
            self._own_leg,
            self._closed,
            self._lookups,
            self.callbacks.request,
            hidden or NothingHidden(),
        )
        self.disk_room = DiskRoom(recorder, self.calls, clock)
        self.self_calls = SelfCalls(engine, recorder.directory, clock, self_call_every_s, self._media_checked)
        self.served_alone = ServedAlone(pop_id, recorder.directory, journal, clock, self.placing.alone)
        self.witnesses = witnesses or Witnesses()
        self.witnesses.listen(journal)
        self._readoption = Readoption(self._services, config, self._begins, self.witnesses.adopted)

    async def start(self, link: Link | None) -> None:
        """Take up the configuration on this disk, then connect to the media server and to the centre."""
        self.engine.expect()
        kept = self.journal.config()
        for key in sorted(kept, key=lambda key: (not key.startswith("prompt."), key)):  # flows name prompts
            self._apply(key, kept[key])
        if back := await asyncio.to_thread(self.vault.forget, self.journal.erased_recordings()):
            log.error("ALARM %d erased recordings had come back, from a backup; they were destroyed again", back)
        self._readoption.rebuild()
        self.callbacks.start(self._readoption.callbacks())
        self.journal.on_written(self._written)
        self.phones.start()
        if self.spanning is not None:
            self.spanning.start()
        await self.engine.start(self)
        if link is not None:
            self._link = link
            await link.start(self)
        if self._shelf is not None:
            self._shelf.start(None if link is None else link.prompt, self._prompt_came)

    async def stop(self) -> None:
        """Stop deciding. Bridged calls go on in the media server."""
        if self._shelf is not None:
            self._shelf.stop()
        if self._link is not None:
            await self._link.stop()
        if self.spanning is not None:
            self.spanning.stop()
        await self.phones.stop()
        await self.engine.stop()
        self.features.stop()
        self.callbacks.stop()
        await self._lookups.close()
        self.router.stop()
        self._readoption.stop()
        for actor in self.calls.values():
            actor.halt()
        self.journal.close()

    # --- calls --------------------------------------------------------------------------------------------------

    def _begins(self, actor: CallActor) -> None:
        self.calls[actor.call.call_id] = actor

    def _own_leg(self, leg_id: LegId, actor: CallActor) -> None:
        self._legs[leg_id] = actor
        actor.legs.add(leg_id)

    def _closed(self, actor: CallActor) -> None:
        for leg_id in actor.legs:
            if self._legs.get(leg_id) is actor:
                del self._legs[leg_id]
            self.codes.forget(leg_id)
        self.calls.pop(actor.call.call_id, None)
        self.callbacks.call_over(actor.call)

    def _written(self) -> None:
        if self._link is not None:
            self._link.events_waiting()

    def _news(self) -> None:
        if self._link is not None:
            self._link.heartbeat_changed()

    def _to_call(self, call_id: CallId, event: ev.Event) -> None:
        actor = self.calls.get(call_id)
        if actor is not None:
            actor.post(event)
        else:
            self.callbacks.told(call_id, event)
            if self.guests is not None:
                self.guests.told(call_id, event)

    def _call_back(self, call_id: CallId, dialled: ev.CallbackDialled, offer: ev.OfferMade) -> bool:
        config = self.config.for_call(dialled.did)
        if config is None:
            return False
        actor = CallActor(Call(call_id, dialled, config), self._services)
        self.calls[call_id] = actor
        self._own_leg(dialled.leg_id, actor)
        actor.post(dialled)
        actor.post(offer)
        actor.start()
        return True

    def _place(self, call_id: CallId, placed: ev.CallPlaced) -> None:
        actor = CallActor(Call(call_id, placed, self.config.for_placed(placed)), self._services)
        self.calls[call_id] = actor
        self._own_leg(placed.phone_leg, actor)
        actor.post(placed)
        actor.start()

    # --- EngineListener -----------------------------------------------------------------------------------------

    def engine_event(self, event: ev.Event) -> None:
        if (at := self.of_system(event.at)) != event.at:
            event = replace(event, at=at)
        match event:
            case ev.LegOffered():
                self._offered(event)
            case ev.FeatureDialled():
                self.journal.note(None, (event,))
                self.features.dialled(event)
            case ev.NumberDialled(leg_id=leg_id):
                if leg_id not in self._legs:  # else handed over twice
                    self.placing.dialled(event)
            case ev.GuestOffered():
                self._guest(event)
            case ev.PhoneReachable(phone_id=phone_id, reachable=reachable):
                self._phone_news.heard(phone_id, reachable, connected=self.engine_is_up)
            case ev.LegsBridged(leg_ids=leg_ids):
                self._to_leg(leg_ids[0], event)
            case (
                ev.LegEnded(leg_id=leg_id)
                | ev.LegAnswered(leg_id=leg_id)
                | ev.LegRinging(leg_id=leg_id)
                | ev.PlayEnded(leg_id=leg_id)
            ):
                self._to_leg(leg_id, event)
            case ev.DigitPressed():
                self._digit(event)
            case _:
                log.warning("the media server's adapter sent a %s, which is nobody's", type(event).__name__)

    def _guest(self, event: ev.GuestOffered) -> None:
        if self.guests is None:
            log.warning("POP %s rings an agent here, and this POP has no connection to others", event.home)
            self._spawn(self.engine.hang_up(event.leg_id, HangupCause.CALL_REJECTED), f"guest-{event.leg_id}")
        elif self.guests.offered(event):
            # The caller's number is the other POP's, and stays in its region.
            self.journal.note(None, (replace(event, cli=cli_of("unknown")),))

    def _to_leg(self, leg_id: LegId, event: ev.Event) -> None:
        actor = self._legs.get(leg_id)
        if actor is not None:
            if isinstance(event, ev.LegEnded):
                # Said once and last. A media server that was restarted may give the id to the next leg.
                del self._legs[leg_id]
            actor.post(event)
        elif self.guests is not None and self.guests.event(leg_id, event):
            return
        elif not self.features.event(leg_id, event) and isinstance(event, ev.LegEnded):
            self._readoption.ended(leg_id)

    def _digit(self, event: ev.DigitPressed) -> None:
        """A caller's is the call's. What anybody else keys in is nobody's business, and not in the journal, unless it
        makes a code."""
        actor = self._legs.get(event.leg_id)
        if actor is None or event.leg_id == actor.call.context.leg_id:
            self._to_leg(event.leg_id, event)
        elif (command := self.codes.pressed(actor.call, event)) is not None:
            self.desk.asked_at_phone(command)

    def _offered(self, event: ev.LegOffered) -> None:
        if event.leg_id in self._legs:
            return  # handed over twice
        call_id = CallId(derive(event.at, self.pop_id, event.leg_id))
        if self.config.pop.draining:
            self._refuse(call_id, event, (), ev.EndReason.DRAINING, HangupCause.SWITCH_CONGESTION)
            return
        config = self.config.for_call(event.did)
        if config is None:
            self._refuse(call_id, event, (), ev.EndReason.UNKNOWN_DID, HangupCause.UNALLOCATED_NUMBER)
            return
        actor = CallActor(Call(call_id, event, config), self._services)
        self.calls[call_id] = actor
        self._own_leg(event.leg_id, actor)
        actor.post(event)
        actor.start()

    def _refuse(
        self,
        call_id: CallId,
        event: ev.LegOffered | ev.CallPlaced,
        findings: tuple[ev.Event, ...],
        reason: ev.EndReason,
        cause: HangupCause,
    ) -> None:
        """The carrier, or the agent, hears why, and the record says so: a number that nobody has configured does not
        exist; a POP that drains answers as a full switch does, upon which carriers take their next route."""
        self._spawn(self._refused_leg(call_id, event, findings, reason, cause), f"refuse-{call_id}")

    async def _refused_leg(
        self,
        call_id: CallId,
        event: ev.LegOffered | ev.CallPlaced,
        findings: tuple[ev.Event, ...],
        reason: ev.EndReason,
        cause: HangupCause,
    ) -> None:
        ended = ev.CallEnded(at=self.clock(), reason=reason, cause=cause, ended_at=self.clock())
        try:
            await self.journal.append(call_id, (event, *findings, ended))
        except JournalError as error:
            log.error("ALARM journal refused call %s: %s", call_id, error)
        await self._hang_up(event.phone_leg if isinstance(event, ev.CallPlaced) else event.leg_id, cause)

    async def _hang_up(self, leg_id: LegId, cause: HangupCause) -> None:
        try:
            await self.engine.hang_up(leg_id, cause)
        except EngineError as error:
            log.warning("a leg could not be refused (%s): %s", cause.name, error)

    def _end_borrowed(self, leg_id: LegId) -> None:
        self._spawn(self._hang_up(leg_id, HangupCause.TEMPORARY_FAILURE), f"borrowed-{leg_id}")

    def _spawn(self, job: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(job, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def engine_up(self, snapshot: EngineSnapshot) -> None:
        """Legs the media server no longer has are ended; those it has and nobody here knows are looked at again
        after a moment, because the news of their coming may still be on its way."""
        self.engine_is_up = True
        live = {leg.leg_id for leg in snapshot.legs}
        for leg_id, actor in list(self._legs.items()):
            if leg_id not in live:
                actor.leg_lost(leg_id)
        self._readoption.take_up(snapshot)
        self.features.lost(frozenset(live))
        if self.guests is not None:
            self.guests.lost(frozenset(live))
            self.guests.adopt(snapshot.legs)
        orphans = {leg.leg_id for leg in snapshot.legs if leg.in_control and not self._is_owned(leg.leg_id)}
        if orphans:
            self._spawn(self._end_orphans(orphans), "orphans")
        self._phone_news.seen(snapshot)
        self.served_alone.seen(snapshot)
        self.phones.put_all()
        if self.spanning is not None:
            self.spanning.media_server(True)
        self._news()
        log.info("media server connected: %d legs, %d calls of ours", len(live), len(self.calls))

    def _is_owned(self, leg_id: LegId) -> bool:
        guest = self.guests is not None and self.guests.owns(leg_id)
        return guest or leg_id in self._legs or self.features.owns(leg_id) or self._readoption.owns(leg_id)

    async def _end_orphans(self, suspects: set[LegId]) -> None:
        """Hang up legs that wait for a controller which does not know them, or talk under none."""
        await asyncio.sleep(ORPHAN_GRACE_S)
        try:
            for leg in (await self.engine.snapshot()).legs:
                if leg.leg_id in suspects and leg.in_control and not self._is_owned(leg.leg_id):
                    await self.engine.hang_up(leg.leg_id, HangupCause.RECOVERY_ON_TIMER_EXPIRY)
        except EngineError as error:
            log.warning("orphan legs could not be hung up: %s", error)

    def _media_checked(self, event: ev.MediaChecked) -> None:
        self.journal.note(None, (event,))
        self._news()

    def engine_down(self, reason: str) -> None:
        self.engine_is_up = False
        if self.spanning is not None:
            self.spanning.media_server(False)
        self._news()
        log.error("media server lost: %s", reason)

    # --- LinkHandler --------------------------------------------------------------------------------------------

    def config_changed(self, key: str, entry: wire.ConfigEntry | None) -> None:
        self.journal.note_config(self.clock(), key, entry)
        if entry is None:
            self._remove(key)
            self.journal.delete_config(key)
        elif self._apply(key, entry):
            self.journal.put_config(key, entry)

    def _apply(self, key: str, entry: wire.ConfigEntry) -> bool:
        value = self.config.put(key, entry)
        self._refused.pop(key, None)
        match value:
            case None:
                log.error("configuration %s was refused: %s", key, self.config.errors[key])
                self._refused[key] = entry
                return False
            case Queue():
                self.router.put_queue(value)
                if self.spanning is not None:
                    self.spanning.put_queue(value)
            case wire.AgentConfig():
                agent_id = AgentId(value.agent_id)
                former = self.router.agent(agent_id)
                if former is not None and former.phone_id != value.phone_id:
                    self.phones.remove(former.phone_id)
                phone_id = PhoneId(value.phone_id)
                self.router.put_agent(
                    agent_id,
                    phone_id,
                    value.skills,
                    value.country,
                    cost=value.cost,
                    weight=value.weight,
                    shifts=shifts_of(value),
                    site=value.site,
                )
                if self.spanning is not None:
                    self.spanning.moving.put_agent(agent_id, phone_id, tuple(map(PopId, value.pops)))
                self.phones.put(phone_of(value))
            case wire.PromptConfig():
                self._want(key, value)
            case wire.PopConfig(draining=draining):
                self.callbacks.hold(draining)
            case Did() | Flow():
                pass  # looked up when a call begins
        return True

    def _want(self, key: str, prompt: wire.PromptConfig) -> None:
        if self._shelf is not None:
            self._shelf.put(prompt)
            if (missing := self._shelf.missing(prompt)) is not None:
                self.config.errors[key] = missing

    def _prompt_came(self) -> None:
        """What was refused for the lack of it may be right now."""
        for key, prompt in self.config.uploaded.items():
            if self._shelf is not None and self._shelf.missing(prompt) is None:
                self.config.errors.pop(key, None)
        for key, entry in list(self._refused.items()):
            if self._apply(key, entry):
                self.journal.put_config(key, entry)

    def _remove(self, key: str) -> None:
        self._refused.pop(key, None)
        match self.config.remove(key):
            case wire.PromptConfig(prompt_id=prompt_id, language=language):
                if self._shelf is not None:
                    self._shelf.remove(prompt_id, language)
            case Queue(queue_id=queue_id):
                self.router.remove_queue(queue_id)
                if self.spanning is not None:
                    self.spanning.remove_queue(queue_id)
            case wire.AgentConfig() as agent:
                self.router.remove_agent(AgentId(agent.agent_id))
                if self.spanning is not None:
                    self.spanning.moving.remove_agent(AgentId(agent.agent_id))
                self.phones.remove(PhoneId(agent.phone_id))
            case wire.PopConfig():
                self.callbacks.hold(False)
            case _:
                pass  # calls under way keep the flow and the DID they started with

    async def command(self, request: wire.CommandRequest) -> wire.CommandReply:
        with self.witnesses.command(request) as told:
            reply = await self.desk.carry_out(request)
            told(reply)
        return reply

    @property
    def live_calls(self) -> int:
        return len(self.calls) + len(self._readoption.calls)

    def heartbeat(self) -> wire.Heartbeat:
        return wire.Heartbeat(
            pop_id=self.pop_id,
            at=self.clock(),
            revision=self.config.revision,
            engine_up=self.engine_is_up,
            live_calls=self.live_calls,
            unsent_events=self.journal.unsent_count(),
            config_errors=self.config.errors | self.phones.errors(self.config.agents.values()),
            draining=self.config.pop.draining,
            phones_pending=self.phones.pending,
            spanning_queues=0 if self.spanning is None else len(self.spanning.queues),
            router_pop=None if self.spanning is None else self.spanning.router_pop,
            carries_audio=self.self_calls.carries_audio,
            audio_reason=self.self_calls.reason,
        )
