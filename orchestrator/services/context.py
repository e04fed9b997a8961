"""What a request may use. Made once by ``orchestrator.bootstrap``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.adapters.bus.client import Bus
from orchestrator.adapters.db.engine import Database
from orchestrator.adapters.webhook_target import Network
from orchestrator.services.feed import EventFeed
from orchestrator.services.flows import PromptCatalogue
from orchestrator.services.known_callers import KnownCallers
from orchestrator.services.pop_names import PopNames
from orchestrator.services.presence import PresenceBoard
from orchestrator.services.recent import Recent
from orchestrator.services.rights_keys import RightsKeys
from orchestrator.services.secret_box import SecretBox
from orchestrator.services.throttle import Gate
from orchestrator.services.unit_of_work import UnitsOfWork
from orchestrator.services.webhook_sender import WebhookSender

if TYPE_CHECKING:
    from orchestrator.adapters.oidc import Provider  # imported where there is one
    from orchestrator.services.erasing import Eraser  # which needs projections, which need this
    from orchestrator.services.minors import MinorsKeeper
    from orchestrator.services.retention import Retention


@dataclass(frozen=True, slots=True)
class Services:
    database: Database
    units: UnitsOfWork
    bus: Bus
    feed: EventFeed
    presence: PresenceBoard
    prompts: PromptCatalogue
    secrets: SecretBox
    rights: RightsKeys
    names: PopNames
    eraser: Eraser
    retention: Retention
    minors: MinorsKeeper
    callers: KnownCallers
    webhooks: WebhookSender
    webhook_networks: tuple[Network, ...]
    """Which webhooks may reach although they are not public."""
    logins_changed: Callable[[], Awaitable[None]]
    """Makes the bus know the POPs that are in the database now."""
    ready: Callable[[], Awaitable[Mapping[str, str | None]]]
    """Part of the centre -> what keeps it from its work, or None."""
    recent: Recent = field(default_factory=Recent)
    proxies: frozenset[str] = frozenset()
    """Addresses whose X-Forwarded-For is believed."""
    gate: Gate = field(default_factory=Gate)
    session_s: float = 3600.0
    """How long a user's session lasts."""
    provider: Provider | None = None
    """Of identities."""
