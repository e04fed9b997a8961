"""``make bench-vault``: what sealing costs while calls are recorded, and how soon a long one plays from its middle.

Sealed are the recordings that 50 calls leave in a minute, each a minute long, so that every one ends within it: with
everything the recorder waits for (key store, sync of the disk, reading back). ``cpu_pct`` is the CPU that takes, of
one core in that minute. Played is a recording of four hours, by range requests over REST through a centre, its
nats-server and a POP's link (all but nats-server in this one process, slower than in life), its file not in the page
cache; counted is until the first 64 KiB of sound are here.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import secrets
import statistics
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from orchestrator.bootstrap import Centre
from orchestrator.config import CentreSettings
from pbx.adapters.vault.blobs import name_of
from pbx.adapters.vault.sealed import SealedVault
from pbx.bootstrap import fresh_vault
from pbx.domain import events as ev
from pbx.domain.ids import RecordingId, derive
from pbx.recording.wav import FRAME_BYTES, RATE_HZ
from pbx.wire.messages import CommandReply, CommandRequest, ReadRecording
from tests.bench.machine import describe, summary_line
from tests.integration.centre.support import PROMPTS, Api, Handler, pop, until
from tests.integration.centre.test_calls import a_call
from tests.support.ports import free_port

RECORDINGS, SECONDS, HOURS, PLAYED = 50, 60, 4, 20
BYTES_S = RATE_HZ * FRAME_BYTES
FIRST = 64 * 1024
BUDGET_CPU_PCT, BUDGET_PLAY_MS = 5.0, 300.0


async def seal_many(directory: Path) -> tuple[float, float]:
    """Seconds of CPU and of time."""
    said = secrets.token_bytes(SECONDS * BYTES_S)
    vault = fresh_vault(directory, {"eu"})
    raws: list[tuple[RecordingId, Path]] = []
    for number in range(RECORDINGS):
        recording_id = RecordingId(derive(time.time(), "bench", number))
        raw = directory / f"{recording_id}.raw"
        raw.write_bytes(said)
        raws.append((recording_id, raw))
    cpu, began = time.process_time(), time.monotonic()
    await asyncio.gather(*(asyncio.to_thread(vault.store, recording_id, "eu", raw) for recording_id, raw in raws))
    return time.process_time() - cpu, time.monotonic() - began


def seal_long(directory: Path, recording_id: RecordingId) -> tuple[SealedVault, ev.RecordingEnded, float, float]:
    """The vault, what the POP says of the recording, seconds, and MiB by which the process became larger."""
    raw = directory / "long.raw"
    with raw.open("wb") as out:
        minute = secrets.token_bytes(60 * BYTES_S)
        for _ in range(HOURS * 60):
            out.write(minute)
    vault = fresh_vault(directory, {"eu"})
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    stored = vault.store(recording_id, "eu", raw)
    took, grew = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    ended = ev.RecordingEnded(
        at=time.time(),
        recording_id=recording_id,
        region="eu",
        duration_ms=stored.duration_ms,
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
    )
    return vault, ended, took, grew / 1024


class VaultHandler(Handler):
    """The POP behind the link reads its vault, as ``pbx.controller.pop`` does."""

    vault: SealedVault

    async def command(self, request: CommandRequest) -> CommandReply:
        read = request.command
        assert isinstance(read, ReadRecording)
        blob, size = await asyncio.to_thread(self.vault.read, RecordingId(read.recording_id), read.offset, read.length)
        return CommandReply(blob=blob, total_size=size)


async def play(directory: Path) -> tuple[list[float], float, float]:
    """Milliseconds of each start from a place around the middle; seconds and MiB of sealing."""
    call, recording_id, events = a_call("bench")
    vault, ended, took, grew = await asyncio.to_thread(seal_long, directory, recording_id)
    said: list[str] = []
    settings = CentreSettings(
        state_dir=directory / "centre", database_url=SecretStr(""), api_port=0, bus_port=free_port()
    )
    centre = Centre(settings, prompts=lambda: PROMPTS, tell=said.append)
    await centre.start()
    try:
        headers = {"Authorization": f"Bearer {said[0].rsplit(' ', 1)[1]}", "X-Purpose": "a benchmark"}
        async with aiohttp.ClientSession(f"http://127.0.0.1:{centre.port}", headers=headers) as session:
            api = Api(session)
            key = await api.new_site()
            async with pop(directory / "j.db", settings.bus_port, key) as site:
                handler = VaultHandler("de-fra-1")
                handler.vault = vault
                site.link._desk._handler = handler
                placed = [ended if isinstance(event, ev.RecordingEnded) else event for event in events]
                await site.journal.append(call, placed)
                site.link.events_waiting()
                await until(lambda: _there(api, recording_id))
                file = directory / "vault" / "eu" / name_of(recording_id)
                return [await _start(session, recording_id, file, n) for n in range(PLAYED)], took, grew
    finally:
        await centre.stop()


async def _there(api: Api, recording_id: RecordingId) -> bool:
    return (await api.get(f"/recordings/{recording_id}")).status == 200


async def _start(session: aiohttp.ClientSession, recording_id: RecordingId, file: Path, number: int) -> float:
    handle = os.open(file, os.O_RDONLY)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)
    middle = (HOURS * 3600 // 2 + 60 * number) * BYTES_S
    began = time.monotonic()
    range_asked = {"Range": f"bytes={middle}-"}
    async with session.get(f"/api/v1/recordings/{recording_id}/content", headers=range_asked) as response:
        assert response.status == 206, await response.text()
        await response.content.readexactly(FIRST)
        took = time.monotonic() - began
        response.close()  # as a player does that seeks elsewhere
    return took * 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    console = Console(width=max(100, Console().width))
    console.print(f"machine: {describe()}")
    with tempfile.TemporaryDirectory(prefix="callplane-bench-", dir="/var/tmp") as name:
        directory = Path(name)
        (directory / "many").mkdir()
        (directory / "long").mkdir()
        cpu_s, wall_s = asyncio.run(seal_many(directory / "many"))
        starts, long_s, grew_mib = asyncio.run(play(directory / "long"))
    cpu_pct = 100 * cpu_s / SECONDS
    table = Table()
    for heading in ("what", "measured", "budget"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    table.add_row(f"CPU of {RECORDINGS} recordings of {SECONDS} s", f"{cpu_s:.2f} s", "")
    table.add_row("of one core, while they were made", f"{cpu_pct:.2f} %", f"{BUDGET_CPU_PCT:g} %")
    table.add_row("all at once, until the last is placed", f"{wall_s:.1f} s", "")
    table.add_row(f"one of {HOURS} hours", f"{long_s:.1f} s, memory {grew_mib:+.0f} MiB", "")
    table.add_row("plays from its middle after, median", f"{statistics.median(starts):.0f} ms", "")
    table.add_row(f"worst of {len(starts)}", f"{max(starts):.0f} ms", f"{BUDGET_PLAY_MS:g} ms")
    console.print(table)
    console.print(f"machine: {describe()}")
    line = summary_line("vault", cpu_pct=cpu_pct, play_ms=max(starts), play_median_ms=statistics.median(starts))
    sys.stdout.write(line + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
