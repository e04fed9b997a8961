"""The leg from one POP to another that rings an agent there: what it says of itself, in a header of its INVITE.

Only ids, and no number or name: of the caller the other POP is told what the agent's phone shows, by From: as ever.
"""

from __future__ import annotations

import re

from pbx.domain.commands import ToAgent
from pbx.domain.e164 import cli_of
from pbx.domain.errors import BadValue
from pbx.domain.events import GuestOffered
from pbx.domain.ids import AgentId, CallId, LegId, OfferId, PopId, QueueId

OFFER_HEADER = "X-Callplane-Offer"
_TEXT = re.compile(r"([0-9A-Z]{26})/([0-9A-Z]{26})/([A-Za-z0-9_.-]{1,63})/([0-9]{1,15})/([A-Za-z0-9_.-]{1,63})")


def offer_text(to: ToAgent) -> str:
    """The header's text. Raises BadValue for an id that cannot be in it."""
    text = f"{to.offer_id}/{to.call_id}/{to.agent_id}/{to.epoch}/{to.queue_id}"
    if not _TEXT.fullmatch(text):
        raise BadValue("offer", "has an id that a header cannot carry")
    return text


def guest(leg_id: str, at: float, home: str, text: str, cli: str) -> GuestOffered:
    """``home`` is the POP it comes from, as the dialplan knows it, ``text`` the header's, ``cli`` the caller's number,
    ``withheld``, or anything else for unknown. Raises BadValue for what no POP of ours sends."""
    found = _TEXT.fullmatch(text)
    if found is None or not home:
        raise BadValue("offer", "of another POP is not one")
    offer_id, call_id, agent_id, epoch, queue_id = found.groups()
    return GuestOffered(
        at=at,
        leg_id=LegId(leg_id),
        home=PopId(home),
        offer_id=OfferId(offer_id),
        call_id=CallId(call_id),
        queue_id=QueueId(queue_id),
        agent_id=AgentId(agent_id),
        epoch=int(epoch),
        cli=cli_of(cli),
    )
