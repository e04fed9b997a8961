"""Where the nodes of a flow stand and how its arrows run, in pixels: layers from top to bottom, the start above.

A node's layer is its longest way from the start, loops cut, so that arrows lead down; an arrow that leads back up runs
around on the right. Arrows over several layers get a place of their own in each, so that none runs through a box. The
same graph gives the same picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from pbx.domain.flow_graph import Edges

BOX_HEIGHT, CHARACTER, PADDING = 44, 7.2, 12
GAP_X, LABEL_HEIGHT, GAP_Y, MARGIN, LANE = 28, 18, 54, 24, 12
Point = tuple[float, float]


@dataclass(slots=True)
class Box:
    name: str
    layer: int
    width: float
    x: float = 0.0
    """Of the left side."""
    y: float = 0.0

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


@dataclass(slots=True)
class Arrow:
    """``points``: from the source's bottom to the target's top. ``label_at``: the middle of its text's base line."""

    source: str
    target: str
    label: str
    back: bool
    points: list[Point] = field(default_factory=list)
    label_at: Point = (0.0, 0.0)
    stops: list[Box] = field(default_factory=list)
    """Places in the layers between."""


@dataclass(frozen=True, slots=True)
class Layout:
    boxes: Mapping[str, Box]
    arrows: tuple[Arrow, ...]
    width: float
    height: float


def text_width(text: str) -> float:
    return len(text) * CHARACTER


def lay_out(edges: Edges, start: str, texts: Mapping[str, tuple[str, ...]]) -> Layout:
    """``texts``: node -> its lines. Nodes that nothing reaches stand in the first layer beside the start."""
    arrows = _arrows(edges, start)
    layers_of = _layers(edges, arrows, start)
    boxes = {}
    for name, lines in texts.items():
        out = sum(text_width(arrow.label) + PADDING for arrow in arrows if arrow.source == name)
        width = max(90.0, out, *(text_width(line) + 2 * PADDING for line in lines))
        boxes[name] = Box(name, layers_of[name], width)
    layers: list[list[Box]] = [[] for _ in range(max(layers_of.values()) + 1)]
    for box in boxes.values():
        layers[box.layer].append(box)
    for arrow in arrows:
        if not arrow.back:
            for layer in range(boxes[arrow.source].layer + 1, boxes[arrow.target].layer):
                arrow.stops.append(Box("", layer, 10.0))
                layers[layer].append(arrow.stops[-1])
    _order(layers, arrows, boxes)
    bottom, right = _place(layers, arrows)
    backs = _route(arrows, boxes)
    return Layout(boxes, tuple(arrows), right + MARGIN + LANE * (backs + 1), bottom + MARGIN)


def _arrows(edges: Edges, start: str) -> list[Arrow]:
    """One for each pair of nodes, with all its labels; those that close a loop on the way from the start lead back."""
    back: set[tuple[str, str]] = set()
    state: dict[str, int] = {}
    for root in (start, *edges):
        if root not in edges or root in state:
            continue
        state[root] = 1
        path = [(root, iter(edges[root].values()))]
        while path:
            name, targets = path[-1]
            for target in targets:
                if target not in edges:
                    continue
                if state.get(target) == 1:
                    back.add((name, target))
                elif target not in state:
                    state[target] = 1
                    path.append((target, iter(edges[target].values())))
                    break
            else:
                state[name] = 2
                path.pop()
    arrows = []
    for name, found in edges.items():
        labels: dict[str, list[str]] = {}
        for label, target in found.items():
            if target in edges:
                labels.setdefault(target, []).append(label.removeprefix("choices."))
        arrows += [Arrow(name, to, ", ".join(words), (name, to) in back) for to, words in labels.items()]
    return arrows


def _layers(edges: Edges, arrows: list[Arrow], start: str) -> dict[str, int]:
    """Longest ways, in topological order of what is left without the arrows that lead back."""
    layers = dict.fromkeys(edges, 0)
    incoming = {name: sum(a.target == name and not a.back for a in arrows) for name in edges}
    todo = [name for name in edges if not incoming[name]]
    while todo:
        name = todo.pop(0)
        for arrow in arrows:
            if arrow.source == name and not arrow.back:
                layers[arrow.target] = max(layers[arrow.target], layers[name] + 1)
                incoming[arrow.target] -= 1
                if not incoming[arrow.target]:
                    todo.append(arrow.target)
    return layers


