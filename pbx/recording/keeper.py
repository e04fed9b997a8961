"""Brings recordings from this disk to their last place, again and again, and says when that cannot be done."""

from __future__ import annotations

import asyncio
import logging

from pbx.domain.errors import CallplaneError
from pbx.ports.vault import Vault

EVERY_S = 15.0

log = logging.getLogger(__name__)


async def keep(vault: Vault) -> None:
    """Until cancelled."""
    told = False
    while True:
        try:
            await asyncio.to_thread(vault.settle)
            if told:
                log.info("recordings are moved to their last place again")
            told = False
        except (OSError, CallplaneError) as error:
            if not told:
                log.error("ALARM recordings stay on this disk, sealed: %s", error)
            told = True
        await asyncio.sleep(EVERY_S)
