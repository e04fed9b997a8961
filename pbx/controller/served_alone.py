"""Calls that the dialplan served while there was no controller: they get a record from the one that comes.

Without a lease the dialplan lets callers hear an announcement and dials the overflow number, and dials for agents by
itself. Of each such call it notes the begin and the end, a line each, in ``dialplans.render.ALONE_LOG``, which lies in
memory with the captures. That file is the media server's: here it is only taken away, and what goes on is kept in
another one: the server could not write to a file that another user has made. Nothing of these calls was decided, asked
or recorded here: the record says who called whom, when, what came of it, and ``no_controller``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dialplans.numbering import country_of
from dialplans.render import ALONE_LOG
from pbx.domain import events as ev
from pbx.domain.e164 import CliKind, cli_of, e164
from pbx.domain.errors import BadValue, JournalError
from pbx.domain.hangup_cause import HangupCause, cause_of
from pbx.domain.ids import CallId, LegId, PhoneId, derive
from pbx.domain.leg_step import OUTCOMES
from pbx.ports.journal import Journal
from pbx.ports.media_engine import Clock, EngineSnapshot

log = logging.getLogger(__name__)

LOOK_S = 1.0
WHY = "fallback"
"""What the record's forward to the overflow number says."""

Placed = Callable[[ev.NumberDialled], tuple[ev.CallPlaced, tuple[ev.Event, ...]] | None]
"""The first events of a call that an agent's phone dialled; None where nobody knows the phone."""


@dataclass(frozen=True, slots=True)
class LoneCall:
    """One call as the dialplan noted it; times are whole seconds since the epoch."""

    began: Mapping[str, str]
    began_at: float
    ended_at: float
    cause: HangupCause
    answered: bool
    """By the overflow number, or the number that was dialled."""
    talk_s: float

    @property
    def leg_id(self) -> LegId:
        return LegId(self.began["leg"])

    @property
    def handed(self) -> bool:
        """A controller was offered the leg before, and may have a record of it."""
        return self.began["handed"] == "yes"


def fields_of(line: str) -> tuple[str, dict[str, str]] | None:
    """First word and fields of a line; None for one that is cut off, as by a server that was killed."""
    word, *pairs = line.split(" ")
    if not line.endswith("\n") or word not in ("began", "ended") or not all("=" in pair for pair in pairs):
        return None
    found = dict(pair.rstrip("\n").split("=", 1) for pair in pairs)
    needed = {"leg", "at"} | ({"handed", "trunk"} if word == "began" else {"cause", "dial", "talk"})
    return (word, found) if needed <= found.keys() and found["leg"] and found["at"].isdigit() else None


def read(lines: Iterable[str], is_over: Callable[[LegId, float], bool], now: float) -> tuple[list[LoneCall], list[str]]:
    """The calls that are over, and the lines of those that are not. ``is_over`` of a leg and when it began: whether it
    is gone although its end was not noted."""
    begun: dict[str, tuple[str, dict[str, str]]] = {}
    calls: list[LoneCall] = []
    unread = 0
    for line in lines:
        parsed = fields_of(line)
        if parsed is None:
            unread += 1
            continue
        word, found = parsed
        if word == "began":
            begun[found["leg"]] = (line, found)
        elif found["leg"] in begun:
            _, began = begun.pop(found["leg"])
            talk = float(found["talk"]) if found["talk"].isdigit() else 0.0
            cause = cause_of(int(found["cause"]) if found["cause"].isdigit() else 0)
            calls.append(
                LoneCall(began, float(began["at"]), float(found["at"]), cause, found["dial"] == "ANSWER", talk)
            )
    for leg, (_, began) in list(begun.items()):
        if is_over(LegId(leg), float(began["at"])):
            del begun[leg]
            calls.append(LoneCall(began, float(began["at"]), now, HangupCause.NORMAL_UNSPECIFIED, False, 0.0))
    if unread:
        log.error("%d lines about calls served without a controller could not be read", unread)
    return calls, [line for line, _ in begun.values()]


def _lines(path: Path) -> list[str]:
    """None where there is no such file."""
    try:
        with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
            return list(file)
    except FileNotFoundError:
        return []


