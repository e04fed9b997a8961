"""What a simulated day came to, as a table and as a picture."""

from __future__ import annotations

from rich.table import Table

from pbx.simulation.day import THRESHOLD_S, Report, Tally
from pbx.simulation.svg import COLOURS, Panel, Series, picture

COLUMNS = ("queue", "calls", "answered", f"within {THRESHOLD_S:g} s", "ASA s", "abandoned", "AHT s", "occupancy")


def table(report: Report) -> Table:
    made = Table(title=f"one day: {report.calls:,} calls, {report.agents:,} agents")
    for column in COLUMNS:
        made.add_column(column, justify="right", no_wrap=True)
    for name, tally in report.queues.items():
        made.add_row(name, *_cells(tally))
    made.add_section()
    made.add_row("all", *_cells(total(report)))
    return made


def total(report: Report) -> Tally:
    every = Tally()
    for tally in report.queues.values():
        for name in Tally.__slots__:
            setattr(every, name, getattr(every, name) + getattr(tally, name))
    return every


def _cells(tally: Tally) -> tuple[str, ...]:
    return (
        f"{tally.calls:,}",
        f"{tally.answered:,}",
        f"{100 * tally.service_level:.1f} %",
        f"{tally.asa_s:.1f}",
        f"{100 * tally.abandon_share:.1f} %",
        f"{tally.handling_s / tally.answered if tally.answered else 0:.0f}",
        f"{100 * tally.occupancy:.1f} %",
    )


def drawn(report: Report) -> str:
    """Traffic, staff, service level and waits of the day by quarter of an hour, and of each queue."""
    ticks = [(float(hour), f"{hour}:00") for hour in range(0, 25, 3)]
    at = [slot / 4 for slot in range(len(report.slots))]

    def line(values: list[float]) -> list[tuple[float, float]]:
        return list(zip(at, values, strict=True))

    slots = report.slots
    panels = [
        Panel("calls in a quarter of an hour", [Series("calls", line([float(one.calls) for one in slots]))], ticks),
        Panel("agents", [Series("available or on a call", line([float(n) for n in report.staffed]))], ticks),
        Panel(
            "percent of calls",
            [
                Series(f"answered within {THRESHOLD_S:g} s", line([100 * one.service_level for one in slots])),
                Series("abandoned", line([100 * one.abandon_share for one in slots]), COLOURS[1]),
            ],
            ticks,
            top=105,
        ),
        Panel("ASA, seconds", [Series("ASA", line([one.asa_s for one in slots]))], ticks, height=120),
        _by_queue(report),
    ]
    return picture(f"One day: {report.calls:,} calls, {report.agents:,} agents", panels)


def _by_queue(report: Report) -> Panel:
    named = list(report.queues.items())
    ticks = [(float(n), name) for n, (name, _) in enumerate(named)]

    def dots(name: str, values: list[float], colour: str) -> Series:
        return Series(name, [(float(n), value) for n, value in enumerate(values)], colour)

    series = [
        dots("service level", [100 * tally.service_level for _, tally in named], COLOURS[0]),
        dots("abandoned", [100 * tally.abandon_share for _, tally in named], COLOURS[1]),
        dots("occupancy", [100 * tally.occupancy for _, tally in named], COLOURS[2]),
    ]
    return Panel("by queue, percent", series, ticks, top=105)
