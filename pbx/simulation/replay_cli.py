"""``callplane replay``: a POP's journal again through the ACD."""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from pbx.domain.ids import CallId
from pbx.domain.service_level import THRESHOLD_S
from pbx.simulation.flows.files import Unusable
from pbx.simulation.replay import Report, replay
from pbx.simulation.replay_read import Journal, UnusableJournal, read
from pbx.simulation.replay_report import Comparison, as_json, compare, drawn, table
from pbx.simulation.replay_rules import rules
from pbx.simulation.replay_why import explained, why_json


def main(argv: list[str] | None = None) -> int:
    """0: the same decisions; 1: others; 2: a file or an option that cannot be used."""
    parser = argparse.ArgumentParser(prog="callplane replay", description=__doc__)
    parser.add_argument("journal", type=Path, help="a POP's journal.sqlite")
    parser.add_argument("--from", dest="since", type=_time, default=-math.inf, help="seconds or ISO 8601")
    parser.add_argument("--to", dest="until", type=_time, default=math.inf, help="likewise")
    parser.add_argument("--queues", type=Path, help="YAML or JSON: queue id -> settings to change")
    parser.add_argument("--agents", type=Path, help="likewise: agent id -> skills, cost, weight")
    parser.add_argument("--threshold", type=float, default=THRESHOLD_S, help="seconds of the service level")
    parser.add_argument("--svg", type=Path, help="where to write a picture of the comparison")
    parser.add_argument("--why", type=CallId, metavar="CALL", help="also say why this call waited, and who got it")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args(argv)
    try:
        changed = rules(options.queues, options.agents)
        if options.svg is not None and not changed:
            raise Unusable("--svg", "goes with --queues or --agents: it draws what they change")
        journal = read(options.journal)
        report = replay(journal, options.since, options.until, options.why)
        if options.why is not None and not report.why and report.difference is None:
            raise Unusable("--why", "no such call waited in a queue in that time")
        rows = compare(report, changed, options.threshold) if changed and report.difference is None else []
        if changed and report.difference is None and (unused := changed.unused()):
            raise Unusable(", ".join(unused), "is not in this journal")
        if options.svg is not None and rows:
            options.svg.write_text(drawn(rows))
    except (UnusableJournal, Unusable, OSError) as error:
        print(f"callplane replay: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(_told(journal, report, rows)))
    else:
        _say(journal, report)
        for line in explained(report.why):
            print(line)
        if rows:
            Console(width=max(100, Console().width)).print(table(rows, options.threshold))
    return 0 if report.difference is None else 1


def _told(journal: Journal, report: Report, rows: list[Comparison]) -> dict[str, Any]:
    told = {
        name: getattr(report, name)
        for name in ("runs", "decisions", "offers", "changes", "unheard", "callbacks", "guessed")
    }
    difference = None if report.difference is None else asdict(report.difference)
    same = difference is None
    why = [why_json(one) for one in report.why]
    return {
        "same": same,
        **told,
        "difference": difference,
        "unknown": journal.unknown,
        "queues": as_json(rows),
        "why": why,
    }


def _say(journal: Journal, report: Report) -> None:
    console = Console(highlight=False)
    if journal.unknown:
        kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(journal.unknown.items()))
        console.print(f"skipped events of kinds that this version does not know: {kinds}")
    same = f"{report.decisions} decisions ({report.offers} offers) and {report.changes} changes of agents"
    runs = f"{report.runs} {'run' if report.runs == 1 else 'runs'} of the controller"
    if report.unheard:
        console.print(f"not compared: {report.unheard} decisions that are in no call's journal")
    if report.guessed:
        console.print(f"guessed: the outside numbers rung before {report.guessed} joins")
    if report.difference is None:
        console.print(f"the same: {same} in {runs}")
    else:
        console.print(f"[bold red]a difference[/] after {same}")
        console.print(str(report.difference), markup=False, soft_wrap=True)


def _time(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        problem = f"must be seconds since the epoch or a time such as 2026-03-01T08:00:00Z, not {text!r}"
        raise argparse.ArgumentTypeError(problem) from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
