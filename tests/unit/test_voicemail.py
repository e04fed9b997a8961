"""Messages: every way one ends, and what is left of it."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pbx.adapters.memory.engine import Callee, Caller
from pbx.adapters.memory.legs import Tone
from pbx.adapters.vault.sealed import SealedVault
from pbx.bootstrap import fresh_vault
from pbx.domain import events as ev
from pbx.domain.cdr import Cdr
from pbx.domain.consent import GrantKind, MessageEvidence, Regime, RegimeTable, grant_message
from pbx.domain.errors import EngineRefused, EngineUnknown
from pbx.domain.ids import CallId, LegId
from pbx.wire import messages as wire
from tests.lab.audio import contains_tone, read_wav
from tests.support.world import World, sha_of
from tests.unit.test_call_nodes import digits, events, flow

VOICEMAIL: dict[str, Any] = {"type": "voicemail", "mailbox": "sales", "max_s": 20, "next": "good", "on_failure": "bad"}
ENDS: dict[str, Any] = {
    "good": {"type": "hang_up", "prompts": ["voicemail-thanks"]},
    "bad": {"type": "hang_up", "prompts": ["goodbye"]},
}


def mailbox(**change: Any) -> dict[str, Any]:
    return flow(node=VOICEMAIL | change, **ENDS)


async def at_the_tone(world: World) -> Caller:
    caller = await world.call()
    await world.until(lambda: caller.hears == "de/voicemail-greeting")
    await world.until(lambda: caller.hears == "de/voicemail-tone")
    return caller


async def speaking(world: World) -> Caller:
    """The caller is being recorded since just now."""
    caller = await at_the_tone(world)
    await world.until(lambda: "RecordingStarted" in world.kinds(caller))
    return caller


def outcome(cdr: Cdr) -> tuple[str | None, str | None]:
    [message] = cdr.voicemails
    assert (message.left_at is None) == (message.ended_by is None)
    return message.ended_by, message.failed


async def test_a_message_by_terminator_is_in_the_vault_with_its_evidence(tmp_path: Path) -> None:
    async with World(tmp_path, mailbox()) as world:
        caller = await speaking(world)
        world.engine.tones[f"leg:{caller.leg_id}"] = Tone(700)
        await world.run(4)
        caller.press("5")  # heard, and nothing else
        await world.run(1)
        caller.press("#")
        await world.until(lambda: caller.hears == "de/voicemail-thanks")
        cdr = await world.ended(caller)
        [message], [recording] = cdr.voicemails, cdr.recordings
        assert outcome(cdr) == ("terminator", None)
        assert (message.mailbox, message.recording_id, recording.kind) == ("sales", recording.recording_id, "voicemail")
        assert (message.regime, message.jurisdictions, message.digit) == ("opt_in", ("DE", "DE"), None)
        sha = sha_of("voicemail-greeting", "de")
        assert (message.prompt_ids, message.prompt_sha256s) == (("voicemail-greeting",), (sha,))
        assert (message.language, message.played_ms) == ("de", 2000)
        assert (recording.region, recording.discarded) == ("eu", False)
        assert recording.duration_ms == pytest.approx(5000, abs=200)
        assert world.files() == [f"{recording.recording_id}.sealed"]
        (left, right), rate = read_wav(world.unsealed(recording.recording_id))
        assert contains_tone(left, rate, 700)
        assert not np.any(right)
        assert cdr.consents == []
        order = [kind for kind in world.kinds(caller) if kind.startswith(("Voicemail", "Recording"))]
        assert order == ["VoicemailGranted", "RecordingStarted", "RecordingEnded", "VoicemailLeft"]


@pytest.mark.parametrize("when", ["de/voicemail-greeting", "de/voicemail-tone"])
async def test_hang_up_before_the_tone_is_over_leaves_nothing(tmp_path: Path, when: str) -> None:
    async with World(tmp_path, mailbox()) as world:
        caller = await world.call()
        await world.until(lambda: caller.hears == when)
        caller.hang_up()
        cdr = await world.ended(caller)
        assert (cdr.voicemails, cdr.recordings, world.files()) == ([], [], [])
        assert world.engine.recorded == []


async def test_hang_up_ends_the_message(tmp_path: Path) -> None:
    async with World(tmp_path, mailbox()) as world:
        caller = await speaking(world)
        await world.run(3)
        caller.hang_up()
        cdr = await world.ended(caller)
        assert outcome(cdr) == ("hang_up", None)
        assert (cdr.end_reason, cdr.nodes) == ("caller_hung_up", ["node"])
        assert len(world.files()) == 1


@pytest.mark.parametrize("how", ["hang_up", "terminator"])
async def test_what_is_shorter_than_min_s_is_discarded(tmp_path: Path, how: str) -> None:
    async with World(tmp_path, mailbox(min_s=2)) as world:
        caller = await speaking(world)
        await world.run(1.8)
        if how == "hang_up":
            caller.hang_up()
        else:
            caller.press("#")
        cdr = await world.ended(caller)
        assert outcome(cdr) == (None, "too_short")
        assert [recording.discarded for recording in cdr.recordings] == [True]
        assert cdr.nodes == (["node"] if how == "hang_up" else ["node", "good"])
        assert world.files() == []


async def test_max_s(tmp_path: Path) -> None:
    async with World(tmp_path, mailbox(terminator="none")) as world:
        caller = await speaking(world)
        caller.press("#")  # is no terminator here
        cdr = await world.ended(caller)
        assert outcome(cdr) == ("max_s", None)
        assert cdr.recordings[0].duration_ms == pytest.approx(20_000, abs=200)
        assert cdr.nodes == ["node", "good"]


async def test_a_key_cuts_the_greeting_and_the_evidence_says_so(tmp_path: Path) -> None:
    async with World(tmp_path, mailbox(prompts=["greeting", "voicemail-greeting"])) as world:
        caller = await world.call()
        await world.until(lambda: caller.hears == "de/voicemail-greeting")
        await world.run(0.5)
        caller.press("#")
        caller.press("1")  # during the tone, or as good as
        await world.until(lambda: caller.hears == "de/voicemail-tone")
        await world.until(lambda: "RecordingStarted" in world.kinds(caller))
        await world.run(2)
        caller.hang_up()
        cdr = await world.ended(caller)
        assert outcome(cdr) == ("hang_up", None)
        [message] = cdr.voicemails
        assert (message.digit, message.prompt_ids) == ("#", ("greeting", "voicemail-greeting"))
        assert message.played_ms == pytest.approx(2500, abs=100)


async def test_a_greeting_that_cannot_be_played_is_no_greeting(tmp_path: Path) -> None:
    async with World(tmp_path, mailbox()) as world:
        world.engine.prompts = {"de/goodbye": Tone(500, 1.0), "de/voicemail-tone": Tone(1400, 0.5)}
        caller = await world.call()
        cdr = await world.ended(caller)
        assert (outcome(cdr), cdr.nodes, world.engine.recorded) == ((None, "prompt_cut"), ["node", "bad"], [])


async def test_without_the_tone_nothing_is_recorded(tmp_path: Path) -> None:
    async with World(tmp_path, mailbox()) as world:
        world.engine.prompts = {"de/goodbye": Tone(500, 1.0), "de/voicemail-greeting": Tone(500, 1.0)}
        caller = await world.call()
        cdr = await world.ended(caller)
        assert (outcome(cdr), cdr.nodes, world.engine.recorded) == ((None, "prompt_cut"), ["node", "bad"], [])


@pytest.mark.parametrize("who", ["caller", "queue"])
async def test_prohibited(tmp_path: Path, who: str) -> None:
    """By a party's place, or by the floor of the queue that the mailbox is named for. Nothing is said."""
    async with World(
        tmp_path, mailbox(mailbox="support"), consent_floor="prohibited" if who == "queue" else "none"
    ) as world:
        if who == "caller":
            world.config.regimes = RegimeTable({"DE": Regime.PROHIBITED})
        caller = await world.call()
        cdr = await world.ended(caller)
        assert (outcome(cdr), cdr.nodes, caller.heard) == ((None, "prohibited"), ["node", "bad"], ["de/goodbye"])


