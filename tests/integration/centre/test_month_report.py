"""The report of a month: one file for a manager, by the API and by the command line."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

from orchestrator.bootstrap import Centre
from tests.integration.centre.support import QUEUE, Api, agent
from tests.integration.centre.test_reports import a_call, at, fed

HOURS = {"time_zone": "Europe/Berlin", "weekly": {"mon": ["09:00-17:00"]}}


class Page(HTMLParser):
    """What a page says, and what it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


async def _october(api: Api, centre: Centre) -> str:
    """The id of an agent with a name that must be escaped."""
    await api.new_pop()
    await api.made("/queues", {**QUEUE, "name": "Sales & <b>Co</b>", "hours": HOURS})
    made = await api.made("/agents", agent(name="=Ada", phone_id="1001"))
    start = at("2026-10-01T08:00+02:00")
    await fed(
        centre,
        a_call(at("2026-09-30T23:59+02:00"), 5, ("ben", 60)),
        *(a_call(start + day * 86400, 5 + day, (made["agent_id"], 60)) for day in range(20)),
        a_call(at("2026-10-25T02:30+02:00"), 40),
        a_call(at("2026-10-31T23:59+01:00"), 5, ("ben", 60)),
        a_call(at("2026-11-01T00:00+01:00"), 5, ("ben", 60)),
    )
    return str(made["agent_id"])


async def test_the_page_and_the_table_say_the_same(api: Api, centre: tuple[Centre, str]) -> None:
    ada = await _october(api, centre[0])
    answer = await api.get("/reports/months/2026-10", params={"queue_id": "sales"})
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    text = answer.body.decode()
    page = Page(text)
    assert page.open == []
    assert page.fetched == [], "the page needs nothing but itself"
    assert "http" not in re.sub(r'xmlns="[^"]*"', "", text)
    assert "<b>Co</b>" not in text
    said = " ".join(page.words)
    assert "Sales & <b>Co</b>: October 2026" in said
    assert "Times are those of Europe/Berlin." in said
    assert text.count("<svg") == 6
    rows = list(
        csv.DictReader(io.StringIO((await api.get("/reports/months/2026-10/csv?queue_id=sales")).body.decode()))
    )
    (month,) = (row for row in rows if row["section"] == "month")
    assert (month["offered"], month["answered"], month["abandoned"]) == ("22", "21", "1")
    assert month["service_level"] == str(round(17 / 22, 4))
    days = {row["key"]: row["offered"] for row in rows if row["section"] == "day"}
    assert len(days) == 31
    assert (days["2026-10-01"], days["2026-10-25"], days["2026-10-31"]) == ("1", "1", "1")
    assert {row["key"]: row["name"] for row in rows if row["section"] == "agent"} == {ada: "'=Ada", "ben": "ben"}
    assert f"{17 / 22 * 100:.1f} %" in said
    everything = await api.get("/reports/months/2026-10")
    assert "Queues" in everything.body.decode()
    assert "in UTC" not in said
    empty = await api.get("/reports/months/2031-02")
    assert "No calls waited in a queue this month." in empty.body.decode()
    for month_name in ("2026-13", "1999-01", "october", "2026-1"):
        assert (await api.get(f"/reports/months/{month_name}")).status == 422


async def test_the_command_writes_the_file(api: Api, centre: tuple[Centre, str], tmp_path: Path) -> None:
    await _october(api, centre[0])

    async def report(*words: str, token: str = centre[1]) -> tuple[int, str, str]:
        environment = {**os.environ, "CALLPLANE_URL": f"http://127.0.0.1:{centre[0].port}", "CALLPLANE_TOKEN": token}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "orchestrator.cli", "report", *words, env=environment, cwd=Path(__file__).parents[3],
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    file = tmp_path / "october.html"
    code, out, err = await report("month", "2026-10", "--queue", "sales", "--out", str(file))
    assert (code, out.strip()) == (0, str(file)), err
    assert "October 2026" in file.read_text()
    code, out, _ = await report("month", "2026-10", "--csv", "--out", "-")
    assert (code, out.splitlines()[0][:12]) == (0, "section,key,")
    code, out, _ = await report(
        "figures", "--by", "day", "--queue", "sales", "--since", "2026-10-01", "--until", "2026-10-02"
    )
    assert code == 0
    assert re.search(r"2026-10-01\W+1\W+1\W+100.0 %", out), out
    code, out, err = await report("month", "2026-19")
    assert (code, out) == (1, "")
    assert err.splitlines() == ["callplane report: Invalid", "  month: is not a month from 2000-01 to 2099-12"]
    code, _, err = await report("figures", token="wrong")
    assert (code, err.splitlines()[0]) == (1, "callplane report: Unauthorized: the bearer token is not known")
