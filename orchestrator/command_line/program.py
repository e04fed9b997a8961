"""What all commands share: their options, one client, and an exit code for every way to fail."""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from orchestrator.command_line.client import Client
from orchestrator.command_line.connection import Wanted, connection
from orchestrator.command_line.failures import USAGE, About, Failure
from orchestrator.command_line.output import Output

INTERRUPTED = 130


def common() -> argparse.ArgumentParser:
    """Options of every command."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--json", action="store_true", help="the API's answer as it came")
    group = parser.add_argument_group("the centre")
    group.add_argument("--url", help="its address; without it CALLPLANE_URL, else that of 'callplane login'")
    group.add_argument("--token-file", type=Path, metavar="FILE", help="holds a token, instead of CALLPLANE_TOKEN")
    group.add_argument("--ca-file", type=Path, metavar="FILE", help="certificates to believe (CALLPLANE_CA_FILE)")
    group.add_argument("--timeout", type=seconds, default=60.0, metavar="S", help="for an answer; default: %(default)g")
    group.add_argument("--purpose", metavar="TEXT", help="why; kept in the audit log")
    group.add_argument("--idempotency-key", metavar="KEY", help="of what is done once, however often it is asked")
    group.add_argument("--allow-plain-http", action="store_true", help="send the token over a network in clear text")
    return parser


def seconds(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value <= 0:
        raise ValueError(text)
    return value


def wanted(options: argparse.Namespace) -> Wanted:
    return Wanted(options.url, options.token_file, options.ca_file, options.timeout, options.allow_plain_http)


def client(options: argparse.Namespace, about: About | None = None) -> Client:
    return Client(
        connection(wanted(options), os.environ), about=about, purpose=options.purpose, key=options.idempotency_key
    )


async def with_client(
    options: argparse.Namespace, work: Callable[[Client, Output], Awaitable[int]], about: About | None = None
) -> int:
    async with client(options, about) as opened:
        return await work(opened, Output(as_json=options.json))


async def guarded(name: str, work: Awaitable[int]) -> int:
    """The exit code: 0 done, 1 refused, 2 wrong use, 3 no answer. What failed is said on standard error."""
    try:
        return await work
    except Failure as failure:
        lines = [f"callplane {name}: {failure.reason}", *(f"  {line}" for line in failure.details)]
        if failure.advice:
            lines.append(f"  -> {failure.advice}")
        sys.stderr.write("\n".join(lines) + "\n")
        return failure.code
    except BrokenPipeError:
        # Whoever read has seen enough; the interpreter's own flush at its end must not fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return USAGE - 1


def run(work: Awaitable[int]) -> int:
    async def whole() -> int:
        return await work

    try:
        return asyncio.run(whole())
    except KeyboardInterrupt:
        return INTERRUPTED
