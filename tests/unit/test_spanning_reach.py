"""Which POPs are not reached, told from proposals that were taken and not noticed."""

from __future__ import annotations

from pbx.controller.spanning.reach import AGAIN_S, LONGEST_S, TRIES, Reach
from pbx.domain.ids import PopId

HOME, FAR, NEAR = PopId("home"), PopId("far"), PopId("near")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_one_that_is_not_noticed_may_be_chance() -> None:
    reach = Reach(Clock())
    reach.vain(HOME, FAR)
    assert reach.unreached() == {}
    reach.vain(HOME, FAR)
    assert reach.unreached() == {HOME: {FAR}}


def test_one_that_gets_there_counts_for_all_before() -> None:
    reach = Reach(Clock())
    reach.vain(HOME, FAR)
    reach.got_there(HOME, FAR)
    reach.vain(HOME, FAR)
    assert reach.unreached() == {}


def test_it_is_tried_again_less_and_less_often_until_one_gets_there() -> None:
    clock = Clock()
    reach, waits = Reach(clock), []
    for _ in range(6):
        for _ in range(TRIES):
            reach.vain(HOME, FAR)
        began = clock.now
        while reach.unreached():
            clock.now += 0.5
        waits.append(clock.now - began)
    assert waits == [AGAIN_S, 10.0, 20.0, 40.0, LONGEST_S, LONGEST_S]
    reach.got_there(HOME, FAR)
    for _ in range(TRIES):
        reach.vain(HOME, FAR)
    clock.now += AGAIN_S
    assert reach.unreached() == {}


def test_each_pair_and_each_direction_is_apart() -> None:
    reach = Reach(Clock())
    for home, owner in ((HOME, FAR), (HOME, NEAR), (FAR, HOME)):
        reach.vain(home, owner)
    assert reach.unreached() == {}
    reach.vain(FAR, HOME)
    assert reach.unreached() == {FAR: {HOME}}
