"""What the POP shows to its monitoring: a page of metrics, and whether it is ready. All is read when it is asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from pbx.controller.pop import Pop
from pbx.domain.agent import State, Status
from pbx.ports.link import Link
from pbx.recording.recorder import Recorder
from pbx.wire.telemetry.lag import LoopLag
from pbx.wire.telemetry.logs import LogCounts
from pbx.wire.telemetry.page import Page
from pbx.wire.telemetry.server import Readiness


class PopWatch:
    def __init__(
        self,
        pop: Pop,
        recorder: Recorder,
        link: Link | None,
        lag: LoopLag,
        log_counts: LogCounts,
        in_step: Callable[[], bool] | None = None,
    ) -> None:
        """``in_step``: whether the standby has all that is written; None: this POP has no second host."""
        self._pop, self._recorder, self._link, self._in_step = pop, recorder, link, in_step
        self._lag, self._log_counts = lag, log_counts

    async def ready(self) -> Readiness:
        """Whether this POP takes calls now. The centre is none of the parts: a POP does without."""
        pop, meter = self._pop, self._pop.engine.meter
        renewed_at = meter.lease_renewed_at
        leased = renewed_at is not None and self._pop.clock() - self._pop.of_system(renewed_at) < meter.lease_s
        return {
            "media_server": self._media_server_fault(),
            "lease": None if leased else "is not held: callers get the fallback",
            "configuration": None if pop.config.dids else "has no DID",
            "journal": None if pop.journal.writable() else "cannot be written",
        }

    def _media_server_fault(self) -> str | None:
        if not self._pop.engine_is_up:
            return "is not connected"
        calls = self._pop.self_calls
        return f"does not carry audio: {calls.reason}" if calls.carries_audio is False else None

    async def page(self) -> Page:
        page = Page(pop=self._pop.pop_id)
        page.process("callplane_pop", self._lag, self._log_counts)
        parts = (self._calls, self._queues, self._agents, self._spanning, self._media_server, self._journal)
        for part in (*parts, self._centre):
            part(page)
            await asyncio.sleep(0)  # calls come between
        return page

    def _calls(self, page: Page) -> None:
        tally = self._pop.witnesses.tally
        page.gauge("callplane_calls_live", "Calls under way.", self._pop.live_calls)
        page.counters("callplane_calls", "Calls that have begun.", "direction", tally.begun)
        page.counters("callplane_calls_ended", "Calls that have ended.", "reason", tally.ended)
        page.counters("callplane_offers", "Offers to agents that are over; no_answer is RONA.", "outcome", tally.offers)
        page.gauge("callplane_recordings_running", "Captures under way.", self._recorder.running)
        page.counters("callplane_recordings", "Recordings; failed: not begun, or not placed.", "what", tally.recordings)
        page.counters("callplane_consents", "Consents to be recorded.", "answer", tally.consents)
        page.counters("callplane_lookups_failed", "Lookups of flows.", "error", tally.failed_lookups)
        about = "Commands that the media server refused or did not answer."
        page.counters("callplane_engine_commands_failed", about, "command", tally.failed_commands)
        for (command, outcome), count in sorted(self._pop.witnesses.commands.items()):
            about = "Commands of the centre."
            page.counter("callplane_commands", about, count, command=command, outcome=outcome)

    def _queues(self, page: Page) -> None:
        now, lines, counted = self._pop.clock(), self._pop.router.acd.line_views(), self._pop.witnesses.tally.queues
        for queue, line in sorted(lines.items()):
            page.gauge("callplane_queue_waiting", "Calls that wait.", line.waiting, queue=queue)
            longest_s = 0.0 if line.oldest_at is None else max(0.0, now - line.oldest_at)
            page.gauge("callplane_queue_longest_wait_seconds", "Age of the oldest of them.", longest_s, queue=queue)
            page.gauge("callplane_queue_talking", "Calls with an agent.", line.talking, queue=queue)
            page.gauge("callplane_queue_callbacks", "Callbacks whose time has come.", line.callbacks, queue=queue)
            page.gauge("callplane_queue_closed", "1: outside of its hours.", line.closed, queue=queue)
        for queue in sorted(lines.keys() | counted.keys()):
            counts = counted[queue]
            page.counter("callplane_queue_entered", "Calls that entered.", counts.entered, queue=queue)
            page.counter("callplane_queue_answered", "Of these, answered.", counts.answered, queue=queue)
            page.counter("callplane_queue_abandoned", "Of these, abandoned.", counts.abandoned, queue=queue)
            page.counter("callplane_queue_overflowed", "Of these, sent to another.", counts.overflowed, queue=queue)
            about = "Wait of who was answered."
            page.histogram("callplane_queue_answer_seconds", about, counts.waits, queue=queue)
            about = "Wait of who abandoned."
            page.histogram("callplane_queue_abandon_seconds", about, counts.waits_abandoned, queue=queue)
            for reason, count in sorted(counts.refused.items()):
                about = "Calls that it did not take."
                page.counter("callplane_queue_refused", about, count, queue=queue, reason=reason)

    def _agents(self, page: Page) -> None:
        spanning = self._pop.spanning
        agents = [
            agent
            for agent in self._pop.router.acd.agents.values()
            if spanning is None or spanning.moving.elsewhere(agent.agent_id) is None
        ]
        found = Counter((agent.status, agent.state) for agent in agents)
        for status in Status:
            for state in State:
                labels = {"status": status.value, "state": state.value}
                page.gauge("callplane_agents", "Agents by what they chose and do.", found[status, state], **labels)
        ready = Status.AVAILABLE
        gone = sum(agent.status is ready and not agent.reachable for agent in agents)
        page.gauge("callplane_agents_unreachable", "Agents who are ready, without a registered phone.", gone)

    def _spanning(self, page: Page) -> None:
        desk = self._pop.spanning
        if desk is None:
            return
        counts = desk.counts
        page.gauge("callplane_spanning_queues", "Queues of this POP that span POPs.", len(desk.queues))
        page.gauge("callplane_router_known", "1: the router of these queues is heard.", desk.router_pop is not None)
        page.gauge("callplane_router_here", "1: it is at this POP.", desk.election.router is not None)
        page.gauge("callplane_router_term", "Of its lease; rises with each new router.", desk.term)
        if desk.heard_s is not None:
            about = "Since its last word; after 3 the POP serves its callers alone."
            page.gauge("callplane_router_heard_age_seconds", about, desk.heard_s)
        if (router := desk.election.router) is not None:
            about = "Pairs of POPs of which the one's offers do not reach the other: none are proposed for a while."
            page.gauge("callplane_router_unreached_pairs", about, sum(map(len, router.reach.unreached().values())))
        about = "Matches that the router proposed while it was here; expired: no answer in time."
        page.counters("callplane_router_proposals", about, "what", counts.proposed)
        about = "What this POP answered to proposals for its calls."
        page.counters("callplane_router_proposals_answered", about, "answer", counts.answered)
        about = "Offers of other POPs to agents who were not free any more."
        page.counter("callplane_router_offers_refused", about, counts.offers_refused)
        about = "Agents who are at another POP that has them, too."
        there = (desk.moving.elsewhere(agent_id) for agent_id in self._pop.router.acd.agents)
        page.gauge("callplane_agents_elsewhere", about, sum(pop_id is not None for pop_id in there))
        about = "Agents whose phones moved; presumed: from a POP of which nothing was heard."
        page.counters("callplane_agent_moves", about, "what", counts.moves)

    def _media_server(self, page: Page) -> None:
        meter, kind = self._pop.engine.meter, self._pop.engine.capabilities
        page.gauge("callplane_media_server_info", "Which one.", 1, engine=kind.name, version=kind.version)
        page.gauge("callplane_media_server_up", "1: connected.", self._pop.engine_is_up)
        calls = self._pop.self_calls
        if calls.carries_audio is not None:
            about = "1: called by itself it carries audio both ways."
            page.gauge("callplane_media_server_carries_audio", about, calls.carries_audio)
        about = "Until its answer."
        page.histogram("callplane_media_server_request_seconds", about, meter.requests)
        page.counter("callplane_media_server_unanswered", "Requests without an answer.", meter.unanswered)
        if meter.lease_renewed_at is not None:
            about = "Since the media server took the last renewal; callers get the fallback once it is over 4."
            age_s = max(0.0, self._pop.clock() - self._pop.of_system(meter.lease_renewed_at))
            page.gauge("callplane_lease_age_seconds", about, age_s)

    def _journal(self, page: Page) -> None:
        journal = self._pop.journal
        page.histogram("callplane_journal_commit_seconds", "A commit.", journal.meter.commits)
        page.counter("callplane_journal_refused", "Commits that the disk refused.", journal.meter.refused)
        page.gauge("callplane_outbox_events", "Events that the centre does not have.", journal.unsent_count())
        if self._in_step is not None:
            page.gauge("callplane_standby_active", "1: this host of the pair works.", 1)
            about = "1: the standby has all that this POP has written."
            page.gauge("callplane_standby_in_step", about, self._in_step())
        oldest = journal.unsent(1)
        age_s = max(0.0, self._pop.clock() - oldest[0].at) if oldest else 0.0
        page.gauge("callplane_outbox_oldest_seconds", "Age of the oldest of them.", age_s)

    def _centre(self, page: Page) -> None:
        config = self._pop.config
        up = self._link is not None and self._link.connected
        page.gauge("callplane_centre_link_up", "1: connected to the centre.", up)
        page.gauge("callplane_config_revision", "Of the configuration that is in force.", config.revision)
        page.gauge("callplane_config_errors", "Entries that could not be applied.", len(config.errors))
        about = "Agents' accounts that the media server does not have yet."
        page.gauge("callplane_phones_pending", about, self._pop.phones.pending)
