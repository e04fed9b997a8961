"""What can be said of a flow from its shape alone: ``{node: {edge label: target}}``. Knows no kind of node.

A target that is no key of the graph counts as a node that leads nowhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

Edges = Mapping[str, Mapping[str, str]]


def reached(edges: Edges, start: str) -> frozenset[str]:
    """Every node to which a path leads from ``start``, itself included."""
    return _spread([start], {name: targets.values() for name, targets in edges.items()}) & edges.keys()


def dead_ends(edges: Edges, ends: Collection[str]) -> list[tuple[str, ...]]:
    """The loops from which no path leads to one of ``ends``. A call that gets there never comes out.

    Each loop is a strongly connected set, its nodes in the graph's order; so are the loops.
    """
    sources: dict[str, list[str]] = {}
    for name, targets in edges.items():
        for target in targets.values():
            sources.setdefault(target, []).append(name)
    free = _spread(ends, sources)
    return loops({name: targets for name, targets in edges.items() if name not in free})


def loops(edges: Edges) -> list[tuple[str, ...]]:
    """The strongly connected sets in which there is an edge, each in the graph's order, and in that order."""
    order = {name: at for at, name in enumerate(edges)}
    found = [
        tuple(sorted(component, key=order.__getitem__))
        for component in _components(edges)
        if len(component) > 1 or component[0] in edges[component[0]].values()
    ]
    return sorted(found, key=lambda component: order[component[0]])


def _spread(begin: Iterable[str], neighbours: Mapping[str, Iterable[str]]) -> frozenset[str]:
    seen = set(begin)
    todo = list(seen)
    while todo:
        for name in neighbours.get(todo.pop(), ()):
            if name not in seen:
                seen.add(name)
                todo.append(name)
    return frozenset(seen)


def _components(edges: Edges) -> list[list[str]]:
    """Tarjan's algorithm, with a stack of its own: a flow may be deeper than Python's."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    open_nodes: dict[str, None] = {}
    found: list[list[str]] = []
    for root in edges:
        if root in index:
            continue
        index[root] = low[root] = len(index)
        open_nodes[root] = None
        path = [(root, iter(edges[root].values()))]
        while path:
            name, targets = path[-1]
            for target in targets:
                if target not in edges:
                    continue
                if target not in index:
                    index[target] = low[target] = len(index)
                    open_nodes[target] = None
                    path.append((target, iter(edges[target].values())))
                    break
                if target in open_nodes:
                    low[name] = min(low[name], index[target])
            else:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[name])
                if low[name] == index[name]:
                    component: list[str] = []
                    while not component or component[-1] != name:
                        component.append(open_nodes.popitem()[0])
                    found.append(component)
    return found
