"""``callplane flow``: what it prints, what it draws, and how it ends."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dialplans import prompts
from pbx.domain.flow_check import examine
from pbx.simulation.flows import cli, runner
from pbx.simulation.flows.drawing import mermaid, svg
from pbx.simulation.flows.files import read
from pbx.simulation.flows.layout import BOX_HEIGHT, lay_out, text_width

EXAMPLES = Path(runner.__file__).parent / "examples"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def _no_prompts_were_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def written(tmp_path: Path, data: Any, name: str = "flow.yml") -> str:
    path = tmp_path / name
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return str(path)


# --- check --------------------------------------------------------------------------------------------------------


def test_the_example_is_fine_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture, chart = tmp_path / "flow.svg", tmp_path / "flow.mmd"
    words = ["check", str(EXAMPLES / "support.yml"), "--svg", str(picture), "--mermaid", str(chart)]
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert "prompts: checked against the texts of this release" in said
    assert "queues: not checked (--queues); needed: support" in said
    assert "0 problems" in said
    root = ET.fromstring(picture.read_text(encoding="utf-8"))  # noqa: S314
    texts = {text.text for text in root.iter(f"{SVG}text")}
    assert {"greeting", "menu menu", "queue support", "on_timeout", "2, on_failure"} <= texts
    lines = chart.read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["flowchart TD", '  n0["greeting<br/>say greeting"]']
    assert '  n2 -- "9" --> n1' in lines


def test_problems_are_printed_with_place_reason_and_advice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = yaml.safe_load((EXAMPLES / "support.yml").read_text(encoding="utf-8"))
    graph["nodes"]["goodbye"]["prompts"] = ["good-bye"]
    graph["nodes"]["menu"]["on_failure"] = "godbye"
    graph["nodes"]["menu"]["choices"] = {"1": "consent", "2": "goodbye"}
    assert cli.main(["check", written(tmp_path, graph, "flow.json"), "--queues", "sales, help"]) == 1
    said = capsys.readouterr().out
    assert "graph.nodes.menu.on_failure: names no node of this flow (did you mean goodbye?)" in said
    assert "graph.nodes.goodbye.prompts.0: prompt good-bye is missing in language de (did you mean goodbye?)" in said
    assert "graph.nodes.wait.queue: there is no queue support (make the queue first)" in said
    assert "4 problems" in said
    assert "not checked" not in said


def test_what_the_rest_api_takes_is_read_too(tmp_path: Path) -> None:
    graph = yaml.safe_load((EXAMPLES / "support.yml").read_text(encoding="utf-8"))
    graph["nodes"]["language"]["choices"] = {"1": "de"}
    graph["nodes"]["menu"]["choices"] = {"1": "consent"}
    assert cli.main(["check", written(tmp_path, {"flow_id": "main", "graph": graph}), "--queues", "support"]) == 0


def test_a_graph_that_cannot_be_read_is_a_problem_and_nothing_is_said_to_be_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["check", written(tmp_path, "[]")]) == 1
    said = capsys.readouterr().out
    assert "graph: must be an object" in said
    assert "prompts and queues: not checked" in said


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "is not YAML"),
        ("a: 1\nb: 2\na: 3", "line 3: is not YAML: the key 'a' is there twice"),
        ("? [a]\n: 1", "a key must be a text"),
        ("a: &a [*a]", "is not YAML: found unconstructable recursive node"),
        ("a: !!timestamp 2026-01-01", "holds what JSON cannot hold"),
        ("!!python/name:os.system", "is not YAML"),
        ("[" * 5000, "is nested too deep"),
    ],
)
def test_files_that_are_no_yaml(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, reason: str) -> None:
    assert cli.main(["check", written(tmp_path, text)]) == 2
    assert reason in capsys.readouterr().err


def test_unreadable_files_and_directories(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = str(EXAMPLES / "support.yml")
    (tmp_path / "latin").write_bytes(b"\xff\xfe")
    for words, reason in (
        ([str(tmp_path / "none.yml")], "No such file"),
        ([str(tmp_path / "latin")], "is not UTF-8"),
        ([written(tmp_path, "{", "x.json")], "is not JSON"),
        ([good, "--prompts", str(tmp_path)], "holds no prompts"),
        ([good, "--svg", str(tmp_path / "no" / "x.svg")], "No such file"),
    ):
        assert cli.main(["check", *words]) == 2
        assert reason in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        cli.main(["dance"])
    assert left.value.code == 2


def test_prompts_that_were_made_are_what_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = {"text": "", "text_sha256": "", "sha256": "", "duration_ms": 1, "key": ""}
    some = {language: dict.fromkeys(ids - {"menu"}, made) for language, ids in prompts.catalogue().items()}
    (tmp_path / "manifest.json").write_text(json.dumps({"format": 1, "prompts": some, "music": {}}), encoding="utf-8")
    assert cli.main(["check", str(EXAMPLES / "support.yml"), "--prompts", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "graph.nodes.menu.prompt: prompt menu is missing in language en" in said
    assert f"checked against those made in {tmp_path}" in said


def test_without_a_catalogue_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> dict[str, frozenset[str]]:
        raise prompts.PromptError("prompts/de.yml: not YAML")

    monkeypatch.setattr(prompts, "catalogue", broken)
    assert cli.main(["check", str(EXAMPLES / "support.yml")]) == 0
    assert "prompts: NOT CHECKED, there is no catalogue: prompts/de.yml" in capsys.readouterr().out


def test_words_of_yaml_stay_words(tmp_path: Path) -> None:
    data = read(Path(written(tmp_path, "{no: 1, yes: on, 1: 17:30, a: 007, b: 5, c: 5.5, d: true, e: null, f: -2}")))
    assert data == {"no": 1, "yes": "on", "1": "17:30", "a": "007", "b": 5, "c": 5.5, "d": True, "e": None, "f": -2}


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Callplane flow"


# --- drawing ------------------------------------------------------------------------------------------------------

names = st.sampled_from(list("abcdefgh"))
graphs = st.dictionaries(names, st.dictionaries(st.sampled_from("123"), names), min_size=1)


@given(graphs)
def test_nothing_in_a_picture_lies_on_a_box(edges: dict[str, dict[str, str]]) -> None:
    texts = {name: (f"node {name}", "type") for name in edges}
    layout = lay_out(edges, next(iter(edges)), texts)
    assert layout == lay_out(edges, next(iter(edges)), texts)
    boxes = list(layout.boxes.values())
    for at, box in enumerate(boxes):
        assert 0 <= box.x <= box.x + box.width <= layout.width
        assert box.y + BOX_HEIGHT <= layout.height
        for other in boxes[at + 1 :]:
            assert box.y != other.y or box.x + box.width <= other.x or other.x + other.width <= box.x
    labels: list[tuple[float, float, float]] = []
    for arrow in layout.arrows:
        assert layout.boxes[arrow.source].layer < layout.boxes[arrow.target].layer or arrow.back
        x, y = arrow.label_at
        reach = text_width(arrow.label) / 2
        assert all(y != b or x + reach < a - r or a + r < x - reach for a, b, r in labels)
        labels.append((x, y, reach))
        for (x1, y1), (x2, y2) in zip(arrow.points, arrow.points[1:], strict=False):
            for box in boxes:
                inside_y = max(min(y1, y2), box.y) < min(max(y1, y2), box.y + BOX_HEIGHT) or (
                    y1 == y2 and box.y < y1 < box.y + BOX_HEIGHT
                )
                inside_x = max(min(x1, x2), box.x) < min(max(x1, x2), box.x + box.width) or (
                    x1 == x2 and box.x < x1 < box.x + box.width
                )
                assert not (inside_x and inside_y), f"{arrow.source} -> {arrow.target} runs through {box.name}"


def test_pictures_hold_any_name() -> None:
    graph = {
        "start": 'a "<b>" & c',
        "languages": ["en"],
        "nodes": {'a "<b>" & c': {"type": "hang_up", "prompts": ["x" * 50]}},
    }
    flow = examine(graph).flow
    assert flow is not None
    root = ET.fromstring(svg(flow, graph))  # noqa: S314
    assert [t.text for t in root.iter(f"{SVG}text")] == ['a "<b>" & c', "hang_up " + "x" * 21 + "…"]
    assert '["a #quot;#lt;b>#quot; #amp; c<br/>hang_up ' in mermaid(flow, graph)
