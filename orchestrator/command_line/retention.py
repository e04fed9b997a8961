"""``callplane retention plan``: what would go, and why."""

from __future__ import annotations

import argparse

from orchestrator.command_line.columns import at, number, of
from orchestrator.command_line.failures import OK
from orchestrator.command_line.noun import Context, Special
from orchestrator.command_line.output import Column

GROUPS = (
    *of("kind", "country", "queue_id"),
    number("days"),
    *of("decided_by", "why"),
    number("kept"),
    number("due"),
    number("gone"),
    number("held"),
    number("failed"),
    at("oldest_kept_at"),
)
ITEMS = (*of("kind"), Column("thing", "id"), Column("call", "call_id"), at("at"), *of("decided_by"))


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--items", action="store_true", help="list each thing, up to a thousand, not only counts")


async def _plan(context: Context, options: argparse.Namespace) -> int:
    answer = await context.client.ask("GET", "/retention-plan")
    if context.out.as_json:
        context.out.raw(answer.content)
        return OK
    plan = answer.json
    context.out.table(ITEMS if options.items else GROUPS, plan["items"] if options.items else plan["groups"])
    for alarm in plan["alarms"]:
        context.out.note(f"ALARM {alarm['alarm']}")
    return OK


PLAN = Special("plan", "what a run would erase now, and why; nothing is done", "/retention-plan", _plan, _options)
