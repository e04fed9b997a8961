"""A call's wait: it joins a queue, goes through the stages of its plan, and leaves. Base of ``acd``.

Two rules keep a plan from wasting time. A stage in which nobody logged in could ever take the call is not waited out
when a later one brings somebody; and overflow to a queue where nobody could ever take the call does not happen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pbx.domain import commands as cmd
from pbx.domain import events as ev
from pbx.domain import wait_estimate, wait_plan
from pbx.domain.agent import Agent, Status
from pbx.domain.decisions import Decision, ToCall, to_call
from pbx.domain.e164 import E164
from pbx.domain.errors import BadValue
from pbx.domain.ids import AgentId, CallId, PopId, QueueId
from pbx.domain.maker import maker
from pbx.domain.matching import Matching
from pbx.domain.pools import Pool
from pbx.domain.queue import Queue
from pbx.domain.queue_rules import (
    Closing,
    EndWithPrompt,
    Need,
    NoAgent,
    OfferCallback,
    OverflowToNumber,
    OverflowToQueue,
    RaisePriority,
    Strategy,
    ToVoicemail,
)
from pbx.domain.sorted_blocks import SortedBlocks
from pbx.domain.wait_plan import ENDS, GiveUp, Plan, Stage
from pbx.domain.waiting_line import Line, Waiting, place_of

_WAIT = NoAgent.WAIT
_queue_joined = maker(ev.QueueJoined)
_new_waiting = maker(Waiting)

MAX_HOPS = 8
"""Overflows of one call from queue to queue; further ones are skipped."""
MAX_PLANS = 1000
"""Different needs whose plans a line keeps."""


class Waits(Matching):
    def position(self, call_id: CallId) -> int:
        """Place in the queue, from 1. Calls whose agent is being rung still count: they may come to nothing."""
        waiting = self._waiting[call_id]
        return waiting.line.all.rank(waiting.place) + 1

    def wait_p80_s(self, call_id: CallId, now: float) -> float | None:
        """80th percentile of the call's further wait; None where it cannot be told or the call does not wait."""
        waiting = self._waiting.get(call_id)
        if waiting is None:
            return None
        estimate = wait_estimate.estimate(waiting, self._waiting, self._lines, now)
        return None if estimate is None else estimate.p80_s

    def waits_in(self, call_id: CallId) -> QueueId | None:
        """The queue in which the call waits."""
        waiting = self._waiting.get(call_id)
        return None if waiting is None else waiting.queue_id

    def queues(self) -> list[Queue]:
        return [line.queue for line in self._lines.values() if not line.removed]

    # --- in and out -------------------------------------------------------------------------------------------------

    def _join(self, call_id: CallId, command: cmd.JoinQueue, now: float) -> list[Decision]:
        line = self._lines.get(command.queue_id)
        if line is None or line.removed:
            return [self._refused(call_id, command, "unknown_queue", now)]
        if call_id in self._waiting:
            return [self._refused(call_id, command, "already_waiting", now)]
        shut = line.closed and not (command.while_closed and line.queue.closing is Closing.SERVE)
        if shut and not command.callback:
            return [self._refused(call_id, command, "closed", now)]
        if line.full and not command.callback:
            return [self._refused(call_id, command, "full", now)]
        try:
            plan = self._plan(line, command.needs, command.pop_id)
        except BadValue:
            return [self._refused(call_id, command, "bad_needs", now)]
        queue = line.queue
        strict = queue.no_agent is not _WAIT and not command.callback and not line.shared
        if strict and not self._helps(line, plan, 0, plan.pools, command.needs, tried=command.tried):
            return [self._refused(call_id, command, "no_agent", now)]
        if command.caller is not None and not command.again and not command.callback:
            kept_at = self.kept_places.take(queue.queue_id, command.caller, queue.redial_s, now)
            if kept_at is not None and kept_at < command.entered_at:
                command = replace(command, entered_at=kept_at)
        entered_at, value = command.entered_at, command.value
        priority = command.priority + queue.priority + (value * queue.value_weight if value else 0)
        place = place_of(priority, entered_at, call_id)
        self._waiting[call_id] = waiting = _new_waiting(
            call_id=call_id,
            line=line,
            place=place,
            priority=command.priority,
            since=entered_at,
            entered_at=entered_at,
            needs=command.needs,
            plan=plan,
            pools=plan.pools,
            value=value,
            caller=command.caller,
            pop_id=command.pop_id,
            callback=command.callback,
            tried=command.tried,
        )
        line.all.add(place)
        line.callbacks += command.callback
        position = line.all.rank(place) + 1
        preferred, preferred_s = command.preferred, command.preferred_s
        if preferred is None and queue.last_agent_s and command.caller is not None and not command.again:
            preferred, preferred_s = self._last_agent(call_id, queue, command.caller, now), queue.last_agent_s
        decisions: list[Decision] = []
        if preferred is not None:
            self._prefer(waiting, preferred, preferred_s, decisions)
        if not plan.stages and queue.no_agent is _WAIT:
            decisions += self._serve(waiting, now)  # nothing to settle: the common case
        else:
            decisions += self._settle((waiting,), now)
        wait_s = self.wait_p80_s(call_id, now) if command.estimated else None
        joined = _queue_joined(
            at=now,
            queue_id=command.queue_id,
            position=position,
            again=command.again,
            wait_s=wait_s,
            asked=command.asked(preferred, preferred_s),
        )
        return [to_call(call_id, joined), *decisions]

    @staticmethod
    def _refused(call_id: CallId, command: cmd.JoinQueue, reason: str, now: float) -> ToCall:
        asked = command.asked(command.preferred, command.preferred_s)
        return ToCall(call_id, ev.QueueRefused(at=now, queue_id=command.queue_id, reason=reason, asked=asked))

    def _drop(self, waiting: Waiting) -> list[Decision]:
        """The call waits no longer; it is not open. Its timers are cancelled."""
        line = waiting.line
        line.all.discard(waiting.place)
        line.callbacks -= waiting.callback
        del self._waiting[waiting.call_id]
        if line.removed and not line.all:
            del self._lines[line.queue.queue_id]
            self._sweep()
        decisions: list[Decision] = []
        if waiting.armed:
            decisions.append(cmd.CancelTimer(f"step:{waiting.call_id}"))
        if waiting.preferred is not None:
            decisions.append(cmd.CancelTimer(f"prefer:{waiting.call_id}"))
        return decisions

    def _leave(self, call_id: CallId, now: float) -> list[Decision]:
        waiting = self._waiting.get(call_id)
        if waiting is None:
            return []
        if not waiting.callback:
            waiting.line.patience.over(now - waiting.since, left=True)
        if waiting.offer_id is None:
            self._close(waiting)
        return self._drop(waiting)

    def _reopen(self, waiting: Waiting, now: float) -> list[Decision]:
        """The offer of this call came to nothing; it has its place again, and an agent it waited for had the chance."""
        waiting.offer_id = None
        decisions: list[Decision] = []
        if waiting.preferred is not None:
            waiting.preferred = None
            decisions.append(cmd.CancelTimer(f"prefer:{waiting.call_id}"))
        if waiting.line.removed:
            return decisions + self._turn_out(waiting, "unknown_queue", now)
        return decisions + self._settle((waiting,), now)

    def _turn_out(self, waiting: Waiting, reason: str, now: float) -> list[Decision]:
        refused = ev.QueueRefused(at=now, queue_id=waiting.queue_id, reason=reason)
        return [*self._drop(waiting), ToCall(waiting.call_id, refused)]

    # --- plans ------------------------------------------------------------------------------------------------------

    def _plan(self, line: Line, needs: tuple[Need, ...], pop_id: PopId | None = None) -> Plan:
        plan = line.plans.get((needs, pop_id))
        if plan is None:
            if len(line.plans) >= MAX_PLANS:
                line.plans.clear()
                self._sweep()
            plan = line.plans[needs, pop_id] = wait_plan.make(line.queue, needs, self._pools, pop_id)
        return plan

    def _sweep(self) -> None:
        """Forget the pools that no plan and no waiting call uses."""
        live: dict[Pool, set[Strategy]] = {}
        plans = [(line.queue.strategy, plan) for line in self._lines.values() for plan in line.plans.values()]
        plans += [(waiting.line.queue.strategy, waiting.plan) for waiting in self._waiting.values()]
        for strategy, plan in plans:
            for pools in (plan.pools, *(stage.pools for stage in plan.stages)):
                for pool in pools:
                    live.setdefault(pool, set()).add(strategy)
        self._pools.keep(live)

    def _replan(self, line: Line, queue: Queue, now: float) -> list[Decision]:
        """The queue's rules changed: its calls begin again under the new ones, with the age they have."""
        calls = [self._waiting[call_id] for _, call_id in line.all]
        for waiting in calls:
            if waiting.offer_id is None:
                self._close(waiting)
        line.queue = queue
        line.plans.clear()
        for waiting in calls:
            waiting.plan = self._plan(line, waiting.needs, waiting.pop_id)
            waiting.pools, waiting.step, waiting.raised = waiting.plan.pools, 0, 0
            self._replace(waiting)
        decisions = self._settle([waiting for waiting in calls if waiting.offer_id is None], now)
        self._sweep()
        return decisions

    def _replace(self, waiting: Waiting) -> None:
        waiting.line.all.discard(waiting.place)
        waiting.place = place_of(waiting.effective_priority, waiting.entered_at, waiting.call_id)
        waiting.line.all.add(waiting.place)

    # --- stages -----------------------------------------------------------------------------------------------------

    def _settle(self, calls: Iterable[Waiting], now: float, fired: bool = False) -> list[Decision]:
        """These calls are waiting and not open: apply what is due, then offer or open them in order. In this order:
        a change may alter the order among them. ``fired``: the timer of the next stage did, whatever the clock says."""
        decisions: list[Decision] = []
        stay = [waiting for waiting in calls if self._advance(waiting, now, fired, decisions)]
        if len(stay) > 1:
            stay.sort(key=lambda waiting: waiting.place)
        for waiting in stay:
            decisions += self._serve(waiting, now)
        return decisions

    def _advance(self, waiting: Waiting, now: float, fired: bool, decisions: list[Decision]) -> bool:
        """Apply the stages that are due or worth skipping to, and set the timer of the next. Whether it still waits."""
        if waiting.line.closed and not waiting.callback and waiting.line.queue.closing is Closing.END:
            return not self._end(waiting, "closed", waiting.line.queue.closing_prompt or "", now, decisions)
        while waiting.step < len(waiting.plan.stages):
            stage = waiting.plan.stages[waiting.step]
            due = fired or waiting.since + stage.after_s <= now
            if not due and (waiting.line.shared or _anybody(waiting.pools) or not self._brings_somebody(waiting)):
                break
            fired = False
            waiting.step += 1
            if self._apply(waiting, stage, now, decisions):
                return False
        hopeless = waiting.line.queue.no_agent is NoAgent.END and not _anybody(waiting.pools)
        hopeless = hopeless and not waiting.line.shared
        if hopeless and not waiting.callback and not self._brings_somebody(waiting):
            decisions += self._turn_out(waiting, "no_agent", now)
            return False
        if waiting.preferred is not None and not _meets(self.agents[waiting.preferred], waiting):
            waiting.preferred = None  # other rules, or another queue
            decisions.append(cmd.CancelTimer(f"prefer:{waiting.call_id}"))
        if waiting.step < len(waiting.plan.stages):
            delay_s = max(0.0, waiting.since + waiting.plan.stages[waiting.step].after_s - now)
            decisions.append(cmd.SetTimer(f"step:{waiting.call_id}", delay_s))
            waiting.armed = True
        elif waiting.armed:
            decisions.append(cmd.CancelTimer(f"step:{waiting.call_id}"))
            waiting.armed = False
        return True

    def _apply(self, waiting: Waiting, stage: Stage, now: float, decisions: list[Decision]) -> bool:
        """Whether the wait is over."""
        waiting.pools = stage.pools
        if waiting.callback and isinstance(stage.change, (*ENDS, OverflowToNumber, OfferCallback)):
            return False
        match stage.change:
            case RaisePriority(by=by):
                waiting.raised += by
                self._replace(waiting)
            case OfferCallback(digit=digit, prompt_id=prompt_id):
                offered = ev.CallbackOffered(at=now, queue_id=waiting.queue_id, digit=digit, prompt_id=prompt_id)
                decisions.append(ToCall(waiting.call_id, offered))
            case OverflowToQueue(queue_id=queue_id):
                target = self._lines.get(queue_id)
                if target is not None and self._may_overflow(waiting.line, target, waiting.needs, waiting.hops):
                    decisions.append(self._move(waiting, target, now))
            case OverflowToNumber() as out if out.number not in waiting.tried:
                decisions += self._drop(waiting)
                ended = ev.WaitEnded(
                    at=now,
                    queue_id=waiting.queue_id,
                    reason="number",
                    target=out.number,
                    ring_s=out.ring_s,
                    show_caller=out.show_caller,
                )
                decisions.append(ToCall(waiting.call_id, ended))
                return True
            case EndWithPrompt(prompt_id=prompt_id):
                return self._end(waiting, "prompt", prompt_id, now, decisions)
            case ToVoicemail(mailbox=mailbox, prompt_id=prompt_id):
                return self._end(waiting, "voicemail", mailbox, now, decisions, prompt_id or "")
            case GiveUp():
                return self._end(waiting, "max_wait", "", now, decisions)
            case _:
                pass  # the stage's pools say it all
        return False

    def _end(
        self, waiting: Waiting, reason: str, target: str, now: float, decisions: list[Decision], prompt_id: str = ""
    ) -> bool:
        decisions += self._drop(waiting)
        queue_id = waiting.queue_id
        ended = ev.WaitEnded(at=now, queue_id=queue_id, reason=reason, target=target, prompt_id=prompt_id)
        decisions.append(ToCall(waiting.call_id, ended))
        return True

    def _may_overflow(self, line: Line, target: Line, needs: tuple[Need, ...], hops: int) -> bool:
        if target is line or target.removed or target.closed or target.full or hops >= MAX_HOPS:
            return False
        plan = self._plan(target, needs)
        return any(_anybody(pools) for pools in (plan.pools, *(stage.pools for stage in plan.stages)))

    def _move(self, waiting: Waiting, target: Line, now: float) -> Decision:
        former = waiting.line
        former.all.discard(waiting.place)
        former.callbacks -= waiting.callback
        target.callbacks += waiting.callback
        waiting.line, waiting.since, waiting.step = target, now, 0
        waiting.hops += 1
        waiting.plan = self._plan(target, waiting.needs, waiting.pop_id)
        waiting.pools = waiting.plan.pools
        self._replace(waiting)
        from_id, position = former.queue.queue_id, self.position(waiting.call_id)
        moved = ev.QueueOverflowed(at=now, queue_id=waiting.queue_id, from_queue_id=from_id, position=position)
        return ToCall(waiting.call_id, moved)

    def _brings_somebody(self, waiting: Waiting) -> bool:
        """Whether a stage to come does."""
        return self._helps(
            waiting.line,
            waiting.plan,
            waiting.step,
            (),
            waiting.needs,
            waiting.hops,
            tried=waiting.tried,
            callback=waiting.callback,
        )

    def _helps(
        self,
        line: Line,
        plan: Plan,
        step: int,
        pools: tuple[Pool, ...],
        needs: tuple[Need, ...],
        hops: int = 0,
        *,
        tried: tuple[E164, ...] = (),
        callback: bool = False,
    ) -> bool:
        """Whether somebody logged in could take the call in ``pools`` or in a later stage, before the wait ends."""
        if _anybody(pools):
            return True
        for stage in plan.stages[step:]:
            if isinstance(stage.change, ENDS):
                return False
            if isinstance(stage.change, OverflowToNumber) and not callback and stage.change.number not in tried:
                return False  # it is not dialled before its time for what comes after it
            if _anybody(stage.pools):
                return True
            if isinstance(stage.change, OverflowToQueue):
                target = self._lines.get(stage.change.queue_id)
                if target is not None and self._may_overflow(line, target, needs, hops):
                    return True
        return False

    # --- one agent first --------------------------------------------------------------------------------------------

    def _prefer(self, waiting: Waiting, agent_id: AgentId, for_s: float, decisions: list[Decision]) -> None:
        agent = self.agents.get(agent_id)
        if agent is None or for_s <= 0 or agent.status is Status.LOGGED_OUT:
            return
        if _meets(agent, waiting):
            waiting.preferred = agent.agent_id
            if agent.wanted is None:
                agent.wanted = SortedBlocks()
            decisions.append(cmd.SetTimer(f"prefer:{waiting.call_id}", for_s))

    def _last_agent(self, call_id: CallId, queue: Queue, caller: str, now: float) -> AgentId | None:
        agent_id = self.last_agents.who(queue.queue_id, caller, queue.last_agent_days, now)
        # Whoever talks in this very call is about to hand it on.
        return None if agent_id in self._serving.get(call_id, ()) else agent_id

    # --- timers and agents who leave --------------------------------------------------------------------------------

    def _wait_timer(self, kind: str, call_id: CallId, now: float) -> list[Decision]:
        waiting = self._waiting.get(call_id)
        if waiting is None:
            return []
        if kind == "step":
            waiting.armed = False
            if waiting.offer_id is None:  # or it is due when the offer comes to nothing
                self._close(waiting)
                return self._settle((waiting,), now, fired=True)
        elif waiting.preferred is not None and waiting.offer_id is None:
            self._close(waiting)
            waiting.preferred = None
            return self._settle((waiting,), now)
        return []

    def _gone(self, agent: Agent, emptied: list[Pool], now: float) -> list[Decision]:
        """The agent logged out or has other abilities; ``emptied`` pools have nobody logged in now."""
        calls = [self._waiting[call_id] for _, call_id in agent.wanted or ()]
        if agent.status is not Status.LOGGED_OUT:
            calls = [waiting for waiting in calls if not _meets(agent, waiting)]
        decisions: list[Decision] = [cmd.CancelTimer(f"prefer:{waiting.call_id}") for waiting in calls]
        concerned = {place: self._waiting[place[1]] for pool in emptied for place in pool.open}
        concerned |= {waiting.place: waiting for waiting in calls}
        for waiting in concerned.values():
            self._close(waiting)
        for waiting in calls:
            waiting.preferred = None
        return decisions + self._settle(concerned.values(), now)


def _meets(agent: Agent, waiting: Waiting) -> bool:
    profile = agent.profile
    return profile is not None and any(profile.meets(pool.requirement) for pool in waiting.pools)


def _anybody(pools: tuple[Pool, ...]) -> bool:
    return any(pool.logged_in for pool in pools)
