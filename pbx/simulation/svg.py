"""Charts as SVG text: panels under one another, each with lines or dots over one axis. Enough for figures of a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, HEAD = 760, 64, 16, 34
COLOURS = ("#0060c0", "#c05000", "#008040", "#8030a0", "#a08000", "#c00040", "#007080", "#606060", "#6040e0", "#804020")


@dataclass(frozen=True, slots=True)
class Series:
    name: str
    points: Sequence[tuple[float, float]]
    colour: str = COLOURS[0]
    dots: bool = False
    dashed: bool = False
    bars: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    series: Sequence[Series]
    ticks: Sequence[tuple[float, str]]
    """Of the horizontal axis."""
    height: int = 200
    top: float | None = None
    """Of the vertical axis; None: as high as the points."""
    marks: Sequence[tuple[float, str]] = field(default=())
    """Values of the vertical axis with a word, such as a budget."""


def picture(title: str, panels: Sequence[Panel]) -> str:
    total = HEAD + sum(panel.height + 50 for panel in panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{total}" fill="white"/>',
        f'<text x="{WIDTH / 2:g}" y="20" text-anchor="middle" font-size="14">{escape(title)}</text>',
    ]
    at = HEAD
    for panel in panels:
        parts += _panel(panel, at)
        at += panel.height + 50
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel, at: int) -> Iterable[str]:
    low = min(x for x, _ in panel.ticks)
    high = max(max(x for x, _ in panel.ticks), *(x for one in panel.series for x, _ in one.points), low + 1e-9)
    highest = max((y for one in panel.series for _, y in one.points), default=1.0)
    top = panel.top or max(highest, *(y for y, _ in panel.marks), 1e-9) * 1.08
    floor = at + 18 + panel.height

    def place(x: float, y: float) -> str:
        across = LEFT + (x - low) / (high - low) * (WIDTH - LEFT - RIGHT)
        return f"{across:.1f},{floor - min(y, top) / top * panel.height:.1f}"

    yield f'<text x="{LEFT}" y="{at + 10}" font-weight="bold">{escape(panel.title)}</text>'
    yield f'<path d="M{LEFT} {at + 18}V{floor}H{WIDTH - RIGHT}" fill="none" stroke="black"/>'
    step = _round_step(top / 4)
    for n in range(int(top / step) + 1):
        y = float(place(low, n * step).partition(",")[2])
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{n * step:g}</text>'
    for x, label in panel.ticks:
        below = place(x, 0).partition(",")[0]
        yield f'<text x="{below}" y="{floor + 15}" text-anchor="middle">{escape(label)}</text>'
    for value, word in panel.marks:
        y = float(place(low, value).partition(",")[2])
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#c00" stroke-dasharray="6 4"/>'
        yield f'<text x="{WIDTH - RIGHT}" y="{y - 4:.1f}" text-anchor="end" fill="#c00">{escape(word)}</text>'
    across = WIDTH - RIGHT
    for one in reversed(panel.series):
        if one.name:
            yield f'<text x="{across}" y="{at + 10}" text-anchor="end" fill="{one.colour}">{escape(one.name)}</text>'
            across -= 7 * len(one.name) + 10
        if one.bars:
            bars = "".join(f"M{place(x, 0)}L{place(x, y)}" for x, y in one.points)
            yield f'<path d="{bars}" stroke="{one.colour}" stroke-opacity="0.8" stroke-width="14"/>'
        elif one.dots:
            dots = "".join(f"M{place(x, y)}h0" for x, y in one.points)
            yield (
                f'<path d="{dots}" stroke="{one.colour}" stroke-opacity="0.4" stroke-width="3" stroke-linecap="round"/>'
            )
        else:
            points = " ".join(place(x, y) for x, y in one.points)
            dash = ' stroke-dasharray="5 3"' if one.dashed else ""
            yield f'<polyline points="{points}" fill="none" stroke="{one.colour}" stroke-width="1.6"{dash}/>'


def _round_step(about: float) -> float:
    unit = math.pow(10.0, math.floor(math.log10(about)))
    return next(unit * n for n in (1, 2, 5, 10) if unit * n >= about)
