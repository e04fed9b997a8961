"""The centre asks this POP to forget a person's number (GDPR Art. 17)."""

from __future__ import annotations

import logging

from pbx.controller.callbacks import CallbackDesk
from pbx.controller.router import Router
from pbx.domain.errors import JournalError
from pbx.domain.forgetting import Forgotten
from pbx.domain.ids import CallbackId
from pbx.domain.pseudonyms import Pseudonyms
from pbx.ports.journal import Journal
from pbx.ports.media_engine import Clock
from pbx.wire import messages as wire

log = logging.getLogger(__name__)


async def forget(
    journal: Journal,
    router: Router,
    callbacks: CallbackDesk,
    clock: Clock,
    asked: wire.ForgetNumber,
    pseudonyms: Pseudonyms | None,
) -> wire.CommandReply:
    """Promises to the number are cancelled, then the journal and the memory of who served whom are cleared of it."""
    cancelled, busy = _cancel(callbacks, asked)
    try:
        found = await journal.forget(asked, None if pseudonyms is None else pseudonyms.of)
    except JournalError as error:
        log.error("ALARM a number could not be forgotten, the centre asks again: %s", error)
        return wire.CommandReply(error_id="not_forgotten", detail="the disk refused; it is forgotten in part")
    if asked.call_ids is None:
        router.forget(found.numbers)
    if found.events:
        log.info("erasure %s: %d facts were cleared of a number", asked.erasure_id, found.events)
    return wire.CommandReply(
        forgotten=wire.NumberForgotten(
            events=found.events,
            calls=list(found.calls),
            live=list(found.live),
            cancelled=cancelled,
            pseudonyms=list(found.called),
            busy=busy,
        )
    )


def _cancel(callbacks: CallbackDesk, asked: wire.ForgetNumber) -> tuple[list[str], list[str]]:
    forgotten = Forgotten(bytes.fromhex(asked.key), asked.digests)
    cancelled, busy = list[str](), list[str]()
    for callback_id, promise in list(callbacks.promises.open.items()):
        about = promise.asked
        if about.at > asked.before or not forgotten(about.number):
            continue
        if asked.call_ids is not None and about.call_id not in asked.call_ids:
            continue
        if about.call_id in asked.spared:
            continue
        done = callbacks.cancel(CallbackId(callback_id), "erasure")
        (cancelled if done else busy).append(callback_id)
    return cancelled, busy
