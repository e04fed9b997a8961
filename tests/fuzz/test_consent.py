"""Faults put into the program on purpose: the watch sees each of them. That it lets pass what is sound, and how often
it had something to look at: ``unit/test_consent_random.py``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from pbx.domain import call_recording
from pbx.domain.call import Call
from pbx.domain.call_recording import CallRecording
from pbx.domain.call_steps import ConsentStep
from pbx.domain.consent import ConsentEvidence, Regime, grant
from pbx.domain.ids import CallId, LegId
from pbx.recording.recorder import Recorder
from tests.fuzz.consent import Failed, run

Patch = pytest.MonkeyPatch
ROUNDS = 12
"""So many POPs at most, until a fault is seen."""


def _without(monkeypatch: Patch, owner: Any, name: str, text: str, instead: str = "") -> None:
    """The method as it is written, but for ``text``."""
    source = inspect.getsource(getattr(owner, name))
    lines = [line[4:] for line in source.splitlines()]
    changed = "\n".join(lines).replace(text, instead)
    assert changed != "\n".join(lines), f"{name} has no {text!r} any more"
    made: dict[str, Any] = {}
    exec(compile(changed, f"<{name} with a fault>", "exec"), vars(inspect.getmodule(owner)), made)  # noqa: S102
    monkeypatch.setattr(owner, name, made[name])


def transfer_ignores_the_agents_place(monkeypatch: Patch) -> None:
    monkeypatch.setattr(CallRecording, "_places", lambda self, parties: self._context.places)


def the_queues_floor_is_ignored(monkeypatch: Patch) -> None:
    _without(monkeypatch, CallRecording, "_evaluate", "strictest(places, floor)", "strictest(places)")


def a_grant_takes_any_answer(monkeypatch: Patch) -> None:
    def weak(call_id: Any, leg_id: Any, regime: Regime, evidence: Any, now: float) -> Any:
        stretched = None
        if isinstance(evidence, ConsentEvidence):
            stretched = ConsentEvidence("", "", "", 0, True, evidence.digit or "1", now, Regime.PROHIBITED)
        return grant(call_id, leg_id, regime, stretched, now)

    monkeypatch.setattr(call_recording, "grant", weak)


def a_cut_notice_counts(monkeypatch: Patch) -> None:
    _without(monkeypatch, ConsentStep, "played", "if not completed:\n        return", "if False:\n        return")


def cut_keys_count(monkeypatch: Patch) -> None:
    _without(monkeypatch, ConsentStep, "played", "if not completed:  # nobody", "if False:  # nobody")


def a_yes_cuts_the_way_out_short(monkeypatch: Patch) -> None:
    _without(monkeypatch, ConsentStep, "digit", "self.regime is Regime.OPT_IN or self.named", "True")


def no_is_overheard(monkeypatch: Patch) -> None:
    _without(monkeypatch, ConsentStep, "digit", "digit == self.node.no", "False")


def silence_is_yes(monkeypatch: Patch) -> None:
    _without(monkeypatch, ConsentStep, "timer", "self.regime is Regime.OPT_OUT", "True")

    def without_an_act(call_id: CallId, leg_id: LegId, regime: Regime, evidence: Any, now: float) -> Any:
        return grant(call_id, leg_id, min(regime, Regime.OPT_OUT), evidence, now)

    monkeypatch.setattr(call_recording, "grant", without_an_act)


def no_is_forgotten_where_the_law_does_not_ask(monkeypatch: Patch) -> None:
    _without(monkeypatch, CallRecording, "_evaluate", "if context.refused:", "if False:")


def a_pause_is_not_carried_out(monkeypatch: Patch) -> None:
    _without(monkeypatch, CallRecording, "pause", "self._context.do(cmd.PauseRecording", "(cmd.PauseRecording")


def a_part_begins_in_a_pause(monkeypatch: Patch) -> None:
    _without(monkeypatch, CallRecording, "begin", "if self.paused:", "if False:")


def a_pause_that_failed_is_believed(monkeypatch: Patch) -> None:
    monkeypatch.setattr(CallRecording, "pause_failed", lambda self, recording_id: None)


def who_joins_is_let_in_at_once(monkeypatch: Patch) -> None:
    monkeypatch.setattr(CallRecording, "joins", lambda *a, **k: True)


def a_stop_is_forgotten(monkeypatch: Patch) -> None:
    _without(monkeypatch, CallRecording, "stop", "self._stopped_for_good = True", "pass")


def what_is_taken_back_is_kept(monkeypatch: Patch) -> None:
    monkeypatch.setattr(CallRecording, "_erase", lambda self, recording_id: None)


def a_withdrawal_does_not_discard(monkeypatch: Patch) -> None:
    _without(monkeypatch, CallRecording, "withdraw", "self.stop(discard=True)", "self.stop(discard=False)")
    what_is_taken_back_is_kept(monkeypatch)


def who_is_outside_is_let_in_at_once(monkeypatch: Patch) -> None:
    _without(monkeypatch, Call, "_let_in", " and self.recording.running is None", "")


def a_stop_does_not_reach_the_media_server(monkeypatch: Patch) -> None:
    async def only_said(self: Recorder, recording_id: Any, leg_id: Any, discard: bool) -> Any:
        return await self._end(recording_id, self._regions.pop(recording_id, ""), discard)

    monkeypatch.setattr(Recorder, "stop", only_said)


FAULTS: list[Callable[[Patch], None]] = [
    transfer_ignores_the_agents_place,
    the_queues_floor_is_ignored,
    a_grant_takes_any_answer,
    a_cut_notice_counts,
    cut_keys_count,
    a_yes_cuts_the_way_out_short,
    no_is_overheard,
    silence_is_yes,
    no_is_forgotten_where_the_law_does_not_ask,
    a_pause_is_not_carried_out,
    a_part_begins_in_a_pause,
    a_pause_that_failed_is_believed,
    who_joins_is_let_in_at_once,
    a_stop_is_forgotten,
    what_is_taken_back_is_kept,
    a_withdrawal_does_not_discard,
    who_is_outside_is_let_in_at_once,
    a_stop_does_not_reach_the_media_server,
]


def _rounds() -> None:
    for number in range(ROUNDS):
        run(300, f"fault-{number}")


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_each_fault_is_seen(fault: Callable[[Patch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    fault(monkeypatch)
    with pytest.raises(Failed, match=r"Captured|took back"):
        _rounds()