def _chains(arrows: list[Arrow], boxes: Mapping[str, Box]) -> list[tuple[Box, Box]]:
    pairs = []
    for arrow in arrows:
        if not arrow.back:
            chain = [boxes[arrow.source], *arrow.stops, boxes[arrow.target]]
            pairs += list(pairwise(chain))
    return pairs


def _order(layers: list[list[Box]], arrows: list[Arrow], boxes: Mapping[str, Box]) -> None:
    """Fewer crossings: each box goes to the mean place of its neighbours above, then of those below, a few times."""
    above: dict[int, list[Box]] = {}
    below: dict[int, list[Box]] = {}
    for upper, lower in _chains(arrows, boxes):
        above.setdefault(id(lower), []).append(upper)
        below.setdefault(id(upper), []).append(lower)
    for turn in range(8):
        neighbours = below if turn % 2 else above
        for layer in reversed(layers) if turn % 2 else layers:
            place = {id(box): at / max(1, len(other) - 1) for other in layers for at, box in enumerate(other)}
            own = {
                id(box): sum(place[id(b)] for b in near) / len(near)
                if (near := neighbours.get(id(box)))
                else place[id(box)]
                for box in layer
            }
            layer.sort(key=lambda box: own[id(box)])


def _place(layers: list[list[Box]], arrows: list[Arrow]) -> Point:
    """Layers centred above one another. Returns bottom and right side of all boxes."""
    widths = [sum(box.width for box in layer) + GAP_X * (len(layer) - 1) for layer in layers]
    y = float(MARGIN)
    for layer, width in zip(layers, widths, strict=True):
        x = MARGIN + (max(widths) - width) / 2
        for box in layer:
            box.x, box.y = x, y
            x += box.width + GAP_X
        backs = sum(arrow.back for arrow in arrows)
        y += BOX_HEIGHT + LABEL_HEIGHT + GAP_Y + backs * LANE / 2
    return y - GAP_Y, MARGIN + max(widths)


def _route(arrows: list[Arrow], boxes: Mapping[str, Box]) -> int:
    """Gives arrows their points and labels their places. Returns how many arrows lead back."""
    right = max(max(b.x + b.width for b in boxes.values()), *(s.x + s.width for a in arrows for s in a.stops), 0.0)
    for name, box in boxes.items():
        out = sorted((a for a in arrows if a.source == name), key=lambda a: (a.back, _first(a, boxes).middle))
        room = [max(text_width(arrow.label) + PADDING, 10.0) for arrow in out]
        x = box.middle - sum(room) / 2
        for arrow, width in zip(out, room, strict=True):
            port = (x + width / 2, box.y + BOX_HEIGHT)
            arrow.label_at = (port[0], port[1] + LABEL_HEIGHT - 5)
            arrow.points = [port, (port[0], port[1] + LABEL_HEIGHT)]
            x += width
    backs = 0
    for arrow in arrows:
        target = boxes[arrow.target]
        if arrow.back:
            backs += 1
            x, down = arrow.points[-1]
            lane, up = right + LANE * backs, target.y - 8 - 4 * backs
            end = target.middle + min(target.width / 2 - 8, 10 + 6 * backs)
            side = down + 4 * backs
            arrow.points += [(x, side), (lane, side), (lane, up), (end, up), (end, target.y)]
            continue
        for stop in arrow.stops:
            arrow.points += [(stop.middle, stop.y), (stop.middle, stop.y + BOX_HEIGHT)]
    for name, box in boxes.items():
        into = sorted((a for a in arrows if a.target == name and not a.back), key=lambda a: a.points[-1][0])
        for at, arrow in enumerate(into, 1):
            arrow.points.append((box.x + box.width * at / (len(into) + 1), box.y))
    return backs


def _first(arrow: Arrow, boxes: Mapping[str, Box]) -> Box:
    return arrow.stops[0] if arrow.stops else boxes[arrow.target]
