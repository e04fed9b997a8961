"""Flows: their graphs as files, drafts, and what goes live."""

from __future__ import annotations

import argparse
from typing import Any

from dialplans.documents import graph_in, written
from orchestrator.command_line import bodies
from orchestrator.command_line.client import Answer, path_of
from orchestrator.command_line.columns import at, number, of
from orchestrator.command_line.failures import OK, REFUSED, Misused
from orchestrator.command_line.noun import Context, Special
from orchestrator.command_line.output import Column, clean_lines

ONE = "/flows/{flow_id}"
VERSIONS = (number("version"), at("published_at"), *of("published_by", "copy_of", "unit_id"))
DRAFTS = (
    Column("flow", "flow_id"),
    number("draft_revision", "revision"),
    number("base_version", "of version"),
    at("saved_at"),
    *of("saved_by", "unit_id"),
)


def _graph(name: str) -> dict[str, Any]:
    graph = graph_in(bodies.document_in(name))
    if not isinstance(graph, dict):
        raise Misused(f"{name} holds no graph")
    return graph


async def graph(context: Context, options: argparse.Namespace) -> int:
    """The graph alone, as a file that can be changed and sent back."""
    path = ONE + ("/draft" if options.draft else "/versions/{version}" if options.version else "")
    values = {**options.values, "version": options.version or ""}
    answer = await context.client.ask("GET", path_of(path, values))
    if context.out.as_json:
        context.out.json(answer.json["graph"])
    else:
        context.out.say(clean_lines(written(answer.json["graph"]).rstrip("\n")))
    return OK


async def draft(context: Context, options: argparse.Namespace) -> int:
    path = path_of(ONE + "/draft", options.values)
    if options.file is None:
        return _drafted(context, await context.client.ask("GET", path))
    body = {"graph": _graph(options.file), "draft_revision": options.revision, "unit_id": options.unit}
    return _drafted(context, await context.client.ask("PUT", path, body=body))


def _drafted(context: Context, answer: Answer) -> int:
    """A draft is kept whatever its faults: they are told, and are no failure."""
    if context.out.as_json:
        context.out.raw(answer.content)
        return OK
    saved = answer.json
    context.out.record({name: value for name, value in saved.items() if name not in ("graph", "problems")})
    _problems(context, saved["problems"])
    return OK


def _problems(context: Context, problems: list[dict[str, Any]]) -> None:
    if problems:
        context.out.table(of("place", "reason", "advice"), problems)
    else:
        context.out.say("it can be published")


async def check(context: Context, options: argparse.Namespace) -> int:
    """1: it cannot be published."""
    body = {"graph": _graph(options.file)}
    answer = await context.client.ask("POST", path_of(ONE + "/check", options.values), body=body)
    if context.out.as_json:
        context.out.raw(answer.content)
    else:
        _problems(context, answer.json["problems"])
    return REFUSED if answer.json["problems"] else OK


async def publish(context: Context, options: argparse.Namespace) -> int:
    """The draft; with FILE that graph, as a draft first, so that nobody else's is passed over."""
    path = path_of(ONE + "/draft", options.values)
    if options.file is not None:
        body = {"graph": _graph(options.file), "draft_revision": options.revision, "unit_id": options.unit}
        revision = (await context.client.ask("PUT", path, body=body)).json["draft_revision"]
    elif options.revision is not None:
        revision = options.revision
    else:
        revision = (await context.client.ask("GET", path)).json["draft_revision"]
    answer = await context.client.ask(
        "POST", path_of(ONE + "/publish", options.values), body={"draft_revision": revision}
    )
    if context.out.as_json:
        context.out.raw(answer.content)
    else:
        context.out.record({name: value for name, value in answer.json.items() if name != "graph"})
    return OK


async def drafts(context: Context, options: argparse.Namespace) -> int:
    answer = await context.client.ask("GET", "/flow-drafts", query={"limit": "1000"})
    if context.out.as_json:
        context.out.raw(answer.content)
    else:
        context.out.table(DRAFTS, answer.json["items"])
    return OK


def _which(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--draft", action="store_true", help="of the draft, not of what is published")
    which.add_argument("--version", metavar="N", help="of this version")


def _file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the graph, as YAML or JSON; - reads standard input")


def _saved(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", nargs="?", help="the graph, as YAML or JSON; - reads standard input")
    parser.add_argument("--revision", type=int, metavar="N", help="of the draft that is meant, or replaced")
    parser.add_argument("--unit", metavar="ID", help="the business unit")


SPECIALS = (
    Special("graph", "the graph as YAML, to be changed and sent back", ONE, graph, _which),
    Special("draft", "the draft; with FILE, save that one", ONE, draft, _saved),
    Special("drafts", "all drafts", "", drafts),
    Special("check", "whether the centre would publish FILE as this flow", ONE, check, _file),
    Special("publish", "the draft, or FILE, goes to all POPs", ONE, publish, _saved),
)
