"""All problems of a flow, each at its place; the schema beside the parser."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.domain.errors import BadValue
from pbx.domain.flow import parse
from pbx.domain.flow_check import examine, loops, references
from pbx.domain.flow_schema import fields_of, schema
from pbx.domain.ids import FlowId
from tests.support.world import FLOW
from tests.unit.test_flow import PLACES, json

SAY = {"type": "say", "prompts": ["greeting"]}
MUTE = {"type": "say", "prompts": []}
BYE = {"type": "hang_up"}


def flow_of(**nodes: Any) -> dict[str, Any]:
    return {"start": next(iter(nodes)), "languages": ["en"], "nodes": nodes}


def found(graph: Any) -> dict[str, str]:
    return {problem.place: f"{problem.reason} | {problem.advice}" for problem in examine(graph).problems}


def test_a_good_flow_has_no_problems_and_is_read_whole() -> None:
    examined = examine(FLOW)
    assert examined.problems == ()
    assert examined.flow is not None
    assert examined.flow.nodes == parse(FlowId("f"), 1, FLOW).nodes


def test_all_problems_at_once() -> None:
    graph = copy.deepcopy(FLOW)
    nodes = graph["nodes"]
    nodes["menu"]["promt"] = nodes["menu"].pop("prompt")
    nodes["menu"]["choices"] |= {"1": "consnt", "x": "consent"}
    nodes["menu"]["tries"] = 0
    nodes["goodbye"]["cause"] = "BAD"
    nodes["full"]["type"] = "hangup"
    nodes["language"]["choices"]["3"] = "fr"
    nodes["wait"]["max_wait_s"] = 10
    nodes["island"] = BYE
    graph["start"] = "greting"
    graph["surprise"] = 1
    problems = found(graph)
    assert set(problems) == {
        "graph.start",
        "graph.surprise",
        "graph.nodes.menu.prompt",
        "graph.nodes.menu.promt",
        "graph.nodes.menu.choices.1",
        "graph.nodes.menu.choices.x",
        "graph.nodes.menu.tries",
        "graph.nodes.goodbye.cause",
        "graph.nodes.full.type",
        "graph.nodes.language.choices.3",
        "graph.nodes.wait.on_timeout",
    }, "without a start nobody can say what is reached"
    assert problems["graph.start"].endswith("did you mean greeting?")
    assert problems["graph.nodes.menu.promt"].endswith("did you mean prompt?")
    assert problems["graph.nodes.menu.choices.1"] == "names no node of this flow | did you mean consent?"
    assert "it is 'hangup'" in problems["graph.nodes.full.type"]


@pytest.mark.parametrize(
    "graph", [None, [], {}, {"nodes": [], "start": ""}, {"nodes": {}}, {"start": 3, "nodes": {"a": None}}]
)
def test_what_is_no_graph(graph: Any) -> None:
    assert examine(graph).problems


ANYWHERE = [
    *PLACES,
    "nodes.full",
    "nodes.menu.promt",
    "nodes.full.prompts",
    "nodes.wait.queue",
    "nodes.language.choices",
]


@given(st.lists(st.tuples(st.sampled_from(ANYWHERE), json), max_size=4))
def test_what_the_parser_refuses_is_among_the_problems_and_nothing_else_is_a_problem(faults: list[Any]) -> None:
    graph = copy.deepcopy(FLOW)
    for path, value in faults:
        *parents, last = path.split(".")
        place: Any = graph
        for name in parents:
            place = place.get(name) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place[last] = value
    examined = examine(graph)
    try:
        refused = None
        parse(FlowId("f"), 1, graph)
    except BadValue as error:
        refused = error.field
    if refused is None:
        assert examined.flow is not None
        assert list(examined.problems) == loops(examined.flow)
    else:
        assert refused in [problem.place for problem in examined.problems]


def test_unreached_nodes_are_all_named() -> None:
    problems = found(flow_of(a={**SAY, "next": "end"}, b={**SAY, "next": "c"}, c=BYE, end=BYE))
    assert {place: text.split(" |")[0] for place, text in problems.items()} == {
        "graph.nodes.b": "is not reached from the start",
        "graph.nodes.c": "is not reached from the start",
    }


def test_what_a_broken_node_leads_to_is_believed_reached() -> None:
    broken = {"type": "dance", "next": "end"}
    assert list(found(flow_of(a=broken, end=BYE))) == ["graph.nodes.a.type"]


def test_a_loop_without_a_way_out() -> None:
    menu = {"type": "menu", "prompt": "menu", "choices": {"1": "b"}, "on_failure": "a"}
    problems = found(flow_of(a={**SAY, "next": "m"}, m=menu, b={**SAY, "next": "m"}))
    assert list(problems) == ["graph.nodes.a"]
    assert "without a way out: a, m, b | let one of them lead" in problems["graph.nodes.a"]


def test_a_loop_with_a_way_out_is_fine() -> None:
    menu = {"type": "menu", "prompt": "menu", "choices": {"1": "a", "2": "end"}, "on_failure": "a"}
    assert found(flow_of(a={**SAY, "next": "m"}, m=menu, end=BYE)) == {}


@pytest.mark.parametrize("missing", [{"type": "dance"}, None])
def test_a_loop_whose_way_out_cannot_be_read_is_not_called_endless(missing: Any) -> None:
    menu = {"type": "menu", "prompt": "menu", "choices": {"1": "out"}, "on_failure": "m"}
    graph = flow_of(m=menu, **({"out": missing} if missing else {}))
    assert not any("loop" in text for text in found(graph).values())


def test_loops_that_spin() -> None:
    """A queue may refuse at once, consent may have nothing to ask, a say may have nothing to say."""
    queue = {"type": "queue", "queue": "q", "on_refused": "mute", "max_wait_s": 5, "on_timeout": "end"}
    problems = found(flow_of(q=queue, mute={**MUTE, "next": "c"}, c={"type": "consent", "next": "q"}, end=BYE))
    assert list(problems) == ["graph.nodes.q"]
    assert "can spin, playing nothing and waiting for nobody: q, mute, c" in problems["graph.nodes.q"]


def test_a_queue_that_is_tried_again_after_a_prompt_or_a_wait_does_not_spin() -> None:
    patient = {"type": "queue", "queue": "q", "on_refused": "end", "max_wait_s": 5, "on_timeout": "q"}
    assert found(flow_of(q=patient, end=BYE)) == {}
    told = {"type": "queue", "queue": "q", "on_refused": "a"}
    assert found(flow_of(q=told, a={**SAY, "next": "q"})) == {}


def test_a_mailbox_where_nothing_may_be_recorded_spins_with_a_queue_that_refuses() -> None:
    mailbox = {"type": "voicemail", "mailbox": "m", "next": "end", "on_failure": "q"}
    problems = found(flow_of(q={"type": "queue", "queue": "q", "on_refused": "m"}, m=mailbox, end=BYE))
    assert "waiting for nobody: q, m" in problems["graph.nodes.q"]
    assert (
        found(flow_of(q={"type": "queue", "queue": "q", "on_refused": "end", "after": "m"}, m=mailbox, end=BYE)) == {}
    )


def test_names_of_nodes_may_hold_dots() -> None:
    problems = found(flow_of(**{"a.b": {**SAY, "next": "gone"}, "a": BYE}))
    assert problems["graph.nodes.a.b.next"] == "names no node of this flow | add a node gone, or lead elsewhere"


def test_without_nodes_the_rest_is_looked_at_all_the_same() -> None:
    assert list(found({"start": "a", "languages": 3, "": 1})) == ["graph.nodes", "graph.languages", "graph."]


def test_every_bad_item_of_a_list_is_named_at_its_place() -> None:
    problems = found(flow_of(a={"type": "hang_up", "prompts": ["", 3, "greeting", None]}))
    assert list(problems) == [f"graph.nodes.a.prompts.{at}" for at in (0, 1, 3)]


def test_queues_and_prompts_that_nobody_has() -> None:
    flow = examine(FLOW).flow
    assert flow is not None
    everything = flow.prompt_ids()
    catalogue = {"de": everything - {"menu", "queue-full"}, "en": everything | {"menus"}}
    problems = {p.place: p for p in references(flow, FLOW, {"suport"}, catalogue)}
    assert {place: problem.reason for place, problem in problems.items()} == {
        "graph.nodes.menu.prompt": "prompt menu is missing in language de",
        "graph.nodes.full.prompts.0": "prompt queue-full is missing in language de",
        "graph.nodes.wait.queue": "there is no queue support",
    }
    assert problems["graph.nodes.wait.queue"].advice == "did you mean suport?"
    (language,) = references(flow, FLOW, None, {"de": everything})
    assert (language.place, language.reason) == ("graph.languages.1", "there are no prompts in language en")
    assert references(flow, FLOW, None, None) == []


def test_stand_ins_are_never_called_missing() -> None:
    graph = flow_of(
        a={"type": "menu", "choices": {"1": "b"}, "on_failure": "b"}, b={"type": "queue", "on_refused": "c"}
    )
    graph["nodes"]["c"] = BYE
    examined = examine(graph)
    assert examined.flow is not None
    known = examined.flow.prompt_ids()
    found = references(examined.flow, graph, set(), {"en": [p for p in known if p.isprintable()]})
    assert found == []


# --- the schema ---------------------------------------------------------------------------------------------------

KINDS = {kind["title"]: kind for kind in schema()["properties"]["nodes"]["additionalProperties"]["oneOf"]}


def test_the_schema_has_every_type_of_node() -> None:
    with pytest.raises(BadValue) as refused:
        parse(FlowId("f"), 1, flow_of(a={"type": "?"}))
    assert refused.value.reason.partition("known are ")[2].split(", ") == sorted(KINDS)


def sample(properties: dict[str, Any]) -> Any:
    if "const" in properties:
        return properties["const"]
    if "examples" in properties:
        return properties["examples"][0]
    if "default" in properties:
        return properties["default"]
    if "enum" in properties:
        return properties["enum"][0]
    return {"array": ["p"], "object": {"1": "end"}, "number": properties.get("minimum")}.get(properties["type"], "end")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_schema_says_of_each_node_what_the_parser_does(kind: str) -> None:
    full = {name: sample(properties) for name, properties in KINDS[kind]["properties"].items()}
    if kind == "language":
        full["choices"] = {"1": "en"}
    one_of = {"number"} if kind == "transfer" else set()
    for other in {"queue", "agent"} if one_of else ():
        del full[other]
    ends = kind in ("hang_up", "return")
    flow = parse(FlowId("f"), 1, flow_of(a=full) if ends else flow_of(a=full, end=BYE))
    fields = {field.name for field in dataclasses.fields(flow.nodes["a"])}
    if kind == "hours":
        fields.remove("hours")  # made of time_zone, weekly, special and holidays
    assert {name.removesuffix("_id") for name in fields} <= set(fields_of(kind))
    for name in KINDS[kind]["required"]:
        assert f"graph.nodes.a.{name}" in found(flow_of(a={k: v for k, v in full.items() if k != name}, end=BYE))
    needed = {name: full[name] for name in [*KINDS[kind]["required"], *one_of]}
    parse(FlowId("f"), 1, flow_of(a=needed) if ends else flow_of(a=needed, end=BYE))
    for name, properties in KINDS[kind]["properties"].items():
        for bound, beyond in (("minimum", -1), ("maximum", 1)):
            if bound in properties:
                assert f"graph.nodes.a.{name}" in found(flow_of(a={**full, name: properties[bound] + beyond}, end=BYE))
