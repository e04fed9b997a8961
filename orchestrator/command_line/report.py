"""``callplane report``: figures as tables, the report of a month as a file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from orchestrator.command_line.client import Client, path_of
from orchestrator.command_line.failures import OK, Failure
from orchestrator.command_line.noun import option
from orchestrator.command_line.output import Output, clean
from orchestrator.command_line.program import common, guarded, run, with_client
from orchestrator.domain.figures import COLUMNS

FILTERS = ("queue_id", "agent_id", "did", "country", "time_zone")
PERIOD = ("since", "until")
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def main(argv: Sequence[str]) -> int:
    return run(execute(argv))


async def execute(argv: Sequence[str]) -> int:
    options = _parser().parse_args(argv)
    names = FILTERS if options.verb == "month" else (*FILTERS, *PERIOD, *(("by",) if options.verb == "figures" else ()))
    query = {name: value for name in names if (value := getattr(options, name)) is not None}

    async def work(client: Client, out: Output) -> int:
        if options.verb == "month":
            return await _month(client, out, options, query)
        answer = await client.ask("GET", f"/reports/{options.verb}", query=query)
        if out.as_json:
            out.raw(answer.content)
        elif options.verb == "figures":
            _figures(out, answer.json)
        else:
            _heat_map(out, answer.json, options.figure)
        return OK

    return await guarded("report", with_client(options, work))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="callplane report", description=__doc__)
    verbs, shared = parser.add_subparsers(dest="verb", required=True), common()
    month = verbs.add_parser("month", help="the report of a month, as an HTML file or CSV", parents=[shared])
    month.add_argument("month", help="such as 2026-10")
    month.add_argument("--csv", action="store_true", help="CSV instead of HTML")
    month.add_argument("--out", help="the file; without it callplane-MONTH.html or .csv, - for standard output")
    figures = verbs.add_parser("figures", help="figures of a period", parents=[shared])
    figures.add_argument("--by", default="nothing", help="queue, agent, did, country, hour or day")
    heat_map = verbs.add_parser("heat-map", help="a figure by weekday and hour", parents=[shared])
    choices = [key for key, _, _ in COLUMNS]
    heat_map.add_argument("--figure", choices=choices, default="offered", help="which; default: %(default)s")
    for verb in (figures, heat_map):
        verb.add_argument("--since", help="a day or a time with its offset; without it today")
        verb.add_argument("--until", help="likewise, a day is meant in whole; without it now")
    for verb in (month, figures, heat_map):
        for name in FILTERS:
            verb.add_argument(option(name), dest=name, metavar=name.removesuffix("_id").upper())
    return parser


async def _month(client: Client, out: Output, options: argparse.Namespace, query: dict[str, str]) -> int:
    kind = "csv" if options.csv else "html"
    path = path_of("/reports/months/{month}", {"month": options.month}) + ("/csv" if options.csv else "")
    found = (await client.ask("GET", path, query=query)).content
    if options.out == "-":
        sys.stdout.buffer.write(found)
        return OK
    file = Path(options.out or f"callplane-{options.month}.{kind}")
    try:
        file.write_bytes(found)  # noqa: ASYNC240  # nothing else runs
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}") from None
    out.say(str(file))
    return OK


def _figures(out: Output, report: dict[str, Any]) -> None:
    by = "" if report["by"] == "nothing" else report["by"]
    rows = [_row(clean(item["key"]), item) for item in (report["items"] if by else ())]
    out.say(f"{report['since']} to {report['until']} ({report['time_zone']})")
    out.print(
        out.drawn([(by, False), *((label, True) for _, label, _ in COLUMNS)], [*rows, _row("all", report["total"])])
    )
    if report["truncated"]:
        out.note("there are more than a thousand: the rest is left out")


def _row(name: str, figures: dict[str, Any]) -> list[str]:
    return [name, *(shown(figures[key]) for key, _, shown in COLUMNS)]


def _heat_map(out: Output, report: dict[str, Any], figure: str) -> None:
    label, shown = _how(figure)
    cells = {(cell["weekday"], cell["hour"]): cell[figure] for cell in report["cells"]}
    rows = [[f"{hour:02}:00", *(shown(cells[day, hour]) for day in range(7))] for hour in range(24)]
    out.say(f"{label}, {report['since']} to {report['until']} ({report['time_zone']})")
    out.print(out.drawn([("", False), *((day, True) for day in WEEKDAYS)], rows))


def _how(figure: str) -> tuple[str, Callable[[Any], str]]:
    return next((label, shown) for key, label, shown in COLUMNS if key == figure)
