"""What a POP counts is what its records say; its page, its readiness and its log while calls go through it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from pbx.adapters.memory.engine import Answer
from pbx.controller.call_traces import CallTraces
from pbx.controller.watch import PopWatch
from pbx.controller.witnesses import Witnesses
from pbx.domain.call_trace import Span
from pbx.domain.cdr import Cdr
from pbx.domain.ids import CallId
from pbx.wire import messages as wire
from pbx.wire.telemetry.lag import LoopLag
from pbx.wire.telemetry.logs import LogCounts
from tests.support.metrics import PERSONAL, Scrape
from tests.support.world import CALLER, DID, SHORT_FLOW, World


def _watch(world: World) -> PopWatch:
    recorder = world.pop._services.recorder
    return PopWatch(world.pop, recorder, None, LoopLag(), LogCounts())


async def _page(world: World) -> Scrape:
    return Scrape((await _watch(world).page()).encoded("")[0].decode())


async def _three_calls(world: World) -> list[Cdr]:
    """One is answered at the second agent, one gives up waiting, one while it is greeted."""
    anna, _ = world.agent("anna"), world.agent("bela", available=False)
    anna.behaviour = Answer.NEVER
    first = await world.call()
    await world.until(lambda: world.state("anna")[1] == "RONA")
    world.status("bela", "AVAILABLE")
    await world.until(lambda: first.hears == "talk")
    second = await world.call()
    await world.until(lambda: (second.hears or "").startswith("music"))
    await world.run(42)
    second.hang_up()
    await world.ended(second)
    first.hang_up()
    await world.ended(first)
    await world.until(lambda: world.state("bela")[2] == "IDLE")
    return [world.cdr(world.call_id(caller)) for caller in (first, second)]


async def test_a_page_says_what_the_records_say(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        answered, abandoned = await _three_calls(world)
        assert (answered.abandoned, abandoned.abandoned) == (False, True)
        page = await _page(world)
        support = {"queue": "support", "pop": "de-1"}
        assert page.value("callplane_calls_total", direction="inbound") == 2
        assert page.value("callplane_calls_ended_total", reason="caller_hung_up") == 2
        assert page.value("callplane_queue_entered_total", **support) == 2
        assert page.value("callplane_queue_answered_total", **support) == 1
        assert page.value("callplane_queue_abandoned_total", **support) == 1
        assert page.value("callplane_queue_answer_seconds_count", **support) == 1
        assert answered.wait_s is not None
        assert abandoned.wait_s is not None
        assert page.value("callplane_queue_answer_seconds_sum", **support) == pytest.approx(answered.wait_s)
        assert page.value("callplane_queue_abandon_seconds_sum", **support) == pytest.approx(abandoned.wait_s)
        assert page.value("callplane_queue_abandon_seconds_bucket", le="60.0", **support) == 1
        assert page.value("callplane_queue_abandon_seconds_bucket", le="30.0", **support) == 0
        assert page.value("callplane_offers_total", outcome="no_answer") == 1, "RONA"
        assert page.value("callplane_offers_total", outcome="answered") == 1
        assert page.value("callplane_agents", status="NOT_READY", state="IDLE") == 1
        assert page.value("callplane_agents", status="AVAILABLE", state="IDLE") == 1
        assert page.value("callplane_journal_commit_seconds_count") > 0
        assert page.value("callplane_media_server_up") == 1
        assert page.personal("anna", "bela", DID, CALLER) == []


async def test_who_waits_now_and_for_how_long(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        empty = await _page(world)
        assert empty.value("callplane_queue_waiting", queue="support") == 0
        assert empty.value("callplane_queue_longest_wait_seconds", queue="support") == 0
        assert empty.value("callplane_queue_abandoned_total", queue="support") == 0, "there before anybody calls"
        callers = [await world.call(), await world.call()]
        await world.until(lambda: all((caller.hears or "").startswith("music") for caller in callers))
        since = world.clock()
        await world.run(100)
        page = await _page(world)
        assert page.value("callplane_queue_waiting", queue="support") == 2
        longest_s = page.value("callplane_queue_longest_wait_seconds", queue="support")
        assert world.clock() - since <= longest_s < world.clock() - since + 10
        assert page.value("callplane_calls_live") == 2
        world.agent("anna")
        await world.until(lambda: world.state("anna")[2] == "ON_CALL")
        page = await _page(world)
        assert page.value("callplane_queue_talking", queue="support") == 1
        assert page.value("callplane_queue_waiting", queue="support") == 1
        for caller in callers:
            caller.hang_up()
            await world.ended(caller)


async def test_a_restarted_controller_counts_what_happens_from_then_on(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        caller = await world.call()
        await world.until(lambda: (caller.hears or "").startswith("music"))
        await world.run(20)
        await world.restart()
        caller.hang_up()
        cdr = await world.ended(caller)
        page = await _page(world)
        assert page.value("callplane_calls_total") == 0
        assert page.value("callplane_queue_entered_total", queue="support") == 0
        assert page.value("callplane_queue_abandoned_total", queue="support") == 1
        assert cdr.wait_s is not None
        assert page.value("callplane_queue_abandon_seconds_sum") == pytest.approx(cdr.wait_s)


async def test_ready_names_what_is_missing(tmp_path: Path) -> None:
    async with World(tmp_path, SHORT_FLOW) as world:
        watch = _watch(world)
        everything = {"media_server": None, "lease": None, "configuration": None, "journal": None}
        assert await watch.ready() == everything
        world.engine.meter.lease_s = 0.0
        assert (await watch.ready())["lease"] == "is not held: callers get the fallback"
        world.engine.meter.lease_s = 4.0
        world.pop.engine_down("a test")
        assert (await watch.ready())["media_server"] == "is not connected"
        world.pop.engine_is_up = True
        world.pop.config_changed("did.49305550100", None)
        assert (await watch.ready())["configuration"] == "has no DID"
        world.journal._db.execute("PRAGMA query_only = ON")
        assert (await watch.ready())["journal"] == "cannot be written"
        world.journal._db.execute("PRAGMA query_only = OFF")


async def test_commands_are_counted_by_their_outcome(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.command(wire.HangUpCall(call_id="none"))
        await world.command(wire.ListWaiting())
        page = await _page(world)
        assert page.value("callplane_commands_total", command="HangUpCall", outcome="unknown-call") == 1
        assert page.value("callplane_commands_total", command="ListWaiting", outcome="done") == 1


async def test_the_spans_of_a_call(tmp_path: Path) -> None:
    sent: list[tuple[CallId, Span]] = []
    traces = CallTraces(lambda call_id, span: sent.append((call_id, span)), lambda _: True)
    async with World(tmp_path, SHORT_FLOW, witnesses=lambda: Witnesses(traces)) as world:
        answered, abandoned = await _three_calls(world)
        assert traces._calls == {}
        assert traces._wrap_ups == {}
    spans = {call: [span for of, span in sent if of == call] for call, _ in sent}
    assert spans.keys() == {answered.call_id, abandoned.call_id}
    first = spans[CallId(answered.call_id)]
    names = [span.name for span in first]
    assert sorted(names) == sorted(["call", "node wait", "wait", "offer", "offer", "talk", "wrap-up"]), names
    by_name = {span.name: span for span in first}
    call, wait, talk = by_name["call"], by_name["wait"], by_name["talk"]
    assert call.parent is None
    assert (call.attributes["call.end_reason"], call.attributes["flow.id"]) == ("caller_hung_up", "main")
    offers = [span for span in first if span.name == "offer"]
    assert [(o.attributes["offer.outcome"], o.failed) for o in offers] == [
        ("no_answer", "no_answer"),
        ("answered", None),
    ]
    assert {span.parent for span in offers} == {wait.key}
    assert {span.parent for span in first if span.name != "offer"} == {"call", None}
    assert wait.attributes["wait.ended"] == "answered"
    assert wait.ended_at == talk.started_at == answered.talk_started_at
    assert wait.started_at == answered.queued_at
    assert talk.ended_at == answered.ended_at
    assert by_name["wrap-up"].started_at >= talk.ended_at
    assert len({span.key for span in first}) == len(first)
    second = {span.name: span for span in spans[CallId(abandoned.call_id)]}
    assert second.keys() == {"call", "node wait", "wait"}
    assert second["wait"].attributes["wait.ended"] == "caller_hung_up"
    told = [str(value) for _, span in sent for value in (span.name, *span.attributes.values(), span.failed)]
    assert [text for text in told if "4917012345678" in text or "49305550100" in text or text in ("anna", "bela")] == []


async def test_a_trace_goes_on_after_a_restart(tmp_path: Path) -> None:
    """What was open is sent with its true beginning, under the same keys; what was over is not sent again."""
    runs: list[list[Span]] = []

    def follow() -> Witnesses:
        sent: list[Span] = []
        runs.append(sent)
        return Witnesses(CallTraces(lambda _, span: sent.append(span), lambda _: True))

    async with World(tmp_path, SHORT_FLOW, witnesses=follow) as world:
        caller = await world.call()
        await world.until(lambda: (caller.hears or "").startswith("music"))
        await world.restart()
        caller.hang_up()
        cdr = await world.ended(caller)
    before, after = runs
    assert "call" not in {span.name for span in before}
    wait = next(span for span in after if span.name == "wait")
    assert wait.started_at == cdr.queued_at
    assert {span.key for span in before}.isdisjoint(span.key for span in after)
    assert "call" in {span.name for span in after}


async def test_the_log_of_whole_calls_says_nothing_of_persons(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with World(tmp_path) as world:
        world.agent("anna")
        caller = await world.call()
        for prompt, digit in (("language", "2"), ("menu", "1")):
            await world.until(lambda prompt=prompt: prompt in (caller.hears or ""))
            caller.press(digit)
        await world.until(lambda: "consent" in (caller.hears or ""))
        world.pop.engine_down("a test")
        caller.hang_up()
        cdr = await world.ended(caller)
    lines = [record.getMessage() for record in caplog.records if record.name.startswith(("pbx", "telemetry"))]
    assert lines
    assert [line for line in lines if PERSONAL.search(line.replace(cdr.call_id, ""))] == []
    assert [line for line in lines if "anna" in line] == []
