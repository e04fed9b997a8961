"""A snapshot of the media server: its answers as the values of the port and of the tracker. ``read`` does no I/O."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import msgspec

from pbx.adapters.asterisk import models
from pbx.adapters.asterisk.ari import AriLink
from pbx.adapters.asterisk.conversations import HELD
from pbx.adapters.asterisk.tracker import MARK, Adopted, is_snoop
from pbx.domain.errors import LegGone
from pbx.domain.ids import BridgeId, LegId, PhoneId
from pbx.ports.media_engine import LEG_VARIABLES, EngineSnapshot, LegSnapshot

_channels = msgspec.json.Decoder(list[models.Channel])
_bridges = msgspec.json.Decoder(list[models.Bridge])
_endpoints = msgspec.json.Decoder(list[models.Endpoint])
_application = msgspec.json.Decoder(models.Application)
_variable = msgspec.json.Decoder(models.Variable)


@dataclass(frozen=True, slots=True)
class Snapshot:
    engine: EngineSnapshot
    inbound: dict[str, bool]
    """For each leg in control: whether it is an inbound one."""
    handed: dict[str, list[str]]
    """The arguments with which callers' legs were handed over that no controller has answered or marked as its own."""
    snoops: tuple[str, ...]
    """Channels and bridges that only serve a supervision."""
    snoop_bridges: tuple[str, ...]


def read(application: str, name: str, channels: str, bridges: str, endpoints: str) -> Snapshot:
    """From the bodies of the server's answers. ``name`` is that of the application."""
    ours = set(_application.decode(application).channel_ids)
    bridge_list = _bridges.decode(bridges)
    conversations = [bridge for bridge in bridge_list if not is_snoop(bridge.id)]
    bridge_of = {leg_id: bridge.id for bridge in conversations for leg_id in bridge.channels}
    legs, inbound, handed, snoops = [], dict[str, bool](), dict[str, list[str]](), []
    decoded = _channels.decode(channels)
    watching = dict(channel.id.split(MARK)[2:4] for channel in decoded if is_snoop(channel.id))
    for channel in decoded:
        if is_snoop(channel.id):
            snoops.append(channel.id)
            continue
        in_control = channel.dialplan.app_name == "Stasis" or channel.id in ours
        bridge_id = bridge_of.get(channel.id)
        variables = channel.channelvars or {}
        leg = LegSnapshot(
            leg_id=LegId(channel.id),
            answered=channel.state == "Up",
            bridge_id=BridgeId(bridge_id) if bridge_id is not None else None,
            in_control=in_control,
            variables={key: variables[key] for key in LEG_VARIABLES if variables.get(key)},
            supervises=LegId(watching[channel.id]) if channel.id in watching else None,
        )
        legs.append(leg)
        if in_control:
            _, _, given = channel.dialplan.app_data.partition(f"{name},")
            inbound[channel.id] = given.startswith("+")
            if inbound[channel.id] and not (leg.answered or leg.variables):
                handed[channel.id] = given.split(",")
    reachable = frozenset(PhoneId(e.resource) for e in _endpoints.decode(endpoints) if e.state == "online")
    engine = EngineSnapshot(tuple(legs), tuple(BridgeId(bridge.id) for bridge in conversations), reachable)
    return Snapshot(engine, inbound, handed, tuple(snoops), tuple(b.id for b in bridge_list if is_snoop(b.id)))


async def take(ari: AriLink, name: str) -> Snapshot:
    """Asks the server. Raises what ``AriLink.request`` raises."""
    uris = (f"applications/{name}", "channels", "bridges", "endpoints/PJSIP")
    application, channels, bridges, endpoints = await asyncio.gather(*(ari.request("GET", uri) for uri in uris))
    return read(application, name, channels, bridges, endpoints)


async def adopted(ari: AriLink, snapshot: Snapshot) -> list[Adopted]:
    """The legs in control, and which of them is held: only a leg that is in no bridge is asked for that."""
    legs = [leg for leg in snapshot.engine.legs if leg.in_control]
    asked = [leg.leg_id for leg in legs if leg.answered and leg.bridge_id is None]
    held = dict(zip(asked, await asyncio.gather(*(_held(ari, leg_id) for leg_id in asked)), strict=True))
    return [
        Adopted(
            leg.leg_id,
            snapshot.inbound[leg.leg_id],
            leg.answered,
            leg.bridge_id or held.get(leg.leg_id),
            bool(held.get(leg.leg_id)),
        )
        for leg in legs
    ]


async def _held(ari: AriLink, leg_id: str) -> str | None:
    try:
        body = await ari.request("GET", f"channels/{leg_id}/variable", (("variable", HELD),))
    except LegGone:
        # Never set, or the leg has ended meanwhile.
        return None
    return _variable.decode(body).value or None
