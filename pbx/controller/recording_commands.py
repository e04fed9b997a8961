"""What the centre asks of recordings that rest at this POP."""

from __future__ import annotations

import asyncio
import logging

from pbx.domain.errors import BadValue, JournalError, RecordingDamaged
from pbx.domain.events import RecordingErased
from pbx.domain.ids import CallId, RecordingId
from pbx.ports.journal import Journal
from pbx.ports.media_engine import Clock
from pbx.ports.vault import Vault
from pbx.wire import messages as wire

log = logging.getLogger(__name__)

MAX_READ = 512 * 1024
"""Bytes of one answer."""


async def erase(vault: Vault, journal: Journal, clock: Clock, command: wire.EraseRecording) -> wire.CommandReply:
    """Destroy one, and let its call's record say so."""
    recording_id = RecordingId(command.recording_id)
    try:
        await asyncio.to_thread(vault.erase, recording_id)
        await journal.append(CallId(command.call_id), [RecordingErased(at=clock(), recording_id=recording_id)])
    except KeyError:
        if command.surely:
            return await _never_again(vault, journal, clock, command)
        return wire.CommandReply(error_id="unknown-recording", detail="this POP does not have that recording")
    except OSError:
        return wire.CommandReply(error_id="not_erased", detail="the disk refused; the recording is still there")
    except JournalError:
        return wire.CommandReply(error_id="not_journaled", detail="it is erased, but its record does not say so")
    return wire.CommandReply()


async def _never_again(vault: Vault, journal: Journal, clock: Clock, command: wire.EraseRecording) -> wire.CommandReply:
    """Not here: erased before its record could say so, or not stored yet. The key store refuses it from now on."""
    recording_id = RecordingId(command.recording_id)
    try:
        await asyncio.to_thread(vault.forget, [recording_id])
        await journal.append(CallId(command.call_id), [RecordingErased(at=clock(), recording_id=recording_id)])
    except OSError:
        return wire.CommandReply(error_id="not_erased", detail="the disk refused")
    except JournalError:
        return wire.CommandReply(error_id="not_journaled", detail="it is erased, but its record does not say so")
    return wire.CommandReply()


async def protect(vault: Vault, command: wire.ProtectRecording) -> wire.CommandReply:
    """Hold one under the key of minors."""
    try:
        await asyncio.to_thread(vault.protect, RecordingId(command.recording_id))
    except KeyError:
        return wire.CommandReply(error_id="unknown-recording", detail="this POP does not have that recording")
    except BadValue as error:
        log.error("ALARM a recording of a minor stays under its region's key: %s", error)
        return wire.CommandReply(error_id="no_minors_key", detail="the POP has no key for minors in its key file")
    except (OSError, RecordingDamaged) as error:
        log.error("ALARM a recording of a minor stays under its region's key: %s", error)
        return wire.CommandReply(error_id="not_protected", detail="the vault refused")
    return wire.CommandReply()


async def read(vault: Vault, command: wire.ReadRecording) -> wire.CommandReply:
    """Some bytes of one."""
    recording_id = RecordingId(command.recording_id)
    from_byte, length = max(0, command.offset), min(max(0, command.length), MAX_READ)
    try:
        if not command.minors and await asyncio.to_thread(vault.is_protected, recording_id):
            return wire.CommandReply(error_id="of_a_minor", detail="it is of a minor, and was asked for like any other")
        blob, size = await asyncio.to_thread(vault.read, recording_id, from_byte, length)
    except KeyError:
        return wire.CommandReply(error_id="unknown-recording", detail="this POP does not have that recording")
    except RecordingDamaged as error:
        log.error("ALARM recording %s does not open: %s", command.recording_id, error)
        return wire.CommandReply(error_id="recording_damaged", detail="the recording is not what was sealed")
    except OSError as error:
        log.warning("recording %s could not be read: %s", command.recording_id, error)
        return wire.CommandReply(error_id="recording_unreadable", detail="the vault cannot be read now")
    return wire.CommandReply(blob=blob, total_size=size)