@pytest.mark.parametrize("error", [EngineRefused("no"), EngineUnknown("who knows")])
async def test_the_engine_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async with World(tmp_path, mailbox()) as world:

        async def refuse(*_: Any) -> None:
            raise error

        monkeypatch.setattr(world.engine, "start_recording", refuse)
        caller = await at_the_tone(world)
        cdr = await world.ended(caller)
        assert (outcome(cdr), cdr.nodes, world.files()) == ((None, "not_recorded"), ["node", "bad"], [])


async def test_without_the_journal_nothing_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No evidence on disk, no recording."""
    async with World(tmp_path, mailbox()) as world:
        caller = await at_the_tone(world)
        world.journal._db.execute("PRAGMA query_only=ON")
        await world.until(lambda: caller.hears == "de/goodbye")
        assert (world.engine.recorded, world.files()) == ([], [])
        world.journal._db.execute("PRAGMA query_only=OFF")
        await world.ended(caller)


def _full(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def store(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(SealedVault, "store", store)


async def test_a_message_whose_region_is_not_served_is_never_captured(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The POP's vault takes recordings of other regions only."""
    async with World(tmp_path, mailbox()) as world:
        world.pop._services.recorder._vault = fresh_vault(world.directory / "elsewhere", {"us"})
        caller = await at_the_tone(world)
        await world.until(lambda: caller.hears == "de/goodbye")
        cdr = await world.ended(caller)
        assert (outcome(cdr), cdr.nodes, world.files()) == ((None, "not_recorded"), ["node", "bad"], [])
        assert world.engine.recorded == []
        assert "ALARM" in caplog.text


