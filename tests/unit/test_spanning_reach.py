"""Which POPs are not reached, told from what becomes of offers."""

from __future__ import annotations

import pytest

from pbx.controller.spanning.reach import AGAIN_S, LONGEST_S, TRIES, Reach
from pbx.domain import events as ev
from pbx.domain.events import OfferOutcome
from pbx.domain.ids import AgentId, OfferId, PhoneId, PopId, QueueId

FAR = PopId("far")


class Offers:
    def __init__(self) -> None:
        self.now, self.number = 1000.0, 0
        self.reach = Reach(lambda: self.now)

    def ends(self, outcome: OfferOutcome, after_s: float = 0.1, owner: PopId = FAR) -> None:
        self.number += 1
        offer = ev.OfferMade(
            at=self.now, offer_id=OfferId(f"o{self.number}"), queue_id=QueueId("q"), agent_id=AgentId("a"),
            phone_id=PhoneId(""), agent_country=None, epoch=1, ring_timeout_s=8.0, pop_id=owner,
        )  # fmt: skip
        self.reach.made(offer, owner)
        self.now += after_s
        self.reach.over(offer.offer_id, outcome)


def test_one_that_fails_may_be_the_phones_fault() -> None:
    offers = Offers()
    offers.ends(OfferOutcome.FAILED)
    assert offers.reach.unreached() == []
    offers.ends(OfferOutcome.FAILED)
    assert offers.reach.unreached() == [FAR]


def test_an_offer_of_which_nothing_is_heard_is_enough() -> None:
    offers = Offers()
    offers.ends(OfferOutcome.NO_ANSWER, 5.1)
    assert offers.reach.unreached() == [], "the owner said so"
    offers.ends(OfferOutcome.NO_ANSWER, 8.0)
    assert offers.reach.unreached() == [FAR]


def test_it_is_tried_again_less_and_less_often_until_an_offer_gets_there() -> None:
    offers = Offers()
    waits = []
    for _ in range(6):
        for _ in range(TRIES):
            offers.ends(OfferOutcome.FAILED)
        began = offers.now
        while offers.reach.unreached():
            offers.now += 0.5
        waits.append(offers.now - began)
    assert waits == [AGAIN_S, 10.0, 20.0, 40.0, LONGEST_S, LONGEST_S]
    offers.ends(OfferOutcome.REJECTED)
    for _ in range(TRIES):
        offers.ends(OfferOutcome.FAILED)
    offers.now += AGAIN_S
    assert offers.reach.unreached() == []


@pytest.mark.parametrize("outcome", [OfferOutcome.CALLER_GONE, OfferOutcome.WITHDRAWN])
def test_what_this_pop_ends_says_nothing(outcome: OfferOutcome) -> None:
    offers = Offers()
    offers.ends(OfferOutcome.FAILED)
    offers.ends(outcome)
    offers.ends(OfferOutcome.FAILED)
    assert offers.reach.unreached() == [FAR]


def test_pops_are_judged_apart_and_offers_of_this_one_not_at_all() -> None:
    offers = Offers()
    offers.ends(OfferOutcome.FAILED)
    offers.ends(OfferOutcome.FAILED, owner=PopId("near"))
    offers.reach.over(OfferId("own"), OfferOutcome.FAILED)
    assert offers.reach.unreached() == []
