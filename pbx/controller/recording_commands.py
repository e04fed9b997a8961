"""What the centre asks of recordings that rest at this POP."""

from __future__ import annotations

import asyncio

from pbx.domain.errors import JournalError
from pbx.domain.events import RecordingErased
from pbx.domain.ids import CallId, RecordingId
from pbx.ports.journal import Journal
from pbx.ports.media_engine import Clock
from pbx.ports.vault import Vault
from pbx.wire import messages as wire


async def erase(vault: Vault, journal: Journal, clock: Clock, command: wire.EraseRecording) -> wire.CommandReply:
    """Destroy one, and let its call's record say so."""
    recording_id = RecordingId(command.recording_id)
    try:
        await asyncio.to_thread(vault.erase, recording_id)
        await journal.append(CallId(command.call_id), [RecordingErased(at=clock(), recording_id=recording_id)])
    except KeyError:
        return wire.CommandReply(error_id="unknown-recording", detail="this POP does not have that recording")
    except OSError:
        return wire.CommandReply(error_id="not_erased", detail="the disk refused; the recording is still there")
    except JournalError:
        return wire.CommandReply(error_id="not_journaled", detail="it is erased, but its record does not say so")
    return wire.CommandReply()
