"""A flow as a picture: Mermaid text, or SVG without any tool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from pbx.domain.flow import Flow
from pbx.simulation.flows.layout import BOX_HEIGHT, Arrow, lay_out

LONGEST = 30
"""Characters of a line in a box; more is cut."""
_COLOURS = {
    "hang_up": "#f8d7da",
    "queue": "#d1e7dd",
    "transfer": "#d1e7dd",
    "menu": "#fff3cd",
    "language": "#fff3cd",
    "consent": "#cfe2ff",
}


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _lines(name: str, node: Mapping[str, Any]) -> tuple[str, str]:
    """Name; type and what it is about."""
    abouts = (node.get(field) for field in ("queue", "number", "agent", "mailbox", "prompt", "prompts"))
    about = next(filter(None, abouts), "")
    words = ", ".join(map(str, about)) if isinstance(about, list) else str(about)
    return _cut(name), _cut(f"{node.get('type', '?')} {words}".strip())


def _texts(flow: Flow, graph: Any) -> dict[str, tuple[str, ...]]:
    raw = {name: graph["nodes"][name] for name in flow.nodes}
    return {name: _lines(name, node if isinstance(node, Mapping) else {}) for name, node in raw.items()}


def mermaid(flow: Flow, graph: Any) -> str:
    """The flow as a Mermaid flow chart. ``graph`` is what it was read from."""

    def quoted(text: str) -> str:
        return '"' + text.replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;") + '"'

    ids = {name: f"n{at}" for at, name in enumerate(flow.nodes)}
    lines = ["flowchart TD"]
    for name, (title, about) in ((name, (lines[0], lines[1])) for name, lines in _texts(flow, graph).items()):
        lines.append(f"  {ids[name]}[{quoted(title)[:-1]}<br/>{quoted(about)[1:]}]")
    if flow.start in ids:
        lines.append(f"  start(( )) --> {ids[flow.start]}")
    for name, targets in flow.edges().items():
        for label, target in targets.items():
            if target in ids:
                lines.append(f"  {ids[name]} -- {quoted(label.removeprefix('choices.'))} --> {ids[target]}")
    return "\n".join(lines) + "\n"


def svg(flow: Flow, graph: Any) -> str:
    """The flow as an SVG picture. The same flow gives the same bytes. ValueError for a flow without nodes."""
    if not flow.nodes:
        raise ValueError("a flow without nodes has no picture")
    texts = _texts(flow, graph)
    layout = lay_out(flow.edges(), flow.start, texts)
    size = f'width="{layout.width:.0f}" height="{layout.height:.0f}"'
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {layout.width:.0f} {layout.height:.0f}">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for arrow in layout.arrows:
        dashes = ' stroke-dasharray="5 3"' if arrow.back else ""
        out.append(
            f'<path d="{_line(arrow)}" fill="none" stroke="#555" stroke-width="1.2"{dashes} marker-end="url(#tip)"/>'
        )
    for name, box in layout.boxes.items():
        node = graph["nodes"][name]
        colour = _COLOURS.get(str(node.get("type")) if isinstance(node, Mapping) else "", "#eeeeee")
        stroke = 3 if name == flow.start else 1
        out.append(
            f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{BOX_HEIGHT}" rx="6" '
            f'fill="{colour}" stroke="#333" stroke-width="{stroke}"/>'
        )
        out.append(_text(box.middle, box.y + 18, texts[name][0], ' font-weight="bold"'))
        out.append(_text(box.middle, box.y + 35, texts[name][1]))
    for arrow in layout.arrows:
        x, y = arrow.label_at
        out.append(_text(x, y, arrow.label, ' stroke="#fff" stroke-width="3" paint-order="stroke"'))
    return "\n".join([*out, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, more: str = "") -> str:
    style = 'font-family="DejaVu Sans, Verdana, sans-serif" font-size="11" text-anchor="middle"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}{more}>{escape(text)}</text>'


def _line(arrow: Arrow) -> str:
    """Straight through the labels' and the boxes' rows, curved between them; what leads back has corners."""
    first, *rest = arrow.points
    path, (x, y) = [f"M{first[0]:.1f} {first[1]:.1f}"], first
    for nx, ny in rest:
        if arrow.back or nx == x:
            path.append(f"L{nx:.1f} {ny:.1f}")
        else:
            middle = (y + ny) / 2
            path.append(f"C{x:.1f} {middle:.1f} {nx:.1f} {middle:.1f} {nx:.1f} {ny:.1f}")
        x, y = nx, ny
    return "".join(path)
