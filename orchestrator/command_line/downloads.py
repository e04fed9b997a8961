"""Sound, written to a file as it comes: whole, or not at all."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import aiohttp

from orchestrator.command_line.client import path_of
from orchestrator.command_line.failures import OK, Failure, Misused
from orchestrator.command_line.noun import Context, Special

CHUNK = 1 << 16


def of(name: str, path: str, *, purpose: bool = True) -> Special:
    """The command that fetches ``path``'s content. ``purpose``: whoever listens has to say why."""

    def options(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--out", metavar="FILE", help=f"without it {name.upper()}.wav; - for standard output")

    async def run(context: Context, options: argparse.Namespace) -> int:
        key = list(options.values.values())[-1]
        if purpose and options.purpose is None:
            raise Misused("why is this listened to? It is kept in the audit log", "--purpose TEXT")
        async with context.client.stream(path_of(path + "/content", options.values)) as response:
            if options.out == "-":
                async for chunk in response.content.iter_chunked(CHUNK):
                    sys.stdout.buffer.write(chunk)
                return OK
            out = Path(options.out or f"{key}.wav")
            await write_stream(out, response)
        context.out.say(str(out))
        return OK

    return Special("download", "the sound itself", path, run, options)


async def write_stream(out: Path, response: aiohttp.ClientResponse) -> None:
    """A file that is there already is refused, not overwritten."""
    part = out.with_name(out.name + ".part")
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                async for chunk in response.content.iter_chunked(CHUNK):
                    file.write(chunk)
            os.link(part, out)
        finally:
            part.unlink()
    except FileExistsError:
        raise Failure(f"{out} is there already") from None
    except aiohttp.ClientError:
        raise
    except OSError as error:
        raise Failure(f"{out}: {error.strerror}") from None
