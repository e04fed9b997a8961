"""Values that are said: which prompts, in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialplans.prompts import texts_of
from pbx.domain.errors import BadValue
from pbx.domain.flow import parse
from pbx.domain.flow_check import loops
from pbx.domain.ids import FlowId
from pbx.domain.spoken import MOST, NUMBERS, How, Spoken, number
from tests.support.world import CALLER, World
from tests.unit.test_call_nodes import flow


def words(text: str, language: str) -> str:
    return " ".join(texts_of(language)[prompt] for prompt in number(text))


@pytest.mark.parametrize(
    ("text", "english", "german"),
    [
        ("0", "zero", "null"),
        ("1", "one", "eins"),
        ("21", "twenty-one", "einundzwanzig"),
        ("100", "one hundred", "ein hundert"),
        ("101", "one hundred one", "ein hundert eins"),
        ("999", "nine hundred ninety-nine", "neun hundert neunundneunzig"),
        ("1000", "one thousand", "ein tausend"),
        ("2017", "two thousand seventeen", "zwei tausend siebzehn"),
        ("101000", "one hundred one thousand", "ein hundert ein tausend"),
        ("654321", "six hundred fifty-four thousand three hundred twenty-one",
         "sechs hundert vierundfünfzig tausend drei hundert einundzwanzig"),
        ("1000000", "one zero zero zero zero zero zero", "eins null null null null null null"),
        ("-12.50", "minus twelve point five zero", "minus zwölf Komma fünf null"),
        ("007", "seven", "sieben"),
    ],
)  # fmt: skip
def test_numbers(text: str, english: str, german: str) -> None:
    assert words(text, "en") == english
    assert words(text, "de") == german


@pytest.mark.parametrize("text", ["", " ", "none", "1e5", "1,5", "--1", "٣"])
def test_what_is_no_number_is_not_said(text: str) -> None:
    assert number(text) == ()


@given(st.integers(-MOST, MOST))
def test_every_number_is_said_by_prompts_that_there_are_and_never_like_another(value: int) -> None:
    said = number(str(value))
    assert set(said) <= set(NUMBERS)
    assert said != number(str(value + 1))


def test_digits_of_what_is_set() -> None:
    values: dict[str, Any] = {"account": "40-7 1", "number": 42}
    said = Spoken(How.DIGITS, "{account}{number}{nothing}").prompts(values.get)
    assert said == ("number-4", "number-0", "number-7", "number-1", "number-4", "number-2")


SAY: dict[str, Any] = {
    "type": "say", "prompts": ["greeting", {"digits": "{caller}"}, {"number": "{none}"}], "next": "end"
}  # fmt: skip
END: dict[str, Any] = {"end": {"type": "hang_up"}}


async def test_a_caller_hears_values_among_prompts(tmp_path: Path) -> None:
    """And the journal has none of them."""
    async with World(tmp_path, flow(node=SAY, **END)) as world:
        caller = await world.call(CALLER)
        await world.ended(caller)
        assert caller.heard == ["de/greeting", *(f"de/number-{digit}" for digit in CALLER[1:])]
        rows = b"".join(bytes(event.data) for event in world.journal.read_call(world.call_id(caller)))
        assert b"number-4" not in rows


async def test_a_node_that_has_nothing_to_say_is_passed(tmp_path: Path) -> None:
    async with World(tmp_path, flow(node={**SAY, "prompts": [{"number": "{none}"}]}, **END)) as world:
        caller = await world.call()
        assert ((await world.ended(caller)).nodes, caller.heard) == (["node", "end"], [])


def test_it_needs_prompts_and_may_spin() -> None:
    graph = flow(node=SAY, **END)
    assert {"greeting", "number-0", "number-99", "number-thousand"} <= parse(FlowId("f"), 1, graph).prompt_ids()
    loop = flow(
        node={**SAY, "prompts": [{"number": "{none}"}], "next": "other"},
        other={**SAY, "prompts": [{"digits": "{a}"}], "next": "node"},
    )
    assert any("can spin" in problem.reason for problem in loops(parse(FlowId("f"), 1, loop)))


@pytest.mark.parametrize(
    ("said", "place", "reason"),
    [
        ({"digits": "{Account}"}, "prompts.0.digits", "must be a variable's name"),
        ({"digits": ""}, "prompts.0.digits", "must be a text"),
        ({"number": 5}, "prompts.0.number", "must be a text"),
        ({"letters": "{a}"}, "prompts.0", "a value to say"),
        ({"digits": "{a}", "number": "{a}"}, "prompts.0", "a value to say"),
        (7, "prompts.0", "a value to say"),
        ("", "prompts.0", "a value to say"),
    ],
)
def test_refused(said: Any, place: str, reason: str) -> None:
    with pytest.raises(BadValue, match=reason) as refused:
        parse(FlowId("f"), 1, flow(node={**SAY, "prompts": [said]}, **END))
    assert refused.value.field == f"graph.nodes.node.{place}"
