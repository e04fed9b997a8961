"""The standby's side: it listens for the active host, and makes what that writes its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from pbx.adapters.pair import tls
from pbx.adapters.pair.active import BEAT_S, PROMPTS, SILENT_S
from pbx.domain.errors import BadValue, CallplaneError, JournalError
from pbx.ports.pair import JournalTarget, Recordings
from pbx.wire import pair as wire

log = logging.getLogger(__name__)

Fits = Callable[[wire.Lineage, int, wire.Lineage, int], bool]


class Standby:
    def __init__(
        self,
        pop_id: str,
        listen: str,
        peer: str,
        tls_dir: Path,
        journal: JournalTarget,
        recordings: Recordings,
        prompt_dir: Path | None,
        work_dir: Path,
        fits: Fits,
        is_ahead: Callable[[wire.Lineage, wire.Lineage, int], bool],
    ) -> None:
        """``peer``: whose certificate the active one shows. ``fits``, ``is_ahead``: see ``lineage``. Raises
        BadValue."""
        self._pop_id, self._journal, self._recordings = pop_id, journal, recordings
        self._listen = tls.split(listen, "CALLPLANE_POP_PAIR_LISTEN")
        self._peer = tls.split(peer, "CALLPLANE_POP_PAIR_PEER")[0]
        self._context, self._tls_dir = tls.context(tls_dir, server=True), tls_dir
        self._prompt_dir, self._whole = prompt_dir, work_dir / "from-active.sqlite"
        self._fits, self._is_ahead = fits, is_ahead
        self._server: asyncio.Server | None = None
        self._one = asyncio.Lock()
        self._writer: asyncio.StreamWriter | None = None
        self.why: str | None = "the active host has not been heard"
        """What keeps this host from taking over without a loss; None: nothing."""

    async def start(self) -> None:
        """Raises OSError."""
        self._server = await asyncio.start_server(self._serve, *self._listen, ssl=self._context)
        log.info("this host is the standby, and listens for the active one on %s:%d", *self._listen)

    async def stop(self) -> None:
        """What has been received is written; what comes now is not."""
        if self._server is not None:
            self._server.close()
        if self._writer is not None:
            self._writer.transport.abort()
        async with self._one:
            self._journal.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._peer not in tls.names(writer.get_extra_info("peercert")):
            log.error("somebody who is not %s wanted to be followed", self._peer)
            writer.transport.abort()
            return
        if self._writer is not None:
            self._writer.transport.abort()  # of a connection that has not been noticed to be over
        async with self._one:
            self._writer = writer
            beat = asyncio.create_task(_beat(writer))
            try:
                await self._follow(reader, writer)
            except (CallplaneError, OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                self.why = f"the active host is not heard: {error or type(error).__name__}"
                log.warning("%s", self.why)
            finally:
                beat.cancel()
                await asyncio.gather(beat, return_exceptions=True)
                writer.transport.abort()
                self._writer = None
                self._renew()

    def _renew(self) -> None:
        """For the next connection."""
        try:
            tls.load(self._context, self._tls_dir)
        except BadValue as error:
            log.error("ALARM the certificate stays the former one: %s", error)

    async def _follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await _read(reader)
        if not isinstance(hello, wire.Hello) or hello.pop_id != self._pop_id:
            raise BadValue("CALLPLANE_POP_ID", "is not the same at both hosts")
        ours, last = self._journal.lineage, self._journal.last
        if self._is_ahead(hello.lineage, ours, last):
            reason = "this host took over from it and has written since: that one is stale, and must not be active"
            writer.write(wire.frame(wire.Refused(reason)))
            await writer.drain()
            self.why = reason
            raise JournalError(reason)
        if not self._fits(hello.lineage, hello.last, ours, last):
            writer.write(wire.frame(wire.Have(ours, -1, {}, [], [])))
            await self._take_whole(reader)
        recordings, blobs, prompts = await asyncio.to_thread(self._files)
        have = wire.Have(self._journal.lineage, self._journal.last, recordings, blobs, prompts)
        writer.write(wire.frame(have))
        while True:
            message = await _read(reader)
            match message:
                case wire.Rows(rows=rows):
                    self._journal.apply(message)
                    writer.write(wire.frame(wire.Ack(rows[-1][0])))
                case wire.Tables():
                    self._journal.apply(message)
                    writer.write(wire.frame(wire.Ack(self._journal.last)))
                    self.why = None if self._journal.last >= hello.last else self.why
                case wire.Beat():
                    pass
                case wire.FilePiece(area=area) if area == PROMPTS:
                    await asyncio.to_thread(self._keep_prompt, message)
                case wire.FilePiece() | wire.FileGone() | wire.KeyKept() | wire.KeyGone():
                    await asyncio.to_thread(self._recordings.apply, message)
                case wire.Forgotten():
                    await asyncio.to_thread(self._journal.apply, message)
                case _:
                    self._journal.apply(message)

    def _files(self) -> tuple[dict[str, str], list[str], list[str]]:
        recordings, blobs = self._recordings.have()
        prompts = [] if self._prompt_dir is None else [path.name for path in self._prompt_dir.iterdir()]
        return recordings, blobs, prompts

    async def _take_whole(self, reader: asyncio.StreamReader) -> None:
        self.why = "a whole copy of the journal is on its way"
        self._whole.unlink(missing_ok=True)
        with self._whole.open("wb") as out:
            while True:
                piece = await _read(reader)
                if not isinstance(piece, wire.WholeCopy):
                    continue
                await asyncio.to_thread(out.write, piece.data)
                if piece.end:
                    break
        if (aside := self._journal.replace(self._whole)) is not None:
            log.error(
                "ALARM what this host had written went another way than the active host's: it was put aside as %s",
                aside.name,
            )

    def _keep_prompt(self, piece: wire.FilePiece) -> None:
        if self._prompt_dir is None or "/" in piece.name or piece.name.startswith("."):
            return
        part = self._prompt_dir / f"{piece.name}.part"
        part.write_bytes(piece.data)
        part.rename(self._prompt_dir / piece.name)


async def _beat(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while not writer.is_closing():
            writer.write(wire.frame(wire.Beat()))
            await asyncio.sleep(BEAT_S)


async def _read(reader: asyncio.StreamReader) -> wire.Message:
    async with asyncio.timeout(SILENT_S):
        size = wire.length_of(await reader.readexactly(wire.LENGTH_BYTES))
        return wire.message_of(await reader.readexactly(size))
