"""``callplane flow test``: every kind of step, met and unmet, and files that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pbx.domain.flow import parse
from pbx.domain.ids import FlowId
from pbx.simulation.flows import cli, runner
from pbx.simulation.flows.case_file import read_suite
from pbx.simulation.flows.drawing import mermaid, svg
from pbx.simulation.flows.files import Unusable
from tests.support.world import FLOW, SHORT_FLOW

EXAMPLES = Path(runner.__file__).parent / "examples"


def suite_of(*steps: Any, **more: Any) -> dict[str, Any]:
    return {"flow": FLOW, "cases": [{"name": "the case", "steps": list(steps)}], **more}


def outcome(tmp_path: Path, suite: dict[str, Any]) -> runner.Outcome:
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(suite), encoding="utf-8")
    (result,) = runner.run_suite(read_suite(path))
    return result


@pytest.mark.parametrize(("example", "cases"), [("support", 6), ("after-hours", 4)])
def test_the_examples_pass(capsys: pytest.CaptureFixture[str], example: str, cases: int) -> None:
    assert cli.main(["test", str(EXAMPLES / f"{example}-cases.yml")]) == 0
    assert f"{cases} passed, 0 failed" in capsys.readouterr().out


def test_a_failing_case_says_which_step_and_what_happened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(suite_of({"presses": "1"}, {"hears": ["greeting", "goodbye"]})), encoding="utf-8")
    assert cli.main(["test", str(path)]) == 1
    said = capsys.readouterr().out
    assert (
        "the case: step 2 (hears greeting, goodbye): expected prompt goodbye; the caller heard de/menu. "
        "Heard so far: de/greeting, de/menu. At node: menu." in said
    )
    assert "0 passed, 1 failed" in said


TO_QUEUE: list[Any] = [{"presses": "111"}, {"waits": "7s"}, {"presses": "1"}]


@pytest.mark.parametrize(
    "steps",
    [
        [{"hears": ["greeting"]}, {"hears": "de/choose-language"}],
        [{"presses": "1"}, {"at": "menu"}],
        [{"presses": 11}, {"at": "consent"}, {"ends": {"at": "consent"}}],
        [{"waits": "1min"}, {"ends": {"hung_up": "NORMAL_CLEARING"}}],
        [*TO_QUEUE, {"ends": {"queue": "support"}}],
        [*TO_QUEUE, "agent_answers", {"ends": {"queue": "support"}}],
        [*TO_QUEUE, "agent_answers", "hangs_up", {"ends": {"hung_up": "NORMAL_CLEARING"}}],
        ["hangs_up", {"ends": {"hung_up": "NORMAL_CLEARING"}}],
    ],
)
def test_steps_that_are_met(tmp_path: Path, steps: list[Any]) -> None:
    result = outcome(tmp_path, suite_of(*steps))
    assert result.failure is None, str(result.failure)


@pytest.mark.parametrize(
    ("steps", "number", "expected", "happened"),
    [
        ([{"hears": ["en/greeting"]}], 1, "prompt en/greeting", "heard de/greeting"),
        ([{"hears": ["greeting"]}, "hangs_up", {"hears": ["menu"]}], 3, "prompt menu", "hung up with NORMAL_CLEARING"),
        (["hangs_up", {"presses": "1"}], 2, "a call in which to press 1", "hung up"),
        (["hangs_up", "hangs_up"], 2, "a call to hang up", "hung up"),
        (["agent_answers"], 1, "waits for an agent", "hung up with NORMAL_CLEARING"),
        ([{"presses": "1"}, {"at": "wait"}], 2, "at node wait", "hung up with NORMAL_CLEARING"),
        ([{"waits": "90s"}, {"at": "goodbye"}], 2, "at node goodbye", "hung up"),
        ([{"ends": {"queue": "support"}}], 1, "in queue support", "hung up"),
        ([*TO_QUEUE, {"ends": {"hung_up": "NORMAL_CLEARING"}}], 4, "hung up with NORMAL_CLEARING", "the call goes on"),
        (["hangs_up", {"ends": {"hung_up": "USER_BUSY"}}], 2, "hung up with USER_BUSY", "NORMAL_CLEARING"),
    ],
)
def test_steps_that_are_not_met(tmp_path: Path, steps: list[Any], number: int, expected: str, happened: str) -> None:
    failure = outcome(tmp_path, suite_of(*steps)).failure
    assert failure is not None
    assert failure.step.number == number
    assert expected in failure.expected
    assert happened in failure.happened


def test_a_full_queue_refuses(tmp_path: Path) -> None:
    steps = [{"hears": ["queue-full"]}, {"ends": {"hung_up": "NORMAL_CLEARING"}}]
    full = suite_of(*steps, flow=SHORT_FLOW, queues={"support": {"max_waiting": 0}})
    assert outcome(tmp_path, full).failure is None
    open_queue = outcome(tmp_path, suite_of(*steps, flow=SHORT_FLOW)).failure
    assert open_queue is not None
    assert open_queue.happened == "the caller heard de/queue-welcome"


def test_the_did_and_the_caller_decide_language_and_consent(tmp_path: Path) -> None:
    did, caller = {"country": "GB", "language": "en"}, {"number": "withheld", "country": None}
    steps = [{"presses": "2"}, {"presses": "1"}, {"hears": ["en/greeting", "en/menu", "en/consent-ask"]}]
    assert outcome(tmp_path, suite_of(*steps, did=did, caller=caller)).failure is None


def test_the_flow_may_be_a_file_beside_the_cases(tmp_path: Path) -> None:
    (tmp_path / "flow.json").write_text(json.dumps(SHORT_FLOW), encoding="utf-8")
    assert outcome(tmp_path, suite_of({"ends": {"queue": "support"}}, flow="flow.json")).failure is None


@pytest.mark.parametrize(
    ("change", "place", "reason"),
    [
        ({"flow": None}, "flow", "is missing"),
        ({"flow": {**FLOW, "start": "gone"}}, "flow", "graph.start: names no node"),
        ({"flow": "none.yml"}, "none.yml", "No such file"),
        ({"surprise": 1}, "file.surprise", "is not known here"),
        ({"queues": []}, "queues", "must be an object"),
        ({"queues": {"sales": {}}}, "queues.sales", "is no queue of the flow"),
        ({"queues": {"support": {"color": 1}}}, "queues.support.color", "is not known"),
        ({"queues": {"support": {"max_waiting": "x"}}}, "queues.support", "max_waiting"),
        ({"queues": {"support": {"consent_floor": "x"}}}, "queues.support", "not a recording regime"),
        ({"did": {"language": "fr"}}, "did.language", "not among"),
        ({"did": {"country": "Germany"}}, "did.country", "country code"),
        ({"did": {"number": "110"}}, "did.number", "E.164"),
        ({"caller": {"number": "x"}}, "caller.number", "E.164"),
        ({"caller": {"country": 1}}, "caller.country", "country code"),
        ({"cases": []}, "cases", "at least one"),
        ({"cases": [3]}, "cases.0", "must be an object"),
        ({"cases": [{"steps": ["hangs_up"]}]}, "cases.0.name", "must be a text"),
        ({"cases": [{"name": "x", "steps": []}]}, "cases.0.steps", "at least one"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, change: dict[str, Any], place: str, reason: str) -> None:
    with pytest.raises(Unusable, match=reason) as refused:
        outcome(tmp_path, {**suite_of("hangs_up"), **change})
    assert refused.value.place.endswith(place)


@pytest.mark.parametrize(
    ("step", "place", "reason"),
    [
        ("dances", "", "is not a step"),
        ({"dances": 1}, "", "is not a step"),
        ({"hears": ["x"], "waits": "5s"}, "", "is not a step"),
        ({"hears": []}, ".hears", "prompt ids"),
        ({"hears": [1]}, ".hears", "prompt ids"),
        ({"presses": "a"}, ".presses", "digits"),
        ({"presses": True}, ".presses", "digits"),
        ({"waits": 5}, ".waits", "such as 5s"),
        ({"waits": "0s"}, ".waits", "such as 5s"),
        ({"waits": "25000min"}, ".waits", "at most a day"),
        ({"at": "gone"}, ".at", "names no node"),
        ({"at": []}, ".at", "names no node"),
        ({"ends": "now"}, ".ends", "one of"),
        ({"ends": {"queue": "sales"}}, ".ends.queue", "names no queue"),
        ({"ends": {"at": "gone"}}, ".ends.at", "names no node"),
        ({"ends": {"hung_up": "BAD"}}, ".ends.hung_up", "Q.850"),
        ({"ends": {"hung_up": []}}, ".ends.hung_up", "Q.850"),
    ],
)
def test_steps_that_are_refused(tmp_path: Path, step: Any, place: str, reason: str) -> None:
    with pytest.raises(Unusable, match=reason) as refused:
        outcome(tmp_path, suite_of("hangs_up", step))
    assert refused.value.place == f"cases.0.steps.1{place}"


def test_nothing_comes_after_the_end(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="must be the last step") as refused:
        outcome(tmp_path, suite_of({"ends": {"at": "menu"}}, "hangs_up"))
    assert refused.value.place == "cases.0.steps.1"


def test_a_file_that_is_refused_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cases.yml"
    path.write_text("flow: none.yml", encoding="utf-8")
    assert cli.main(["test", str(path)]) == 2
    assert "none.yml" in capsys.readouterr().err


OUT: dict[str, Any] = {
    "start": "out",
    "languages": ["de"],
    "nodes": {
        "out": {"type": "transfer", "number": "+49305550999", "on_failure": "sorry"},
        "sorry": {"type": "hang_up", "prompts": ["goodbye"]},
    },
}


@pytest.mark.parametrize(
    ("numbers", "steps"),
    [
        ({}, [{"number_answers": "+49305550999"}, "hangs_up", {"ends": {"hung_up": "NORMAL_CLEARING"}}]),
        ({"+49305550999": "busy"}, [{"hears": "goodbye"}, {"ends": {"hung_up": "NORMAL_CLEARING"}}]),
        ({}, [{"waits": "29s"}, {"at": "out"}, {"hears": "goodbye"}, {"ends": {"at": "sorry"}}]),
    ],
)
def test_outside_numbers(tmp_path: Path, numbers: dict[str, str], steps: list[Any]) -> None:
    assert outcome(tmp_path, suite_of(*steps, flow=OUT, numbers=numbers)).failure is None


def test_a_number_that_does_not_answer_the_case_fails(tmp_path: Path) -> None:
    steps = [{"number_answers": "+49305550999"}]
    failure = outcome(tmp_path, suite_of(*steps, flow=OUT, numbers={"+49305550999": "busy"})).failure
    assert failure is not None
    assert "expected number +49305550999 being rung" in str(failure)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"numbers": {"030": "rings"}}, "numbers.030"),
        ({"numbers": {"+49305550999": "sings"}}, "numbers.+49305550999"),
        ({"numbers": []}, "numbers"),
        ({"cases": [{"name": "a", "steps": [{"number_answers": "+49305550111"}]}]}, "cases.0.steps.0.number_answers"),
    ],
)
def test_bad_numbers_in_a_case_file(tmp_path: Path, change: dict[str, Any], place: str) -> None:
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(suite_of("hangs_up", flow=OUT) | change), encoding="utf-8")
    with pytest.raises(Unusable) as refused:
        read_suite(path)
    assert refused.value.place == place


def test_a_transfer_is_drawn_with_where_it_leads() -> None:
    flow = parse(FlowId("out"), 1, OUT)
    assert "transfer +49305550999" in mermaid(flow, OUT)
    assert "transfer +49305550999" in svg(flow, OUT)