@pytest.mark.parametrize("how", ["hang_up", "terminator"])
async def test_a_message_that_cannot_be_stored(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    how: str,
) -> None:
    async with World(tmp_path, mailbox()) as world:
        _full(world, monkeypatch)
        caller = await speaking(world)
        await world.run(3)
        if how == "hang_up":
            caller.hang_up()
        else:
            caller.press("#")
        cdr = await world.ended(caller)
        assert outcome(cdr) == (None, "not_stored")
        assert cdr.nodes == (["node"] if how == "hang_up" else ["node", "bad"])
        assert "could not be placed" in caplog.text
        assert [path.suffix for path in world.vault_root.rglob("*") if path.is_file()] == []


async def test_an_empty_file_is_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The media server said it records, and did not."""
    async with World(tmp_path, mailbox()) as world:
        caller = await speaking(world)
        await world.run(3)
        [(path, _)] = world.engine.recordings.values()

        async def stop(*_: Any) -> None:
            world.engine.recordings.clear()
            path.write_bytes(b"")

        monkeypatch.setattr(world.engine, "stop_recording", stop)
        caller.press("#")
        cdr = await world.ended(caller)
        assert (outcome(cdr), cdr.nodes, world.files()) == ((None, "not_recorded"), ["node", "bad"], [])


async def test_a_message_that_somebody_stops(tmp_path: Path) -> None:
    async with World(tmp_path, mailbox()) as world:
        caller = await speaking(world)
        await world.run(3)
        assert await world.command(wire.StopCallRecording(call_id=world.call_id(caller), by="api")) is None
        cdr = await world.ended(caller)
        assert (outcome(cdr), cdr.nodes) == (("asked", None), ["node", "good"])


async def test_the_call_is_not_over_before_the_message_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with World(tmp_path, mailbox()) as world:
        caller = await speaking(world)
        await world.run(3)
        stop = world.engine.stop_recording

        async def slow(*args: Any) -> None:
            await world.run(5)
            await stop(*args)

        monkeypatch.setattr(world.engine, "stop_recording", slow)
        caller.hang_up()
        cdr = await world.ended(caller)
        [message] = cdr.voicemails
        assert message.left_at is not None
        assert cdr.ended_at is not None
        assert message.left_at - cdr.ended_at == pytest.approx(5, abs=0.2)
        assert world.kinds(caller)[-2:] == ["VoicemailLeft", "CallEnded"]


async def test_hang_up_at_any_moment_leaves_a_message_or_nothing(tmp_path: Path) -> None:
    """Before, at and after every step of it, by a quick caller and by one who cuts the greeting."""
    async with World(tmp_path, mailbox(max_s=6)) as world:
        left = 0
        for tenths in range(0, 140, 3):
            caller = await world.call()
            if tenths % 2:
                await world.until(lambda caller=caller: caller.hears == "de/voicemail-greeting")
                caller.press("1")
            await world.run(tenths / 10)
            if caller.cause is None:
                caller.hang_up()
            cdr = await world.ended(caller)
            messages = [message for message in cdr.voicemails if message.left_at is not None]
            assert all(message.failed == "too_short" for message in cdr.voicemails if message not in messages)
            assert [r.recording_id for r in cdr.recordings if not r.discarded] == [m.recording_id for m in messages]
            left += len(messages)
            assert len(world.files()) == left, "a file for each message, and no other"
        assert 20 < left < 40


async def test_keys_pressed_while_speaking_are_hidden_where_the_flow_collects(tmp_path: Path) -> None:
    collect = {"type": "collect", "prompts": ["menu"], "variable": "x", "next": "node", "on_failure": "bad"}
    async with World(tmp_path, flow("first", first=collect, node=VOICEMAIL, **ENDS)) as world:
        caller = await world.call()
        await world.until(lambda: caller.hears == "de/menu")
        caller.press("7")
        caller.press("#")
        await world.until(lambda: "RecordingStarted" in world.kinds(caller))
        await world.run(2)
        caller.press("4")
        caller.press("#")
        cdr = await world.ended(caller)
        assert (outcome(cdr), digits(world, caller)) == (("terminator", None), "????")


# --- out of a queue -------------------------------------------------------------------------------------------------


def queueing(world: World, *before: wire.QueueStepConfig, **step: Any) -> None:
    for prompt in ("voicemail-greeting", "voicemail-tone", "voicemail-thanks", "all-agents-busy"):
        world.prompts[prompt, "de"] = sha_of(prompt, "de")
    action = wire.ToVoicemailStep(mailbox="support", **step)
    steps = (*before, wire.QueueStepConfig(after_s=30, action=action))
    config = wire.QueueConfig(queue_id="support", name="Support", skills={"support": 1}, steps=steps)
    world.configure("queue.support", config)
    assert not world.config.errors


SHORT = flow("wait", wait={"type": "queue", "queue": "support", "on_refused": "bad", "welcome": False}, bad=ENDS["bad"])


@pytest.mark.parametrize("prompt", [None, "all-agents-busy"])
async def test_a_step_of_the_queue_leads_to_the_mailbox(tmp_path: Path, prompt: str | None) -> None:
    async with World(tmp_path, SHORT) as world:
        queueing(world, prompt_id=prompt)
        caller = await world.call()
        await world.until(lambda: caller.hears == f"de/{prompt or 'voicemail-greeting'}")
        [joined] = [event for event in events(world, caller) if isinstance(event, ev.QueueJoined)]
        assert world.clock() - joined.at == pytest.approx(30, abs=0.5)
        with pytest.raises(KeyError):
            world.pop.router.why_waiting(world.call_id(caller))
        await world.until(lambda: "RecordingStarted" in world.kinds(caller))
        anna = world.agent("anna")  # too late: the call waits no longer
        await world.run(3)
        caller.press("#")
        await world.until(lambda: caller.hears == "de/voicemail-thanks")
        cdr = await world.ended(caller)
        assert (outcome(cdr), cdr.voicemails[0].mailbox, anna.rung) == (("terminator", None), "support", 0)
        assert (cdr.nodes, cdr.end_reason, cdr.abandoned) == (["wait"], "flow_ended", False)


async def test_a_number_in_vain_then_the_mailbox(tmp_path: Path) -> None:
    """Whether the mailbox's time comes while the number is rung or after it."""
    async with World(tmp_path, SHORT) as world:
        for rings_s in (10, 25):
            number = wire.OverflowToNumberStep(number="+49305550999", ring_s=rings_s)
            queueing(world, wire.QueueStepConfig(after_s=15, action=number))
            world.engine.callees["+49305550999"] = Callee("+49305550999", None)
            caller = await world.call()
            await world.until(lambda caller=caller: caller.hears == "de/voicemail-greeting")
            [joined, _] = [event for event in events(world, caller) if isinstance(event, ev.QueueJoined)]
            assert world.clock() - joined.at == pytest.approx(max(30, 15 + rings_s), abs=0.5)
            await world.until(lambda caller=caller: "RecordingStarted" in world.kinds(caller))
            await world.run(3)
            caller.hang_up()
            cdr = await world.ended(caller)
            assert [forward.outcome for forward in cdr.forwards] == ["no_answer"]
            assert (outcome(cdr), cdr.abandoned) == (("hang_up", None), False)


