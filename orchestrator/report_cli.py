"""``callplane report``: figures as a table, the report of a month as a file, over the API.

CALLPLANE_URL names the centre (http://127.0.0.1:8080), CALLPLANE_TOKEN holds a token.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table

from orchestrator.services.month_page import COLUMNS

FILTERS = ("queue_id", "agent_id", "did", "country", "time_zone")
TIMEOUT_S = 60.0


class Failed(Exception):
    """One line that says why."""


def main(argv: list[str] | None = None) -> int:
    """0: done; 1: failed, with one line that says why; 2: wrong use."""
    parser = argparse.ArgumentParser(prog="callplane report", description=__doc__.partition("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    month = verbs.add_parser("month", help="the report of a month, as an HTML file or CSV")
    month.add_argument("month", help="such as 2026-10")
    month.add_argument("--csv", action="store_true", help="CSV instead of HTML")
    month.add_argument(
        "--out", type=Path, help="the file to write; without it callplane-MONTH.html or .csv, - for standard output"
    )
    figures = verbs.add_parser("figures", help="figures of a period")
    figures.add_argument("--by", default="nothing", help="queue, agent, did, country, hour or day")
    figures.add_argument("--since", help="a day or a time with its offset; without it today")
    figures.add_argument("--until", help="likewise, a day is meant in whole; without it now")
    figures.add_argument("--json", action="store_true", help="the API's answer as it is")
    for verb in (month, figures):
        for name in FILTERS:
            verb.add_argument("--" + name.removesuffix("_id").replace("_", "-"), dest=name)
    options = parser.parse_args(argv)
    query = {name: value for name in FILTERS if (value := getattr(options, name)) is not None}
    try:
        if options.verb == "month":
            return asyncio.run(_month(options, query))
        return asyncio.run(_figures(options, query))
    except Failed as failed:
        print(f"callplane report: {failed}", file=sys.stderr)
        return 1


async def _month(options: argparse.Namespace, query: dict[str, str]) -> int:
    found = await _get(f"/reports/months/{options.month}{'/csv' if options.csv else ''}", query)
    out: Path = options.out or Path(f"callplane-{options.month}.{'csv' if options.csv else 'html'}")
    if str(out) == "-":
        sys.stdout.buffer.write(found)
        return 0
    try:
        out.write_bytes(found)  # noqa: ASYNC240  # nothing else runs
    except OSError as error:
        raise Failed(f"{out}: {error.strerror}") from None
    print(out)
    return 0


async def _figures(options: argparse.Namespace, query: dict[str, str]) -> int:
    given = {name: value for name in ("by", "since", "until") if (value := getattr(options, name)) is not None}
    text = await _get("/reports/figures", query | given)
    if options.json:
        print(text.decode())
        return 0
    report: dict[str, Any] = json.loads(text)
    table = Table(title=f"{report['since']} to {report['until']} ({report['time_zone']})")
    table.add_column("" if report["by"] == "nothing" else report["by"])
    for _, label, _ in COLUMNS:
        table.add_column(label, justify="right", no_wrap=True)
    for item in report["items"] if report["by"] != "nothing" else ():
        table.add_row(item["key"], *(shown(item[key]) for key, _, shown in COLUMNS))
    table.add_section()
    table.add_row("all", *(shown(report["total"][key]) for key, _, shown in COLUMNS))
    console = Console()
    console = console if console.is_terminal else Console(width=160)
    console.print(table)
    return 0


async def _get(path: str, query: dict[str, str]) -> bytes:
    url = os.environ.get("CALLPLANE_URL", "http://127.0.0.1:8080").rstrip("/")
    token = os.environ.get("CALLPLANE_TOKEN")
    if not token:
        raise Failed("CALLPLANE_TOKEN is not set: make a token with 'callplane centre token create NAME'")
    headers, timeout = {"Authorization": f"Bearer {token}"}, aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
            session.get(f"{url}/api/v1{path}", params=query) as response,
        ):
            body = await response.read()
            if response.status != 200:
                raise Failed(_problem(response.status, body))
            return body
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise Failed(f"{url} does not answer ({type(error).__name__})") from None


def _problem(status: int, body: bytes) -> str:
    try:
        problem = json.loads(body)
        return str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return f"the centre answered {status}"


if __name__ == "__main__":
    sys.exit(main())
