"""The active host's side: it dials its standby, brings it up to date, and tells it every change from then on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

from pbx.adapters.pair import tls
from pbx.domain.errors import BadValue, JournalError
from pbx.ports.pair import JournalSource, Recordings
from pbx.wire import pair as wire

log = logging.getLogger(__name__)

RETRY_S = 0.5
BEAT_S = 1.0
SILENT_S = 5.0
"""A standby that says nothing for so long is gone."""
PAGE = 500
PIECE = 1 << 20
PROMPTS = "prompts"
PROMPTS_EVERY_S = 5.0


class Over(Exception):
    """This connection is of no more use."""


class Active:
    def __init__(
        self,
        pop_id: str,
        peer: str,
        tls_dir: Path,
        journal: JournalSource,
        recordings: Recordings,
        prompt_dir: Path | None,
        work_dir: Path,
    ) -> None:
        """``peer``: ``host:port`` of the standby. ``work_dir``: for a copy of the journal on its way. Raises
        BadValue."""
        self._pop_id, self._journal, self._recordings = pop_id, journal, recordings
        self._host, self._port = tls.split(peer, "CALLPLANE_POP_PAIR_PEER")
        self._context, self._tls_dir = tls.context(tls_dir, server=False), tls_dir
        self._prompt_dir, self._work_dir = prompt_dir, work_dir
        self._changed: set[str] = set()
        self._wake = asyncio.Event()
        self._told = ""

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()

        def changed(recording_id: str) -> None:
            loop.call_soon_threadsafe(self._change, recording_id)

        self._recordings.on_change(changed)
        while True:
            try:
                await self._session()
            except (Over, OSError, asyncio.IncompleteReadError, BadValue, JournalError, TimeoutError) as error:
                self._say(error)
            finally:
                self._journal.shadow.alone()
            await asyncio.sleep(RETRY_S)

    def _say(self, error: Exception) -> None:
        """Once for each reason."""
        reason = str(error) or type(error).__name__
        if reason != self._told:
            log.error("ALARM this POP has no standby: %s; what it writes is on this disk only", reason)
        self._told = reason

    def _change(self, recording_id: str) -> None:
        self._changed.add(recording_id)
        self._wake.set()

    async def _session(self) -> None:
        tls.load(self._context, self._tls_dir)
        async with asyncio.timeout(SILENT_S):
            opened = asyncio.open_connection(self._host, self._port, ssl=self._context, server_hostname=self._host)
            reader, writer = await opened
        beat = asyncio.create_task(self._beat(writer))
        try:
            writer.write(wire.frame(wire.Hello(self._pop_id, self._journal.lineage, self._journal.last)))
            have = await self._have(reader)
            if have.last < 0:
                have = await self._send_whole(reader, writer)
            await self._work(reader, writer, have)
        finally:
            beat.cancel()
            self._journal.shadow.alone()
            writer.transport.abort()

    async def _have(self, reader: asyncio.StreamReader) -> wire.Have:
        while not isinstance(answer := await _read(reader), wire.Have):
            if isinstance(answer, wire.Refused):
                raise Over(f"it refuses to follow: {answer.reason}")
        return answer

    async def _send_whole(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> wire.Have:
        """The standby has nothing that could be gone on with."""
        target = self._work_dir / "for-standby.sqlite"
        target.unlink(missing_ok=True)
        try:
            await asyncio.to_thread(self._journal.write_copy, target)
            size = target.stat().st_size
            with target.open("rb") as source:
                while piece := await asyncio.to_thread(source.read, PIECE):
                    writer.write(wire.frame(wire.WholeCopy(piece, source.tell() == size)))
                    await writer.drain()
        finally:
            target.unlink(missing_ok=True)
        log.info("the standby got a whole copy of the journal: %d bytes", size)
        return await self._have(reader)

    async def _work(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, have: wire.Have) -> None:
        goal = await self._catch_up(writer, have.last)
        jobs = [self._listen(reader, goal), self._files(writer, have)]
        tasks = [asyncio.create_task(job) for job in jobs]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _catch_up(self, writer: asyncio.StreamWriter, after: int) -> int:
        """Up to which event the standby has been told when changes begin to be told as they happen: nothing falls in
        between, for the last page and the beginning are one turn of the loop."""
        # First, so that the identities are known before rows come; again at the end, as they are then.
        writer.write(wire.frame(self._journal.tables()))
        while True:
            await writer.drain()
            rows = self._journal.rows_after(after, PAGE)
            if rows:
                after = rows[-1][0]
                writer.write(wire.frame(wire.Rows(rows)))
            if after >= self._journal.last:
                break
        self._journal.shadow.follow(partial(_send, writer))
        writer.write(wire.frame(self._journal.tables()))
        return after

    async def _listen(self, reader: asyncio.StreamReader, goal: int) -> None:
        shadow = self._journal.shadow
        while True:
            match await _read(reader):
                case wire.Ack(seq=seq) if shadow.in_step:
                    shadow.acknowledged(seq)
                case wire.Ack(seq=seq) if seq >= goal:
                    shadow.caught_up(seq)
                    shadow.acknowledged(seq)
                    self._told = ""
                    log.info("the standby is in step, from event %d on", seq)
                case wire.Refused(reason=reason):
                    raise Over(f"it refuses to follow: {reason}")

    @staticmethod
    async def _beat(writer: asyncio.StreamWriter) -> None:
        while True:
            _send(writer, wire.Beat())
            await asyncio.sleep(BEAT_S)

    # --- files ------------------------------------------------------------------------------------------------------

    async def _files(self, writer: asyncio.StreamWriter, have: wire.Have) -> None:
        keys, blobs = await asyncio.to_thread(self._recordings.have)
        there = set(have.blobs)
        differ = {one for one, digest in keys.items() if have.recordings.get(one) != digest}
        differ |= have.recordings.keys() - keys.keys()
        differ |= {name.partition(".")[0] for name in there ^ set(blobs)}
        self._changed |= differ
        prompts, loop = set(have.prompts), asyncio.get_running_loop()
        prompts_at = loop.time()
        while True:
            while self._changed:
                await self._ship(writer, self._changed.pop())
            if loop.time() >= prompts_at:
                prompts_at = loop.time() + PROMPTS_EVERY_S
                await self._ship_prompts(writer, prompts)
            self._wake.clear()
            if not self._changed:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PROMPTS_EVERY_S):
                        await self._wake.wait()

    async def _ship(self, writer: asyncio.StreamWriter, recording_id: str) -> None:
        """As it is now, file before key: a key says that the file is whole."""
        key = await asyncio.to_thread(self._recordings.key, recording_id)
        if key is None:
            writer.write(wire.frame(wire.KeyGone(recording_id)))
            return
        pieces = await asyncio.to_thread(self._recordings.blob, recording_id)
        if pieces is None:
            writer.write(wire.frame(wire.FileGone(key[1], recording_id)))
        else:
            async for piece in _in_thread(pieces):
                writer.write(wire.frame(piece))
                await writer.drain()
        writer.write(wire.frame(wire.KeyKept(key)))
        await writer.drain()

    async def _ship_prompts(self, writer: asyncio.StreamWriter, there: set[str]) -> None:
        directory = self._prompt_dir
        if directory is None:
            return
        for path in await asyncio.to_thread(lambda: sorted(directory.iterdir())):
            if path.name in there or path.name.startswith(".") or path.suffix == ".part":
                continue
            data = await asyncio.to_thread(path.read_bytes)
            writer.write(wire.frame(wire.FilePiece(PROMPTS, path.name, 0, data, True)))
            await writer.drain()
            there.add(path.name)


async def _in_thread(pieces: Iterator[wire.FilePiece]) -> AsyncIterator[wire.FilePiece]:
    def following() -> wire.FilePiece | None:
        return next(pieces, None)

    while (piece := await asyncio.to_thread(following)) is not None:
        yield piece


def _send(writer: asyncio.StreamWriter, message: wire.Message) -> None:
    """Never waits: what is on its way is bounded by the patience with a standby that does not answer."""
    if not writer.is_closing():
        writer.write(wire.frame(message))


async def _read(reader: asyncio.StreamReader) -> wire.Message:
    async with asyncio.timeout(SILENT_S):
        size = wire.length_of(await reader.readexactly(wire.LENGTH_BYTES))
        return wire.message_of(await reader.readexactly(size))
