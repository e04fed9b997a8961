"""The shape of a flow, against the plainest way to find out the same."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from pbx.domain.flow_graph import dead_ends, loops, reached

NAMES = list("abcdef")
graphs = st.dictionaries(
    st.sampled_from(NAMES), st.dictionaries(st.sampled_from("123"), st.sampled_from([*NAMES, "gone"])), min_size=1
)


def paths(graph: dict[str, dict[str, str]]) -> set[tuple[str, str]]:
    """All pairs with a path of at least one edge between them (Warshall)."""
    pairs = {(name, target) for name, targets in graph.items() for target in targets.values()}
    for between, source, target in product([*NAMES, "gone"], repeat=3):
        if (source, between) in pairs and (between, target) in pairs:
            pairs.add((source, target))
    return pairs


def circles(graph: dict[str, dict[str, str]]) -> list[tuple[str, ...]]:
    pairs = paths(graph)
    found = {tuple(b for b in graph if (a, b) in pairs and (b, a) in pairs) for a in graph if (a, a) in pairs}
    return sorted(found, key=lambda circle: list(graph).index(circle[0]))


@given(graphs)
def test_reached_is_what_a_path_leads_to(graph: dict[str, dict[str, str]]) -> None:
    pairs = paths(graph)
    for start in graph:
        assert reached(graph, start) == {start} | {name for name in graph if (start, name) in pairs}


@given(graphs)
def test_loops_are_the_sets_whose_nodes_lead_to_one_another(graph: dict[str, dict[str, str]]) -> None:
    assert loops(graph) == circles(graph)


@given(graphs, st.sets(st.sampled_from(NAMES)))
def test_dead_ends_are_the_loops_without_a_path_to_an_end(graph: dict[str, dict[str, str]], ends: set[str]) -> None:
    pairs = paths(graph)
    expected = [c for c in circles(graph) if not any(n in ends or (n, e) in pairs for n in c for e in ends)]
    assert dead_ends(graph, ends) == expected


def test_a_flow_may_be_deeper_than_the_stack() -> None:
    chain = {str(at): {"next": str(at + 1)} for at in range(20_000)} | {"20000": {"next": "0"}}
    assert [len(loop) for loop in loops(chain)] == [20_001]
