"""What the vault needs again and again while the controller runs: recordings go from this disk to their last place, and
what was erased, as the centre remembers it, stays erased."""

from __future__ import annotations

import asyncio
import logging

from pbx.domain.errors import CallplaneError
from pbx.domain.ids import RecordingId
from pbx.ports.link import Link
from pbx.ports.vault import Vault

EVERY_S = 15.0

log = logging.getLogger(__name__)


async def keep(vault: Vault, link: Link | None) -> None:
    """Until cancelled."""
    asked, told = link is None, False
    while True:
        try:
            if link is not None and not asked:
                asked = await replay(vault, link)
            await asyncio.to_thread(vault.settle)
            if told:
                log.info("the vault is in order again")
            told = False
        except (OSError, CallplaneError) as error:
            if not told:
                log.error("ALARM recordings stay on this disk, sealed: %s", error)
            told = True
        await asyncio.sleep(EVERY_S)


async def replay(vault: Vault, link: Link) -> bool:
    """Once for each start: a key store and a journal that came back from a backup know nothing of what was erased
    since. False when the centre could not be asked. Raises OSError."""
    while (page := await link.erased(await asyncio.to_thread(vault.erased_upto))) is not None:
        erased = [RecordingId(recording_id) for recording_id in page.recording_ids]
        if back := await asyncio.to_thread(vault.forget, erased, page.upto):
            log.error("ALARM %d erased recordings had come back, from a backup; they were destroyed again", back)
        if not page.more:
            return True
    return False
