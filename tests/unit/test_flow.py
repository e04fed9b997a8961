"""Flows are refused with the place and the reason, or parsed whole."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.domain.errors import BadValue
from pbx.domain.flow import Flow, parse, position_prompt
from pbx.domain.ids import FlowId
from tests.support.world import FLOW


def changed(path: str, value: Any) -> dict[str, Any]:
    graph = copy.deepcopy(FLOW)
    *parents, last = path.split(".")
    place: Any = graph
    for name in parents:
        place = place[name]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return graph


def test_the_example_flow() -> None:
    flow = parse(FlowId("main"), 3, FLOW)
    assert flow.queue_ids() == {"support"}
    assert {"greeting", "menu", "consent-ask", "consent-notice", "position-20", "position-more"} <= flow.prompt_ids()
    assert (flow.version, flow.languages) == (3, ("de", "en"))


@pytest.mark.parametrize(
    ("path", "value", "field", "reason"),
    [
        ("start", "nowhere", "graph.start", "names no node"),
        ("start", ..., "graph.start", "is missing"),
        ("languages", [], "graph.languages", "at least one"),
        ("surprise", 1, "graph.surprise", "not known"),
        ("nodes.menu.type", "dance", "graph.nodes.menu.type", "not a node type"),
        ("nodes.menu.prompt", ..., "graph.nodes.menu.prompt", "is missing"),
        ("nodes.menu.promt", "menu", "graph.nodes.menu.promt", "not known"),
        ("nodes.menu.choices.1", "gone", "graph.nodes.menu.choices.1", "names no node"),
        ("nodes.menu.choices.11", "consent", "graph.nodes.menu.choices.11", "not one of 0-9"),
        ("nodes.menu.choices", {}, "graph.nodes.menu.choices", "at least one digit"),
        ("nodes.menu.tries", 0, "graph.nodes.menu.tries", "from 1 to 9"),
        ("nodes.menu.tries", True, "graph.nodes.menu.tries", "whole number"),
        ("nodes.menu.timeout_s", "5", "graph.nodes.menu.timeout_s", "number of seconds"),
        ("nodes.language.choices.1", "fr", "graph.nodes.language.choices.1", "languages"),
        ("nodes.consent.no", "1", "graph.nodes.consent.no", "another digit"),
        ("nodes.wait.queue", "", "graph.nodes.wait.queue", "must not be empty"),
        ("nodes.wait.max_wait_s", 60, "graph.nodes.wait.on_timeout", "goes together"),
        ("nodes.goodbye.cause", "BAD", "graph.nodes.goodbye.cause", "Q.850"),
        ("nodes.island", {"type": "hang_up"}, "graph.nodes.island", "not reached"),
        ("nodes.full", [], "graph.nodes.full", "must be an object"),
    ],
)
def test_refused(path: str, value: Any, field: str, reason: str) -> None:
    with pytest.raises(BadValue, match=reason) as refused:
        parse(FlowId("main"), 1, changed(path, value))
    assert refused.value.field == field


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


PLACES = ["start", "languages", "nodes", "nodes.menu", "nodes.menu.choices", "nodes.wait", "nodes.consent.yes"]


@given(path=st.sampled_from(PLACES), value=json)
def test_whatever_stands_there_it_is_parsed_or_refused(path: str, value: Any) -> None:
    try:
        result: Flow | str = parse(FlowId("main"), 1, changed(path, value))
    except BadValue as refused:
        result = refused.field
    assert isinstance(result, Flow) or result.startswith("graph")


def test_positions_have_a_sentence_each() -> None:
    assert [position_prompt(n) for n in (1, 20, 21, 400)] == [
        "position-1",
        "position-20",
        "position-more",
        "position-more",
    ]