async def test_who_leaves_a_message_has_not_abandoned(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT) as world:
        queueing(world)
        caller = await world.call()
        await world.until(lambda: "RecordingStarted" in world.kinds(caller))
        await world.run(3)
        caller.hang_up()
        cdr = await world.ended(caller)
        assert (outcome(cdr), cdr.end_reason, cdr.abandoned) == (("hang_up", None), "caller_hung_up", False)
        other = await world.call()
        await world.until(lambda: other.hears == "de/voicemail-greeting")
        other.hang_up()
        assert (await world.ended(other)).abandoned


async def test_out_of_a_queue_where_nothing_may_be_recorded(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT) as world:
        queueing(world)
        world.config.regimes = RegimeTable({"DE": Regime.PROHIBITED})
        caller = await world.call()
        cdr = await world.ended(caller)
        assert (outcome(cdr), cdr.nodes) == ((None, "prohibited"), ["wait", "bad"])


# --- grants and the vault -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("regime", list(Regime))
@pytest.mark.parametrize(("completed", "digit"), [(True, None), (False, "1"), (True, "1"), (False, None)])
def test_a_message_is_granted_to_who_was_told_or_acted(regime: Regime, completed: bool, digit: str | None) -> None:
    evidence = MessageEvidence((("voicemail-greeting", "sha"),), "de", 100, completed, digit, 1.0)
    made = grant_message(CallId("c"), LegId("l"), regime, evidence, 2.0)
    assert (made is not None) == (regime is not Regime.PROHIBITED and (completed or digit is not None))
    assert made is None or made.kind is GrantKind.MESSAGE


