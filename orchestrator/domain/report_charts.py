"""Charts of the report of a month as inline SVG: bars and lines over days, the heat map of a week."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 960, 52, 12, 12, 26
INK, FAINT, GRID = "#26323d", "#6b7a87", "#e3e8ec"
BLUE, AMBER, GREEN, RED = "#2f6fad", "#e0952f", "#3c8d5a", "#b8443c"
TIME_STEPS = (1.0, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, slots=True)
class Bars:
    """One part of stacked bars."""

    name: str
    values: Sequence[float]
    colour: str


@dataclass(frozen=True, slots=True)
class Curve:
    """A line with gaps where the value is None."""

    name: str
    values: Sequence[float | None]
    colour: str


def over_days(
    title: str,
    labels: Sequence[tuple[str, bool]],
    parts: Sequence[Bars] = (),
    curves: Sequence[Curve] = (),
    *,
    height: int = 220,
    top: float | None = None,
    seconds: bool = False,
    shown: Callable[[float], str] = lambda value: f"{value:,.0f}",
) -> str:
    """``labels``: each day's label and whether it is at a weekend; ``top``: of the axis, None: as high as needed."""
    count = max(len(labels), 1)
    heights = [sum(column) for column in zip(*(part.values for part in parts), strict=True)] if parts else [0.0]
    highest = max([*heights, *(value for curve in curves for value in curve.values if value is not None), 1e-9])
    step = _time_step((top or highest) / 4) if seconds else _step((top or highest) / 4)
    top = top or math.ceil(highest / step) * step
    floor, across = height - BOTTOM, (WIDTH - LEFT - RIGHT) / count

    def y(value: float) -> float:
        return floor - min(value, top) / top * (floor - TOP)

    made = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">']
    for place, (_, weekend) in enumerate(labels):
        if weekend:
            box = f'x="{LEFT + place * across:.1f}" y="{TOP}" width="{across:.1f}" height="{floor - TOP}"'
            made.append(f'<rect {box} fill="#f4f6f8"/>')
    for number in range(round(top / step) + 1):
        at = y(number * step)
        made.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>')
        made.append(_text(LEFT - 6, at + 4, shown(number * step), "end"))
    for place, (label, _) in enumerate(labels):
        if count <= 16 or place % 2 == 0:
            made.append(_text(LEFT + (place + 0.5) * across, floor + 17, label, "middle"))
    bottom = [0.0] * count
    for part in parts:
        for place, value in enumerate(part.values):
            if value:
                upper, lower = y(bottom[place] + value), y(bottom[place])
                made.append(
                    f'<rect x="{LEFT + (place + 0.15) * across:.1f}" y="{upper:.1f}" width="{across * 0.7:.1f}" '
                    f'height="{lower - upper:.1f}" fill="{part.colour}">'
                    f"<title>{escape(labels[place][0])}: {escape(part.name)} {shown(value)}</title></rect>"
                )
                bottom[place] += value
    for curve in curves:
        made += _curve(curve, labels, lambda place: LEFT + (place + 0.5) * across, y, shown)
    return "".join([*made, "</svg>"])


def _curve(
    curve: Curve,
    labels: Sequence[tuple[str, bool]],
    x: Callable[[int], float],
    y: Callable[[float], float],
    shown: Callable[[float], str],
) -> list[str]:
    path, pen, dots = "", "M", []
    for place, value in enumerate(curve.values):
        if value is None:
            pen = "M"
            continue
        path += f"{pen}{x(place):.1f} {y(value):.1f}"
        pen = "L"
        dots.append(
            f'<circle cx="{x(place):.1f}" cy="{y(value):.1f}" r="3" fill="{curve.colour}">'
            f"<title>{escape(labels[place][0])}: {escape(curve.name)} {shown(value)}</title></circle>"
        )
    return [f'<path d="{path}" fill="none" stroke="{curve.colour}" stroke-width="2"/>', *dots] if path else []


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """Of (name, colour)."""
    marks = (f'<span><i style="background:{colour}"></i>{escape(name)}</span>' for name, colour in entries)
    return f'<div class="legend">{"".join(marks)}</div>'


def heat_map(
    title: str,
    values: Mapping[tuple[int, int], float],
    shown: Callable[[float], str],
    *,
    top: float | None = None,
    colours: tuple[str, str] = ("#eef3f8", "#1f5c99"),
) -> str:
    """Weekdays by hours. What is not in ``values`` stays empty; ``top`` has the second of ``colours``."""
    cell, tall, left, head = 36, 26, 84, 20
    highest = top or max(values.values(), default=0.0) or 1.0
    made = [f'<svg viewBox="0 0 {left + 24 * cell} {head + 7 * tall}" role="img" aria-label="{escape(title)}">']
    made += [_text(left + (hour + 0.5) * cell, 13, f"{hour}", "middle") for hour in range(24)]
    for weekday, name in enumerate(WEEKDAYS):
        at = head + weekday * tall
        made.append(_text(left - 8, at + 17, name, "end"))
        for hour in range(24):
            value = values.get((weekday, hour))
            share = 0.0 if value is None else min(value / highest, 1.0)
            fill = "#f7f8f9" if value is None else _between(*colours, share)
            made.append(
                f'<rect x="{left + hour * cell}" y="{at}" width="{cell - 2}" height="{tall - 2}" rx="2" fill="{fill}">'
                f"<title>{name} {hour}:00: {'-' if value is None else shown(value)}</title></rect>"
            )
            if value is not None:
                ink = "#ffffff" if share > 0.55 else INK
                made.append(_text(left + (hour + 0.47) * cell, at + 16.5, shown(value), "middle", ink, 10))
    return "".join([*made, "</svg>"])


def _between(low: str, high: str, share: float) -> str:
    parts = ((int(low[n : n + 2], 16), int(high[n : n + 2], 16)) for n in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in parts)


def _text(x: float, y: float, words: str, anchor: str, colour: str = FAINT, size: int = 11) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{colour}" font-size="{size}">{escape(words)}</text>'


def _time_step(about: float) -> float:
    """In seconds, at least ``about``."""
    return next((step for step in TIME_STEPS if step >= about), math.ceil(about / 3600) * 3600.0)


def _step(about: float) -> float:
    unit = math.pow(10.0, math.floor(math.log10(about)))
    return next(unit * step for step in (1, 2, 2.5, 5, 10) if unit * step >= about * 0.999)
