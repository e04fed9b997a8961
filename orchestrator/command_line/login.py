"""``callplane login``, ``logout`` and ``whoami``: which centre this user of the machine works with, and as whom."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.command_line import bodies
from orchestrator.command_line.client import Client
from orchestrator.command_line.columns import grants
from orchestrator.command_line.connection import (
    Connection,
    Stored,
    checked_token,
    checked_url,
    forget,
    load,
    refuse_plain_http,
    save,
    token_in,
)
from orchestrator.command_line.failures import OK, Failure, Refused
from orchestrator.command_line.output import Output
from orchestrator.command_line.program import common, guarded, run, with_client

IN_ENVIRONMENT = ("CALLPLANE_URL", "CALLPLANE_TOKEN", "CALLPLANE_TOKEN_FILE")


def login(argv: Sequence[str]) -> int:
    return run(execute_login(argv))


def logout(argv: Sequence[str]) -> int:
    return run(execute_logout(argv))


def whoami(argv: Sequence[str]) -> int:
    return run(execute_whoami(argv))


async def execute_login(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="callplane login",
        description="Keep a centre's address and a token for the commands that follow. The token is asked for, or read "
        "from standard input.",
    )
    parser.add_argument("url", metavar="URL", help="such as https://centre.example")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="holds the token")
    parser.add_argument("--user", metavar="NAME", help="log in with a password instead of a token")
    parser.add_argument("--ca-file", type=Path, metavar="FILE", help="certificates to believe; kept, too")
    parser.add_argument("--allow-plain-http", action="store_true", help="send it in clear text; kept, too")
    options = parser.parse_args(argv)
    return await guarded("login", _login(options))


async def _login(options: argparse.Namespace) -> int:
    url = checked_url(options.url)
    refuse_plain_http(url, allowed=options.allow_plain_http)
    ca_file = None if options.ca_file is None else options.ca_file.resolve()
    if options.user is not None:
        async with Client(Connection(url, "", ca_file)) as client:
            secret = bodies.asked("password")
            answer = await client.ask("POST", "/login", body={"login": options.user, "password": secret})
            token = str(answer.json["token"])
    elif options.token_file is not None:
        token = token_in(options.token_file)
    else:
        token = checked_token(bodies.asked("token"), "standard input")
    async with Client(Connection(url, token, ca_file)) as client:
        me = (await client.ask("GET", "/session")).json
    kept = None if ca_file is None else str(ca_file)
    path = save(os.environ, Stored(url, token, options.user is not None, kept, options.allow_plain_http))
    out = Output(as_json=False)
    out.say(f"{url}: {_who(me)}; kept in {path}")
    for name in IN_ENVIRONMENT:
        if os.environ.get(name):
            out.note(f"{name} is set, and goes before what was kept now")
    return OK


def _who(me: dict[str, Any]) -> str:
    return f"{me['name']} ({', '.join(grants(me)) or 'no grants'})"


async def execute_logout(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="callplane logout",
        description="Forget the token. A session that a password began ends at the centre, too.",
    )
    parser.add_argument("--revoke", action="store_true", help="end a program's token at the centre as well")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="S", help="for the centre")
    options = parser.parse_args(argv)
    return await guarded("logout", _logout(options))


async def _logout(options: argparse.Namespace) -> int:
    stored = load(os.environ)
    out = Output(as_json=False)
    if stored is None:
        out.note("nobody is logged in")
        return OK
    try:
        if stored.session or options.revoke:
            ca_file = None if stored.ca_file is None else Path(stored.ca_file)
            async with Client(Connection(stored.url, stored.token, ca_file, options.timeout)) as client:
                await _end(client)
    except Failure as failure:
        forget(os.environ)
        raise Failure(f"forgotten here, but not ended at the centre: {failure.reason}") from None
    forget(os.environ)
    out.say(f"logged out of {stored.url}")
    return OK


async def _end(client: Client) -> None:
    try:
        await client.ask("DELETE", "/session")
    except Refused as refused:
        if refused.status != 401:  # it has ended by itself
            raise


async def execute_whoami(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="callplane whoami", description="Whose the token is, and what it is good for.", parents=[common()]
    )
    options = parser.parse_args(argv)

    async def work(client: Client, out: Output) -> int:
        answer = await client.ask("GET", "/session")
        if out.as_json:
            out.raw(answer.content)
        else:
            out.record({"centre": client.connection.url, **answer.json, "grants": grants(answer.json)})
        return OK

    return await guarded("whoami", with_client(options, work))
