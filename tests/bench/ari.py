"""``make bench-ari``: ARI requests per second and their CPU, over the websocket that Asterisk dials against HTTP.

The same server and the same request, one at a time and 50 in flight, in turn: the product's own ``AriLink``, then an
aiohttp session that keeps its connections to Asterisk's HTTP server. A POP's server opens no HTTP; this one does, on
the loopback. CPU is user plus system time over the requests: the server's with the connecting, the client's without.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import dataclass
from typing import get_args

import msgspec
from rich.console import Console
from rich.table import Table

from dialplans.pack import load_pack
from dialplans.render import render
from dialplans.schema import Pop
from tests.bench.ari_client import WARM_UP, Order, Outcome, Way
from tests.bench.machine import describe, summary_line
from tests.lab.asterisk import AsteriskServer
from tests.lab.host import Host
from tests.lab.lab import ROOT, Lab
from tests.lab.stack import pop_settings

HTTP_PORT = 8088
REQUESTS = {1: 10_000, 50: 40_000}
"""In flight -> requests of one turn."""
WAYS: tuple[Way, ...] = get_args(Way)


@dataclass(frozen=True, slots=True)
class Turn:
    """CPU in microseconds per request."""

    per_s: float
    server_us: float
    client_us: float


def start(host: Host, lab: Lab, settings: Pop) -> AsteriskServer:
    """A POP's server whose ARI is there over HTTP as well."""
    files = dict(render(load_pack(settings.country), settings))
    files["http.conf"] = f"[general]\nenabled = yes\nbindaddr = 127.0.0.1\nbindport = {HTTP_PORT}\n".encode()
    return AsteriskServer(host, files, lab)


def turn(server: AsteriskServer, settings: Pop, way: Way, in_flight: int) -> Turn:
    """Raises LabError with what the client said when a request failed."""
    order = Order(
        way=way,
        requests=REQUESTS[in_flight],
        in_flight=in_flight,
        ari_port=settings.controller_ari_port,
        http_port=HTTP_PORT,
        user=settings.ari_user,
        password=settings.ari_password,
    )
    before = server.process.cpu_seconds()
    done = server.host.run(
        [sys.executable, "-m", "tests.bench.ari_client", msgspec.json.encode(order).decode()],
        rootfs=False,
        cwd=ROOT,
        timeout_s=120,
    )
    server_s = server.process.cpu_seconds() - before
    outcome = msgspec.json.decode(done.stdout.splitlines()[-1], type=Outcome)
    return Turn(
        per_s=order.requests / outcome.seconds,
        server_us=1e6 * server_s / (order.requests + WARM_UP),
        client_us=1e6 * outcome.client_cpu_s / order.requests,
    )


def show(console: Console, turns: dict[tuple[int, Way], list[Turn]], rounds: int) -> list[str]:
    """Print the table; returns the summary lines, of medians."""
    table = Table(title=f"ARI requests (medians of {rounds} turns)")
    for column in ("in flight", "over", "requests/s", "server us", "client us"):
        table.add_column(column, justify="right", no_wrap=True)

    def median(key: tuple[int, Way], name: str) -> float:
        return float(statistics.median(getattr(one, name) for one in turns[key]))

    for key in turns:
        figures = (f"{median(key, name):,.0f}" for name in ("per_s", "server_us", "client_us"))
        table.add_row(str(key[0]), key[1], *figures)
    console.print(table)
    lines = []
    for in_flight in REQUESTS:
        pairs = zip(turns[in_flight, "websocket"], turns[in_flight, "http"], strict=True)
        lines.append(
            summary_line(
                "ari",
                in_flight=in_flight,
                websocket_s=round(median((in_flight, "websocket"), "per_s")),
                http_s=round(median((in_flight, "http"), "per_s")),
                ratio=statistics.median(ours.per_s / theirs.per_s for ours, theirs in pairs),
            )
        )
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, choices=range(1, 10), metavar="N")
    parser.add_argument("--asterisk", metavar="PATH", help="an installed Asterisk, 22.5 or newer")
    options = parser.parse_args()
    console = Console(width=max(100, Console().width))
    console.print(f"machine: {describe()}")
    turns: dict[tuple[int, Way], list[Turn]] = {(number, way): [] for number in REQUESTS for way in WAYS}
    with Lab.start(asterisk=options.asterisk) as lab:
        host = lab.host("pop")
        settings = pop_settings(host, lab.host("carrier"))
        server = start(host, lab, settings)
        for _ in range(options.rounds):
            for (in_flight, way), figures in turns.items():
                figures.append(turn(server, settings, way, in_flight))
        server.stop()
    lines = show(console, turns, options.rounds)
    console.print(f"machine: {describe()}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
