"""The verbs that every noun has: list, show, create, update, edit, delete, and one request about one resource."""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import tempfile
from pathlib import Path
from typing import Any

from dialplans.documents import Unusable, read, written
from orchestrator.command_line import bodies, document
from orchestrator.command_line.client import Answer, path_of
from orchestrator.command_line.failures import OK, Failure, Misused, Refused
from orchestrator.command_line.noun import Action, Context, Run
from orchestrator.command_line.output import Column

PAGE = "1000"


async def listing(context: Context, options: argparse.Namespace) -> int:
    query = {name: _asked(value) for name in context.noun.filters if (value := getattr(options, name)) is not None}
    every = getattr(options, "all", False)
    if options.limit is not None or every:
        query["limit"] = options.limit or PAGE
    if getattr(options, "cursor", None) is not None:
        query["cursor"] = options.cursor
    items: list[dict[str, Any]] = []
    while True:
        answer = await context.client.ask("GET", path_of(options.path, options.values), query=query)
        page = answer.json
        if context.out.as_json:
            context.out.raw(answer.content)
        items += page["items"]
        following = page.get("next_cursor")
        if following is None or not every:
            break
        query["cursor"] = following
    if not context.out.as_json:
        context.out.table(context.noun.columns, items)
        _notes(context, page)
    return OK


def _asked(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _notes(context: Context, page: dict[str, Any]) -> None:
    if not page["items"]:
        context.out.note("there are none")
    if (cursor := page.get("next_cursor")) is not None:
        context.out.note(f"there are more: --all, or --cursor {cursor}")
    if page.get("truncated"):
        context.out.note("there are more: --limit")
    for pop_id in page.get("not_heard", ()):
        context.out.note(f"{pop_id} did not answer: what is there is not in the list")


async def show(context: Context, options: argparse.Namespace) -> int:
    answer = await context.client.ask("GET", path_of(options.path, options.values))
    say(context, answer)
    return OK


def say(context: Context, answer: Answer, *, once: str | None = None) -> None:
    """Show a resource. ``once``: the field that is a secret, which is shown this once."""
    if context.out.as_json:
        context.out.raw(answer.content)
    else:
        tagged = {"etag": answer.etag} if answer.etag is not None else {}
        context.out.record({**answer.json, **tagged})
    if once is not None:
        context.out.note(f"{once} is shown only now: keep it")


async def create(context: Context, options: argparse.Namespace) -> int:
    described = (await document.fetch(context.client)).body("POST", context.noun.every)
    body = bodies.assembled(options, described, {})
    answer = await context.client.ask("POST", path_of(options.path, options.values), body=body)
    say(context, answer, once=context.noun.once)
    return OK


async def update(context: Context, options: argparse.Namespace) -> int:
    """Read, change, write; only if nobody else has changed it meanwhile."""
    path = path_of(options.path, options.values)
    described = (await document.fetch(context.client)).body("PUT", options.path)
    there = await context.client.ask("GET", path)
    base = {name: value for name, value in there.json.items() if name in described.names}
    body = bodies.assembled(options, described, base)
    etag = options.if_match or there.etag
    say(context, await context.client.ask("PUT", path, body=body, headers=_if_match(etag)))
    return OK


async def edit(context: Context, options: argparse.Namespace) -> int:
    path = path_of(options.path, options.values)
    described = (await document.fetch(context.client)).body("PUT", options.path)
    there = await context.client.ask("GET", path)
    base = {name: value for name, value in there.json.items() if name in described.names}
    with tempfile.TemporaryDirectory(prefix="callplane-") as directory:
        file = Path(directory) / f"{context.noun.name}.yml"
        file.write_text(written(base), encoding="utf-8")
        body = await _edited(file)
        if body == base:
            context.out.note("nothing has been changed")
            return OK
        try:
            answer = await context.client.ask("PUT", path, body=body, headers=_if_match(there.etag))
        except Refused:
            _keep(context, body)
            raise
    say(context, answer)
    return OK


async def _edited(file: Path) -> Any:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        code = await (await asyncio.create_subprocess_exec(*shlex.split(editor), str(file))).wait()
    except (OSError, ValueError) as error:
        raise Misused(f"the editor {editor!r} cannot be started", "EDITOR names one") from error
    if code != 0:
        raise Failure(f"the editor ended with {code}; nothing has been changed")
    try:
        return read(file)
    except Unusable as error:
        raise Failure(str(error)) from None


def _keep(context: Context, body: Any) -> None:
    """What somebody has written is not thrown away because it was refused."""
    handle, name = tempfile.mkstemp(prefix=f"callplane-{context.noun.name}-", suffix=".yml")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(written(body))
    context.out.note(f"what you wrote is in {name}")


async def delete(context: Context, options: argparse.Namespace) -> int:
    path = path_of(options.path, options.values)
    await context.client.ask("DELETE", path, headers=_if_match(options.if_match))
    if not context.out.as_json:
        context.out.say("deleted")
    return OK


def _if_match(etag: str | None) -> dict[str, str]:
    return {} if etag is None else {"If-Match": etag}


async def fields(context: Context, options: argparse.Namespace) -> int:
    described = (await document.fetch(context.client)).body("POST", context.noun.every)
    found = [
        {
            "field": field.name,
            "holds": field.kind + (", a secret" if field.secret else ""),
            "default": "needed" if field.required else field.default,
            "about": field.about,
        }
        for field in described.fields()
    ]
    if context.out.as_json:
        context.out.json(found)
    else:
        context.out.table([Column(name, name) for name in ("field", "holds", "default", "about")], found)
    return OK


def doing(action: Action) -> Run:
    """The command of one request about one resource."""

    async def do(context: Context, options: argparse.Namespace) -> int:
        given = {
            argument.name: value
            for argument in action.arguments
            if (value := getattr(options, argument.name)) is not None
        }
        path = path_of(action.path, options.values)
        if action.method == "GET":
            query = {name: str(value) for name, value in given.items()}
            answer = await context.client.ask("GET", path, query=query)
        else:
            body = given if action.arguments else None
            answer = await context.client.ask(action.method, path, body=body)
        if not answer.content:
            if not context.out.as_json:
                context.out.say(action.done)
        elif action.columns and not context.out.as_json:
            context.out.table(action.columns, answer.json["items"])
            _notes(context, answer.json)
        else:
            say(context, answer, once=action.once)
        return OK

    return do
