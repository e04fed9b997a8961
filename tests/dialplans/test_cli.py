"""The commands: what they print, what they write, and the exit status."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dialplans import cli
from tests.dialplans.pops import BERLIN

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def pop_file(tmp_path: Path) -> Path:
    path = tmp_path / "pop.yml"
    path.write_text(yaml.safe_dump(BERLIN.model_dump()))
    return path


def test_render_writes_once_and_check_sees_differences(pop_file: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "etc"
    arguments = ["--pop", str(pop_file), "--out", str(out)]
    assert cli.render([*arguments, "--check"]) == 1
    assert not out.exists()
    assert cli.render(arguments) == 0
    assert (out / "extensions.conf").stat().st_mode & 0o007 == 0
    capsys.readouterr()
    assert cli.render([*arguments, "--check"]) == 0
    assert cli.render(arguments) == 0
    assert " 0 written" in capsys.readouterr().out
    (out / "extensions.conf").write_text("changed by hand")
    assert cli.render([*arguments, "--check"]) == 1
    assert "differs: extensions.conf" in capsys.readouterr().out
    assert (out / "extensions.conf").read_text() == "changed by hand"


def test_render_makes_files_for_the_engine_asked_for(pop_file: Path, tmp_path: Path, capsys: Capture) -> None:
    arguments = ["--pop", str(pop_file), "--out", str(tmp_path / "etc")]
    assert cli.render([*arguments, "--engine", "freeswitch"]) == 0
    assert (tmp_path / "etc" / "freeswitch.xml").exists()
    assert not (tmp_path / "etc" / "extensions.conf").exists()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("pop_id: berlin", "pop.country"),
        ("[", "not YAML"),
        ("- 1", "pop"),
        (yaml.safe_dump(BERLIN.model_dump() | {"country": "XX"}), "country XX"),
        (yaml.safe_dump(BERLIN.model_dump() | {"area_code": "030"}), "pop.area_code"),
        (yaml.safe_dump(BERLIN.model_dump() | {"color": "red"}), "pop.color"),
    ],
)
def test_a_pop_at_fault_writes_nothing(text: str, named: str, pop_file: Path, capsys: Capture) -> None:
    pop_file.write_text(text)
    out = pop_file.parent / "etc"
    assert cli.render(["--pop", str(pop_file), "--out", str(out)]) == 1
    assert named in capsys.readouterr().err
    assert not out.exists()


def test_a_missing_pop_file_is_named(tmp_path: Path, capsys: Capture) -> None:
    assert cli.render(["--pop", str(tmp_path / "none.yml"), "--out", str(tmp_path)]) == 1
    assert "none.yml" in capsys.readouterr().err


def test_country_shows_the_facts(capsys: Capture) -> None:
    assert cli.country(["DE"]) == 0
    assert "opt_in" in capsys.readouterr().out
    assert cli.country(["de", "--html"]) == 0
    assert "StGB" in capsys.readouterr().out
    assert cli.country(["XX"]) == 1
    assert "no pack" in capsys.readouterr().err


def test_prompts_list_and_build(tmp_path: Path, capsys: Capture) -> None:
    assert cli.prompts(["list", "--language", "en"]) == 0
    assert "en\tfallback\t" in capsys.readouterr().out
    assert cli.prompts(["build", "--dir", str(tmp_path), "--language", "en"]) == 0
    assert (tmp_path / "en" / "fallback.alaw").exists()
    assert cli.prompts(["build", "--dir", str(tmp_path), "--language", "xx"]) == 1
    assert "language xx" in capsys.readouterr().err


def test_wrong_usage_is_status_2() -> None:
    with pytest.raises(SystemExit) as ended:
        cli.prompts([])
    assert ended.value.code == 2
