"""A drill comes into a lab only, and says what to do where there is none."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path

import pytest

from tests.chaos import door
from tests.lab import net
from tests.lab.errors import LabError


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where labs would keep their doors; others on this machine are not seen."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def _with_door(number: int) -> socket.socket:
    path = net.Slot(number).directory / door.SOCKET
    path.parent.mkdir()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    return listening


def _claim(number: int) -> socket.socket:
    claim = socket.socket(socket.AF_UNIX)
    claim.bind(f"\0callplane-lab-{number}")
    return claim


def _free() -> int:
    return next(number for number in reversed(range(net.SLOTS)) if not net.in_use(number))


def test_without_a_lab_it_is_said_how_to_have_one(temporary: Path) -> None:
    with pytest.raises(LabError, match="start one: make demo, or callplane drill --hold"):
        door.door_of("any")


def test_a_door_that_a_killed_lab_left_is_none(temporary: Path) -> None:
    number = _free()
    with _with_door(number):
        assert door.doors() == {}


@pytest.mark.parametrize("name", ["de-ber-1", "pop1.example.org", "198.18.0.2", "../1", "-1", "63x", ""])
def test_a_site_is_refused_by_its_name(temporary: Path, name: str) -> None:
    number = _free()
    with _with_door(number), _claim(number):
        assert list(door.doors()) == [number]
        assert door.door_of("any") == door.door_of(str(number))
        with pytest.raises(LabError, match=r"is no running lab.*playbook failover_drill"):
            door.door_of(name)


def test_a_lab_that_does_not_run_is_refused(temporary: Path) -> None:
    number = _free()
    with _with_door(number), _claim(number), pytest.raises(LabError, match="is no running lab"):
        door.door_of(str(number - 1))
