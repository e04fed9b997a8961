"""What the dialplan noted of calls that it served without a controller, moved to where the controller reads it.

FreeSWITCH cannot write a line to a file. It puts a note into its database (mod_db) when it begins to serve such a call,
and one when that ends; here they become the lines that Asterisk's dialplan writes itself
(``dialplans.render.ALONE_LOG``, ``pbx.controller.served_alone``). A note is deleted after
its line was written: who dies between leaves the line twice, and the reader takes one call once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

from pbx.adapters.freeswitch.causes import cause_named
from pbx.adapters.freeswitch.esl import EslLink
from pbx.domain.errors import EngineError
from pbx.domain.hangup_cause import HangupCause

log = logging.getLogger(__name__)

REALM = "callplane-alone"
LOOK_S = 1.0
_KEY = re.compile(r"([0-9a-f-]{36})-(began|ended)")
"""The list is cut after 4096 characters: the last key may be half of one, and comes again when the others are gone."""
_ENDED = re.compile(r"at=([0-9]+) q850=([0-9]*) dial=([A-Z_]*) since=([0-9]*)")
CALLER_LEFT = "ORIGINATOR_CANCEL"


def line(leg_id: str, word: str, note: str) -> str | None:
    """The log's line for a note; None for what is not one of ours."""
    if "\n" in note or "=" not in note:
        return None
    if word == "began":
        return f"began leg={leg_id} {note}\n"
    found = _ENDED.fullmatch(note)
    if found is None:
        return None
    at, q850, dial, since = found.groups()
    begun = int(since or 0)
    if begun or dial in ("", "SUCCESS"):
        cause = int(q850 or 0)
    elif dial == CALLER_LEFT:
        cause = int(HangupCause.NORMAL_CLEARING)
    else:
        cause = int(cause_named(dial))
    talk_s = max(0, int(at) - begun) if begun else 0
    return f"ended leg={leg_id} at={at} cause={cause} dial={'ANSWER' if begun else dial} talk={talk_s}\n"


def _order(made: str) -> tuple[bool, str]:
    """Beginnings first, then by time."""
    return made.startswith("ended"), made.partition(" at=")[2].partition(" ")[0]


class LoneCalls:
    """``file`` is the log; None: there is nobody who reads it, and notes stay where they are."""

    def __init__(self, link: EslLink, file: Path | None) -> None:
        self._link, self._file = link, file
        self._watching = False

    async def watch(self) -> None:
        """Until cancelled; the second time nothing happens. Calls go on when a controller has come, and end later."""
        if self._file is None or self._watching:
            return
        self._watching = True
        while True:
            try:
                if self._link.connected:
                    await self.take(self._file)
            except (EngineError, OSError) as error:
                log.error("ALARM what is noted of calls without a controller stays there: %s", type(error).__name__)
            await asyncio.sleep(LOOK_S)

    async def take(self, file: Path) -> None:
        """Raises what ``EslLink.send`` does, and OSError: then nothing is lost."""
        listed = await self._link.send(f"api db list/{REALM}")
        keys = sorted(found.group() for found in map(_KEY.fullmatch, listed.strip().split(",")) if found is not None)
        if not keys:
            return
        notes = await asyncio.gather(*[self._link.send(f"api db select/{REALM}/{key}") for key in keys])
        text = "".join(sorted(self._lines(keys, notes), key=_order))
        handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o660)
        try:
            os.write(handle, text.encode())
        finally:
            os.close(handle)
        await asyncio.gather(*[self._link.send(f"api db delete/{REALM}/{key}") for key in keys])

    @staticmethod
    def _lines(keys: list[str], notes: list[str]) -> Iterator[str]:
        for key, note in zip(keys, notes, strict=True):
            leg_id, word = key[:36], key[37:]
            made = line(leg_id, word, note.strip())
            if made is None:
                log.error("what was noted of a call without a controller cannot be read")
            else:
                yield made
