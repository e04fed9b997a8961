"""Whole calls through the controller on the simulated engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pbx.adapters.memory.engine import Answer, Caller
from pbx.domain.consent import Regime, RegimeTable
from pbx.domain.hangup_cause import HangupCause
from pbx.wire import messages as wire
from tests.support.world import CALLER, FLOW, SHORT_FLOW, World, sha_of


async def to_consent(world: World, caller: Caller) -> None:
    """Through greeting, language (German) and menu to the consent question."""
    await world.until(lambda: caller.hears == "de/greeting")
    caller.press("1")  # cuts the greeting, taken as the language
    await world.until(lambda: caller.hears == "de/menu")
    caller.press("1")
    await world.until(lambda: caller.hears in ("de/consent-ask", "de/consent-notice"))


async def agree(world: World, caller: Caller) -> None:
    await to_consent(world, caller)
    await world.until(lambda: caller.hears == "de/consent-keys-opt-in")
    caller.press("1")


async def test_the_whole_call(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        phone = world.agent("anna")
        caller = await world.call()
        await agree(world, caller)
        await world.until(lambda: caller.hears == "talk")
        assert world.state("anna") == ("AVAILABLE", None, "ON_CALL")
        await world.run(5)
        caller.hang_up()
        cdr = await world.ended(caller)
        assert world.state("anna")[2] == "WRAP_UP"
        await world.until(lambda: world.state("anna")[2] == "IDLE")
        assert phone.rung == 1
        assert (cdr.did, cdr.cli, cdr.language) == ("+49305550100", CALLER, "de")
        assert cdr.nodes == ["greeting", "language", "menu", "consent", "wait"]
        assert (cdr.agent_id, cdr.queue_id, cdr.end_reason) == ("anna", "support", "caller_hung_up")
        assert cdr.talk_s == pytest.approx(5, abs=0.2)
        assert not cdr.abandoned
        [consent] = cdr.consents
        assert (consent.granted, consent.regime, consent.digit) == (True, "opt_in", "1")
        assert consent.prompt_sha256 == sha_of("consent-ask", "de")
        assert consent.played_ms == 2000
        [recording] = cdr.recordings
        assert recording.region == "eu"
        assert world.files() == [f"{recording.recording_id}.wav"]
        assert recording.duration_ms == pytest.approx(5000, abs=1000)
        assert not world.engine.legs
        assert not world.engine.bridges


async def test_english(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        caller = await world.call()
        await world.until(lambda: caller.hears == "de/choose-language")
        caller.press("2")
        await world.until(lambda: caller.hears == "en/menu")
        caller.hang_up()
        assert (await world.ended(caller)).language == "en"


@pytest.mark.parametrize("digit", ["2", None])
async def test_without_consent_no_file(tmp_path: Path, digit: str | None) -> None:
    async with World(tmp_path) as world:
        world.agent("anna")
        caller = await world.call()
        await to_consent(world, caller)
        if digit is not None:
            caller.press(digit)
        await world.until(lambda: caller.hears == "talk")
        assert world.files() == []
        await world.run(3)
        caller.hang_up()
        cdr = await world.ended(caller)
        assert [c.reason for c in cdr.consents] == ["digit" if digit else "silence"]
        assert world.files() == []
        assert cdr.recordings == []
        assert world.engine.recorded == []


async def test_yes_before_the_notice_is_over_does_not_count(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        world.agent("anna")
        caller = await world.call()
        await to_consent(world, caller)
        caller.press("1")
        await world.until(lambda: caller.hears == "talk")
        caller.hang_up()
        cdr = await world.ended(caller)
        assert [c.granted for c in cdr.consents] == [False]
        assert world.engine.recorded == []


async def test_agents_place_can_forbid_what_the_caller_allowed(tmp_path: Path) -> None:
    """A notice is enough for the caller and the DID, not for the agent's country."""
    async with World(tmp_path) as world:
        world.config.dids = {number: replace(did, country="PL") for number, did in world.config.dids.items()}
        world.agent("anna", country="DE")
        caller = await world.call(country="PL")
        await to_consent(world, caller)
        await world.until(lambda: caller.hears == "talk")
        caller.hang_up()
        cdr = await world.ended(caller)
        assert [(c.granted, c.regime, c.reason) for c in cdr.consents] == [
            (True, "notice", None),
            (False, "opt_in", "agent_jurisdiction"),
        ]
        assert world.engine.recorded == []