async def test_erasing(tmp_path: Path) -> None:
    async with World(tmp_path, mailbox()) as world:
        caller = await speaking(world)
        await world.run(3)
        caller.hang_up()
        cdr = await world.ended(caller)
        recording_id = cdr.recordings[0].recording_id
        erase = wire.EraseRecording(recording_id=recording_id, call_id=cdr.call_id)
        assert await world.command(erase) is None
        assert world.files() == []
        [again] = world.cdr(world.call_id(caller)).recordings
        assert again.discarded
        assert await world.command(erase) == "unknown-recording"
        assert await world.command(wire.EraseRecording(recording_id="../x", call_id=cdr.call_id)) == "unknown-recording"


# --- silence ----------------------------------------------------------------------------------------------------------


def says(world: World, caller: Caller, what: Tone | None) -> None:
    """From now on; the media server's file has it a moment later."""
    leg = world.engine.legs[caller.leg_id]
    name = f"leg:{caller.leg_id}"
    leg.saying.append((world.clock(), frozenset((name,)) if what else frozenset()))
    if what:
        world.engine.tones[name] = what


async def test_silence_ends_the_message(tmp_path: Path) -> None:
    """4 s of speech, a pause that is too short, 3 s more, and nothing."""
    async with World(tmp_path, mailbox(silence_s=3)) as world:
        caller = await speaking(world)
        for speech in (Tone(700), None, Tone(700), None):
            says(world, caller, speech)
            await world.run(4.0 if speech else 2.0)
            assert "RecordingSilent" not in world.kinds(caller)
        await world.until(lambda: caller.hears == "de/voicemail-thanks")
        cdr = await world.ended(caller)
        assert outcome(cdr) == ("silence", None)
        assert cdr.recordings[0].duration_ms == pytest.approx(13_500, abs=1600)
        [silent] = [event for event in events(world, caller) if isinstance(event, ev.RecordingSilent)]
        assert silent.said_s == pytest.approx(8, abs=0.3)


async def test_who_says_nothing_leaves_no_message(tmp_path: Path) -> None:
    async with World(tmp_path, mailbox(silence_s=4, min_s=1)) as world:
        caller = await speaking(world)
        says(world, caller, None)
        cdr = await world.ended(caller)
        assert outcome(cdr) == (None, "too_short")
        assert (cdr.nodes, world.files()) == (["node", "good"], [])
        assert (cdr.ended_at or 0) - (cdr.recordings[0].started_at) < 10


@pytest.mark.parametrize("how", ["#", "hang up"])
async def test_nobody_listens_for_silence_after_the_end(tmp_path: Path, how: str) -> None:
    async with World(tmp_path, mailbox(silence_s=3)) as world:
        caller = await speaking(world)
        world.engine.tones[f"leg:{caller.leg_id}"] = Tone(700)
        await world.run(5)
        if how == "#":
            caller.press("#")
        else:
            caller.hang_up()
        cdr = await world.ended(caller)
        await world.run(20)
        assert (outcome(cdr)[1], "RecordingSilent" in world.kinds(caller)) == (None, False)


async def test_without_silence_s_a_caller_may_be_silent(tmp_path: Path) -> None:
    async with World(tmp_path, mailbox(max_s=60)) as world:
        caller = await speaking(world)
        says(world, caller, None)
        await world.run(50)
        assert caller.cause is None
        caller.press("#")
        assert outcome(await world.ended(caller)) == ("terminator", None)
