"""Shifts, hours of queues, sites, POPs: classes of agents, and who is there when."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbx.domain import events as ev
from pbx.domain import hours_parse
from pbx.domain.agent import State, Status
from pbx.domain.agent_classes import ON_SHIFT
from pbx.domain.errors import BadValue
from pbx.domain.explain import Because
from pbx.domain.ids import AgentId, CallId, PhoneId, PopId
from pbx.domain.opening_hours import DAY_MINUTES, WEEKDAYS, Interval, OpeningHours
from pbx.domain.queue_rules import Closing, NoAgent, OverflowToQueue, ShiftRule, Strategy, WidenSites
from pbx.domain.shifts import MAX_TIMER_S, SLICE, TIMER
from pbx.domain.timetable import Hours, Timetable
from tests.unit.test_routing import Floor, R, queue

BERLIN = "Europe/Berlin"


def at(text: str, zone: str = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def daily(*intervals: str, zone: str = BERLIN, **special: list[str]) -> Hours:
    exceptions = {day.removeprefix("d").replace("_", "-"): value for day, value in special.items()}
    return Hours(hours_parse.shifts(zone, {day: list(intervals) for day in WEEKDAYS}, exceptions))


class Shop(Floor):
    """A floor on a Friday in Berlin."""

    def __init__(self, *queues: Any, now: str = "2026-11-20 12:00") -> None:
        super().__init__()
        self.now = at(now)
        for one in queues:
            self.do(self.acd.put_queue(one, self.now))

    def person(self, name: str, shifts: Hours | None = None, **more: Any) -> list[tuple[str, str]]:
        self.now += 1
        agent_id, phone_id, skills = AgentId(name), PhoneId(name), more.pop("skills", {"x": 1})
        self.do(self.acd.put_agent(agent_id, phone_id, skills, None, self.now, shifts=shifts, **more))
        self.do(self.acd.phone_reachable(phone_id, True, self.now))
        return self.status(name, Status.AVAILABLE)

    def until(self, text: str) -> list[tuple[str, str]]:
        return self.wait(at(text) - self.now)

    def state(self, name: str) -> State:
        return self.acd.agents[AgentId(name)].state

    def why_not(self, call: str, name: str) -> set[str]:
        return {reason.because.value for reason in self.acd.why_not(CallId(call), AgentId(name))}


# --- shifts ---------------------------------------------------------------------------------------------------------


def test_only_agents_on_shift_are_offered_calls_and_the_others_when_theirs_begins() -> None:
    shop = Shop(queue(shift=ShiftRule.ONLY))
    shop.person("late", daily("14:00-22:00"))
    assert shop.call("c") == []
    assert shop.why_not("c", "late") == {"off_shift"}
    why = shop.acd.why_waiting(CallId("c"), shop.now)
    [group] = why.groups
    assert [(reason.because, reason.agents) for reason in group.reasons] == [
        (Because.NO_AGENT, 0),
        (Because.OFF_SHIFT, 1),
    ]
    assert shop.until("2026-11-20 13:59:59") == []
    assert shop.wait(1) == [("c", "late")]
    assert shop.now == at("2026-11-20 14:00")
    shop.acd.check()


def test_who_is_always_on_shift_needs_no_hours_and_no_timer() -> None:
    shop = Shop(queue(shift=ShiftRule.ONLY))
    shop.person("any")
    assert shop.call("c") == [("c", "any")]
    assert TIMER not in shop.timers


def test_an_agent_whose_shift_ends_finishes_the_call_and_gets_no_other() -> None:
    shop = Shop(queue(shift=ShiftRule.ONLY, wrap_up_s=5.0), queue(R))
    shop.person("a", daily("09:00-17:00"))
    shop.until("2026-11-20 16:59")
    assert shop.call("c") == [("c", "a")]
    shop.end("c", "a")
    shop.call("d")
    shop.until("2026-11-20 17:05")
    assert shop.state("a") is State.ON_CALL
    assert not shop.acd.agents[AgentId("a")].on_shift
    assert shop.talk_over("c", "a") == []
    assert shop.wait(60) == []
    assert shop.state("a") is State.IDLE
    assert shop.why_not("d", "a") == {"off_shift"}
    assert shop.call("e", R) == [("e", "a")]  # a queue that does not ask for a shift
    shop.acd.check()


def test_who_is_rung_when_the_shift_ends_may_answer() -> None:
    shop = Shop(queue(shift=ShiftRule.ONLY))
    shop.person("a", daily("09:00-17:00"))
    shop.until("2026-11-20 16:59:59")
    assert shop.call("c") == [("c", "a")]
    shop.until("2026-11-20 17:00:01")
    assert shop.last(ev.OfferWithdrawn) is None
    shop.end("c", "a")
    assert shop.acd.agents[AgentId("a")].state is State.ON_CALL


def test_on_shift_first_follows_the_sun() -> None:
    day = "09:00-18:00"
    shop = Shop(queue(shift=ShiftRule.FIRST), now="2026-11-20 10:00")
    shop.person("manila", daily(day, zone="Asia/Manila"))  # 17:00 there, and the longest idle
    shop.person("berlin", daily(day))
    shop.person("boston", daily(day, zone="America/New_York"))
    shop.until("2026-11-20 10:30")
    assert shop.call("a") == [("a", "manila")]
    shop.talk("a", "manila")
    shop.until("2026-11-20 11:30")  # 18:30 in Manila
    assert shop.call("b") == [("b", "berlin")]
    shop.talk("b", "berlin")
    shop.until("2026-11-20 20:00")  # 14:00 in Boston
    assert shop.call("c") == [("c", "boston")]
    assert shop.call("d") == [("d", "manila")]  # nobody else on shift: the longest idle of all
    shop.call("e")
    shop.call("f")
    assert shop.talk("c", "boston") == [("f", "boston")]
    shop.acd.check()


def test_shift_first_goes_with_the_strategy_among_those_on_shift() -> None:
    shop = Shop(queue(shift=ShiftRule.FIRST, strategy=Strategy.BEST_SKILL))
    off = daily("20:00-22:00")
    shop.person("off", off, skills={"x": 5})
    shop.person("good", skills={"x": 4})
    shop.person("fair", skills={"x": 2})
    assert [shop.call(name)[0][1] for name in "abc"] == ["good", "fair", "off"]


def test_a_shift_change_at_one_moment_leaves_no_gap() -> None:
    shop = Shop(queue(shift=ShiftRule.ONLY, no_agent=NoAgent.END))
    shop.person("early", daily("06:00-14:00"))
    shop.person("late", daily("14:00-22:00"))
    shop.call("a")
    shop.end("a", "early")
    shop.call("b")
    assert shop.until("2026-11-20 14:00:01") == [("b", "late")]
    assert shop.last(ev.QueueRefused) is None


def test_the_end_of_the_last_shift_counts_as_logging_out() -> None:
    shop = Shop(queue(shift=ShiftRule.ONLY, no_agent=NoAgent.END))
    shop.person("early", daily("06:00-14:00"))
    shop.call("a")
    shop.end("a", "early")
    shop.call("b")
    shop.until("2026-11-20 14:00:01")
    assert shop.last(ev.QueueRefused).reason == "no_agent"
    assert "b" not in shop.acd.waiting_calls(queue().queue_id)


def test_an_exception_replaces_the_day() -> None:
    shifts = daily("09:00-17:00", d2026_11_20=[], d2026_11_21=["13:00-14:00"])
    shop = Shop(queue(shift=ShiftRule.ONLY))
    shop.person("a", shifts)
    shop.call("c")
    assert shop.until("2026-11-21 12:59") == []
    assert shop.until("2026-11-21 13:00") == [("c", "a")]


def test_changed_shifts_hold_at_once_and_a_removed_agents_are_forgotten() -> None:
    shop = Shop(queue(shift=ShiftRule.ONLY))
    shop.person("a", daily("20:00-22:00"))
    shop.call("c")
    assert shop.do(shop.acd.put_agent(AgentId("a"), PhoneId("a"), {"x": 1}, None, shop.now)) == [("c", "a")]
    assert TIMER not in shop.timers
    shop.do(shop.acd.put_agent(AgentId("b"), PhoneId("b"), {"x": 1}, None, shop.now, shifts=daily("20:00-22:00")))
    assert TIMER in shop.timers
    shop.do(shop.acd.remove_agent(AgentId("b"), shop.now))
    assert TIMER not in shop.timers


def test_an_agent_off_shift_is_waited_for_no_longer_when_the_queue_begins_to_demand_shifts() -> None:
    shop = Shop(queue())
    shop.person("a", daily("20:00-22:00"))
    shop.status("a", Status.NOT_READY)
    shop.call("c", preferred=AgentId("a"), preferred_s=60.0)
    shop.do(shop.acd.put_queue(queue(shift=ShiftRule.ONLY), shop.now))
    assert shop.status("a", Status.AVAILABLE) == []
    assert "prefer:c" not in shop.timers
    assert shop.why_not("c", "a") == {"off_shift"}


def test_a_boundary_costs_no_caller_the_agent_who_is_waited_for() -> None:
    shop = Shop(queue(shift=ShiftRule.FIRST))
    shop.person("a", daily("09:00-17:00"))
    shop.person("b")
    shop.until("2026-11-20 16:59:30")
    shop.status("a", Status.NOT_READY)
    assert shop.call("c", preferred=AgentId("a"), preferred_s=60.0) == []
    assert shop.until("2026-11-20 17:00:10") == []
    assert shop.status("a", Status.AVAILABLE) == [("c", "a")]


def test_many_agents_of_one_shift_are_seen_to_in_slices() -> None:
    shop = Shop(queue(shift=ShiftRule.ONLY, no_agent=NoAgent.END), now="2026-11-20 13:00")
    for number in range(2 * SLICE):
        shop.person(f"e{number}", daily("06:00-14:00"))
        shop.person(f"l{number}", daily("14:00-22:00"))
    shop.now = at("2026-11-20 14:00")
    del shop.timers[TIMER]
    shop.do(shop.acd.timer(TIMER, shop.now))
    assert shop.timers[TIMER] == shop.now
    on = {name for name, agent in shop.acd.agents.items() if agent.on_shift}
    assert len(on) == 3 * SLICE  # those who come are seen to first
    # One who is yet to go is configured anew meanwhile, and one who is yet to come is removed.
    shop.do(shop.acd.put_agent(AgentId("e7"), PhoneId("e7"), {"x": 1}, None, shop.now, shifts=daily("00:00-24:00")))
    assert shop.timers[TIMER] == shop.now
    shop.do(shop.acd.remove_agent(AgentId(f"l{2 * SLICE - 1}"), shop.now))
    shop.wait(1)
    on = {name for name, agent in shop.acd.agents.items() if agent.on_shift}
    assert on == {"e7", *(f"l{number}" for number in range(2 * SLICE - 1))}
    assert shop.timers[TIMER] > shop.now
    shop.acd.check()


def test_one_timer_waits_for_the_next_boundary_of_all() -> None:
    shop = Shop(queue(shift=ShiftRule.ONLY), now="2026-11-20 13:55")
    for number in range(50):
        shop.person(f"a{number}", daily(f"{14 + number % 3}:00-22:00"))
    assert [name for name in shop.timers if name.startswith(TIMER)] == [TIMER]
    assert shop.timers[TIMER] == at("2026-11-20 14:00")
    shop.until("2026-11-20 14:00:01")
    assert shop.timers[TIMER] - at("2026-11-20 14:00") <= MAX_TIMER_S  # the clock may be set
    on = [agent for agent in shop.acd.agents.values() if agent.on_shift]
    assert len(on) == 17


# --- days on which the clocks change ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shift", "begins", "ends"),
    [
        # The 29th of March 2026: 02:00 is followed by 03:00, at 01:00 UTC.
        ("22:00-06:00", "2026-03-28 21:00", "2026-03-29 04:00"),
        ("02:30-06:00", "2026-03-29 01:00", "2026-03-29 04:00"),
        ("00:00-02:30", "2026-03-28 23:00", "2026-03-29 01:00"),
    ],
)
def test_shifts_over_the_spring_change(shift: str, begins: str, ends: str) -> None:
    day = "sat" if shift.startswith("22") else "sun"
    shop = Shop(queue(shift=ShiftRule.ONLY), now="2026-03-28 20:00")
    shop.person("a", Hours(hours_parse.shifts(BERLIN, {day: [shift]}, {})))
    shop.call("c")
    shop.until("2026-03-29 12:00")
    [made] = [event for _, event in shop.told if isinstance(event, ev.OfferMade)]
    assert made.at == at(begins, "UTC")
    hours = shop_hours(shop)
    assert not hours.open(at(ends, "UTC"))
    assert hours.open(at(ends, "UTC") - 1)


def shop_hours(shop: Shop) -> Hours:
    [(_, entry)] = shop.acd._timetable._by_keeper.values()
    return entry.hours


@pytest.mark.parametrize(
    ("shift", "begins", "ends"),
    [
        # The 25th of October 2026: 03:00 is followed by 02:00, at 01:00 UTC; 02:30 is shown twice.
        ("22:00-06:00", "2026-10-24 20:00", "2026-10-25 05:00"),
        ("02:30-06:00", "2026-10-25 00:30", "2026-10-25 05:00"),
        ("00:00-02:30", "2026-10-24 22:00", "2026-10-25 01:30"),
    ],
)
def test_shifts_over_the_autumn_change(shift: str, begins: str, ends: str) -> None:
    day = "sat" if shift.startswith("22") else "sun"
    hours = Hours(hours_parse.shifts(BERLIN, {day: [shift]}, {}))
    now = at("2026-10-24 12:00")
    assert hours.next_change(now) == at(begins, "UTC")
    assert hours.next_change(at(begins, "UTC")) == at(ends, "UTC")
    assert hours.open(at(begins, "UTC"))
    assert not hours.open(at(ends, "UTC"))


ZONES = ("Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kolkata")


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.lists(st.tuples(st.integers(0, 1439), st.integers(1, 1440)).filter(lambda i: i[0] != i[1]), max_size=3),
    st.integers(0, 700),
    st.integers(0, DAY_MINUTES),
)
def test_nothing_changes_before_the_next_change(
    zone: str, intervals: list[tuple[int, int]], day: int, minute: int
) -> None:
    found = tuple(Interval(begin, end) for begin, end in intervals)
    hours = OpeningHours(zone=ZoneInfo(zone), weekly=(found,) * 7, special={}, holidays=frozenset())
    now = at("2026-01-01 00:00", "UTC") + day * 86_400 + minute * 60
    state, until = hours.state(now), hours.next_change(now)
    assert now < until <= now + 7 * 86_400
    probes = {now + (until - now) * part / 40 for part in range(40)} | {until - 1}
    assert {hours.state(probe) for probe in probes if probe >= now} == {state}


# --- bad shifts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weekly", "special", "field", "reason"),
    [
        ({"mon": ["09:00-12:00", "11:00-14:00"]}, {}, "shifts.weekly.mon.1", "overlaps shifts.weekly.mon.0"),
        ({"mon": ["11:00-14:00", "09:00-12:00"]}, {}, "shifts.weekly.mon.0", "overlaps shifts.weekly.mon.1"),
        ({"mon": ["22:00-06:00"], "tue": ["05:00-09:00"]}, {}, "shifts.weekly.tue.0", "overlaps shifts.weekly.mon.0"),
        ({"sun": ["22:00-06:00"], "mon": ["05:59-09:00"]}, {}, "shifts.weekly.mon.0", "overlaps shifts.weekly.sun.0"),
        (
            {"mon": ["05:00-09:00"]},
            {"2026-11-22": ["22:00-06:00"]},  # a Sunday
            "shifts.weekly.mon.0",
            "overlaps shifts.special.2026-11-22.0",
        ),
        ({"mon": ["25:00-26:00"]}, {}, "shifts.weekly.mon.0", "from 00:00 to 24:00"),
        ({"mon": ["09:00-09:00"]}, {}, "shifts.weekly.mon.0", "must not end when it begins"),
        ({"mon": ["nine to five"]}, {}, "shifts.weekly.mon.0", "is not an interval"),
        ({"monday": []}, {}, "shifts.weekly.monday", "must be one of mon"),
        ({}, {"2026-02-30": []}, "shifts.special.2026-02-30", "is not a date"),
    ],
)
def test_bad_shifts_are_named_by_their_place(
    weekly: dict[str, list[str]], special: dict[str, list[str]], field: str, reason: str
) -> None:
    with pytest.raises(BadValue) as refused:
        hours_parse.shifts(BERLIN, weekly, special)
    assert refused.value.field == field
    assert reason in refused.value.reason


def test_shifts_that_meet_do_not_overlap() -> None:
    week = {"mon": ["06:00-14:00", "14:00-22:00", "22:00-06:00"], "tue": ["06:00-14:00"]}
    assert hours_parse.shifts(BERLIN, week, {"2026-11-24": []}).weekly[0][2] == Interval(22 * 60, 6 * 60)
    with pytest.raises(BadValue, match="time_zone"):
        hours_parse.shifts("Mars/Olympus", week, {})


def test_those_who_keep_the_same_hours_share_an_entry() -> None:
    table, now = Timetable(), at("2026-11-20 12:00")
    for number in range(1000):
        assert table.keep(f"agent:{number}", daily("09:00-17:00"), now)
    assert len(table._entries) == 1
    assert table.next_at() == at("2026-11-20 17:00")
    assert table.turn(at("2026-11-20 16:59")) == []
    assert len(table.turn(at("2026-11-20 17:00"))) == 1000
    for number in range(1000):
        table.keep(f"agent:{number}", None, now)
    assert table.next_at() is None


# --- hours of a queue -------------------------------------------------------------------------------------------------


def test_a_closed_queue_lets_nobody_in_and_serves_who_waits() -> None:
    shop = Shop(queue(hours=daily("09:00-17:00")), now="2026-11-20 16:59")
    shop.call("a")
    assert shop.last(ev.QueueJoined) is not None
    shop.until("2026-11-20 17:00:01")
    shop.call("b")
    assert shop.last(ev.QueueRefused).reason == "closed"
    assert shop.person("late") == [("a", "late")]
    shop.until("2026-11-21 09:00:01")
    shop.talk("a", "late")
    assert shop.call("c") == [("c", "late")]


@pytest.mark.parametrize("prompt", [None, "closed"])
def test_closing_can_end_the_waits(prompt: str | None) -> None:
    closing = queue(hours=daily("09:00-17:00"), closing=Closing.END, closing_prompt=prompt)
    shop = Shop(closing, now="2026-11-20 16:59")
    shop.call("a")
    shop.person("anna")
    shop.person("bela")
    shop.end("a", "anna")  # talks on
    shop.call("b")  # is rung for
    shop.call("c")
    shop.until("2026-11-20 17:00:01")
    ended = {call: event for call, event in shop.told if isinstance(event, ev.WaitEnded)}
    assert {call: (event.reason, event.target) for call, event in ended.items()} == {"c": ("closed", prompt or "")}
    shop.end("b", "bela", ev.OfferOutcome.NO_ANSWER)
    assert shop.last(ev.WaitEnded).reason == "closed"
    assert shop.acd.waiting_calls(closing.queue_id) == []
    assert shop.acd.agents[AgentId("anna")].state is State.ON_CALL
    shop.acd.check()


@pytest.mark.parametrize(("closing", "let_in"), [(Closing.SERVE, True), (Closing.END, False)])
def test_a_caller_may_be_handed_to_a_colleague_after_hours(closing: Closing, let_in: bool) -> None:
    shop = Shop(queue(hours=daily("09:00-11:00"), closing=closing))
    shop.person("anna")
    handed = shop.call("a", preferred=AgentId("anna"), preferred_s=30.0, while_closed=True)
    assert handed == ([("a", "anna")] if let_in else [])
    assert (shop.last(ev.QueueRefused) is None) is let_in


def test_nobody_overflows_to_a_closed_queue() -> None:
    shop = Shop(queue(R, skills={}, hours=daily("09:00-11:00")), queue(steps=()), now="2026-11-20 12:00")
    shop.do(shop.acd.put_queue(queue(queue().queue_id, (5, OverflowToQueue(R)), skills={"y": 1}), shop.now))
    shop.person("any")
    assert shop.call("a") == []
    assert shop.wait(10) == []
    assert shop.last(ev.QueueOverflowed) is None


def test_hours_that_are_changed_hold_at_once() -> None:
    shop = Shop(queue(hours=daily("09:00-11:00")))
    shop.call("a")
    assert shop.last(ev.QueueRefused).reason == "closed"
    shop.do(shop.acd.put_queue(queue(), shop.now))
    shop.call("b")
    assert shop.acd.waiting_calls(queue().queue_id) == ["b"]
    shop.do(shop.acd.put_queue(queue(hours=daily("09:00-11:00"), closing=Closing.END), shop.now))
    assert shop.last(ev.WaitEnded).reason == "closed"
    shop.do(shop.acd.remove_queue(queue().queue_id, shop.now))
    assert TIMER not in shop.timers


def test_a_public_holiday_is_closed() -> None:
    opening = hours_parse.opening_hours(BERLIN, {day: ["09:00-17:00"] for day in WEEKDAYS}, {"2026-12-26": []})
    public = {datetime.fromisoformat("2026-12-25").date()}
    shop = Shop(queue(hours=Hours(opening, "DE", public)), now="2026-12-25 12:00")
    shop.call("a")
    assert shop.last(ev.QueueRefused).reason == "closed"
    shop.until("2026-12-27 09:00:01")
    shop.call("b")
    assert shop.acd.waiting_calls(queue().queue_id) == ["b"]


# --- sites and POPs ---------------------------------------------------------------------------------------------------


def test_a_queue_of_some_sites_widens_to_others() -> None:
    widen = queue(queue().queue_id, (10, WidenSites(("riga",))), (20, WidenSites()), sites=("bonn", "ulm"))
    shop = Shop(widen)
    shop.person("riga", site="riga")
    shop.person("home")
    assert shop.call("a") == [("a", "riga")]  # nobody at home could ever: the step is not waited for
    shop.talk("a", "riga")
    shop.person("bonn", site="bonn")
    shop.person("ulm", site="ulm")
    assert shop.call("b") == [("b", "bonn")]
    assert shop.call("c") == [("c", "ulm")]
    assert shop.call("d") == []
    assert shop.why_not("d", "riga") == {"other_site"}
    assert shop.wait(9.9) == []
    assert shop.wait(0.2) == [("d", "riga")]
    shop.call("e")
    assert shop.wait(21) == [("e", "home")]
    shop.acd.check()


def test_sites_are_limited_with_those_of_the_steps() -> None:
    names = tuple(f"s{number}" for number in range(8))
    queue(queue().queue_id, (1, WidenSites(names[:3])), sites=names)
    with pytest.raises(BadValue, match="sites"):
        queue(queue().queue_id, (1, WidenSites(("other",))), sites=names)


def test_agents_of_the_calls_own_pop_come_first() -> None:
    berlin, paris = PopId("de-ber-1"), PopId("fr-par-1")
    shop = Shop(queue(strategy=Strategy.SAME_POP_FIRST))
    shop.person("pierre", home_pop=paris)
    shop.person("anna", home_pop=berlin)
    shop.person("bela", home_pop=berlin)
    assert shop.call("a", pop_id=berlin) == [("a", "anna")]
    assert shop.call("b", pop_id=berlin) == [("b", "bela")]
    assert shop.call("c", pop_id=berlin) == [("c", "pierre")]
    shop.call("d", pop_id=paris)
    assert shop.talk("a", "anna") == [("d", "anna")]  # who is free takes the call that waits longest
    assert shop.acd.agents[AgentId("anna")].home_pop == berlin
    shop.acd.check()


def test_at_one_pop_same_pop_first_is_the_longest_idle() -> None:
    shop = Shop(queue(strategy=Strategy.SAME_POP_FIRST))
    shop.person("anna")
    shop.person("bela")
    assert shop.call("a") == [("a", "anna")]
    assert ON_SHIFT in shop.acd.agents[AgentId("bela")].classes
    assert len(shop.acd._pools._pools) == 1
