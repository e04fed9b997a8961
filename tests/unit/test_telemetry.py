"""Counts, log lines, and where calls are in their traces."""

from __future__ import annotations

import contextvars
import json
import logging
import sys

from prometheus_client.parser import text_string_to_metric_families

from pbx.domain.ids import derive, ulid
from pbx.wire.telemetry import call_place, logs
from pbx.wire.telemetry.call_place import Place, ids_of, place_of, trace_of
from pbx.wire.telemetry.counts import Histogram
from pbx.wire.telemetry.page import Page
from pbx.wire.telemetry.traces import Traces

CALL = derive(1_790_000_000.0, "call")


def test_a_histogram_counts_under_the_bound_that_a_value_reaches() -> None:
    seen = Histogram((1.0, 2.0))
    for value in (0.0, 1.0, 1.5, 2.0, 99.0):
        seen.observe(value)
    assert seen.buckets() == [("1.0", 2.0), ("2.0", 4.0), ("+Inf", 5.0)]
    assert (seen.count, seen.sum) == (5, 103.5)


def test_a_page_is_read_by_prometheus() -> None:
    page, seen = Page(pop="de-1"), Histogram((0.5,))
    seen.observe(0.1)
    page.gauge("callplane_x", "X.", 2, queue='a"b')
    page.gauge("callplane_x", "X.", 3, queue="c")
    page.counters("callplane_y", "Y.", "what", {"one": 1, "none": 0})
    page.histogram("callplane_z_seconds", "Z.", seen)
    body, content_type = page.encoded("")
    found = {family.name: family for family in text_string_to_metric_families(body.decode())}
    assert content_type.startswith("text/plain")
    assert [(s.labels, s.value) for s in found["callplane_x"].samples] == [
        ({"pop": "de-1", "queue": 'a"b'}, 2.0),
        ({"pop": "de-1", "queue": "c"}, 3.0),
    ]
    assert {s.labels["what"]: s.value for s in found["callplane_y"].samples} == {"one": 1.0, "none": 0.0}
    assert found["callplane_z_seconds"].type == "histogram"
    assert found["process_cpu_seconds"].samples[0].value > 0
    body, content_type = page.encoded("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_the_trace_id_is_the_call_id() -> None:
    assert trace_of(ulid(0.001, 5)) == (1 << 80) + 5
    assert trace_of("7" + "Z" * 25) == (1 << 128) - 1
    for no_call in ("", "call-1", "8" + "0" * 25, CALL.lower(), CALL[:-1] + "U", "0" * 26):
        assert trace_of(no_call) is None, no_call
    root, other = place_of(CALL), place_of(CALL, "1")
    assert root == place_of(CALL)
    assert root is not None
    assert other is not None
    assert (root.trace_id, root.span_id != other.span_id) == (other.trace_id, True)
    assert Place(1, 2).traceparent == f"00-{'0' * 31}1-{'0' * 15}2-01"


def test_pops_and_centre_choose_the_same_share_of_calls() -> None:
    half = Traces("http://127.0.0.1:9/v1/traces", "x", 0.5)
    again = Traces("http://127.0.0.1:9/v1/traces", "y", 0.5)
    traces = [trace_of(derive(1_790_000_000.0 + n, "call", n)) or 0 for n in range(2000)]
    chosen = [half.chosen(trace) for trace in traces]
    assert chosen == [again.chosen(trace) for trace in traces]
    assert 850 < sum(chosen) < 1150
    assert not Traces("http://127.0.0.1:9/v1/traces", "z", 0.0).chosen(traces[0])
    tell = ids_of(half)
    told = [tell(derive(1_790_000_000.0 + n, "call", n)) for n in range(2000)]
    assert [one is not None for one in told] == chosen, "a log names only traces that there are"
    assert (tell(None), tell("nothing"), ids_of(None)(CALL)) == (None, None, None)


def test_a_span_begins_where_the_asker_is() -> None:
    traces = Traces("http://127.0.0.1:9/v1/traces", "x")
    asked = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    place = traces.begin(asked)
    assert place is not None
    assert place.traceparent == asked
    assert traces.begin(asked[:-1] + "0") is None, "it is not wanted"
    for broken in (None, "", "nonsense", asked.replace("0af7", "ZZZZ"), "00-" + "0" * 32 + "-" + "0" * 16 + "-01"):
        fresh = traces.begin(broken)
        assert fresh is not None
        assert (fresh.trace_id != place.trace_id, fresh.span_id) == (True, 0)


def _line(message: str, *args: object, traces: Traces | None = None, **more: object) -> dict[str, object]:
    record = logging.LogRecord("pbx.x", logging.WARNING, __file__, 1, message, args, None)
    record.created = 1_790_000_000.25
    record.__dict__.update(more)
    found: dict[str, object] = json.loads(logs.JsonFormatter({"pop_id": "de-1"}, ids_of(traces)).format(record))
    return found


def test_a_line_is_an_object_with_what_is_known() -> None:
    assert _line('two\nlines "%s"', "é") == {
        "time": "2026-09-21T14:13:20.250Z",
        "level": "WARNING",
        "logger": "pbx.x",
        "message": 'two\nlines "é"',
        "pop_id": "de-1",
    }
    assert _line("call %s: lost", CALL)["call_id"] == CALL
    assert "call_id" not in _line("agent %s: lost", CALL)
    assert _line("x", call_id=CALL, error_id="internal")["error_id"] == "internal"
    place = place_of(CALL)
    assert place is not None
    traced = _line("call %s: lost", CALL, traces=Traces("http://127.0.0.1:9/v1/traces", "x"))
    assert traced["trace_id"] == f"{place.trace_id:032x}"


def test_a_task_says_once_which_call_it_is_about() -> None:
    def inside() -> object:
        logs.enter_call(CALL)
        return _line("x").get("call_id")

    assert contextvars.copy_context().run(inside) == CALL
    assert "call_id" not in _line("x")


def test_an_exception_stays_on_its_line() -> None:
    try:
        raise ValueError("why")
    except ValueError:
        record = logging.getLogger("x").makeRecord("x", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    text = logs.JsonFormatter({}, call_place.ids_of(None)).format(record)
    assert "\n" not in text
    assert "ValueError: why" in json.loads(text)["exception"]


def test_lines_are_counted() -> None:
    counts = logs.LogCounts()
    logger = logging.getLogger("counted")
    logger.addHandler(counts)
    try:
        logger.warning("one")
        logger.error("two")
        logger.error("three")
    finally:
        logger.removeHandler(counts)
    assert counts.counts == {"warning": 1, "error": 2}
