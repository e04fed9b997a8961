"""The centre asks what this POP calls numbers that it may not tell: for an export, a legal hold, a mark. Nothing here
is changed by it."""

from __future__ import annotations

import logging

from pbx.domain.errors import JournalError
from pbx.domain.pseudonyms import Pseudonyms
from pbx.ports.journal import Journal
from pbx.wire import messages as wire

log = logging.getLogger(__name__)


async def name(journal: Journal, asked: wire.NameNumbers, pseudonyms: Pseudonyms | None) -> wire.CommandReply:
    """A POP that tells numbers has no other names for them, and says so without a look at its journal."""
    if pseudonyms is None:
        return wire.CommandReply(named=wire.NumbersNamed(journal_id=journal.journal_id, upto=asked.after))
    try:
        return wire.CommandReply(named=await journal.name(asked, pseudonyms.of))
    except JournalError as error:
        log.error("ALARM the centre was not told what a number is called here: %s", error)
        return wire.CommandReply(error_id="not_named", detail="the disk refused: ask again")