async def test_withheld_cli_counts_as_the_strictest(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        world.config.dids = {number: replace(did, country="GB") for number, did in world.config.dids.items()}
        caller = await world.call(cli="withheld", country=None)
        await to_consent(world, caller)
        caller.hang_up()
        cdr = await world.ended(caller)
        assert [(c.regime, c.jurisdictions, c.reason) for c in cdr.consents] == [
            ("opt_in", ("unknown", "GB"), "hangup")
        ]


async def test_a_state_that_is_stricter_than_its_country_is_told_by_the_number(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        words = {"DE": Regime.NONE, "US": Regime.NOTICE, "US-MI": Regime.OPT_IN}
        world.config.regimes = RegimeTable(words, by_prefix={"+1313": "US-MI"})
        world.agent("anna")
        for number, regime, place in (("+13135550123", "opt_in", "US-MI"), ("+12125550123", "notice", "US")):
            caller = await world.call(cli=number, country="US")
            await to_consent(world, caller)
            await world.run(30)
            caller.hang_up()
            cdr = await world.ended(caller)
            assert [(c.regime, c.jurisdictions) for c in cdr.consents] == [(regime, (place, "DE"))]


@pytest.mark.parametrize(
    ("at", "node"),
    [
        ("de/greeting", "greeting"),
        ("de/choose-language", "language"),
        ("de/menu", "menu"),
        ("de/consent-ask", "consent"),
        ("de/consent-keys-opt-in", "consent"),
        ("music:default", "wait"),
    ],
)
async def test_caller_hangs_up_at_each_step(tmp_path: Path, at: str, node: str) -> None:
    async with World(tmp_path) as world:
        caller = await world.call()
        answers = {"de/choose-language": "1", "de/menu": "1", "de/consent-keys-opt-in": "1"}
        while caller.hears != at:
            if caller.hears in answers:
                caller.press(answers.pop(caller.hears))
            await world.run(0.1)
        caller.hang_up()
        cdr = await world.ended(caller)
        assert cdr.end_reason == "caller_hung_up"
        assert cdr.nodes[-1] == node
        assert cdr.abandoned == (at == "music:default")
        assert world.files() == []
        assert not world.pop.router.acd.waiting_calls("support")  # type: ignore[arg-type]
        assert not world.engine.legs


async def test_rona_keeps_the_place_and_the_next_agent_rings(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, ring_timeout_s=15) as world:
        first = world.agent("anna")
        first.behaviour = Answer.NEVER
        one, two = await world.call(), await world.call()
        await world.until(lambda: first.rung == 1)
        second = world.agent("bela")
        second.answers_after_s = 30
        await world.until(lambda: second.rung == 1)
        await world.until(lambda: world.state("anna") == ("NOT_READY", "RONA", "IDLE"))
        third = world.agent("cora")
        await world.until(lambda: one.hears == "talk")
        assert (third.rung, two.hears) != (0, "talk")
        assert world.cdr(world.call_id(one)).offers[0].outcome == "no_answer"
        one.hang_up()
        two.hang_up()
        await world.ended(one)
        await world.ended(two)


@pytest.mark.parametrize(
    ("behaviour", "outcome", "reason"),
    [(Answer.BUSY, "busy", "BUSY"), (Answer.REJECT, "rejected", "REJECTED")],
)
async def test_agent_refuses(tmp_path: Path, behaviour: Answer, outcome: str, reason: str) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        world.agent("anna").behaviour = behaviour
        caller = await world.call()
        await world.until(lambda: world.state("anna")[1] == reason)
        bela = world.agent("bela")
        await world.until(lambda: caller.hears == "talk")
        assert bela.rung == 1
        caller.hang_up()
        cdr = await world.ended(caller)
        assert [(o.agent_id, o.outcome) for o in cdr.offers] == [("anna", outcome), ("bela", "answered")]


async def test_unreachable_phone_is_not_offered_again_until_it_registers(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        phone = world.agent("anna")
        phone.registered = False  # the registration is gone and nobody told the ACD
        caller = await world.call()
        await world.until(lambda: bool(world.cdr(world.call_id(caller)).offers))
        await world.run(60)
        assert len(world.cdr(world.call_id(caller)).offers) == 1
        assert world.state("anna") == ("AVAILABLE", None, "IDLE")
        world.agent("anna")
        await world.until(lambda: caller.hears == "talk")
        caller.hang_up()
        await world.ended(caller)


async def test_no_agent_waits_with_music_and_hears_the_position(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, announce_every_s=20) as world:
        first = await world.call()
        second = await world.call()
        await world.run(60)
        assert second.heard[:3] == ["de/queue-welcome", "de/position-2", "music:default"]
        assert second.heard.count("de/position-2") == 3
        first.hang_up()
        await world.until(lambda: second.heard[-2:] == ["de/position-1", "music:default"])
        second.hang_up()
        cdr = await world.ended(second)
        assert cdr.abandoned
        assert cdr.wait_s == pytest.approx(70, abs=1)


async def test_wrong_digit_three_times(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        caller = await world.call()
        await world.until(lambda: caller.hears == "de/choose-language")
        caller.press("1")
        for _ in range(3):
            await world.until(lambda: caller.hears == "de/menu" or "de/menu" in caller.heard)
            caller.press("9")
            await world.run(0.5)
        await world.until(lambda: caller.cause is not None)
        cdr = await world.ended(caller)
        assert caller.heard.count("de/invalid-choice") == 2
        assert cdr.nodes[-1] == "goodbye"
        assert cdr.end_reason == "flow_ended"
        assert "MenuFailed" in world.kinds(caller)


async def test_no_input_three_times(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        caller = await world.call()
        cdr = await world.ended(caller)
        assert caller.heard.count("de/no-input") == 2
        assert cdr.end_reason == "flow_ended"


async def test_agent_hangs_up(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        world.agent("anna").hangs_up_after_s = 4
        caller = await world.call()
        cdr = await world.ended(caller)
        assert cdr.end_reason == "agent_hung_up"
        assert caller.cause is HangupCause.NORMAL_CLEARING
        assert not world.engine.bridges


async def test_wrap_up_is_honoured(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=30) as world:
        phone = world.agent("anna")
        phone.hangs_up_after_s = 5
        first = await world.call()
        await world.ended(first)
        second = await world.call()
        await world.run(29)
        assert phone.rung == 1
        await world.until(lambda: second.hears == "talk")
        second.hang_up()
        await world.ended(second)


async def test_caller_gone_stops_the_agents_phone(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        world.agent("anna").behaviour = Answer.NEVER
        caller = await world.call()
        await world.until(lambda: world.state("anna")[2] == "RINGING")
        caller.hang_up()
        cdr = await world.ended(caller)
        assert not world.engine.legs
        assert [o.outcome for o in cdr.offers] == ["caller_gone"]
        assert world.state("anna") == ("AVAILABLE", None, "IDLE")


async def test_logging_out_while_ringing_withdraws_the_offer(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        world.agent("anna").behaviour = Answer.NEVER
        caller = await world.call()
        await world.until(lambda: world.state("anna")[2] == "RINGING")
        world.status("anna", "LOGGED_OUT")
        bela = world.agent("bela")
        await world.until(lambda: caller.hears == "talk")
        assert (world.state("anna"), bela.rung) == (("LOGGED_OUT", None, "IDLE"), 1)
        caller.hang_up()
        cdr = await world.ended(caller)
        assert [o.outcome for o in cdr.offers] == ["withdrawn", "answered"]


async def test_queue_full(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, max_waiting=1) as world:
        first, second = await world.call(), await world.call()
        cdr = await world.ended(second)
        assert second.heard == ["de/queue-full"]
        assert cdr.nodes == ["wait", "full"]
        first.hang_up()
        await world.ended(first)


async def test_unknown_did_is_refused_and_recorded(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        caller = await world.call(did="+49305550199")
        await world.until(lambda: caller.cause is not None)
        assert caller.cause is HangupCause.UNALLOCATED_NUMBER
        cdr = world.cdr(world.call_id(caller))
        assert (cdr.end_reason, cdr.cause) == ("unknown_did", 1)


async def test_a_running_call_keeps_its_flow(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        caller = await world.call()
        await world.until(lambda: caller.hears == "de/greeting")
        world.configure("flow.main", wire.FlowConfig(flow_id="main", version=2, graph=SHORT_FLOW))
        await world.until(lambda: caller.hears == "de/choose-language")
        caller.hang_up()
        assert (await world.ended(caller)).flow_version == 1


async def test_two_hundred_calls_leave_nothing_behind(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW, wrap_up_s=1) as world:
        for number in range(20):
            world.agent(f"agent{number}").hangs_up_after_s = 3
        callers = []
        for _ in range(200):
            callers.append(await world.call())
            await world.run(0.05)
        for caller in callers:
            cdr = await world.ended(caller)
            assert cdr.end_reason == "agent_hung_up"
        await world.run(10)
        assert not world.engine.legs
        assert not world.engine.bridges
        assert not world.pop.calls
        assert not world.pop._legs
        assert all(world.state(f"agent{n}") == ("AVAILABLE", None, "IDLE") for n in range(20))


async def test_flow_of_the_whole_call_is_what_the_readme_shows(tmp_path: Path) -> None:
    assert FLOW["start"] == "greeting"
    async with World(tmp_path) as world:
        caller = await world.call()
        await world.until(lambda: caller.hears == "de/greeting")
        caller.hang_up()
        await world.ended(caller)
        kinds = world.kinds(caller)
        assert kinds[0] == "LegOffered"
        assert kinds[-1] == "CallEnded"
        assert kinds.count("CallEnded") == 1