class ServedAlone:
    """``directory``: that of running captures. ``placed`` makes the beginning of an agent's call."""

    def __init__(
        self,
        pop_id: str,
        directory: Path,
        journal: Journal,
        clock: Clock,
        placed: Placed,
    ) -> None:
        self._pop_id, self._journal, self._clock = pop_id, journal, clock
        self._placed = placed
        self._log = directory / ALONE_LOG
        self._taken = directory / f"{ALONE_LOG}.taken"
        self._kept = directory / f"{ALONE_LOG}.kept"
        """Lines of calls that go on."""
        self._doubt = True
        """The last run, or the last look, may have got no further than the records."""
        self._alive: frozenset[LegId] = frozenset()
        self._seen_at = 0.0
        self._given: set[CallId] = set()
        """Whose records the journal has been given by this run, written yet or not."""

    def seen(self, snapshot: EngineSnapshot) -> None:
        """The media server is connected: a leg that had begun and is not in ``snapshot`` has ended."""
        self._alive, self._seen_at = frozenset(leg.leg_id for leg in snapshot.legs), self._clock()

    async def watch(self) -> None:
        """Until cancelled. Nothing of it holds up a call."""
        while True:
            try:
                await self.take()
            except (OSError, JournalError) as error:
                log.error("ALARM calls served without a controller have no record yet: %s", type(error).__name__)
            await asyncio.sleep(LOOK_S)

    async def take(self) -> int:
        """Write the records of calls that are over; how many. What goes on stays noted. Raises OSError, JournalError:
        then nothing is lost, and the next time goes on."""
        again = self._taken.exists()  # left by a run that died, or was refused: some of it may have its record
        if not (again or self._log.exists() or self._kept.exists()):
            return 0
        if not self._journal.writable():
            return 0  # it would owe the records, and lose them with this process
        if not again and self._log.exists():
            # The dialplan opens the file for each line: from here on it makes a new one.
            self._log.rename(self._taken)
        kept = _lines(self._kept)
        # A run that died between keeping and removing has left the same lines in both: a leg counts once.
        calls, going_on = read([*kept, *_lines(self._taken)], self._is_over, self._clock())
        written = 0
        again, self._doubt = again or self._doubt, True
        for call in calls:
            written += await self._record(call, again)
        if going_on and going_on != kept:
            new = self._kept.with_suffix(".new")
            new.write_text("".join(going_on), encoding="utf-8", newline="\n")
            new.rename(self._kept)
        elif not going_on:
            self._kept.unlink(missing_ok=True)
        self._taken.unlink(missing_ok=True)
        self._doubt = False
        if written:
            log.info("%d calls were served without a controller; they have their records now", written)
        return written

    def _is_over(self, leg_id: LegId, began_at: float) -> bool:
        return began_at + 1 < self._seen_at and leg_id not in self._alive

    async def _record(self, call: LoneCall, again: bool) -> bool:
        try:
            call_id, events = self._events(call)
        except (BadValue, KeyError) as error:
            log.error("a call served without a controller gets no record: %s", error)
            return False
        # Asking the journal reads it from one end to the other.
        known = (again and self._journal.read_call(call_id)) or (call.handed and self._journal.knows_leg(call.leg_id))
        if known or call_id in self._given or not events:
            return False
        self._given.add(call_id)  # what the journal refuses it writes when there is room
        await self._journal.append(call_id, events)
        return True

    def _events(self, call: LoneCall) -> tuple[CallId, list[ev.Event]]:
        """Raises BadValue, KeyError for what no dialplan of ours has written."""
        call_id = CallId(derive(call.began_at, self._pop_id, call.leg_id))
        events = self._dialled(call_id, call) if "number" in call.began else self._came(call_id, call)
        if events:
            now = self._clock()
            reason = ev.EndReason.NO_CONTROLLER
            events.append(ev.CallEnded(at=now, reason=reason, cause=call.cause, ended_at=call.ended_at))
        return call_id, events

    def _came(self, call_id: CallId, call: LoneCall) -> list[ev.Event]:
        began, at = call.began, call.began_at
        cli = cli_of(began["cli"])
        country = country_of(cli.number) if cli.kind is CliKind.NUMBER and cli.number is not None else None
        did, trunk = e164(began["did"], "did"), began["trunk"]
        events: list[ev.Event] = [
            ev.LegOffered(at=at, leg_id=call.leg_id, did=did, cli=cli, caller_country=country, trunk=trunk)
        ]
        if began["over"]:
            leg_id, number = LegId(derive(at, "leg", call_id, WHY)), e164(began["over"], "over")
            events += [
                ev.LegAnswered(at=at, leg_id=call.leg_id),
                ev.ForwardStarted(at=at, leg_id=leg_id, number=number, kind=WHY, why=WHY),
            ]
            outcome = OUTCOMES.get(call.cause, ev.OfferOutcome.FAILED)
            if call.answered:
                outcome = ev.OfferOutcome.ANSWERED
                events.append(ev.ForwardAnswered(at=call.ended_at - call.talk_s, leg_id=leg_id))
            elif call.cause is HangupCause.NORMAL_CLEARING:
                outcome = ev.OfferOutcome.CALLER_GONE
            events.append(ev.ForwardEnded(at=call.ended_at, leg_id=leg_id, outcome=outcome.value))
        return events

    def _dialled(self, call_id: CallId, call: LoneCall) -> list[ev.Event]:
        began = call.began
        found = self._placed(
            ev.NumberDialled(
                at=call.began_at,
                leg_id=call.leg_id,
                phone_id=PhoneId(began["phone"]),
                number=e164(began["number"], "number"),
                shown=e164(began["shown"], "shown") if began["shown"] else None,
                trunk=began["trunk"],
            )
        )
        if found is None:
            log.error(
                "a call from phone %s, served without a controller, gets no record: it is no agent's", began["phone"]
            )
            return []
        placed, findings = found
        answered = [ev.LegAnswered(at=call.ended_at - call.talk_s, leg_id=placed.leg_id)] if call.answered else []
        return [placed, *findings, *answered]
