"""Names on the bus. A POP's login may touch only what carries its own id."""

from __future__ import annotations

EVENT_STREAM = "EVENTS"
EVENT_SUBJECTS = "callplane.*.events"


def events(pop_id: str) -> str:
    """JetStream subject of a POP's event batches."""
    return f"callplane.{pop_id}.events"


def heartbeat(pop_id: str) -> str:
    return f"callplane.{pop_id}.heartbeat"


def commands(pop_id: str) -> str:
    """Request subject on which a POP takes commands."""
    return f"callplane.{pop_id}.commands"


def prompts(pop_id: str) -> str:
    """Request subject on which the centre gives a POP the sound of prompts."""
    return f"callplane.{pop_id}.prompts"


def erased(pop_id: str) -> str:
    """Request subject on which the centre tells a POP what was erased there."""
    return f"callplane.{pop_id}.erased"


def config_bucket(pop_id: str) -> str:
    """Key-value bucket with one key per entity: ``did.49305550100``, ``queue.<id>``, ``agent.<id>``, ``flow.<id>``."""
    return f"config_{pop_id}"


EVERYBODY = "_all"
"""No POP is called so."""
ROUTER_BUCKET = "callplane_router"
LEASE_S = 2.0
ROUTER_LEASE = f"$KV.{ROUTER_BUCKET}.lease"
"""Key of the lease of the router of the queues that span POPs; the bus forgets it ``LEASE_S`` after its renewal."""


def mesh(to: str, sender: str) -> str:
    """From POP to POP. A login may send under its own id alone, so the sender is who it says."""
    return f"callplane.mesh.{to}.{sender}"


def inbox_prefix(pop_id: str) -> str:
    """Prefix of the POP's reply inboxes, so that no POP can read another's replies."""
    return f"_INBOX_{pop_id}"
