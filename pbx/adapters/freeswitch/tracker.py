"""What the adapter knows of legs, plays and bridges; translates the server's events into the core's. No I/O.

Each fact leaves here once: a leg is offered once, ends once, a play ends once, and before its leg; a bridge is said to
be up once, however often hold takes it apart and joins it again.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from pbx.adapters.freeswitch.causes import cause_named, cause_of_refusal
from pbx.adapters.freeswitch.models import ServerEvent
from pbx.domain.e164 import E164, CliKind, cli_of, e164
from pbx.domain.errors import BadValue
from pbx.domain.events import (
    DigitPressed,
    Event,
    FeatureDialled,
    GuestOffered,
    LegAnswered,
    LegEnded,
    LegOffered,
    LegRinging,
    LegsBridged,
    NumberDialled,
    PlayEnded,
)
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import BridgeId, LegId, PhoneId, PlayId
from pbx.wire.offer_header import guest

log = logging.getLogger(__name__)

REMEMBERED = 10_000
"""Ended legs remembered, so that what arrives late about them is dropped."""
NOT_PLAYED = frozenset({"FILE NOT FOUND", "PLAYBACK ERROR"})
PACKET_MS = 20


@dataclass(slots=True)
class Leg:
    inbound: bool
    taken: bool = False
    """Offered (inbound) or parked after the answer (outbound)."""
    ringing: bool = False
    answered: bool = False
    ringing_job: bool = False
    """The server is still at ringing it: its channel may not be there yet."""
    codec: str = ""
    """What it speaks, as far as it is known: so a peer is offered the same first."""
    bridge: str | None = None
    held: bool = False
    """Taken out of a conversation; stays set when that is over, until the leg enters another."""
    music_on: bool = False
    """The server plays music to it, or will when a play is over."""
    music_unwanted: bool = False
    """It was stopped while a play was before it."""
    play: str | None = None
    stopped_plays: list[str] = field(default_factory=list)
    """Those whose end the server has not said yet."""
    watching: str | None = None
    watched_by: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Play:
    leg_id: str
    count: int
    over: int = 0
    """Prompts that are."""
    played_ms: int = 0
    failed: bool = False
    stopped: bool = False


@dataclass(slots=True)
class Bridge:
    legs: tuple[str, str]
    announced: bool = False
    joined: bool = False
    """The server has joined the legs, or was told to: nobody is held."""


class Tracker:
    """``emit`` receives each fact; ``take`` a leg that has been offered, ``refuse`` one that cannot be, ``quiet`` a leg
    on which a play is over."""

    def __init__(
        self,
        emit: Callable[[Event], None],
        take: Callable[[str], None],
        refuse: Callable[[str], None],
        quiet: Callable[[str], None],
        country_of: Callable[[E164], str | None],
    ) -> None:
        self._emit, self._take, self._refuse, self._quiet = emit, take, refuse, quiet
        self._country_of = country_of
        self.legs: dict[str, Leg] = {}
        self.plays: dict[str, Play] = {}
        self.bridges: dict[str, Bridge] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._handlers: dict[str, Callable[[ServerEvent], None]] = {
            "CHANNEL_PARK": self._parked,
            "CHANNEL_PROGRESS": self._progress,
            "CHANNEL_PROGRESS_MEDIA": self._progress,
            "CHANNEL_BRIDGE": self._bridged,
            "CHANNEL_HANGUP_COMPLETE": self._hung_up,
            "DTMF": self._digit,
            "PLAYBACK_STOP": self._playback_stopped,
            "CHANNEL_EXECUTE_COMPLETE": self._executed,
        }

    def handle(self, event: ServerEvent) -> None:
        """Never raises: an event that makes no sense is logged, and the other calls go on."""
        handler = self._handlers.get(event.name)
        if handler is None:
            return
        try:
            handler(event)
        except (BadValue, ValueError, LookupError) as error:
            log.warning("dropped an event (%s): %s", event.name, type(error).__name__)

    # --- what the controller does -------------------------------------------------------------------------------------

    def originating(self, leg_id: str) -> None:
        self.legs[leg_id] = Leg(inbound=False, ringing_job=True)

    def playing(self, play_id: str, leg_id: str, count: int) -> None:
        self.plays[play_id] = Play(leg_id, count)
        self.legs[leg_id].play = play_id

    def not_playing(self, play_id: str) -> Play | None:
        play = self.plays.pop(play_id, None)
        leg = self.legs.get(play.leg_id) if play is not None else None
        if leg is not None and leg.play == play_id:
            leg.play = None
        elif leg is not None and play_id in leg.stopped_plays:
            leg.stopped_plays.remove(play_id)
        return play

    def stopping(self, play_id: str) -> None:
        """The play was stopped: another may begin, though the end of this one has not come."""
        play = self.plays[play_id]
        play.stopped = True
        leg = self.legs[play.leg_id]
        leg.play = None
        leg.stopped_plays.append(play_id)

    def end_play(self, play_id: str, at: float, completed: bool = False) -> None:
        """The second time nothing happens."""
        play = self.not_playing(play_id)
        if play is None:
            return
        self._emit(
            PlayEnded(
                at=at,
                leg_id=LegId(play.leg_id),
                play_id=PlayId(play_id),
                played_ms=play.played_ms,
                completed=completed and not (play.failed or play.stopped),
            )
        )
        if play.leg_id in self.legs:
            self._quiet(play.leg_id)

    def answered(self, leg_id: str, at: float) -> None:
        """The server has answered the inbound leg, as it was told. The second time nothing happens."""
        leg = self.legs.get(leg_id)
        if leg is not None and not leg.answered:
            leg.answered = True
            self._emit(LegAnswered(at=at, leg_id=LegId(leg_id)))

    def end_bridge(self, bridge_id: str) -> None:
        """The conversation is over; who was held in it stays held, for the time being, in none."""
        bridge = self.bridges.pop(bridge_id, None)
        for leg_id in bridge.legs if bridge is not None else ():
            leg = self.legs.get(leg_id)
            if leg is not None and leg.bridge == bridge_id:
                leg.bridge = None

    def end(self, leg_id: str, at: float, cause: HangupCause) -> None:
        """The leg is over, by whatever way it became known. The second time nothing happens."""
        leg = self.legs.get(leg_id)
        if leg is None:
            return
        for play_id in (*leg.stopped_plays, leg.play):
            if play_id is not None:
                self.end_play(play_id, at)
        if leg.bridge is not None:
            self.end_bridge(leg.bridge)
        self.watch(leg_id, None)
        for other in leg.watched_by:
            self.legs[other].watching = None
        del self.legs[leg_id]
        self._ended[leg_id] = None
        if len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)
        self._emit(LegEnded(at=at, leg_id=LegId(leg_id), cause=cause))

    def watch(self, leg_id: str, watched: str | None) -> None:
        """From now on the leg supervises ``watched``, or nobody."""
        leg = self.legs[leg_id]
        if leg.watching is not None and (other := self.legs.get(leg.watching)) is not None:
            other.watched_by.discard(leg_id)
        leg.watching = watched
        if watched is not None:
            self.legs[watched].watched_by.add(leg_id)

    def has_ended(self, leg_id: str) -> bool:
        return leg_id in self._ended

    def offer(self, event: ServerEvent, at: float) -> None:
        """A leg that the dialplan parked for us; ``event`` is of its parking, or says what the channel is now."""
        leg_id = event.uuid
        offered: LegOffered | FeatureDialled | NumberDialled | GuestOffered
        try:
            if event.feature:
                phone = PhoneId(event.phone)
                offered = FeatureDialled(at=at, leg_id=LegId(leg_id), code=event.feature, phone_id=phone)
            elif event.dialled:
                offered = _dialled(event, at)
            elif event.offer:
                offered = guest(leg_id, at, event.home, event.offer, event.cli)
            else:
                offered = self._offered(event, at)
        except BadValue as error:
            log.error("the dialplan parked a leg that cannot be taken: %s", error)
            self._refuse(leg_id)
            return
        answered = event.answer_state == "answered"
        self.legs[leg_id] = Leg(inbound=True, taken=True, answered=answered, codec=event.read_codec)
        self._take(leg_id)
        self._emit(offered)

    def _offered(self, event: ServerEvent, at: float) -> LegOffered:
        cli = cli_of(event.cli)
        country = self._country_of(cli.number) if cli.kind is CliKind.NUMBER and cli.number is not None else None
        did = e164(event.did, "did")
        return LegOffered(at=at, leg_id=LegId(event.uuid), did=did, cli=cli, caller_country=country, trunk=event.trunk)

    # --- events -------------------------------------------------------------------------------------------------------

    def _parked(self, event: ServerEvent) -> None:
        leg_id = event.uuid
        leg = self.legs.get(leg_id)
        if leg is None:
            if event.is_for_us and leg_id not in self._ended:
                self.offer(event, event.at)
            return
        if not leg.inbound and not leg.taken:
            # Answered a moment ago; only now can it be bridged and played to.
            leg.taken = leg.answered = True
            leg.codec = event.read_codec
            leg.ringing_job = False
            self._emit(LegAnswered(at=event.at, leg_id=LegId(leg_id)))

    def _progress(self, event: ServerEvent) -> None:
        leg = self.legs.get(event.uuid)
        if leg is not None and not leg.inbound and not leg.ringing:
            leg.ringing = True
            self._emit(LegRinging(at=event.at, leg_id=LegId(event.uuid)))

    def _digit(self, event: ServerEvent) -> None:
        if event.uuid in self.legs and event.digit:
            self._emit(DigitPressed(at=event.at, leg_id=LegId(event.uuid), digit=event.digit.upper()))

    def _bridged(self, event: ServerEvent) -> None:
        first, second = self.legs.get(event.bridge_a), self.legs.get(event.bridge_b)
        if first is None or second is None or first.bridge is None or first.bridge != second.bridge:
            return
        bridge = self.bridges[first.bridge]
        if not bridge.announced:
            bridge.announced = True
            legs = tuple(LegId(leg_id) for leg_id in bridge.legs)
            self._emit(LegsBridged(at=event.at, bridge_id=BridgeId(first.bridge), leg_ids=legs))

    def _hung_up(self, event: ServerEvent) -> None:
        leg = self.legs.get(event.uuid)
        if leg is None:
            return
        if leg.inbound or leg.answered:
            cause = cause_named(event.cause, event.q850)
        else:
            cause = cause_of_refusal(event.cause, event.q850, event.sip_status)
        self.end(event.uuid, event.at, cause)

    def _playback_stopped(self, event: ServerEvent) -> None:
        """One prompt is over. The server says "done" also when the leg hung up: then the channel says so itself."""
        play = self.plays.get(event.play)
        if play is None:
            return
        rate = int(event.read_rate or 8000)
        played_ms = int(event.played_samples or 0) * 1000 // rate
        file_ms = int(event.file_ms or 0)
        done = (
            event.playback_status == "done"
            and event.answer_state != "hangup"
            and 0 < file_ms <= played_ms + PACKET_MS
            and event.uuid == play.leg_id
        )
        play.played_ms += min(played_ms, file_ms) if done else played_ms
        self._prompt_over(event.play, play, done, event.at)

    def _executed(self, event: ServerEvent) -> None:
        """Only of prompts that were not played comes this: the server filters the others."""
        play_id = event.application_uuid.partition(".")[0]
        play = self.plays.get(play_id)
        if play is None or event.application_response not in NOT_PLAYED or event.answer_state == "hangup":
            return
        log.error(
            "prompt %d of a play could not be played: is its file there, in a format of the server?", play.over + 1
        )
        self._prompt_over(play_id, play, False, event.at)

    def _prompt_over(self, play_id: str, play: Play, done: bool, at: float) -> None:
        if not play.stopped:
            # Of those that were stopped before they began the server says nothing.
            for earlier in tuple(self.legs[play.leg_id].stopped_plays):
                self.end_play(earlier, at)
        play.over += 1
        play.failed = play.failed or not done
        if play.stopped or play.over == play.count:
            self.end_play(play_id, at, completed=True)


def _dialled(event: ServerEvent, at: float) -> NumberDialled:
    if not event.phone:
        raise BadValue("callplane_phone", "is needed")
    return NumberDialled(
        at=at,
        leg_id=LegId(event.uuid),
        number=e164(event.dialled),
        shown=e164(event.shown, "shown") if event.shown else None,
        trunk=event.via,
        phone_id=PhoneId(event.phone),
    )
