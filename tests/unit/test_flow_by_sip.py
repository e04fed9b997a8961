"""``callplane flow test --sip``: what needs no POP. The rest is in ``tests/e2e/test_flow_cases_by_sip.py``."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pbx.domain.hangup_cause import HangupCause
from pbx.simulation.flows import cli
from pbx.simulation.flows.sip import phone
from pbx.simulation.flows.sip.centre import SeenCall
from pbx.simulation.flows.sip.ear import RATE, Ear, Samples, read_alaw, read_recording
from tests.unit.test_flow_cases import suite_of

NOISE = np.random.default_rng(7)


def speech(seconds: float) -> Samples:
    """Something that resembles nothing else."""
    return NOISE.normal(0.0, 0.1, round(seconds * RATE))


SHARED = speech(1.5)
PROMPTS: dict[str, Samples] = {
    "de/greeting": speech(2.0),
    "de/menu": speech(3.0),
    "de/short": speech(0.5),
    "de/position-1": np.concatenate((SHARED, speech(0.7))),
    "de/position-2": np.concatenate((SHARED, speech(0.9))),
}


def heard(*pieces: Samples) -> Samples:
    gap = np.zeros(RATE // 4)
    sound = np.concatenate([part for piece in pieces for part in (gap, piece)])
    return sound + NOISE.normal(0.0, 0.005, len(sound))


def all_of(ear: Ear, sound: Samples) -> list[str]:
    """As the recording grows by 0.1 s at a time."""
    found = []
    for end in range(RATE // 10, len(sound) + RATE // 10, RATE // 10):
        if (name := ear.next(sound[:end], over=False)) is not None:
            found.append(name)
    while (name := ear.next(sound, over=True)) is not None:
        found.append(name)
    return found


def test_prompts_are_told_in_order_whatever_is_between() -> None:
    sound = heard(
        PROMPTS["de/greeting"][: round(1.2 * RATE)], speech(5.0), PROMPTS["de/menu"], PROMPTS["de/menu"],
        PROMPTS["de/short"], PROMPTS["de/position-2"], speech(1.0), PROMPTS["de/position-1"],
    )  # fmt: skip
    menu_twice = ["de/greeting", "de/menu", "de/menu"]
    assert all_of(Ear(PROMPTS), sound) == [*menu_twice, "de/short", "de/position-2", "de/position-1"]


def test_what_was_cut_too_early_and_what_is_no_prompt_is_not_heard() -> None:
    sound = heard(PROMPTS["de/greeting"][: RATE // 2], speech(4.0), np.zeros(RATE))
    assert all_of(Ear(PROMPTS), sound) == []
    assert Ear(PROMPTS).next(np.zeros(0), over=False) is None


def test_a_recording_is_read_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "dump.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.array([0, 16384, -16384], dtype="<i2").tobytes())
    with path.open("ab") as file:
        file.write(b"\x00\x40\x00")
    assert read_recording(path).tolist() == [0.0, 0.5, -0.5, 0.5]
    (tmp_path / "empty").write_bytes(b"RI")
    assert len(read_recording(tmp_path / "empty")) == 0


def test_alaw_is_that_of_the_standard() -> None:
    """G.711, table 1a: the least and the greatest values, and one of each sign in between."""
    assert (read_alaw(bytes([0xD5, 0x55, 0xAA, 0x2A, 0xC5])) * 32768).tolist() == [8, -8, 32256, -32256, 264]


def offered(call: SeenCall, call_id: str = "c1", did: str = "+4930", number: str | None = "+49170") -> None:
    kind = "number" if number else "withheld"
    call.take("LegOffered", call_id, {"did": did, "cli": {"kind": kind, "number": number}})


def test_the_call_is_known_by_its_numbers_and_followed() -> None:
    call = SeenCall("+4930", "+49170")
    offered(call, did="+4931")
    offered(call, number=None)
    for kind in ("NodeEntered", "CallEnded"):
        call.take(kind, None, {})
    unknown = call.call_id
    offered(call)
    offered(call, "c2")
    assert (unknown, call.call_id) == (None, "c1")
    for kind, call_id, data in [
        ("NodeEntered", "c1", {"node": "menu"}),
        ("NodeEntered", "c2", {"node": "other"}),
        ("NodeEntered", "c1", {"node": "wait"}),
        ("QueueJoined", "c1", {"queue_id": "support"}),
    ]:
        call.take(kind, call_id, data)
    assert (call.nodes, call.queue, call.talking) == (["menu", "wait"], "support", False)
    call.take("QueueOverflowed", "c1", {"queue_id": "backup"})
    call.take("TalkStarted", "c1", {"queue_id": "backup"})
    assert (call.queue, call.talking, call.cause) == ("backup", True, None)
    call.take("CallEnded", "c1", {"cause": 17})
    assert (call.queue, call.cause) == (None, HangupCause.USER_BUSY)


def command(tmp_path: Path, *more: str) -> int:
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(suite_of("hangs_up")), encoding="utf-8")
    return cli.main(["test", str(path), "--sip", *more])


GIVEN = ["--centre", "http://127.0.0.1:9", "--did", "+49305550100", "--pop", "127.0.0.1:5060"]


@pytest.mark.parametrize(
    ("program", "more", "says"),
    [
        (True, [], "--centre: is missing; --sip needs it"),
        (True, GIVEN, "--token-file: is missing"),
        (True, [*GIVEN, "--token-file", "TOKEN", "--did", "030"], "--did: is not an E.164 number"),
        (True, [*GIVEN, "--token-file", "TOKEN", "--pop", "host:x"], "--pop: must be a host, or host:port"),
        (True, [*GIVEN, "--token-file", "none"], "none: cannot be read"),
        (True, [*GIVEN, "--token-file", "TOKEN"], "--centre: cannot be used"),
        (False, [*GIVEN, "--token-file", "TOKEN"], "needs the program baresip on PATH"),
    ],
)
def test_what_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, program: bool, more: list[str], says: str
) -> None:
    (tmp_path / "bin").mkdir()
    if program:
        (tmp_path / "bin" / "baresip").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "TOKEN").write_text("secret-token\n")
    assert command(tmp_path, *more) == cli.UNUSABLE
    said = capsys.readouterr().err
    assert says in said
    assert "secret-token" not in said


def test_the_phone_is_looked_for_on_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "baresip").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert phone.program() == str(tmp_path / "baresip")
