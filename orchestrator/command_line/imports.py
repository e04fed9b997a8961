"""``callplane import``: numbers and agents from a file, all of them or none."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from orchestrator.command_line.client import Client
from orchestrator.command_line.columns import of
from orchestrator.command_line.failures import OK, About, Misused
from orchestrator.command_line.output import Column, Output
from orchestrator.command_line.program import common, guarded, run, with_client

CSV, JSON_LINES = "text/csv", "application/x-ndjson"
KINDS = {".csv": CSV, ".jsonl": JSON_LINES, ".ndjson": JSON_LINES}
COLUMNS = {
    "dids": of("number", "pop_id", "flow_id", "language", "unit_id"),
    "agents": (
        Column("agent", "agent_id"),
        *of("name", "pop_id", "phone_id"),
        Column("password", lambda agent: agent["sip"]["password"]),
    ),
}


def main(argv: Sequence[str]) -> int:
    return run(execute(argv))


async def execute(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="callplane import", description="Make DIDs or agents of a file's rows: all, or none.", parents=[common()]
    )
    parser.add_argument("noun", choices=sorted(COLUMNS))
    parser.add_argument(
        "file", metavar="FILE", help="CSV whose first line names the fields, or JSON lines; - for standard input"
    )
    parser.add_argument("--format", choices=("csv", "jsonl"), help="where FILE's name does not say it")
    parser.add_argument("--dry-run", action="store_true", help="only say what is wrong")
    options = parser.parse_args(argv)

    async def work(client: Client, out: Output) -> int:
        kind = _kind(options.file, options.format)
        answer = await client.ask(
            "POST",
            f"/{options.noun}/import",
            query={"dry_run": "true"} if options.dry_run else None,
            content=_content(options.file),
            headers={"Content-Type": kind},
        )
        found = answer.json
        if out.as_json:
            out.raw(answer.content)
        elif options.dry_run:
            out.say(f"{found['rows']} rows, nothing wrong; nothing was written")
        else:
            out.table(COLUMNS[options.noun], found["items"])
            out.say(f"{found['rows']} rows were made")
        if options.noun == "agents" and not options.dry_run:
            out.note("the passwords are shown only now: keep them")
        return OK

    return await guarded("import", with_client(options, work, About(options.noun, fields=True)))


def _kind(name: str, given: str | None) -> str:
    if given is not None:
        return KINDS["." + given]
    kind = KINDS.get(Path(name).suffix.lower())
    if kind is None:
        raise Misused(f"{name} does not say what it holds", "--format csv, or --format jsonl")
    return kind


def _content(name: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise Misused(f"{name}: {error.strerror}") from None
