"""The report of a month as one HTML file that needs no other, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from datetime import datetime
from html import escape
from typing import Any

from orchestrator.domain.figures import COLUMNS, length, number, percent, whole_percent
from orchestrator.domain.report_charts import AMBER, BLUE, GREEN, RED, Bars, Curve, heat_map, legend, over_days
from orchestrator.services.month_report import Kpis, Line, Month, next_month
from orchestrator.services.reports import By
from pbx.domain.service_level import REPEAT_S, SHORT_ABANDON_S, THRESHOLD_S

TITLES = {By.QUEUE: "Queues", By.AGENT: "Agents", By.DID: "Numbers dialled", By.COUNTRY: "Countries"}
FORMULA = ("=", "+", "-", "@", "\t", "\r")

CSS = """
:root{color:#26323d;font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
body{margin:0 auto;max-width:1000px;padding:32px 20px;background:#fff}
header{border-bottom:3px solid #2f6fad;padding-bottom:12px;margin-bottom:20px}
h1{font-size:28px;margin:0;line-height:1.2}h2{font-size:18px;margin:34px 0 6px}
header p,.note{color:#6b7a87;margin:4px 0}.note{font-size:13px}
.lead{font-size:17px;margin:0 0 20px}
.tiles{display:grid;grid-template-columns:repeat(4,1fr);gap:12px}
.tile{border:1px solid #dfe5ea;border-radius:8px;padding:12px 14px}
.tile b{display:block;font-size:26px;line-height:1.2;font-weight:600;font-variant-numeric:tabular-nums}
.tile span{color:#6b7a87;font-size:13px}.tile em{font-style:normal;font-size:13px}
.good{color:#2c7a4b}.bad{color:#b8443c}.even{color:#6b7a87}
svg{width:100%;height:auto;display:block;font-family:inherit}
.legend{font-size:13px;color:#46535f;margin-bottom:4px}.legend span{margin-right:18px}
.legend i{display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:6px;vertical-align:-1px}
table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:4px 8px;border-bottom:1px solid #e8ecef;white-space:nowrap}
th{color:#6b7a87;font-weight:500;border-bottom:1px solid #b9c4cd}
th:first-child,td:first-child{text-align:left;white-space:normal}
tr.rest td{color:#8a97a3}tfoot td{font-weight:600;border-top:2px solid #b9c4cd;border-bottom:0}
dl{font-size:13px;color:#46535f;columns:2;column-gap:32px}dt{font-weight:600}dd{margin:0 0 8px;break-inside:avoid}
@media (max-width:700px){.tiles{grid-template-columns:repeat(2,1fr)}dl{columns:1}section{overflow-x:auto}}
@media print{body{max-width:none;padding:0;font-size:12px}section,.tile{break-inside:avoid}table{break-inside:auto}}
"""


WITHOUT = {
    By.AGENT: {"offered", "abandon_share"},
    By.DID: {"occupancy"},
    By.COUNTRY: {"occupancy"},
}
"""What a table has no use for."""


# --- the page ---------------------------------------------------------------------------------------------------------


def page(month: Month, made_at: datetime) -> str:
    name = f"{month.first:%B %Y}"
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{escape(month.about)}, {name}</title><style>{CSS}</style></head><body>",
        f"<header><h1>{escape(month.about)}: {name}</h1>",
        f"<p>Times are those of {escape(month.zone)}. Made on {made_at:%-d %B %Y at %H:%M}",
        f"{_unfinished(month, made_at)}.</p>",
        "</header>",
        f'<p class="lead">{_in_words(month)}</p>',
        f'<div class="tiles">{_tiles(month)}</div>',
        '<p class="note">Small figures: change against the month before.</p>',
        *_charts(month),
        *(_table(by, lines, month) for by, lines in month.tables.items() if lines),
        _days(month),
        _definitions(),
        "</body></html>",
    ]
    return "".join(parts)


def _unfinished(month: Month, made_at: datetime) -> str:
    return ", before the month was over" if made_at.date() < next_month(month.first) else ""


def _in_words(month: Month) -> str:
    total = month.total
    if not total["offered"]:
        return "No calls waited in a queue this month."
    text = [f"<b>{number(total['offered'])}</b> calls came in"]
    if total["service_level"] is not None:
        text.append(f"; <b>{percent(total['service_level'])}</b> were answered within {THRESHOLD_S:.0f} seconds")
    if total["abandon_share"] is not None:
        text.append(f", {percent(total['abandon_share'])} gave up waiting")
    busiest = max(month.days, key=lambda day: day[1]["offered"])
    text.append(f". The busiest day was {busiest[0]:%A, %-d %B} with {number(busiest[1]['offered'])} calls")
    levels = [(day, kpis["service_level"]) for day, kpis in month.days if kpis["service_level"] is not None]
    worst = min(levels, key=lambda pair: pair[1], default=None)
    if worst is not None and len(levels) > 1:
        text.append(f"; service was worst on {worst[0]:%A, %-d %B}, at {percent(worst[1])}")
    return "".join(text) + "."


def _tiles(month: Month) -> str:
    tiles: tuple[tuple[str, str, Callable[[Any], str], int], ...] = (
        ("offered", "Calls offered", number, 0),
        ("service_level", f"Service level ({THRESHOLD_S:.0f} s)", percent, 1),
        ("asa_s", "Average speed of answer", length, -1),
        ("abandon_share", "Abandoned", percent, -1),
        ("aht_s", "Average handling time", length, 0),
        ("fcr", "First contact resolution", percent, 1),
        ("csat", "Satisfied callers (CSAT)", percent, 1),
        ("occupancy", "Occupancy of agents", percent, 0),
    )
    return "".join(
        f'<div class="tile"><span>{label}</span><b>{shown(month.total[key])}</b>{_change(month, key, better)}</div>'
        for key, label, shown, better in tiles
    )


def _change(month: Month, key: str, better: int) -> str:
    """``better``: 1 where more is better, -1 where less is, 0 where neither is."""
    now, before = month.total[key], month.before[key]
    if now is None or before is None or (key == "offered" and not before):
        return '<em class="even">&nbsp;</em>'
    difference = now - before
    if key == "offered":
        text, small = f"{100 * difference / before:+.1f} %", abs(difference) / before < 0.0005
    elif key.endswith("_s"):
        text, small = f"{difference:+.0f} s", abs(difference) < 0.5
    else:
        text, small = f"{100 * difference:+.1f} points", abs(difference) < 0.0005
    kind = "even" if small or not better else "good" if difference * better > 0 else "bad"
    return f'<em class="{kind}">{"unchanged" if small else text.replace("-", "−")}</em>'


def _charts(month: Month) -> list[str]:
    labels = [(f"{day:%-d}", day.weekday() >= 5) for day, _ in month.days]

    def of(key: str) -> list[float | None]:
        return [kpis[key] for _, kpis in month.days]

    def counts(key: str) -> list[float]:
        return [float(kpis[key]) for _, kpis in month.days]

    others = [float(k["offered"] - k["answered"] - k["abandoned"]) for _, k in month.days]
    parts = [
        Bars("answered", counts("answered"), BLUE),
        Bars("abandoned", counts("abandoned"), AMBER),
        Bars("callback, message or closed", others, "#a9b6c1"),
    ]
    levels = [Curve("service level", of("service_level"), GREEN), Curve("abandoned", of("abandon_share"), AMBER)]
    if any(value is not None for value in of("occupancy")):
        levels.append(Curve("occupancy", of("occupancy"), "#8a6fb0"))
    speed = [Curve("speed of answer", of("asa_s"), RED)]
    handling = [Curve("handling time", of("aht_s"), BLUE)]
    offered = {place: float(kpis["offered"]) for place, kpis in month.hours.items() if kpis["offered"]}
    served = {place: kpis["service_level"] for place, kpis in month.hours.items() if kpis["service_level"] is not None}
    return [
        _section("Calls by day", legend([(p.name, p.colour) for p in parts]), over_days("Calls by day", labels, parts)),
        _section(
            "Service level by day",
            legend([(c.name, c.colour) for c in levels]),
            over_days("Service level by day", labels, curves=levels, top=1.0, shown=whole_percent),
        ),
        _section(
            "Average speed of answer by day",
            over_days("Average speed of answer by day", labels, curves=speed, height=160, seconds=True, shown=length),
        ),
        _section(
            "Average handling time by day",
            over_days("Average handling time by day", labels, curves=handling, height=160, seconds=True, shown=length),
        ),
        _section("When calls come: by weekday and hour", heat_map("Calls by weekday and hour", offered, number)),
        _section(
            "Service level by weekday and hour, percent",
            heat_map(
                "Service level by weekday and hour",
                served,
                lambda v: f"{100 * v:.0f}",
                top=1.0,
                colours=("#f3c9b5", "#2c7a4b"),
            ),
        ),
    ]


def _section(title: str, *inner: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(inner)}</section>"


def _table(by: By, lines: Sequence[Line], month: Month) -> str:
    columns = [column for column in COLUMNS if column[0] not in WITHOUT.get(by, ())]
    more = month.left_out[by]
    rows = [(line.name, line.kpis) for line in lines]
    rest = f'<tr class="rest"><td colspan="{len(columns) + 1}">and {more} more</td></tr>' if more else ""
    return _section(TITLES[by], _rows(TITLES[by], columns, rows, rest))


def _days(month: Month) -> str:
    rows = [(f"{day:%a %-d %B}", kpis) for day, kpis in month.days]
    total = "".join(f"<td>{shown(month.total[key])}</td>" for key, _, shown in COLUMNS)
    table = _rows("Day", COLUMNS, rows, "", f"<tfoot><tr><td>Month</td>{total}</tr></tfoot>")
    return _section("Days", table)


def _rows(
    head: str,
    columns: Sequence[tuple[str, str, Callable[[Any], str]]],
    rows: Sequence[tuple[str, Kpis]],
    rest: str,
    foot: str = "",
) -> str:
    heads = "".join(f"<th>{label}</th>" for _, label, _ in columns)
    body = "".join(
        f"<tr><td>{escape(name)}</td>{''.join(f'<td>{shown(kpis[key])}</td>' for key, _, shown in columns)}</tr>"
        for name, kpis in rows
    )
    return f"<table><thead><tr><th>{escape(head)}</th>{heads}</tr></thead><tbody>{body}{rest}</tbody>{foot}</table>"


def _definitions() -> str:
    days = REPEAT_S / 86400
    terms = (
        (
            "Offered",
            "Calls that waited in a queue, each once, where and when it first waited.",
        ),
        (
            "Service level",
            f"Share of those offered that were answered within {THRESHOLD_S:.0f} s. Who gave up within "
            f"{SHORT_ABANDON_S:.0f} s counts neither for nor against.",
        ),
        ("ASA", "Average speed of answer: mean wait of the answered."),
        ("Abandoned", f"Share of those offered who hung up while waiting, after {SHORT_ABANDON_S:.0f} s or more."),
        ("Handled", "Agents' parts of conversations: a call that was handed on counts for each of them."),
        ("AHT", "Average handling time of a part: talk with holds, and wrap-up."),
        (
            "FCR",
            f"Share of first contacts after which the number did not call again within {days:.0f} days, so far.",
        ),
        ("CSAT", "Share of survey answers of 4 or 5 of 5."),
        ("Occupancy", "Share of agents' time ready or busy in which they were ringing, talking or wrapping up."),
    )
    entries = "".join(f"<dt>{term}</dt><dd>{escape(words)}</dd>" for term, words in terms)
    return f"<section><h2>What the figures mean</h2><dl>{entries}</dl></section>"


# --- CSV --------------------------------------------------------------------------------------------------------------


def table_of(month: Month) -> str:
    """One line for the month, each day, hour of the week, queue, agent, number and country. Shares are from 0 to 1,
    times in seconds."""
    keys = list(month.total)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(["section", "key", "name", *keys])

    def line(section: str, key: str, name: str, kpis: Kpis) -> None:
        values = ("" if kpis[k] is None else round(kpis[k], 4) for k in keys)
        writer.writerow([section, key, f"'{name}" if name.startswith(FORMULA) and name != key else name, *values])

    line("month", f"{month.first:%Y-%m}", month.about, month.total)
    for day, kpis in month.days:
        line("day", day.isoformat(), f"{day:%A}", kpis)
    for (weekday, hour), kpis in sorted(month.hours.items()):
        line("weekday_hour", f"{weekday} {hour:02}", "", kpis)
    for by, lines in month.tables.items():
        for one in lines:
            line(by.value, one.key, one.name, one.kpis)
    return out.getvalue()
