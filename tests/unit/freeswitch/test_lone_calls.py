"""What FreeSWITCH's dialplan notes of calls without a controller, as lines that the controller reads."""

from __future__ import annotations

import pytest

from pbx.adapters.freeswitch.lone_calls import line
from pbx.controller.served_alone import fields_of, read
from pbx.domain.hangup_cause import HangupCause

LEG = "44dc68e8-829c-441e-81af-876ac1470f09"
BEGAN = "at=1800001000 number=+49305550777 shown= trunk=carrier phone=anna handed="


def test_a_call_that_was_answered() -> None:
    lines = [line(LEG, "began", BEGAN), line(LEG, "ended", "at=1800001030 q850=16 dial=SUCCESS since=1800001010")]
    assert None not in lines
    [call], going_on = read([one for one in lines if one is not None], lambda *_: False, 1800002000)
    assert (call.leg_id, call.began["phone"], call.handed) == (LEG, "anna", False)
    assert (call.cause, call.answered, call.talk_s) == (HangupCause.NORMAL_CLEARING, True, 20.0)
    assert going_on == []


@pytest.mark.parametrize(
    ("note", "cause"),
    [
        ("q850=17 dial=USER_BUSY since=0", HangupCause.USER_BUSY),
        ("q850=42 dial=NO_ANSWER since=", HangupCause.NO_ANSWER),
        ("q850=16 dial=ORIGINATOR_CANCEL since=0", HangupCause.NORMAL_CLEARING),
        ("q850=21 dial= since=", HangupCause.CALL_REJECTED),
    ],
)
def test_why_one_was_not(note: str, cause: HangupCause) -> None:
    made = line(LEG, "ended", f"at=1800001030 {note}")
    assert made is not None
    parsed = fields_of(made)
    assert parsed is not None
    assert (int(parsed[1]["cause"]), parsed[1]["talk"]) == (cause, "0")
    assert parsed[1]["dial"] != "ANSWER"


@pytest.mark.parametrize(("word", "note"), [("began", "x"), ("began", "a=1\nended leg=2"), ("ended", "at=now q850=16")])
def test_what_no_dialplan_of_ours_wrote_is_no_line(word: str, note: str) -> None:
    assert line(LEG, word, note) is None
