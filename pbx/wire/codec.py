"""Events to JSON and back. Decoders are built once per kind: an event costs about a microsecond either way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from pbx.domain import cdr
from pbx.domain.events import BY_NAME, Event
from pbx.domain.ids import CallId
from pbx.wire.messages import EventEnvelope

_ENCODER = msgspec.json.Encoder()
_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    name: msgspec.json.Decoder(kind, strict=True) for name, kind in BY_NAME.items()
}


def encode_event(event: Event) -> bytes:
    """The event's fields as JSON."""
    return _ENCODER.encode(event)


def decode_event(kind: str, data: bytes | msgspec.Raw) -> Event | None:
    """The event of a journal row; None for a kind this version does not know (the other side is newer).

    Raises msgspec.ValidationError when the fields do not fit the kind.
    """
    decoder = _DECODERS.get(kind)
    if decoder is None:
        return None
    event: Event = decoder.decode(data)
    return event


def project_call(call_id: CallId, envelopes: Iterable[EventEnvelope]) -> cdr.Cdr:
    """The CDR of one call from its envelopes, in order of seq."""
    events = (decode_event(envelope.kind, envelope.data) for envelope in envelopes)
    return cdr.project(call_id, (event for event in events if event is not None))
