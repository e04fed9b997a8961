"""Readers of the nodes that collect, compute, decide, ask elsewhere and run other flows."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pbx.domain.e164 import e164
from pbx.domain.errors import BadValue
from pbx.domain.flow_nodes import (
    Branch,
    CheckHours,
    Collect,
    Comparison,
    Condition,
    LookUp,
    Node,
    Return,
    RunFlow,
    SetVariables,
    Transfer,
)
from pbx.domain.flow_reader import Reader, literal
from pbx.domain.hours_parse import opening_hours, place
from pbx.domain.ids import FlowId, QueueId
from pbx.domain.variables import Value, template, variable_name

MAX_DIGITS = 32
METHODS = ("GET", "POST", "PUT")

_URL = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?(/[!-~]*)?")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_NOT_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "accept-encoding"})


def collect(r: Reader) -> Node:
    lowest = r.whole("min_digits", 1, 1, MAX_DIGITS)
    terminator = r.one_of("terminator", ("#", "*", "none"), "#")
    return Collect(
        prompts=r.texts("prompts"),
        variable=r.variable("variable"),
        next=r.text("next"),
        on_failure=r.text("on_failure"),
        min_digits=lowest,
        max_digits=r.whole("max_digits", max(lowest, 20), lowest, MAX_DIGITS),
        terminator=None if terminator == "none" else terminator,
        timeout_s=r.seconds("timeout_s", 5.0, 1, 60),
        digit_timeout_s=r.seconds("digit_timeout_s", 3.0, 0.5, 60),
        tries=r.whole("tries", 3, 1, 9),
        barge_in=r.flag("barge_in", True),
        keep=r.flag("keep", False),
        invalid_prompt=r.text("invalid_prompt", "invalid-choice"),
        no_input_prompt=r.text("no_input_prompt", "no-input"),
    )


# --- variables ------------------------------------------------------------------------------------------------------


def set_variables(r: Reader) -> Node:
    values = r.mapping("values", "variable to value")
    if not values:
        raise BadValue(f"{r.field}.values", "must set at least one variable")
    for name, value in values.items():
        place = f"{r.field}.values.{name}"
        variable_name(name, place, writable=True)
        if isinstance(literal(value, place), str):
            template(value, place)
    return SetVariables(values=values, next=r.text("next"))


def branch(r: Reader) -> Node:
    conditions = tuple(_condition(item) for item in r.objects("conditions", "conditions"))
    if not conditions:
        raise BadValue(f"{r.field}.conditions", "must hold at least one condition")
    return Branch(conditions=conditions, otherwise=r.text("otherwise"))


def _condition(r: Reader) -> Condition:
    tests = [test for test in Comparison if test.value in r.data]
    if len(tests) != 1:
        raise BadValue(r.field, f"must have exactly one of {', '.join(test.value for test in Comparison)}")
    [test] = tests
    operand = _operand(r, test)
    return Condition(r.variable("variable", writable=False), test, operand, r.text("next"))


def _operand(r: Reader, test: Comparison) -> Value | tuple[Value, ...]:
    place = f"{r.field}.{test.value}"
    match test:
        case Comparison.PRESENT:
            return r.flag("present", True)
        case Comparison.PREFIX:
            return str(r.text("prefix"))
        case Comparison.LESS | Comparison.GREATER:
            return literal(r.take(test.value, (int, float), "a number", ...), place)
        case Comparison.EQUALS:
            return literal(r.data.pop("equals"), place)
        case Comparison.IN:
            values = r.take("in", list, "a list of texts and numbers", ...)
            if not values:
                raise BadValue(place, "must hold at least one value")
            return tuple(literal(value, f"{place}.{at}") for at, value in enumerate(values))


# --- opening hours --------------------------------------------------------------------------------------------------


def hours(r: Reader) -> Node:
    weekly = r.mapping("weekly", "weekday to intervals")
    special = r.mapping("special", "date to intervals", {})
    opening = opening_hours(r.text("time_zone"), weekly, special, r.texts("holidays", []), r.field)
    country = r.text("country", None)
    return CheckHours(
        hours=opening,
        open=r.text("open"),
        closed=r.text("closed"),
        holiday=r.text("holiday", None),
        country=None if country is None else place(country, f"{r.field}.country"),
    )


# --- elsewhere ------------------------------------------------------------------------------------------------------


def look_up(r: Reader) -> Node:
    url = template(r.text("url"), f"{r.field}.url")
    if not _URL.fullmatch(url):
        problem = "must be an https address; host and port hold no variables, and no user, space or fragment is in it"
        raise BadValue(f"{r.field}.url", problem)
    if "#" in url:
        raise BadValue(f"{r.field}.url", "must not have a fragment")
    method = r.one_of("method", METHODS, "GET")
    headers = r.templates("headers", "header to text")
    for name in headers:
        if not _HEADER.fullmatch(name) or name.lower() in _NOT_OURS:
            raise BadValue(f"{r.field}.headers.{name}", "is not a header that a lookup may set")
    send = r.templates("send", "field to text")
    if send and method == "GET":
        raise BadValue(f"{r.field}.send", "goes with the methods POST and PUT only")
    return LookUp(
        url=url,
        next=r.text("next"),
        on_failure=r.text("on_failure"),
        method=method,
        headers=headers,
        send=send,
        take=_paths(r),
        deadline_s=r.seconds("deadline_s", 3.0, 0.1, 10),
        keep=r.flag("keep", False),
    )


def _paths(r: Reader) -> Mapping[str, str]:
    paths = r.mapping("take", "variable to path")
    for name, path in paths.items():
        place = f"{r.field}.take.{name}"
        variable_name(name, place, writable=True)
        if not isinstance(path, str) or not all(path.split(".")):
            raise BadValue(place, "must be a path in the answer, as customer.phones.0 is")
    return paths


def run_flow(r: Reader) -> Node:
    return RunFlow(flow_id=FlowId(r.text("flow")), next=r.text("next"))


def transfer(r: Reader) -> Node:
    given = [name for name in ("number", "queue", "agent") if name in r.data]
    if len(given) != 1:
        raise BadValue(r.field, "must have exactly one of number, queue and agent")
    [target] = given
    text = template(r.text(target), f"{r.field}.{target}")
    if target == "number" and "{" not in text:
        e164(text, f"{r.field}.number")
    if target != "number" and "show_caller" in r.data:
        raise BadValue(f"{r.field}.show_caller", "goes with number only")
    if target == "queue" and "ring_s" in r.data:
        raise BadValue(f"{r.field}.ring_s", "goes with number and agent only")
    return Transfer(
        on_failure=r.text("on_failure"),
        number=text if target == "number" else None,
        queue_id=QueueId(text) if target == "queue" else None,
        agent=text if target == "agent" else None,
        ring_s=float(r.seconds("ring_s", 30.0, 5, 120)),
        show_caller=r.flag("show_caller", False),
    )


def return_(r: Reader) -> Node:
    return Return()
