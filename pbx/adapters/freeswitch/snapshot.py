"""What is on the server now, read channel by channel, and what an adapter that comes back makes of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote, unquote

import msgspec

from pbx.adapters.freeswitch.errors import error_of
from pbx.adapters.freeswitch.esl import EslLink
from pbx.adapters.freeswitch.models import ServerEvent, event_of
from pbx.adapters.freeswitch.phones import Phones
from pbx.adapters.freeswitch.tracker import Bridge, Leg, Tracker
from pbx.domain.ids import BridgeId, LegId, PhoneId
from pbx.ports.media_engine import EngineSnapshot, LegSnapshot, check_variables

INBOUND, OUTBOUND = "in", "out"
"""Values of ``callplane_leg``: the leg is in control, and who began it."""
_SESSIONS = re.compile(r"(\d+) session\(s\) - peak")
LAG_S = 0.5
"""The table of channels is hardly ever further behind. Sessions that are just being taken down are in it no more."""
_SAFE = "-_.~/:@+"


class _Row(msgspec.Struct):
    uuid: str = ""


class _Rows(msgspec.Struct):
    rows: list[_Row] = []


_rows = msgspec.json.Decoder(_Rows)


def encoded(variables: Mapping[str, str]) -> dict[str, str]:
    """Values as they are written on a channel: the server gives a meaning to some characters. Raises BadValue."""
    check_variables(variables)
    return {name: quote(value, safe=_SAFE) for name, value in variables.items()}


async def channels(link: EslLink, known: Iterable[str]) -> list[ServerEvent]:
    """Every channel with its variables, as an event would say it. One that ends meanwhile is left out.

    The server's list is a table that is written behind the calls: it is asked again while it has fewer rows than there
    are sessions, and ``known`` legs are looked at whether it has them or not."""
    deadline = asyncio.get_running_loop().time() + LAG_S
    while True:
        status, text = await asyncio.gather(link.api("status"), link.api("show channels as json"))
        listed = {row.uuid for row in _rows.decode(text).rows}
        sessions = _SESSIONS.search(status)
        if sessions is None or len(listed) >= int(sessions[1]) or asyncio.get_running_loop().time() > deadline:
            break
        await asyncio.sleep(LAG_S / 50)
    found = []
    for dumped in await asyncio.gather(*[link.send(f"api uuid_dump {leg} json") for leg in sorted({*listed, *known})]):
        if error_of(dumped) is None:
            found.append(event_of(dumped.encode("utf-8", "surrogateescape")))
    return [channel for channel in found if channel.channel_state not in ("CS_HANGUP", "CS_REPORTING", "CS_DESTROY")]


def in_control(channel: ServerEvent) -> bool:
    """Taken, or parked for us by the dialplan."""
    return bool(channel.role) or (channel.is_for_us and channel.current_application == "park")


def bridges(found: Sequence[ServerEvent]) -> dict[str, list[ServerEvent]]:
    """Bridge id -> its two legs. A leg whose other side has left is in none, whatever is written on it."""
    by_id: dict[str, list[ServerEvent]] = {}
    for channel in found:
        if channel.bridge_id and in_control(channel):
            by_id.setdefault(channel.bridge_id, []).append(channel)
    return {bridge_id: legs for bridge_id, legs in by_id.items() if len(legs) == 2}


async def snapshot(link: EslLink, phones: Phones, known: Iterable[str]) -> tuple[EngineSnapshot, list[ServerEvent]]:
    found, reachable = await asyncio.gather(channels(link, known), phones.reachable())
    bridged = bridges(found)
    legs = tuple(
        LegSnapshot(
            leg_id=LegId(channel.uuid),
            answered=channel.answer_state == "answered",
            bridge_id=BridgeId(channel.bridge_id) if channel.bridge_id in bridged else None,
            in_control=in_control(channel),
            variables=_variables(channel),
            supervises=LegId(channel.watching) if channel.watching else None,
        )
        for channel in found
    )
    taken = EngineSnapshot(legs, tuple(map(BridgeId, bridged)), frozenset(map(PhoneId, reachable)))
    return taken, found


def _variables(channel: ServerEvent) -> dict[str, str]:
    written = {"CALLPLANE_CALL": channel.call, "CALLPLANE_ROLE": channel.call_role}
    return {name: unquote(value) for name, value in written.items() if value}


def adopt(tracker: Tracker, found: Sequence[ServerEvent]) -> tuple[set[str], list[ServerEvent]]:
    """Brings the tracker up to what the server says. Returns the known legs that are not there any more, and the parked
    legs that nobody has taken yet."""
    there, untaken = set(), []
    for channel in found:
        if not in_control(channel) or tracker.has_ended(channel.uuid):
            continue
        there.add(channel.uuid)
        if not channel.role:
            if channel.uuid not in tracker.legs:
                untaken.append(channel)
            continue
        inbound = channel.role == INBOUND
        answered = channel.answer_state == "answered"
        leg = tracker.legs.get(channel.uuid)
        if leg is None:
            leg = tracker.legs[channel.uuid] = Leg(inbound=inbound)
            # An outbound leg that has not been parked yet says so when it is.
            leg.taken = inbound or answered
            leg.answered, leg.codec = answered, channel.read_codec
            leg.ringing = not answered
            leg.music_on = channel.current_application == "playback"
        elif answered:
            # While nobody listened.
            leg.answered = leg.taken = True
        leg.held = bool(channel.held)
        leg.bridge = None
    tracker.bridges.clear()
    for bridge_id, legs in bridges(found).items():
        ids = [channel.uuid for channel in legs]
        if all(leg_id in tracker.legs for leg_id in ids):
            joined = not any(tracker.legs[leg_id].held for leg_id in ids)
            tracker.bridges[bridge_id] = Bridge((ids[0], ids[1]), announced=True, joined=joined)
            for leg_id in ids:
                tracker.legs[leg_id].bridge = bridge_id
    for channel in found:
        if channel.watching in tracker.legs and channel.uuid in tracker.legs:
            tracker.watch(channel.uuid, channel.watching)
    return tracker.legs.keys() - there, untaken
