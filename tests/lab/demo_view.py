"""What the demo shows: on a terminal a table that is drawn again and again, elsewhere one line per change."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tests.lab.demo_feed import AgentRow, Board, CallRow
from tests.lab.stack import API_PORT, DID, POP_ID, Stack

PLAIN_WIDTH = 120


def make_console() -> Console:
    """A console that wraps where a reader of a log expects it when there is no terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


class View:
    """Draws a board. Until ``live`` is entered, and without a terminal, it prints lines."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._began = time.monotonic()
        self._live: Live | None = None
        self._said: dict[str, tuple[str, ...]] = {}

    def starting(self, part: str) -> None:
        self.line(f"starting: {part}")

    def line(self, text: str) -> None:
        self.console.print(f"[dim]{time.monotonic() - self._began:5.1f} s[/dim]  {escape(text)}", soft_wrap=True)

    def changed(self, row: CallRow | AgentRow) -> None:
        """Say what is new in ``row``, unless a table shows it."""
        if self._live is not None:
            return
        if isinstance(row, AgentRow):
            self.line(f"agent {row}")
            return
        facts = row.facts()
        if self._said.get(row.call_id) != facts:
            self._said[row.call_id] = facts
            self.line(f"{row.cli:<16} {_words(row)}")

    @contextmanager
    def live(self, board: Board) -> Iterator[None]:
        """Show the board as a table while the block runs, if there is a terminal to draw on."""
        if not self.console.is_terminal:
            yield
            return
        with Live(get_renderable=lambda: table(board, time.time()), console=self.console, refresh_per_second=5) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None


def _words(row: CallRow) -> str:
    parts = [f"[{row.language}]" if row.language else "", row.node]
    parts += [f"agent {row.agent}" if row.agent else "", f"consent {row.consent}" if row.consent else ""]
    parts += [f"recording {row.recording}" if row.recording else "", f"ended: {row.end}" if row.end else ""]
    return "  ".join(part for part in parts if part)


def table(board: Board, now: float) -> Group:
    """All calls and, below them, all agents."""
    rows = Table(title=f"Calls to {DID}", expand=True)
    for heading in ("caller", "where", "lang", "agent", "consent", "recording", "end"):
        rows.add_column(heading)
    for heading in ("wait", "duration"):
        rows.add_column(heading, justify="right")
    for row in list(board.calls.values()):
        wait = row.wait_s(now)
        cells = (row.cli, row.node, row.language, row.agent, row.consent, row.recording, row.end)
        times = ("" if wait is None else f"{wait:.0f} s", f"{row.duration_s(now):.0f} s")
        style = "dim" if row.end else "bold" if row.node == "talking" else ""
        rows.add_row(*(escape(cell) for cell in (*cells, *times)), style=style)
    agents = "   ".join(str(agent) for agent in list(board.agents.values()))
    return Group(rows, Text(f"Agents: {agents}"))


def drawing(stack: Stack) -> str:
    """Who is where, as plain text."""
    centre, pop, carrier, phones = (host.address for host in (stack.centre, stack.pop, stack.carrier, stack.phones))
    server = {"asterisk": "Asterisk", "freeswitch": "FreeSWITCH"}[stack.settings.engine] + " :5060 SIP"
    return f"""
  this machine {stack.lab.machine_address}  (your softphone, curl)
      |
  ----+------------------+-------------------------+---------------------+----  a network that ends here
      |                  |                         |                     |
  centre {centre:<13} POP {POP_ID} {pop:<14} carrier {carrier:<13} phones {phones}
    REST :{API_PORT}            {server:<29}callers dial          agents' phones
    bus, database         controller, journal      {DID:<14}        bela, carla, anna
"""


def _clock(at: str | None) -> str:
    return "-" if at is None else datetime.fromisoformat(at).strftime("%H:%M:%S.%f")[:-3]


def cdr_panel(cdr: dict[str, Any], names: dict[str, str]) -> Panel:
    """One call's record."""
    times = [
        f"{word} {_clock(cdr[f'{word}_at'])}" for word in ("offered", "answered", "queued", "talk_started", "ended")
    ]
    lines = ["   ".join(times).replace("talk_started", "talking") + " UTC"]
    spent = [f"{word} {cdr[key]:.1f} s" for word, key in (("wait", "wait_s"), ("talk", "talk_s")) if cdr[key]]
    lines.append(f"flow {cdr['flow_id']} v{cdr['flow_version']}: {' > '.join(cdr['nodes'])}   {'   '.join(spent)}")
    for offer in cdr["offers"]:
        lines.append(f"offer to {names.get(offer['agent_id'], offer['agent_id'])}: {offer['outcome']}")
    for consent in cdr["consents"]:
        answer = "granted" if consent["granted"] else f"refused ({consent['reason']})"
        sha256 = (consent["prompt_sha256"] or "")[:12]
        prompt = f"{consent['prompt_id']} [{consent['language']}] sha256 {sha256}..., {consent['played_ms']} ms played"
        digit = f"digit {consent['digit']}" if consent["digit"] else "no digit"
        places = "+".join(consent["jurisdictions"])
        lines.append(f"consent {answer} under {consent['regime']} ({places}): {prompt}, {digit}")
    for recording in cdr["recordings"]:
        lines.append(f"recording {recording['recording_id']}: {recording['duration_ms']} ms, in {recording['region']}")
    end = f"{cdr['end_reason']}{', abandoned' if cdr['abandoned'] else ''}, cause {cdr['cause']}"
    title = f"{cdr['cli']} ({cdr['caller_country'] or 'unknown'}) > {cdr['did']}   {cdr['language']}   {end}"
    return Panel("\n".join(map(escape, lines)), title=escape(title), title_align="left")
