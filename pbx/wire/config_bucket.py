"""How a POP's configuration lies in its bucket, beside one ``ConfigEntry`` per entity."""

from __future__ import annotations

REVISION_HEADER = "Callplane-Revision"
"""Every message of the bucket carries its revision here, because a deletion has no body to carry it in."""
OPERATION_HEADER = "KV-Operation"
"""``DEL`` or ``PURGE``: the key was deleted (https://github.com/nats-io/nats-architecture-and-design, ADR-8)."""
COMPLETE_KEY = "complete"
"""Written last when a bucket is filled from nothing. Until it is there, a key that is missing may be still to come:
a POP deletes nothing for being absent from a bucket without it."""
