"""What the adapter reads of the server's events and lists. msgspec skips the other headers, which is most of each."""

from __future__ import annotations

import msgspec

_NAMES = {
    "name": "Event-Name",
    "subclass": "Event-Subclass",
    "at_us": "Event-Date-Timestamp",
    "uuid": "Unique-ID",
    "direction": "Call-Direction",
    "answer_state": "Answer-State",
    "channel_state": "Channel-State",
    "channel_call_state": "Channel-Call-State",
    "other_uuid": "Other-Leg-Unique-ID",
    "read_rate": "Channel-Read-Codec-Rate",
    "read_codec": "Channel-Read-Codec-Name",
    "cause": "Hangup-Cause",
    "digit": "DTMF-Digit",
    "application": "Application",
    "application_uuid": "Application-UUID",
    "application_response": "Application-Response",
    "bridge_a": "Bridge-A-Unique-ID",
    "bridge_b": "Bridge-B-Unique-ID",
    "playback_status": "Playback-Status",
    "record_path": "Record-File-Path",
    "job_uuid": "Job-UUID",
    "body": "_body",
    "play": "callplane_play",
    "played_samples": "variable_playback_last_offset_pos",
    "file_ms": "variable_playback_ms",
    "q850": "variable_hangup_cause_q850",
    "sip_status": "variable_sip_term_status",
    "did": "variable_callplane_did",
    "cli": "variable_callplane_cli",
    "trunk": "variable_callplane_trunk",
    "feature": "variable_callplane_feature",
    "dialled": "variable_callplane_dialled",
    "shown": "variable_callplane_shown",
    "via": "variable_callplane_via",
    "phone": "variable_callplane_phone",
    "home": "variable_callplane_pop",
    "offer": "variable_callplane_offer",
    "role": "variable_callplane_leg",
    "bridge_id": "variable_callplane_bridge",
    "held": "variable_callplane_held",
    "watching": "variable_callplane_watching",
    "current_application": "variable_current_application",
    "call": "variable_CALLPLANE_CALL",
    "call_role": "variable_CALLPLANE_ROLE",
    "user": "username",
    "from_user": "from-user",
    "ping_status": "Ping-Status",
    "network_ip": "network-ip",
}

HEADERS = frozenset(_NAMES.values())
"""All headers that are read."""


class ServerEvent(msgspec.Struct, gc=False, rename=_NAMES, frozen=True):
    """One event, or what ``uuid_dump`` says of a channel. Everything is text; what is missing is empty."""

    name: str = ""
    subclass: str = ""
    at_us: str = ""
    uuid: str = ""
    direction: str = ""
    answer_state: str = ""
    channel_state: str = ""
    channel_call_state: str = ""
    other_uuid: str = ""
    read_rate: str = ""
    read_codec: str = ""
    cause: str = ""
    digit: str = ""
    application: str = ""
    application_uuid: str = ""
    application_response: str = ""
    bridge_a: str = ""
    bridge_b: str = ""
    playback_status: str = ""
    record_path: str = ""
    job_uuid: str = ""
    body: str = ""
    play: str = ""
    played_samples: str = ""
    file_ms: str = ""
    q850: str = ""
    sip_status: str = ""
    did: str = ""
    cli: str = ""
    trunk: str = ""
    feature: str = ""
    dialled: str = ""
    shown: str = ""
    via: str = ""
    phone: str = ""
    home: str = ""
    offer: str = ""
    role: str = ""
    bridge_id: str = ""
    held: str = ""
    watching: str = ""
    current_application: str = ""
    call: str = ""
    call_role: str = ""
    user: str = ""
    from_user: str = ""
    ping_status: str = ""
    network_ip: str = ""

    @property
    def is_for_us(self) -> bool:
        """Whether the dialplan has made it ready to be taken."""
        return bool(self.did or self.feature or self.dialled or self.offer)

    @property
    def at(self) -> float:
        """Seconds since the epoch. Raises ValueError when the event has no time."""
        return int(self.at_us) / 1_000_000


_event = msgspec.json.Decoder(ServerEvent)


def event_of(body: bytes) -> ServerEvent:
    """Raises msgspec.DecodeError (ValueError). Bytes that are no UTF-8 (a display name in Latin-1) in a header the
    adapter reads become U+FFFD; in the others they are not looked at."""
    try:
        return _event.decode(body)
    except UnicodeDecodeError:
        return _event.decode(body.decode("utf-8", "replace"))
