"""What a call counts for: each rule of ``orchestrator.domain.report_facts``."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.report_facts import (
    DAY_S,
    LONGEST_MS,
    MEASURES,
    NEIGHBOURS,
    Fact,
    by_quarter,
    country_of,
    facts_of,
    mark_first_contacts,
    quarter,
)
from pbx.domain import events as ev
from pbx.domain.cdr import Cdr, ForwardRecord, SurveyRecord, TalkRecord, VoicemailRecord, project
from pbx.domain.e164 import E164, cli_of
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import AgentId, CallbackId, CallId, LegId, QueueId
from pbx.domain.queue_rules import Asked

AT = 1_790_000_100.0
DID = "+493055501001"
CALLER = "+4917012345678"
GONE = ev.EndReason.CALLER_HUNG_UP.value


def a_call(**fields: Any) -> Cdr:
    """A call that came to ``sales`` at ``AT``."""
    base = {"did": DID, "cli": CALLER, "offered_at": AT - 10, "queue_id": "sales", "entered_queue_id": "sales"}
    return Cdr("C", **{**base, "entered_at": AT, "queued_at": AT, **fields})


def counted(cdr: Cdr, **wraps: int) -> list[dict[str, Any]]:
    """Of each row what is not 0 or None, without what is the same in all."""
    same = {"call_id", "pop_id", "did", "country", "inbound", "start_at", "entered_at", "number", "n"}
    rows = facts_of("p", cdr, wraps)
    return [{name: value for name, value in row.items() if name not in same and value} for row in rows]


def test_an_answered_call() -> None:
    talk = TalkRecord("anna", "sales", AT + 12, AT + 72)
    (row,) = facts_of("p", a_call(talks=[talk], talk_started_at=AT + 12, ended_at=AT + 72), {"anna": 9_500})
    assert (row["start_at"], row["did"], row["country"], row["number"]) == (quarter(AT), DID, "DE", CALLER)
    assert {name: row[name] for name in MEASURES if row[name]} == {
        "offered": 1, "answered": 1, "in_time": 1, "wait_ms": 12_000, "handled": 1, "talk_ms": 60_000, "wrap_ms": 9_500,
    }  # fmt: skip


def test_it_counts_as_answered_at_once_and_as_handled_when_the_talk_is_over() -> None:
    talking = counted(a_call(talks=[TalkRecord("anna", "sales", AT + 30)], talk_started_at=AT + 30))
    assert talking == [{"queue_id": "sales", "agent_id": "anna", "offered": 1, "answered": 1, "wait_ms": 30_000}]
    assert counted(a_call()) == []


def test_a_call_that_is_handed_on_is_offered_once_and_handled_by_each() -> None:
    first = TalkRecord("anna", "sales", AT + 10, AT + 20, "transferred")
    second = TalkRecord("ben", "support", AT + 500, AT + 560)
    cdr = a_call(talks=[first, second], talk_started_at=AT + 10, ended_at=AT + 560, queue_id="support")
    assert counted(cdr, anna=1_000, ben=2_000) == [
        {"queue_id": "sales", "agent_id": "anna", "offered": 1, "answered": 1, "in_time": 1, "wait_ms": 10_000,
         "handled": 1, "talk_ms": 10_000, "wrap_ms": 1_000, "transferred": 1},
        {"queue_id": "support", "agent_id": "ben", "handled": 1, "talk_ms": 60_000, "wrap_ms": 2_000},
    ]  # fmt: skip


def test_who_has_the_caller_twice_has_wrapped_up_once() -> None:
    parts = [TalkRecord("anna", "sales", AT, AT + 1, "transferred"), TalkRecord("anna", "sales", AT + 5, AT + 6)]
    rows = facts_of("p", a_call(talks=parts, ended_at=AT + 6), {"anna": 7_000})
    assert [row["wrap_ms"] for row in rows] == [0, 7_000]


def test_giving_up_after_a_transfer_is_no_abandon() -> None:
    talk = TalkRecord("anna", "sales", AT + 10, AT + 20, "transferred")
    cdr = a_call(talks=[talk], talk_started_at=AT + 10, ended_at=AT + 99, end_reason=GONE, queue_id="support")
    assert cdr.abandoned
    assert [row.get("abandoned") for row in counted(cdr)] == [None]


def test_it_counts_in_the_queue_where_it_began_to_wait() -> None:
    """It overflowed: the first queue failed it, the agent's work is the second one's."""
    talk = TalkRecord("ben", "backup", AT + 90, AT + 100)
    assert counted(a_call(talks=[talk], queue_id="backup", ended_at=AT + 100)) == [
        {"queue_id": "sales", "agent_id": "ben", "offered": 1, "answered": 1, "wait_ms": 90_000},
        {"queue_id": "backup", "agent_id": "ben", "handled": 1, "talk_ms": 10_000},
    ]


def test_abandons_short_ones_and_those_who_are_given_something_else() -> None:
    def ended(after_s: float, **more: Any) -> dict[str, Any]:
        return counted(a_call(ended_at=AT + after_s, end_reason=GONE, **more))[0]

    assert ended(30) == {"queue_id": "sales", "offered": 1, "abandoned": 1}
    assert ended(4.9)["short_abandons"] == 1
    assert "short_abandons" not in ended(5.0)
    assert ended(30, callback_id="K") == {"queue_id": "sales", "offered": 1}
    assert ended(30, voicemails=[VoicemailRecord("m", left_at=AT + 29)]) == {"queue_id": "sales", "offered": 1}


def test_an_outside_number_that_answers_ends_the_wait() -> None:
    forward = ForwardRecord("queue", AT + 20, answered_at=AT + 25)
    row = counted(a_call(forwards=[forward], ended_at=AT + 60, end_reason=GONE))[0]
    assert row == {"queue_id": "sales", "offered": 1, "answered": 1, "wait_ms": 25_000}


def test_refused_and_never_waiting() -> None:
    leg, queue = LegId("l"), QueueId("sales")
    offered = ev.LegOffered(at=AT, leg_id=leg, did=E164(DID), cli=cli_of(CALLER), caller_country="DE", trunk="t")
    refused = ev.QueueRefused(at=AT + 1, queue_id=queue, reason="full", asked=Asked(queue, AT))
    ended = ev.CallEnded(at=AT + 3, ended_at=AT + 2, reason=ev.EndReason.FLOW_ENDED, cause=HangupCause.NORMAL_CLEARING)
    assert counted(project(CallId("C"), [offered, refused, ended])) == [{"queue_id": "sales", "refused": 1}]
    assert counted(project(CallId("C"), [offered, ended])) == []
    elsewhere = [offered, refused, ev.QueueJoined(at=AT + 2, queue_id=QueueId("b"), position=1), ended]
    assert counted(project(CallId("C"), elsewhere)) == [{"queue_id": "b", "offered": 1}]


def test_a_second_queue_does_not_begin_the_wait_anew() -> None:
    joined = [ev.QueueJoined(at=AT + n, queue_id=QueueId(f"q{n}"), position=1) for n in (0, 50)]
    talk = ev.TalkStarted(at=AT + 60, agent_id=AgentId("anna"), queue_id=QueueId("q50"))
    rows = counted(project(CallId("C"), [*joined, talk]))
    assert rows[0] == {"queue_id": "q0", "agent_id": "anna", "offered": 1, "answered": 1, "wait_ms": 60_000}


def test_a_callback_is_handled_and_not_offered() -> None:
    dialled = ev.CallbackDialled(
        at=AT, callback_id=CallbackId("K"), leg_id=LegId("l"), queue_id=QueueId("sales"), did=E164(DID), ring_s=30.0,
        cli=cli_of(CALLER), caller_country="DE", trunk="t", language="de", attempt=1, entered_at=AT, priority=0,
        needs=(),
    )  # fmt: skip
    reached = ev.CallbackReached(at=AT + 8, callback_id=CallbackId("K"), attempt=1)
    talk = ev.TalkStarted(at=AT + 9, agent_id=AgentId("anna"), queue_id=QueueId("sales"))
    over = ev.TalkEnded(at=AT + 19, agent_id=AgentId("anna"), reason="transferred")
    assert counted(project(CallId("C"), [dialled, reached, talk, over])) == [
        {"queue_id": "sales", "agent_id": "anna", "handled": 1, "talk_ms": 10_000, "transferred": 1}
    ]


def test_survey_answers_count_for_the_last_agent() -> None:
    talks = [TalkRecord("anna", "sales", AT, AT + 5, "transferred"), TalkRecord("ben", "sales", AT + 9, AT + 20)]
    answers = [SurveyRecord("s", "csat", digit, AT + 30, "ben") for digit in "435"]
    others = [SurveyRecord("s", "solved", "1", AT + 30, "ben"), SurveyRecord("s", "csat", "9", AT + 30, "ben")]
    rows = facts_of("p", a_call(talks=talks, survey=answers + others, ended_at=AT + 40), {})
    found = [(row["agent_id"], row["csat_answers"], row["csat_satisfied"]) for row in rows]
    assert found == [("anna", 0, 0), ("ben", 3, 2)]


def test_the_country_is_that_of_the_number_dialled() -> None:
    assert [country_of(did) for did in ("+493055501001", "+12125550123", "+14165550123", "+80012345678", None)] == [
        "DE", "US", "CA", "001", None,
    ]  # fmt: skip


# --- first contacts ---------------------------------------------------------------------------------------------------


def history(*calls: tuple[float, bool] | tuple[float, bool, bool]) -> list[tuple[int, int]]:
    """(first contact, resolved) of calls at these days, answered or not, inbound or not."""
    rows: list[Fact] = [
        {"entered_at": AT + day * DAY_S, "answered": int(answered), "inbound": not rest or rest[0]}
        for day, answered, *rest in calls
    ]
    mark_first_contacts(rows, 0, len(rows) - 1)
    return [(row["first_contacts"], row["resolved"]) for row in rows]


def test_first_contacts() -> None:
    assert history((0, True)) == [(1, 1)]
    assert history((0, True), (7, True)) == [(1, 0), (0, 0)]
    assert history((0, True), (7.01, True)) == [(1, 1), (1, 1)]
    assert history((0, False), (1, True)) == [(0, 0), (1, 1)], "nobody had talked to the first"
    assert history((0, True), (1, False)) == [(1, 0), (0, 0)], "calling again is enough"
    assert history((0, True), (1, False, False)) == [(1, 1), (0, 0)], "a callback is not the customer calling"
    assert history((0, True), (5, True), (11, True)) == [(1, 0), (0, 0), (0, 0)]


def test_a_busy_number_is_looked_at_only_so_far() -> None:
    calls = [(0.0, True), *((n / 1000, False) for n in range(1, NEIGHBOURS + 1)), (0.5, True)]
    assert history(*calls)[-1] == (1, 1)
    del calls[1]
    assert history(*calls)[-1] == (0, 0)


def test_a_clock_that_was_set_makes_no_length_that_cannot_be_stored() -> None:
    talk = TalkRecord("anna", "sales", 1_000.0, AT)
    row = counted(a_call(entered_at=0.0, talks=[talk], ended_at=AT), anna=10**15)[0]
    assert row["talk_ms"] == row["wrap_ms"] == LONGEST_MS < 2**31
    assert row["wait_ms"] == 1_000_000
    backwards = TalkRecord("anna", "sales", AT + 50, AT)
    assert "talk_ms" not in counted(a_call(talks=[backwards], ended_at=AT))[0]


def test_time_is_cut_at_quarters_and_nothing_is_lost() -> None:
    began, ended = 1_790_000_899_900, 1_790_003_000_123
    parts = by_quarter(began, ended)
    assert sum(ms for _, ms in parts) == ended - began
    assert all(at % 900 == 0 and 0 < ms <= 900_000 for at, ms in parts)
    assert by_quarter(900_000, 1_800_000) == [(900, 900_000)]
