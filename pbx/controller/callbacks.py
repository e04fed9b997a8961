"""This POP's callbacks: what was promised, with its journal and its timers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from pbx.controller.config_store import ConfigStore
from pbx.controller.router import Router
from pbx.controller.timers import Timers
from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain.call import Call
from pbx.domain.callbacks import Answer, Ask, Callbacks, Decision, Dial, Noted
from pbx.domain.calling_hours import CallingHours
from pbx.domain.e164 import E164
from pbx.domain.ids import CallbackId, CallId, QueueId
from pbx.ports.journal import Journal
from pbx.ports.media_engine import Clock
from pbx.wire import messages as wire


class Numbers(Protocol):
    """What is known of the world's numbers."""

    def callable(self, text: str, country: str) -> E164 | None:
        """``text``, E.164 or as somebody in ``country`` keys it in, as a number that may be called; None where it is
        none, or one that nobody is called back at."""

    def hours(self, number: E164) -> CallingHours: ...

    def country(self, number: E164) -> str | None: ...


class UnknownNumbers:
    """Of a POP that calls nobody back: no number may be called."""

    def callable(self, text: str, country: str) -> E164 | None:
        return None

    def hours(self, number: E164) -> CallingHours:
        return CallingHours(zones=(), weekly=((),) * 7, holiday=(), holidays=())

    def country(self, number: E164) -> str | None:
        return None


class CallbackDesk:
    """Carries out what ``Callbacks`` decides. A promise is handed to the journal before the caller is told, and the
    call's actor waits for the journal, which keeps the order, before the caller hears it."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        router: Router,
        config: ConfigStore,
        numbers: Numbers,
        to_call: Callable[[CallId, ev.Event], None],
        dial: Callable[[CallId, ev.CallbackDialled, ev.OfferMade], bool],
    ) -> None:
        """``dial`` begins a call; False: there is no such DID."""
        self.promises = Callbacks(
            lambda queue: config.queues.get(queue), numbers.hours, numbers.callable, numbers.country
        )
        self._journal, self._clock, self._router = journal, clock, router
        self._to_call, self._dial = to_call, dial
        self._config = config
        self._timers = Timers(self._timer)
        self._stopped = False

    def start(self, live: Mapping[CallbackId, CallId]) -> None:
        """Take up the promises of the last run; ``live``: the calls that keep some of them now."""
        self._carry_out(self.promises.restore(self._journal.callbacks(), self._clock(), live))

    def stop(self) -> None:
        self._stopped = True
        self._timers.cancel_all()

    def hold(self, held: bool) -> None:
        """While ``held``, nobody is called: promises stand, and keep their place."""
        self._carry_out(self.promises.hold(held, self._clock()))

    def request(self, call_id: CallId, asked: cmd.RequestCallback) -> None:
        """The answer goes to the call."""
        self._to_call(call_id, self.ask(call_id, asked))

    def ask(self, call_id: CallId | None, asked: cmd.RequestCallback) -> Answer:
        answer, decisions = self.promises.request(call_id, asked, self._clock())
        self._carry_out(decisions)
        return answer

    def carry_out(self, command: wire.CallbackCommand) -> wire.CommandReply:
        """A command of the centre, at once; nothing is changed by one that is refused."""
        match command:
            case wire.ScheduleCallback():
                return self._schedule(command)
            case wire.CancelCallback(callback_id=callback_id, by=by):
                try:
                    cancelled = self.cancel(CallbackId(callback_id), by)
                except KeyError:
                    return _refused("unknown_callback", f"no callback {callback_id} is open at this POP")
                return wire.CommandReply() if cancelled else _refused("being_called", "the number is being called")

    def _schedule(self, asked: wire.ScheduleCallback) -> wire.CommandReply:
        did = self._config.dids.get(E164(asked.did))
        if did is None:
            return _refused("unknown_did", "the DID is not at this POP")
        if QueueId(asked.queue_id) not in self._config.queues:
            return _refused("unknown_queue", f"there is no queue {asked.queue_id} at this POP")
        trunk = self._config.dialling.trunk
        if trunk is None:
            return _refused("no_trunk", "the POP calls nobody of itself: set CALLPLANE_POP_OUTSIDE_TRUNK")
        now = self._clock()
        answer = self.ask(
            None,
            cmd.RequestCallback(
                queue_id=QueueId(asked.queue_id),
                number=asked.number,
                did=did.number,
                country=did.country,
                trunk=trunk,
                language=asked.language or did.language,
                entered_at=max(now, asked.not_before or now),
                priority=asked.priority,
                needs=(),
                by="api",
                not_before=asked.not_before,
            ),
        )
        if isinstance(answer, ev.CallbackRefused):
            return _refused(answer.reason, "the number cannot be promised a callback")
        return wire.CommandReply(callback_id=answer.callback_id, existing=answer.existing)

    def cancel(self, callback_id: CallbackId, by: str) -> bool:
        """False: too late. Raises KeyError for a callback that is not open."""
        decisions = self.promises.cancel(callback_id, by, self._clock())
        if decisions is None:
            return False
        self._carry_out(decisions)
        return True

    def told(self, call_id: CallId, event: ev.Event) -> None:
        """What the router says to somebody who is not a live call. Not at once: the router is still carrying out what
        belongs to the same moment."""
        if self.promises.waits(call_id):
            asyncio.get_running_loop().call_soon(self._told, call_id, event)

    def _told(self, call_id: CallId, event: ev.Event) -> None:
        if self._stopped:
            return
        if self.promises.waits(call_id) or isinstance(event, ev.OfferMade):
            self._carry_out(self.promises.told(call_id, event, self._clock()))
        else:
            self._to_call(call_id, event)  # a call since

    def call_over(self, call: Call) -> None:
        if call.called_back is not None and not self._stopped:
            self._carry_out(self.promises.over(call.call_id, call.called_back, call.cause, self._clock()))

    def _timer(self, name: str) -> None:
        self._carry_out(self.promises.timer(name, self._clock()))

    def _carry_out(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            match decision:
                case Noted(event=event):
                    self._journal.note(None, (event,))
                case Ask(call_id=call_id, command=cmd.JoinQueue() as join):
                    self._router.queue_callback(call_id, join)
                case Ask(call_id=call_id, command=command):
                    self._router.handle(call_id, command)
                case Dial(call_id=call_id, dialled=dialled, offer=offer):
                    if not self._dial(call_id, dialled, offer):
                        self._carry_out(self.promises.not_dialled(decision, self._clock()))
                case cmd.SetTimer(timer=timer, delay_s=delay_s):
                    self._timers.set(timer, delay_s)
                case cmd.CancelTimer(timer=timer):
                    self._timers.cancel(timer)


def _refused(error_id: str, detail: str) -> wire.CommandReply:
    return wire.CommandReply(error_id=error_id, detail=detail)
