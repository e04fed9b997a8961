"""What the command line shows: on one line, whatever a name holds, and nothing cut in a pipe."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.command_line.columns import engine, grants, health, stage
from orchestrator.command_line.output import Column, Output, cell


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        ("", "-"),
        ([], "-"),
        ({}, "-"),
        (0, "0"),
        (False, "no"),
        (True, "yes"),
        (12.345, "12.3"),
        ({"lang:de": 3, "sales": 1}, "lang:de=3 sales=1"),
        (["de", "en"], "de, en"),
        ([{"after_s": 5}], '[{"after_s": 5}]'),
        ({"mon": ["09:00-17:00"]}, '{"mon": ["09:00-17:00"]}'),
        ("two\nlines \x1b[31m", "two\\x0alines \\x1b[31m"),
        ("[red]Müller[/red]", "[red]Müller[/red]"),
    ],
)
def test_a_cell_is_one_printable_line(value: Any, shown: str) -> None:
    assert cell(value) == shown


def test_a_pipe_gets_every_row_whole(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 500
    columns = (Column("name", "name"), Column("n", "n", right=True))
    Output(as_json=False).table(columns, [{"name": long, "n": 1}, {"name": "[bold]y", "n": 22}])
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "name".ljust(502) + " n",
        long + "   1",
        "[bold]y".ljust(502) + "22",
    ]


def test_a_resource_with_parts_is_a_list_of_fields_and_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).record({"name": "Sales", "steps": [{"after_s": 5, "action": {"type": "x\x1b"}}], "hours": {}})
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["name   Sales", "hours  -", "steps:", "- after_s: 5", "  action:", '    type: "x\\e"']


POP = {
    "last_seen_at": "2026-11-29T13:00:00Z",
    "connected": True,
    "engine_up": True,
    "config_errors": {},
    "phones_pending": 0,
    "seconds_behind": 0.0,
}


@pytest.mark.parametrize(
    ("change", "words", "server"),
    [
        ({}, "ok", "up"),
        ({"last_seen_at": None, "engine_up": None}, "never heard of", None),
        ({"connected": False}, "away", "up"),
        ({"engine_up": False}, "media server down", "down"),
        ({"config_errors": {"flow.main": "x"}}, "1 configuration error", "up"),
        ({"config_errors": {"a": "x", "b": "y"}, "seconds_behind": 60.0}, "2 configuration errors, behind", "up"),
        ({"phones_pending": 1}, "1 phone to come", "up"),
        ({"phones_pending": 2, "seconds_behind": 60.0}, "2 phones to come, behind", "up"),
        ({"clock_ahead_s": 30.2}, "clock 30 s fast", "up"),
        ({"clock_ahead_s": -7200.0}, "clock 7200 s slow", "up"),
        ({"clock_ahead_s": -0.3}, "ok", "up"),
        ({"clock_ahead_s": None}, "ok", "up"),
    ],
)
def test_how_a_pop_is(change: dict[str, Any], words: str, server: str | None) -> None:
    assert (health({**POP, **change}), engine({**POP, **change})) == (words, server)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({}, "arriving"),
        ({"answered_at": "t"}, "in the flow"),
        ({"queued_at": "t"}, "waiting"),
        ({"queued_at": "t", "offers": [{"ended_at": "t"}, {"ended_at": None}]}, "ringing"),
        ({"talk_started_at": "t", "talks": [{"ended_at": None}], "offers": [{"ended_at": "t"}]}, "talking"),
        ({"talk_started_at": "t", "talks": [{"ended_at": "t"}]}, "after the conversation"),
        ({"talk_started_at": "t", "parks": [{"ended_at": None, "slot": 703}]}, "parked 703"),
        ({"ended_at": "t", "end_reason": "draining"}, "draining"),
        ({"ended_at": "t", "end_reason": "caller_hung_up", "abandoned": True}, "abandoned"),
    ],
)
def test_how_far_a_call_has_come(call: dict[str, Any], words: str) -> None:
    assert stage(call) == words


def test_grants_in_short() -> None:
    found = [
        {"role": "admin", "units": None, "regions": None, "agent_id": None},
        {"role": "supervisor", "units": ["sales"], "regions": ["eu"], "agent_id": None},
        {"role": "agent", "units": None, "regions": None, "agent_id": "01J"},
    ]
    assert grants({"grants": found}) == ["admin", "supervisor(sales eu)", "agent(01J)"]
