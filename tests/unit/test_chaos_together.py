"""The checker of several POPs finds each fault that it is for: a good story of two POPs, then one thing made wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.checker import Dialog, Evidence
from tests.chaos.line import Line, Passed, Place, all_passed, furthest
from tests.chaos.together import PASSED_S, check_together

ONE, TWO = "198.18.0.2", "198.18.0.5"
Pops = dict[str, Evidence]


def _call(call: str, at: float, offered_at: float, agent: str) -> list[dict[str, Any]]:
    """One who waits, is offered to an agent, and has talked."""
    of = {"call": call}
    return [
        of | {"kind": "LegOffered", "at": at, "leg_id": f"leg-{call}"},
        of | {"kind": "QueueJoined", "at": at + 1, "queue_id": "support", "asked": {"entered_at": at + 1}},
        of | {"kind": "OfferMade", "at": offered_at, "agent_id": agent, "offer_id": f"offer-{call}"},
        of | {"kind": "OfferEnded", "at": offered_at + 1, "offer_id": f"offer-{call}", "outcome": "answered"},
        of | {"kind": "CallEnded", "at": offered_at + 5},
    ]


def _dialog(pop: str, agent: str, at: float) -> Dialog:
    return Dialog(f"{agent}{at}", pop, "198.18.0.4", "c", agent, at, at + 0.5, at + 5)


class Story:
    """a and c call the first POP, b the second; anna is rung by the first, bo by the second."""

    def __init__(self) -> None:
        first = [*_call("a", 100, 120, "anna"), *_call("c", 104, 130, "anna")]
        second = _call("b", 102, 121, "bo")
        self.pops: Pops = {
            "one": Evidence(first, [_dialog(ONE, "anna", 120), _dialog(ONE, "anna", 130)], [], [], ONE),
            "two": Evidence(second, [_dialog(TWO, "bo", 121)], [], [], TWO),
        }
        self.rows = [{"call_id": call, "pop_id": pop} for call, pop in (("a", "one"), ("b", "two"), ("c", "one"))]
        self.calm = [(110.0, 200.0)]

    def check(self) -> list[str]:
        return check_together(self.pops, self.rows, self.calm)

    def offered(self, call: str, at: float) -> None:
        for evidence in self.pops.values():
            for event in evidence.events:
                if event["call"] == call and event["kind"] == "OfferMade":
                    event["at"] = at


def test_a_good_story_is_good() -> None:
    assert Story().check() == []


def _two_homes(story: Story) -> None:
    story.pops["two"].events += _call("a", 100, 120, "anna")


def _overtaken(story: Story) -> None:
    story.offered("b", 120 + 2 * PASSED_S)
    story.offered("c", 120.5)


FAULTS: dict[str, tuple[Callable[[Story], object], str]] = {
    "a call that two POPs have": (_two_homes, "call a is in the journals of one and two"),
    "a call without a record": (lambda story: story.rows.pop(1), "call b has 0 records"),
    "a call with two records": (lambda story: story.rows.append(story.rows[0]), "call a has 2 records"),
    "a record of no call": (lambda story: story.rows.append({"call_id": "x", "pop_id": "one"}), "is of no call"),
    "a record of another POP": (lambda story: story.rows[0].update(pop_id="two"), "said to be of two, and is not"),
    "a phone rung by both POPs": (
        lambda story: story.pops["two"].dialogs.append(_dialog(TWO, "anna", 123)),
        "phone anna is in calls of one and of two",
    ),
    "one who came later at the other POP is served first": (_overtaken, "before b, which waited longer"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found(fault: str) -> None:
    make, said = FAULTS[fault]
    story = Story()
    make(story)
    assert any(said in line for line in story.check()), story.check()


def test_who_is_passed_while_a_proposal_is_lost_comes_next() -> None:
    story = Story()
    story.offered("c", 120.5)
    story.offered("b", 120.5 + PASSED_S - 0.1)
    assert story.check() == []


def test_the_order_of_both_pops_is_judged_only_while_a_router_serves_all() -> None:
    story = Story()
    _overtaken(story)
    story.calm = [(110.0, 119.0), (121.0, 200.0)]
    assert story.check() == []


def test_a_phone_whose_media_server_died_is_free() -> None:
    story = Story()
    story.pops["two"].dialogs.append(_dialog(TWO, "anna", 123))
    story.pops["one"].deaths.append(122.0)
    assert story.check() == []


def test_how_far_anybody_is_out_of_order() -> None:
    came = [Place(str(number), number, 100 + number) for number in range(5)]
    assert furthest(came) == 0
    assert furthest([*came[1:], Place("0", 0, 102.5)]) == 2


def test_who_is_passed_in_a_line_and_when_that_is_wrong() -> None:
    """Three callers of two POPs; the second of POP "one" is offered 0.4 s after the third, of POP "two"."""
    before = Place("a", 0.0, 100.0, "one")
    late, early = Place("b", 1.0, 110.4, "one"), Place("c", 2.0, 110.0, "two", alone=True)
    [passed] = all_passed([before, late, early])
    assert passed == Passed(late, early, passed.seconds)
    assert passed.seconds == pytest.approx(0.4)
    together = Line(3, 3, 109.0, 3.0, 1, [passed])
    assert together.wrong("cut") == []
    assert len(together.wrong("killed")) == 1, "the POPs reach each other"
    assert len(Line(3, 3, 100.0, 3.0, 1, [passed]).wrong("cut")) == 1, "there had been a router again for long"
    own = Passed(late, Place("c", 2.0, 110.0, "one", alone=True), 0.4)
    assert len(Line(3, 3, 109.0, 3.0, 1, [own]).wrong("cut")) == 1, "a POP knows its own callers"
    assert all_passed([before, Place("b", 1.0, 110.01, "one"), early]) == [], "the same moment"
    both = Line(3, 3, 109.0, 3.0, 1, all_passed([late, early, Place("d", 3.0, 110.2, "one")]))
    assert [("b" in one, "d" in one) for one in both.wrong("cut")] == [(True, True)], "one does not hide the other"
