"""The comparison of a replay under other rules: table, JSON, picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from pbx.domain.ids import QueueId
from pbx.domain.service_level import Figures
from pbx.simulation.replay import Report
from pbx.simulation.replay_outcome import Callbacks, Outcome, recorded
from pbx.simulation.replay_rules import Rules
from pbx.simulation.replay_usual import Usual, usual
from pbx.simulation.replay_what_if import WhatIf
from pbx.simulation.svg import COLOURS, Panel, Series, picture


@dataclass(frozen=True, slots=True)
class Comparison:
    queue_id: QueueId
    recorded: Figures
    before: Figures
    after: Figures
    occupancy_before: float | None
    occupancy_after: float | None
    callbacks_recorded: Callbacks
    callbacks_before: Callbacks
    callbacks_after: Callbacks


def compare(report: Report, rules: Rules, threshold_s: float) -> list[Comparison]:
    """Of every queue that was joined. Raises Unusable for rules that no queue or agent can have."""
    usuals: dict[QueueId, Usual] = {}
    waits = [wait for replayed in report.replayed for wait in replayed.seen.waits]
    for queue_id in {wait.join.queue_id for wait in waits}:
        usuals[queue_id] = usual([wait for wait in waits if wait.join.queue_id == queue_id])
    before, after = Outcome(), Outcome()
    for replayed in report.replayed:
        before.add(WhatIf(replayed, usuals, lambda entity: entity).play())
        after.add(WhatIf(replayed, usuals, rules.override).play())
    seen = recorded(report.replayed)
    return [
        Comparison(
            queue_id,
            seen.figures(queue_id, threshold_s),
            before.figures(queue_id, threshold_s),
            after.figures(queue_id, threshold_s),
            before.occupancy(queue_id),
            after.occupancy(queue_id),
            *(one.callbacks(queue_id) for one in (seen, before, after)),
        )
        for queue_id in sorted(usuals)
    ]


def as_json(rows: Iterable[Comparison]) -> list[dict[str, Any]]:
    return [asdict(row) for row in rows]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


_ROWS: tuple[tuple[str, Callable[[Figures], str]], ...] = (
    ("offered", lambda f: str(f.offered)),
    ("answered", lambda f: str(f.answered)),
    ("abandoned", lambda f: f"{f.abandoned} ({_percent(f.abandon_share)})"),
    ("refused", lambda f: str(f.refused)),
    ("service level", lambda f: _percent(f.service_level)),
    ("ASA", lambda f: _seconds(f.asa_s)),
    ("longest wait", lambda f: _seconds(f.longest_wait_s)),
)


def table(rows: Iterable[Comparison], threshold_s: float) -> Table:
    shown = Table(title=f"the recorded rules and the changed ones; service level within {threshold_s:g} s")
    shown.add_column("queue", no_wrap=True)
    shown.add_column("figure", no_wrap=True)
    for column in ("recorded", "before (model)", "after (model)"):
        shown.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        for number, (name, told) in enumerate(_ROWS):
            first = str(row.queue_id) if number == 0 else ""
            shown.add_row(first, name, told(row.recorded), told(row.before), told(row.after))
        shown.add_row("", "occupancy", "-", _percent(row.occupancy_before), _percent(row.occupancy_after))
        callbacks = (row.callbacks_recorded, row.callbacks_before, row.callbacks_after)
        if any(one.attempts or one.promised for one in callbacks):
            shown.add_row("", "callbacks promised", *(str(one.promised) for one in callbacks))
            shown.add_row("", "called back", *(str(one.reached) for one in callbacks))
            shown.add_row("", "called back after", *(_seconds(one.mean_wait_s) for one in callbacks))
        shown.add_section()
    return shown


def drawn(rows: list[Comparison]) -> str:
    ticks = [(float(number), str(row.queue_id)) for number, row in enumerate(rows)]
    aside = 0.012 * len(rows)
    whens = (("before", COLOURS[0], -aside), ("after", COLOURS[1], aside))

    def panel(title: str, value: Callable[[Comparison, str], float | None], top: float | None = None) -> Panel:
        series = []
        for when, colour, shift in whens:
            found = [(number + shift, value(row, when)) for number, row in enumerate(rows)]
            series.append(Series(when, [(x, y) for x, y in found if y is not None], colour, bars=True))
        return Panel(title, series, [(-0.5, ""), *ticks, (len(rows) - 0.5, "")], height=110, top=top)

    def of(name: str) -> Callable[[Comparison, str], float | None]:
        return lambda row, when: getattr(getattr(row, when), name)

    def occupied(row: Comparison, when: str) -> float | None:
        return row.occupancy_before if when == "before" else row.occupancy_after

    panels = [
        panel("service level", of("service_level"), 1.0),
        panel("average speed of answer, s", of("asa_s")),
        panel("abandoned", of("abandon_share")),
        panel("longest wait, s", of("longest_wait_s")),
        panel("occupancy", occupied, 1.0),
    ]
    return picture("What other rules would have done, by queue", panels)
