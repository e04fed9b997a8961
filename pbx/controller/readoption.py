"""A restarted controller takes up the calls of the last run: rebuilt from the journal when it starts, brought to agree
with the media server when that is there. What is decided is in ``reconciler``; here it is carried out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass

from pbx.controller import reconciler
from pbx.controller.call_actor import CallActor, Services
from pbx.controller.config_store import ConfigStore
from pbx.controller.reconciler import NotFollowed, Rebuilt
from pbx.domain import events as ev
from pbx.domain.e164 import E164
from pbx.domain.errors import EngineError, JournalError
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import BridgeId, CallbackId, CallId, LegId, RecordingId
from pbx.ports.journal import LiveCall
from pbx.ports.media_engine import EngineSnapshot
from pbx.wire.codec import project_call

log = logging.getLogger(__name__)

LOST_GRACE_S = 1.5
"""The end of a leg that a snapshot lacks may still be on its way, with its true time and cause."""


@dataclass(frozen=True, slots=True)
class Unfollowed:
    """A call of the journal whose legs and recordings are known, but not what is to be done with it."""

    call_id: CallId
    legs: frozenset[LegId]
    recordings: tuple[tuple[RecordingId, LegId], ...]
    region: str


class Readoption:
    """``begin`` makes an actor one of the POP's; ``own_leg`` as in ``Services``. ``adopted`` is told of each call that
    goes on, with its events."""

    def __init__(
        self,
        services: Services,
        config: ConfigStore,
        begin: Callable[[CallActor], None],
        adopted: Callable[[CallId, Sequence[ev.Event]], None],
    ) -> None:
        self._services, self._config, self._begin, self._adopted = services, config, begin, adopted
        self.calls: dict[CallId, Rebuilt] = {}
        """Rebuilt, and not taken up yet."""
        self._unfollowed: list[Unfollowed] = []
        self._is_done = False
        self._detached: dict[LegId, frozenset[LegId]] = {}
        """Legs of people who talk to each other in a call that cannot be followed: whom to hang up with each."""
        self._stores: dict[int, ConfigStore] = {}
        self._jobs: set[asyncio.Task[None]] = set()

    # --- from the journal -------------------------------------------------------------------------------------------

    def rebuild(self) -> None:
        """All live calls of the last run. The configuration of this disk is in force."""
        journal, hidden = self._services.journal, self._services.hidden
        live = journal.live_calls()
        for one in live:
            try:
                self.calls[one.call_id] = self._rebuilt(one)
                continue
            except NotFollowed as error:
                log.error("call %s of the last run cannot be followed: %s", one.call_id, error)
            except Exception:
                # A defect of ours, perhaps the one that the controller died of, must cost this call only.
                log.exception("call %s of the last run cannot be followed for a defect", one.call_id)
            self._unfollowed.append(_unfollowed(one, self._config))
        hidden.keep_only(frozenset(self.calls))
        self._stores.clear()
        self._services.router.take_up({call_id: one.expected for call_id, one in self.calls.items()})
        if live:
            log.info("%d calls of the last run rebuilt from the journal", len(self.calls))

    def _rebuilt(self, live: LiveCall) -> Rebuilt:
        events = [event for event in live.events if event is not None]
        if len(events) != len(live.events):
            raise NotFollowed("an event of it is of another version")
        first = events[0]
        if not isinstance(first, ev.CallBegun):
            raise NotFollowed("it does not begin with its beginning")
        store = self._store_at(live.seq)
        config = store.for_placed(first) if isinstance(first, ev.CallPlaced) else store.for_call(first.did)
        if config is None:
            raise NotFollowed("its DID or flow is not known any more")
        rebuilt = reconciler.rebuild(live.call_id, events, config, self._services.hidden.of(live.call_id))
        if rebuilt.call.ended:
            raise NotFollowed("it had ended")
        self._adopted(live.call_id, events)
        return rebuilt

    def _store_at(self, seq: int) -> ConfigStore:
        change = self._services.journal.changed_after(seq)
        if change is None:
            return self._config
        if change not in self._stores:
            self._stores[change] = self._config.with_entries(self._services.journal.config_before(change))
        return self._stores[change]

    def callbacks(self) -> dict[CallbackId, CallId]:
        """Which calls keep which promises."""
        kept = ((one.call.called_back, call_id) for call_id, one in self.calls.items())
        return {called_back.callback_id: call_id for called_back, call_id in kept if called_back is not None}

    # --- with the media server --------------------------------------------------------------------------------------

    def take_up(self, snapshot: EngineSnapshot) -> None:
        """Every call of the last run goes on, or ends. Nothing happens at later connections."""
        if self._is_done:
            return
        self._is_done = True
        calls, self.calls = self.calls, {}
        files = self._services.recorder.captured()
        for rebuilt in calls.values():
            try:
                self._take_up(rebuilt, snapshot, files)
            except Exception:
                log.exception("call %s of the last run cannot be taken up for a defect", rebuilt.call.call_id)
                self._services.router.drop_call(rebuilt.call.call_id)
                self._unfollowed.append(_of(rebuilt))
        for one in self._unfollowed:
            self._spawn(self._close(one, snapshot), f"unfollowed-{one.call_id}")
        known = {recording for one in calls.values() for recording in one.expected.recordings}
        known |= {recording for one in self._unfollowed for recording, _ in one.recordings}
        for recording_id in sorted(files - known):
            self._spawn(self._stray(recording_id), f"stray-{recording_id}")
        if calls or self._unfollowed:
            log.info("%d calls taken up, %d could not be followed", len(calls), len(self._unfollowed))

    def _take_up(self, rebuilt: Rebuilt, snapshot: EngineSnapshot, files: frozenset[RecordingId]) -> None:
        plan = reconciler.reconcile(rebuilt, snapshot, files, self._services.clock())
        actor = CallActor(rebuilt.call, self._services)
        self._begin(actor)
        for leg_id in sorted(rebuilt.expected.legs):
            self._services.own_leg(leg_id, actor)
        actor.take_up(rebuilt, plan)
        self._miss(actor, plan.lost)

    def stop(self) -> None:
        for job in self._jobs:
            job.cancel()

    def _miss(self, actor: CallActor, legs: list[LegId]) -> None:
        def lose() -> None:
            for leg_id in legs:
                if leg_id in actor.call.legs:
                    actor.leg_lost(leg_id)

        if legs and self._services.engine.capabilities.queues_events_while_away:
            asyncio.get_running_loop().call_later(LOST_GRACE_S, lose)
        else:
            lose()

    async def _stray(self, recording_id: RecordingId) -> None:
        """A capture that belongs to no live call: one that could not be placed is placed now; one that nobody granted
        is destroyed."""
        journal, recorder = self._services.journal, self._services.recorder
        call_id = journal.call_of_recording(recording_id)
        if call_id is None:
            log.error("a recording that nobody has granted was destroyed")
            recorder.destroy(recording_id)
            return
        cdr = project_call(call_id, journal.read_call(call_id))
        did = self._config.dids.get(E164(cdr.did)) if cdr.did is not None else None
        for record in cdr.recordings:
            if record.recording_id == recording_id:
                region = record.region or (did.region if did is not None else "")
                ended = await recorder.place(recording_id, region, record.discarded)
                if ended.size_bytes or ended.discarded:
                    await self._note(call_id, [ended])

    async def _note(self, call_id: CallId, events: list[ev.Event]) -> None:
        try:
            await self._services.journal.append(call_id, events)
        except JournalError as error:
            log.error("ALARM journal refused what a restart found of call %s: %s", call_id, error)

    # --- calls that cannot be followed --------------------------------------------------------------------------------

    async def _close(self, one: Unfollowed, snapshot: EngineSnapshot) -> None:
        """People who talk to each other are left alone, until one of them hangs up; other legs are ended. The record is
        closed, and what was recorded under a grant is placed."""
        services, clock = self._services, self._services.clock
        live = {leg.leg_id: leg for leg in snapshot.legs if leg.leg_id in one.legs}
        talking: dict[BridgeId, set[LegId]] = {}
        for leg in live.values():
            if leg.bridge_id is not None:
                talking.setdefault(leg.bridge_id, set()).add(leg.leg_id)
        together = frozenset(leg_id for legs in talking.values() if len(legs) > 1 for leg_id in legs)
        self._detached |= dict.fromkeys(together, together)
        await self._hang_up(live.keys() - together)
        events: list[ev.Event] = []
        for recording_id, leg_id in one.recordings:
            services.recorder.adopt(recording_id, leg_id, one.region)
            events.append(await services.recorder.stop(recording_id, leg_id, discard=False))
        cause = HangupCause.RECOVERY_ON_TIMER_EXPIRY
        events.append(ev.CallEnded(at=clock(), reason=ev.EndReason.INTERRUPTED, cause=cause, ended_at=clock()))
        await self._note(one.call_id, events)

    async def _hang_up(self, legs: set[LegId]) -> None:
        for leg_id in sorted(legs):
            try:
                await self._services.engine.hang_up(leg_id, HangupCause.RECOVERY_ON_TIMER_EXPIRY)
            except EngineError as error:
                log.info("a leg of a call that cannot be followed was not hung up: %s", error)

    def owns(self, leg_id: LegId) -> bool:
        """Whether the leg is left alone as one of people who talk to each other."""
        return leg_id in self._detached

    def ended(self, leg_id: LegId) -> None:
        """A leg that nobody else owns has ended: who talked to it has nobody to talk to."""
        others = self._detached.pop(leg_id, frozenset())
        left = {other for other in others if self._detached.pop(other, None) is not None}
        if left:
            self._spawn(self._hang_up(left), f"left-{leg_id}")

    def _spawn(self, job: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(job, name=name)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)


def _of(rebuilt: Rebuilt) -> Unfollowed:
    call, expected = rebuilt.call, rebuilt.expected
    recordings = tuple((recording, start.leg_id) for recording, start in expected.recordings.items())
    return Unfollowed(call.call_id, frozenset(expected.legs), recordings, call.config.did.region)


def _unfollowed(live: LiveCall, config: ConfigStore) -> Unfollowed:
    legs: set[LegId] = set()
    region = ""
    recordings: dict[RecordingId, LegId] = {}
    for event in live.events:
        match event:
            case ev.LegOffered() | ev.CallbackDialled():
                legs.add(event.leg_id)
                did = config.dids.get(event.did)
                region = did.region if did is not None else ""
            case ev.CallPlaced(leg_id=leg_id, phone_leg=phone_leg):
                legs |= {leg_id, phone_leg}
                did = config.dids.get(event.did)
                region = did.region if did is not None else ""
            case ev.LegRinging(leg_id=leg_id) | ev.LegAnswered(leg_id=leg_id):
                legs.add(leg_id)
            case ev.RecordingStarted(recording_id=recording_id, leg_id=leg_id):
                recordings[recording_id] = leg_id
            case ev.RecordingEnded(recording_id=recording_id):
                recordings.pop(recording_id, None)
            case _:
                pass
    return Unfollowed(live.call_id, frozenset(legs), tuple(recordings.items()), region)
