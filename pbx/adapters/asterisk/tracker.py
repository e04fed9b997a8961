"""What the adapter knows of legs and plays, and the translation of the media server's events into the core's. No I/O.

The media server says one thing in several ways (a hang-up is up to three events, some of which may not come) and may
say it twice. Each fact leaves here once: a leg is offered once, ends once, a play ends once.
"""

from __future__ import annotations

import logging
from calendar import timegm
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import strptime

from pbx.adapters.asterisk import models
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
from pbx.domain.hangup_cause import HangupCause, cause_of, cause_of_sip
from pbx.domain.ids import BridgeId, LegId, PhoneId, PlayId
from pbx.wire.offer_header import guest

log = logging.getLogger(__name__)

ORIGINATED = "originated"
"""Application argument of legs that the controller rang itself; inbound legs carry DID, CLI and trunk."""
FEATURE = "feature"
"""Stasis argument of an agent's call to a feature code; the code and the phone follow."""
DIALLED = "dialled"
"""Stasis argument of an agent's call to an outside number; the number, what it would be shown, the trunk over which the
dialplan would dial it and the phone follow."""
GUEST = "guest"
"""Of another POP's leg that rings an agent here; that POP, the header's text and the caller's number follow."""
SNOOP = "snoop"
"""Application argument of channels that are no legs: a supervisor's ear on another leg. Their ids begin with it."""
MARK = "~"
"""Parts such an id; in no id of a leg."""
SHORTEST_PROMPT_MS = 20
"""One packet. A file that was over sooner could not be opened: the server reports it as played all the same."""
REMEMBERED = 10_000
"""Ended legs remembered, so that what arrives late about them is dropped."""

_seconds: dict[str, int] = {}


def is_snoop(channel_or_bridge: str) -> bool:
    """Whether a channel or bridge only serves a supervision, and is no leg or conversation."""
    return channel_or_bridge.startswith(SNOOP + MARK)


def time_of(timestamp: str) -> float:
    """Seconds since the epoch of ``2026-01-31T10:20:30.123+0000``. Raises ValueError for another form."""
    # One strptime per second, not per event.
    head = timestamp[:19] + timestamp[23:]
    base = _seconds.get(head)
    if base is None:
        zone = timestamp[23:]
        if len(zone) != 5 or zone[0] not in "+-":
            raise ValueError("an ARI timestamp without time zone")
        offset = (int(zone[1:3]) * 60 + int(zone[3:])) * (60 if zone[0] == "+" else -60)
        base = timegm(strptime(timestamp[:19], "%Y-%m-%dT%H:%M:%S")) - offset
        if len(_seconds) >= 64:
            _seconds.clear()
        _seconds[head] = base
    return base + int(timestamp[20:23]) / 1000


@dataclass(slots=True)
class Leg:
    inbound: bool
    handed_over: bool = False
    ringing: bool = False
    answered: bool = False
    hung_up: bool = False
    cause: int = 0
    """Q.850 cause as far as it is known; 0 is unknown."""
    bridge: str | None = None
    held: bool = False
    """Out of ``bridge``, which may be over meanwhile, until it is brought back."""
    music: bool = False
    """Music was started, or may have been before this controller came."""
    silence: bool = False
    """It is sent packets of silence, while it is recorded alone."""
    plays: set[str] = field(default_factory=set)
    tone: str | None = None
    """The playback of a tone that goes on until it is ended; empty: one that an earlier controller began may."""
    tones: int = 0


