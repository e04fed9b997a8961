"""The door of a running lab: whoever holds a lab opens it, and ``callplane drill --running`` comes in by it.

It is a Unix socket in the lab's own directory, which root alone may use. A drill therefore can reach nothing but a
lab: there is no address, no host name and no key by which it could be sent to a site. What strikes is the process
that holds the lab; who asks only hears what is done and what came of it.

Lines of JSON. Asked: ``{"faults": [...]}``. Answered: ``{"told": "..."}`` for each step, then ``{"found": {...}}`` or
``{"error": "..."}``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.chaos.drill_run import Found, visit
from tests.lab import net
from tests.lab.errors import LabError
from tests.lab.stack import Stack

SOCKET = "drill.sock"
NOT_A_LAB = (
    "{name!r} is no running lab: a drill strikes at labs of this machine alone, which are known by their number"
    " ({labs}). For a site that is running there is the playbook failover_drill."
)


def doors() -> dict[int, Path]:
    """Number of each running lab with an open door -> its socket."""
    found: dict[int, Path] = {}
    for number in range(net.SLOTS):
        path = net.Slot(number).directory / SOCKET
        with contextlib.suppress(FileNotFoundError):
            about = path.lstat()
            if path.is_socket() and about.st_uid == 0 and net.in_use(number):
                found[number] = path
    return found


def door_of(name: str) -> Path:
    """The socket of the lab of that number; ``any``: of the only one. Raises LabError, which says what to do."""
    labs = doors()
    if not labs:
        raise LabError("no lab is running that may be struck; start one: make demo, or callplane drill --hold")
    if name == "any" and len(labs) == 1:
        return next(iter(labs.values()))
    if name == "any":
        raise LabError(f"labs {', '.join(map(str, labs))} are running: say which, with --running N")
    if not name.isdecimal() or int(name) not in labs:
        raise LabError(NOT_A_LAB.format(name=name, labs=", ".join(map(str, labs))))
    return labs[int(name)]


def require_lab(stack: Stack) -> None:
    """Raise LabError unless every host is on the labs' network, which does not leave the machine."""
    for host in (stack.pop, stack.centre, stack.carrier, stack.phones):
        if ipaddress.ip_address(host.address) not in ipaddress.ip_network(net.RANGE):
            raise LabError(f"{host.name} at {host.address} is no host of a lab ({net.RANGE})")


@contextlib.asynccontextmanager
async def opened(stack: Stack) -> AsyncIterator[int]:
    """While the block runs drills may come; the lab's number. One at a time."""
    require_lab(stack)
    path = stack.lab.slot.directory / SOCKET
    busy = asyncio.Lock()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(what: dict[str, Any]) -> None:
            if not writer.is_closing():
                writer.write((json.dumps(what) + "\n").encode())

        try:
            asked = json.loads(await reader.readline())
            if busy.locked():
                say({"error": "another drill is under way in this lab; wait for its end"})
                return
            async with busy:
                found = await visit(
                    stack, asked["faults"], lambda what: say({"told": what}), gone=lambda: writer.is_closing()
                )
                say({"found": asdict(found)})
        except (LabError, ValueError, KeyError) as error:
            say({"error": str(error) or type(error).__name__})
        finally:
            with contextlib.suppress(ConnectionError):
                writer.close()
                await writer.wait_closed()

    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    server = await asyncio.start_unix_server(serve, path)
    os.chmod(path, 0o600)
    async with server:
        try:
            yield stack.lab.slot.number
        finally:
            path.unlink(missing_ok=True)


async def drill_at(path: Path, faults: Sequence[str], told: Callable[[str], None]) -> Found:
    """Have the lab behind that door struck. Raises LabError when it does not do it."""
    reader, writer = await asyncio.open_unix_connection(path, limit=2**24)
    try:
        writer.write((json.dumps({"faults": list(faults)}) + "\n").encode())
        while line := await reader.readline():
            said = json.loads(line)
            if "error" in said:
                raise LabError(said["error"])
            if "found" in said:
                return Found.of(said["found"])
            told(said["told"])
    finally:
        writer.close()
    raise LabError("the lab ended while it was struck")