@dataclass(slots=True)
class Bridge:
    legs: tuple[str, ...]
    reported: bool = False
    """That the legs talk has been said; a held leg that comes back is no news."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """A leg of a snapshot."""

    leg_id: str
    inbound: bool
    answered: bool
    bridge: str | None
    held: bool


@dataclass(slots=True)
class Play:
    leg_id: str
    count: int
    began_at: float = 0.0
    """Of the first prompt; 0 until it begins."""
    media_at: float = 0.0
    started: int = 0
    failed: bool = False
    stopped: bool = False


class Tracker:
    """``emit`` receives each fact; ``take`` a leg that has been offered, ``refuse`` one that cannot be,
    ``forget_bridge`` a bridge whose last leg has ended. ``snoop`` is told of a snooping channel that it is there (True)
    or gone, ``left`` of each leg that has ended."""

    def __init__(
        self,
        emit: Callable[[Event], None],
        take: Callable[[str], None],
        refuse: Callable[[str], None],
        forget_bridge: Callable[[str], None],
        country_of: Callable[[E164], str | None],
        snoop: Callable[[str, bool], None] = lambda channel_id, there: None,
        left: Callable[[str], None] = lambda leg_id: None,
    ) -> None:
        self._snoop, self._left = snoop, left
        self._emit, self._take, self._refuse, self._country_of = emit, take, refuse, country_of
        self._forget_bridge = forget_bridge
        self.legs: dict[str, Leg] = {}
        self.plays: dict[str, Play] = {}
        self.bridges: dict[str, Bridge] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._handlers: dict[type, Callable[..., None]] = {
            models.StasisStart: self._stasis_start,
            models.StasisEnd: self._stasis_end,
            models.ChannelStateChange: self._state_change,
            models.ChannelHangupRequest: self._hangup_request,
            models.ChannelDestroyed: self._destroyed,
            models.ChannelDtmfReceived: self._digit,
            models.PlaybackStarted: self._playback_started,
            models.PlaybackFinished: self._playback_finished,
        }

    def handle(self, event: models.Message) -> None:
        """Never raises: an event that makes no sense is logged, and the other calls go on."""
        try:
            self._handlers[type(event)](event)
        except (BadValue, ValueError, LookupError) as error:
            log.warning("dropped an event (%s): %s", type(event).__name__, error)

    # --- what the controller does -------------------------------------------------------------------------------------

    def originating(self, leg_id: str) -> None:
        self.legs[leg_id] = Leg(inbound=False)

    def playing(self, play_id: str, leg_id: str, count: int) -> None:
        self.plays[play_id] = Play(leg_id, count)
        leg = self.legs.get(leg_id)
        if leg is not None:
            leg.plays.add(play_id)

    def not_playing(self, play_id: str) -> None:
        play = self.plays.pop(play_id, None)
        if play is not None and (leg := self.legs.get(play.leg_id)) is not None:
            leg.plays.discard(play_id)

    def hanging_up(self, leg_id: str, cause: HangupCause) -> None:
        """The controller hangs up: the server will not say the cause back."""
        leg = self.legs[leg_id]
        leg.cause = leg.cause or int(cause)

    def end(self, leg_id: str, at: float, cause: HangupCause) -> None:
        """The leg is over, by whatever way it became known. Its plays end with it; the second time nothing happens."""
        leg = self.legs.pop(leg_id, None)
        if leg is None:
            return
        self._forget(leg_id)
        for play_id in sorted(leg.plays):
            play = self.plays.pop(play_id)
            played_ms = max(0, round((at - play.began_at) * 1000)) if play.began_at else 0
            self._emit(
                PlayEnded(at=at, leg_id=LegId(leg_id), play_id=PlayId(play_id), played_ms=played_ms, completed=False)
            )
        bridge = self.bridges.get(leg.bridge) if leg.bridge is not None else None
        if leg.bridge is not None and bridge is not None and not any(other in self.legs for other in bridge.legs):
            del self.bridges[leg.bridge]
            self._forget_bridge(leg.bridge)
        self._left(leg_id)
        self._emit(LegEnded(at=at, leg_id=LegId(leg_id), cause=cause))

    def _forget(self, leg_id: str) -> None:
        """Nothing more is said of this leg."""
        self._ended[leg_id] = None
        if len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)

    def bridged(self, bridge_id: str, at: float) -> None:
        """The server has put the legs of this bridge into it: said once, and only while both are there."""
        bridge = self.bridges.get(bridge_id)
        if bridge is None or bridge.reported or not all(leg_id in self.legs for leg_id in bridge.legs):
            return
        bridge.reported = True
        for leg_id in bridge.legs:
            self.legs[leg_id].bridge = bridge_id
        self._emit(LegsBridged(at=at, bridge_id=BridgeId(bridge_id), leg_ids=tuple(map(LegId, bridge.legs))))

    def adopt(self, legs: Iterable[Adopted], at: float) -> set[str]:
        """Legs of a snapshot, taken at ``at``. Returns the known legs that are not among them."""
        there: set[str] = set()
        members: dict[str, set[str]] = {}
        for seen in legs:
            there.add(seen.leg_id)
            if seen.leg_id in self._ended:
                continue
            leg = self.legs.get(seen.leg_id)
            if leg is None:
                # Whether it hears music, or a tone, nobody can say; stopping what is not there does no harm.
                leg = self.legs[seen.leg_id] = Leg(seen.inbound, answered=seen.answered, music=True, tone="")
            leg.bridge, leg.held = seen.bridge, seen.held
            if seen.bridge is not None:
                members.setdefault(seen.bridge, set()).add(seen.leg_id)
        for bridge_id, bridged in members.items():
            known = self.bridges.get(bridge_id)
            if known is None:
                self.bridges[bridge_id] = Bridge(tuple(sorted(bridged)), reported=True)
            elif bridged.issuperset(known.legs):
                self.bridged(bridge_id, at)  # the answer to the request was lost with the connection
        return self.legs.keys() - there

    def offer_again(self, leg_id: str, args: list[str], at: float) -> None:
        """A caller's leg of a snapshot of which nothing has been heard: the news of it was on its way to a controller
        that died. Nothing where it has been heard meanwhile."""
        leg = self.legs.get(leg_id)
        if leg is None or leg.handed_over or leg.answered:
            return
        try:
            offered = self._offer(leg_id, at, args)
        except BadValue as error:
            log.error("a leg that waits for a controller cannot be taken: %s", error)
            return
        leg.inbound = leg.handed_over = True
        self._take(leg_id)
        self._emit(offered)

    def server_restarted(self, at: float) -> None:
        """Another process is the media server now: what was known is over. The new one counts its legs from the start,
        and within the same second gives them the ids that the old one gave: none of those may be remembered."""
        for leg_id in list(self.legs):
            self.end(leg_id, at, HangupCause.TEMPORARY_FAILURE)
        self._ended.clear()

    def dissolve(self, bridge_id: str) -> None:
        """The bridge is over: its legs are in none, but one that is held stays so until it is brought back."""
        bridge = self.bridges.pop(bridge_id, None)
        for leg_id in bridge.legs if bridge is not None else ():
            leg = self.legs.get(leg_id)
            if leg is not None and leg.bridge == bridge_id and not leg.held:
                leg.bridge = None

    # --- events -------------------------------------------------------------------------------------------------------

    def _stasis_start(self, event: models.StasisStart) -> None:
        leg_id, at = event.channel.id, time_of(event.timestamp)
        if event.args and event.args[0] == SNOOP:
            self._snoop(leg_id, True)
            return
        if leg_id in self._ended:
            log.info("a leg that has ended already was handed over; nothing to do")
            return
        leg = self.legs.get(leg_id)
        if leg is not None and leg.handed_over:
            log.warning("a leg was handed over twice; the second time is ignored")
            return
        if event.args and event.args[0] == ORIGINATED:
            if leg is None:
                leg = self.legs[leg_id] = Leg(inbound=False)
            leg.handed_over = True
            if not leg.answered:
                leg.answered = True
                self._emit(LegAnswered(at=at, leg_id=LegId(leg_id)))
            return
        offered: LegOffered | FeatureDialled | NumberDialled | GuestOffered
        try:
            match event.args[:1]:
                case [first] if first == FEATURE:
                    offered = _feature(leg_id, at, event.args)
                case [first] if first == DIALLED:
                    offered = _number(leg_id, at, event.args)
                case [first] if first == GUEST:
                    offered = _guest(leg_id, at, event.args)
                case _:
                    offered = self._offer(leg_id, at, event.args)
        except BadValue as error:
            log.error("the dialplan handed over a leg that cannot be taken: %s", error)
            self._forget(leg_id)
            self._refuse(leg_id)
            return
        if leg is None:
            leg = self.legs[leg_id] = Leg(inbound=True)
        leg.inbound = leg.handed_over = True
        leg.answered = event.channel.state == "Up"
        self._take(leg_id)
        self._emit(offered)

    def _offer(self, leg_id: str, at: float, args: list[str]) -> LegOffered:
        if len(args) != 3:
            raise BadValue("Stasis", "needs three arguments: DID, CLI, trunk")
        cli = cli_of(args[1])
        country = self._country_of(cli.number) if cli.kind is CliKind.NUMBER and cli.number is not None else None
        return LegOffered(
            at=at, leg_id=LegId(leg_id), did=e164(args[0], "did"), cli=cli, caller_country=country, trunk=args[2]
        )

    def _stasis_end(self, event: models.StasisEnd) -> None:
        # With this the server stops telling about the channel: ChannelDestroyed and its cause do not follow.
        leg = self.legs.get(event.channel.id)
        if leg is not None:
            cause = leg.cause or (HangupCause.NORMAL_CLEARING if leg.hung_up else HangupCause.NORMAL_UNSPECIFIED)
            self.end(event.channel.id, time_of(event.timestamp), cause_of(cause))
        elif is_snoop(event.channel.id):
            self._snoop(event.channel.id, False)

    def _destroyed(self, event: models.ChannelDestroyed) -> None:
        leg = self.legs.get(event.channel.id)
        if leg is not None:
            self.end(event.channel.id, time_of(event.timestamp), cause_of(leg.cause or event.cause))

    def _hangup_request(self, event: models.ChannelHangupRequest) -> None:
        leg = self.legs.get(event.channel.id)
        if leg is None and event.channel.id not in self._ended and not is_snoop(event.channel.id):
            # It was an earlier controller's, and ended while there was none: its end was kept, its snapshot was not.
            leg = self.legs[event.channel.id] = Leg(inbound=True, handed_over=True)
        if leg is not None:
            leg.hung_up = True
            if not leg.cause and not leg.inbound and not leg.answered and 300 <= (event.tech_cause or 0) < 700:
                # The far end refused. The server's own table of SIP answers is not that of RFC 3398.
                leg.cause = cause_of_sip(event.tech_cause or 0)
            # For a soft request "cause" holds the server's own flags (32: explicit), no Q.850 value.
            leg.cause = leg.cause or (0 if event.soft else event.cause or 0)

    def _state_change(self, event: models.ChannelStateChange) -> None:
        leg = self.legs.get(event.channel.id)
        if leg is None:
            return
        state = event.channel.state
        if state == "Ringing" and not leg.inbound and not leg.ringing:
            leg.ringing = True
            self._emit(LegRinging(at=time_of(event.timestamp), leg_id=LegId(event.channel.id)))
        elif state == "Up" and leg.inbound and not leg.answered:
            # An outbound leg is answered when it is handed over: before that it can be neither bridged nor played to.
            leg.answered = True
            self._emit(LegAnswered(at=time_of(event.timestamp), leg_id=LegId(event.channel.id)))

    def _digit(self, event: models.ChannelDtmfReceived) -> None:
        if event.channel.id in self.legs:
            at = time_of(event.timestamp)
            self._emit(DigitPressed(at=at, leg_id=LegId(event.channel.id), digit=event.digit))

    def _playback_started(self, event: models.PlaybackStarted) -> None:
        play = self.plays.get(event.playback.id)
        if play is None:
            return
        at = time_of(event.timestamp)
        if play.started:
            self._check_length(play, at)
        else:
            play.began_at = at
        play.media_at = at
        play.started += 1

    def _playback_finished(self, event: models.PlaybackFinished) -> None:
        play_id = event.playback.id
        play = self.plays.get(play_id)
        if play is None:
            return
        at = time_of(event.timestamp)
        self.not_playing(play_id)
        leg = self.legs.get(play.leg_id)
        self._check_length(play, at)
        # "done" is said of a play that was stopped and of one whose leg hung up, too.
        completed = (
            event.playback.state == "done"
            and play.started == play.count
            and not (play.failed or play.stopped)
            and leg is not None
            and not leg.hung_up
        )
        played_ms = max(0, round((at - play.began_at) * 1000)) if play.began_at else 0
        self._emit(
            PlayEnded(
                at=at, leg_id=LegId(play.leg_id), play_id=PlayId(play_id), played_ms=played_ms, completed=completed
            )
        )

    @staticmethod
    def _check_length(play: Play, at: float) -> None:
        if play.media_at and round((at - play.media_at) * 1000) < SHORTEST_PROMPT_MS and not play.stopped:
            play.failed = True
            log.error(
                "prompt %d of a play could not be played: is its file there, in a format of the server?", play.started
            )


def _feature(leg_id: str, at: float, args: list[str]) -> FeatureDialled:
    if len(args) != 3 or not args[2]:
        raise BadValue("Stasis", "needs three arguments: feature, code, phone")
    return FeatureDialled(at=at, leg_id=LegId(leg_id), code=args[1], phone_id=PhoneId(args[2]))


def _guest(leg_id: str, at: float, args: list[str]) -> GuestOffered:
    if len(args) != 4:
        raise BadValue("Stasis", "needs four arguments: guest, POP, offer, CLI")
    return guest(leg_id, at, *args[1:])


def _number(leg_id: str, at: float, args: list[str]) -> NumberDialled:
    if len(args) != 5 or not args[4]:
        raise BadValue("Stasis", "needs five arguments: dialled, number, what is shown, trunk, phone")
    shown = e164(args[2], "shown") if args[2] else None
    return NumberDialled(
        at=at, leg_id=LegId(leg_id), number=e164(args[1]), shown=shown, trunk=args[3], phone_id=PhoneId(args[4])
    )
