"""Two POPs, two agents, two calls, a router that may die, and a network that loses, doubles, reorders, delays and
parts. All of it is one value; ``steps`` are the ways in which it can go on, by the product's own code.

The world decides nothing that the product decides. What it adds is the outside: phones, callers, the network, and
*budgets*, which say how often each misfortune happens, so that there is an end to it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from pbx.domain.agent_state import State
from pbx.domain.ids import AgentId, CallId, PopId
from pbx.domain.spanning import home as homes
from pbx.domain.spanning.home import Home, Phase
from pbx.domain.spanning.messages import (
    AgentIs,
    Answered,
    Attempt,
    CallIs,
    Claim,
    HangUp,
    Invite,
    Message,
    Over,
    Propose,
    Yielded,
)
from pbx.domain.spanning.overview import Known, Overview
from pbx.domain.spanning.owner import BUSY, Owned

POPS = (PopId("p"), PopId("q"))
AGENTS = (AgentId("anna"), AgentId("bo"))
CALLS = (CallId("c"), CallId("d"))
BY_SIP = (Invite, Answered, Over, HangUp)
"""They go with the leg between the POPs: repeated until they arrive, and lost only with the connection."""


class Budgets(NamedTuple):
    lose: int = 0
    double: int = 0
    crash: int = 0
    """Of the router; another is elected."""
    usurp: int = 0
    """Another is elected while the former still proposes."""
    cut: int = 0
    """The POPs lose one another."""
    miss: int = 0
    """An agent does not pick up."""
    impatient: int = 0
    """A caller hangs up."""
    move: int = 0
    """A phone registers at the other POP."""
    roam: int = 0
    """It does so while it rings or talks."""
    early: int = 0
    """A time limit passes although the answer is on its way."""
    confused: int = 0
    """The router proposes a call and an agent whom it knows not to be had."""
    alone: int = 0
    """A POP serves its own caller with its own agent without asking a router."""


class Router(NamedTuple):
    pop_id: PopId
    term: int
    calls: tuple[tuple[CallId, PopId, int, bool, bool], ...] = ()
    agents: tuple[tuple[AgentId, PopId, int, bool, bool], ...] = ()

    def wake(self) -> Overview:
        known = Overview(self.term)
        known.calls = {one[0]: Known(*one[1:]) for one in self.calls}
        known.agents = {one[0]: Known(*one[1:]) for one in self.agents}
        return known

    def sleep(self, known: Overview) -> Router:
        calls = tuple(sorted((c, k.pop_id, k.count, k.there, k.awaited) for c, k in known.calls.items()))
        agents = tuple(sorted((a, k.pop_id, k.count, k.there, k.awaited) for a, k in known.agents.items()))
        return self._replace(calls=calls, agents=agents)


class Packet(NamedTuple):
    to: PopId
    sender: PopId
    what: Message | int
    """A number is the term of a new router, which asks everybody."""
    late: bool = False
    """A second copy, which may come after all that was sent later. Otherwise of two reports of one call or agent only
    the newer is on the way: that the older one is lost is the same as that it comes first and makes no difference."""


class World(NamedTuple):
    homes: tuple[Home, ...]
    owned: tuple[Owned, ...]
    """By POP, then by agent."""
    phones: tuple[int, ...]
    """At which POP each agent's is registered."""
    routers: tuple[Router, ...]
    """The former first."""
    terms: tuple[int, ...]
    """The highest that each POP has heard of, and from whom: index of its router's POP."""
    net: frozenset[Packet]
    is_cut: bool
    budgets: Budgets
    taken: frozenset[Attempt] = frozenset()
    talked: frozenset[CallId] = frozenset()
    left: frozenset[CallId] = frozenset()
    faults: frozenset[str] = frozenset()
    """What must never happen and has."""


def start(budgets: Budgets) -> World:
    """Each POP has a caller and an agent, and the router at the first knows them all."""
    calls = tuple(Home(pop_id, call_id) for pop_id, call_id in zip(POPS, CALLS, strict=True))
    owned = tuple(
        Owned.start(pop_id, agent_id, ours=at == of)
        for at, pop_id in enumerate(POPS)
        for of, agent_id in enumerate(AGENTS)
    )
    known = Overview(1)
    for home in calls:
        known.call(home.report())
    for agent in owned:
        if agent.ours:
            known.agent(agent.report())
    router = Router(POPS[0], 1).sleep(known)
    return World(calls, owned, (0, 1), (router,), (1, 1), frozenset(), False, budgets)


def _asked(world: World, router: PopId, term: int) -> World:
    return _post(world, [Packet(pop_id, router, term) for pop_id in POPS])


def _post(world: World, packets: list[Packet]) -> World:
    """On their way to the other POP; what a POP tells itself it knows at once."""
    here = []
    for packet in packets:
        if packet.to == packet.sender:
            here.append(packet)
            continue
        net = world.net
        if (subject := _subject(packet.what)) is not None:
            same = (packet.to, packet.sender, subject, False)
            net = frozenset(p for p in net if (p.to, p.sender, _subject(p.what), p.late) != same)
        world = world._replace(net=net | {packet})
    for packet in here:
        world = arrived(world, packet)
    return world


def _subject(what: Message | int) -> str | None:
    match what:
        case CallIs(call_id=subject) | AgentIs(agent_id=subject):
            return subject
        case _:
            return None


Step = tuple[str, bool, World]
"""What happens, whether it is no misfortune, and the world after it."""


def _send(world: World, sender: PopId, messages: tuple[Message, ...], to: PopId | None = None) -> World:
    packets: list[Packet] = []
    for message in messages:
        match message:
            case CallIs() | AgentIs():
                at = world.terms[POPS.index(sender)]
                packets += [Packet(r.pop_id, sender, message) for r in world.routers if r.term == at]
            case Propose(attempt=attempt):
                packets.append(Packet(world.homes[CALLS.index(attempt.call_id)].pop_id, sender, message))
            case Claim():
                packets += [Packet(pop_id, sender, message) for pop_id in POPS if pop_id != sender]
            case _:
                if to is not None:
                    packets.append(Packet(to, sender, message))
    return _post(world, packets)


def _put_home(world: World, at: int, after: homes.Step, to: PopId | None) -> World:
    home, messages = after
    calls = (*world.homes[:at], home, *world.homes[at + 1 :])
    return _send(world._replace(homes=calls), home.pop_id, messages, to)


def _put_owned(world: World, at: int, after: tuple[Owned, tuple[Message, ...]], to: PopId | None) -> World:
    owned, messages = after
    return _send(world._replace(owned=(*world.owned[:at], owned, *world.owned[at + 1 :])), owned.pop_id, messages, to)


def _at(pop_id: PopId, agent_id: AgentId) -> int:
    return POPS.index(pop_id) * len(AGENTS) + AGENTS.index(agent_id)


def arrived(world: World, packet: Packet) -> World:
    """``packet`` is taken in."""
    here, message = packet.to, packet.what
    match message:
        case int():
            return _hello(world, packet, message)
        case CallIs() | AgentIs():
            for at, router in enumerate(world.routers):
                if router.pop_id == here:
                    known = router.wake()
                    if isinstance(message, CallIs):
                        known.call(message)
                    else:
                        known.agent(message)
                    routers = (*world.routers[:at], router.sleep(known), *world.routers[at + 1 :])
                    world = world._replace(routers=routers)
            return world
        case Propose(attempt=attempt, owner=owner):
            at = CALLS.index(attempt.call_id)
            home = world.homes[at]
            if home.phase is Phase.GONE:
                return _send(world, here, (homes.not_here(here, message),))
            return _put_home(world, at, home.proposed(message, world.terms[POPS.index(here)]), owner)
        case Invite(attempt=attempt, agent_id=agent_id, home=caller_at):
            at = _at(here, agent_id)
            before = world.owned[at]
            after = before.invited(message, world.phones[AGENTS.index(agent_id)] == POPS.index(here))
            if after[0].attempt == attempt and before.attempt != attempt:
                if attempt in world.taken:
                    world = world._replace(faults=world.faults | {"an attempt was taken twice"})
                world = world._replace(taken=world.taken | {attempt})
            return _put_owned(world, at, after, caller_at)
        case Answered(attempt=attempt) | Over(attempt=attempt):
            at = CALLS.index(attempt.call_id)
            home = world.homes[at]
            if isinstance(message, Over):
                return _put_home(world, at, home.over(attempt), packet.sender)
            after_home = home.answered(attempt)
            if after_home[0].phase is Phase.TALKING and home.phase is not Phase.TALKING:
                if attempt.call_id in world.talked:
                    world = world._replace(faults=world.faults | {"a call was given to two agents"})
                world = world._replace(talked=world.talked | {attempt.call_id})
            return _put_home(world, at, after_home, packet.sender)
        case HangUp(attempt=attempt):
            for at, owned in enumerate(world.owned):
                if owned.pop_id == here:
                    world = _put_owned(world, at, owned.hung_up(attempt), packet.sender)
            return world
        case Claim(agent_id=agent_id):
            at = _at(here, agent_id)
            return _put_owned(world, at, world.owned[at].claimed(message), packet.sender)
        case Yielded(agent_id=agent_id):
            at = _at(here, agent_id)
            return _put_owned(world, at, world.owned[at].yielded(message), None)


def _hello(world: World, packet: Packet, term: int) -> World:
    at = POPS.index(packet.to)
    if term < world.terms[at]:
        return world
    world = world._replace(terms=(*world.terms[:at], term, *world.terms[at + 1 :]))
    return refreshed(world, packet.to)


def refreshed(world: World, pop_id: PopId) -> World:
    """A POP tells its router everything, as it does every few seconds."""
    calls = tuple(home.report() for home in world.homes if home.pop_id == pop_id)
    agents = tuple(owned.report() for owned in world.owned if owned.pop_id == pop_id)
    return _send(world, pop_id, calls + agents)


def _spent(world: World, name: str) -> World | None:
    rest = getattr(world.budgets, name)
    return None if rest == 0 else world._replace(budgets=world.budgets._replace(**{name: rest - 1}))


def steps(world: World) -> Iterator[Step]:
    yield from _network(world)
    yield from _routers(world)
    yield from _agents(world)
    yield from _calls(world)


def _network(world: World) -> Iterator[Step]:
    for packet in world.net:
        if world.is_cut and packet.to != packet.sender:
            if isinstance(packet.what, BY_SIP) and (after := _spent(world, "lose")):
                yield "lost with the connection", False, after._replace(net=world.net - {packet})
            continue
        if _has_to_wait(world, packet):
            continue
        yield "arrived", True, arrived(world._replace(net=world.net - {packet}), packet)
        if not packet.late and (after := _spent(world, "double")):
            again = world.net - {packet} | {packet._replace(late=True)}
            yield "arrived, and will again", False, arrived(after._replace(net=again), packet)
        if not isinstance(packet.what, BY_SIP) and (after := _spent(world, "lose")):
            yield "lost", False, after._replace(net=world.net - {packet})
    if world.is_cut:
        yield "healed", True, world._replace(is_cut=False)
    elif after := _spent(world, "cut"):
        yield "cut", False, after._replace(is_cut=True)


def _has_to_wait(world: World, packet: Packet) -> bool:
    """A leg's messages come in order."""
    match packet.what:
        case Over(attempt=attempt):
            return any(
                isinstance(p.what, Answered) and p.what.attempt == attempt and p.to == packet.to for p in world.net
            )
        case HangUp(attempt=attempt):
            return any(
                isinstance(p.what, Invite) and p.what.attempt == attempt and p.to == packet.to and not p.late
                for p in world.net
            )
        case _:
            return False


def _routers(world: World) -> Iterator[Step]:
    newest = max((router.term for router in world.routers), default=max(world.terms))
    for at, router in enumerate(world.routers):
        others = (*world.routers[:at], *world.routers[at + 1 :])
        known = router.wake()
        for call_id, agent_id in list(known.pairs()):
            proposing = router.wake()
            proposal = proposing.propose(call_id, agent_id)
            after = world._replace(routers=(*world.routers[:at], router.sleep(proposing), *world.routers[at + 1 :]))
            yield "proposed", True, _send(after, router.pop_id, (proposal,))
        if world.budgets.confused:
            for call_id, agent_id in itertools.product(known.calls, known.agents):
                if misled := _spent(world, "confused"):
                    proposal = known.propose(call_id, agent_id)
                    yield "proposed in error", False, _send(misled, router.pop_id, (proposal,))
        quiet = not any(isinstance(packet.what, Propose | Invite | CallIs | AgentIs) for packet in world.net)
        waited = _expired(router)
        passed = world if quiet else _spent(world, "early")
        # A former router's lease ends before it has waited that long.
        if waited != router and router.term == newest and passed:
            yield "expired", quiet, passed._replace(routers=(*world.routers[:at], waited, *world.routers[at + 1 :]))
        if crashed := _spent(world, "crash"):
            yield "router died", False, crashed._replace(routers=others)
        if len(world.routers) == 1 and (usurped := _spent(world, "usurp")):
            other = POPS[1 - POPS.index(router.pop_id)]
            routers = (*world.routers, Router(other, newest + 1))
            yield "router displaced", False, _asked(usurped._replace(routers=routers), other, newest + 1)
    if not world.routers:
        for pop_id in POPS:
            elected = world._replace(routers=(Router(pop_id, newest + 1),))
            yield "router elected", True, _asked(elected, pop_id, newest + 1)
    elif len(world.routers) > 1:
        yield "former router ended", True, world._replace(routers=world.routers[1:])
    for at, pop_id in enumerate(POPS):
        if world.routers and world.terms[at] < world.routers[-1].term:
            yield "asked again", True, _asked(world, world.routers[-1].pop_id, world.routers[-1].term)
        told = any(isinstance(packet.what, CallIs | AgentIs) and not packet.late for packet in world.net)
        if not told and any(_is_behind(world, router, pop_id) for router in world.routers):
            yield "told again", True, refreshed(world, pop_id)


def _is_behind(world: World, router: Router, pop_id: PopId) -> bool:
    """Whether there is anything that the POP could tell it."""
    if router.term != world.terms[POPS.index(pop_id)]:
        return False
    known = router.wake()
    return any(known.call(home.report()) for home in world.homes if home.pop_id == pop_id) or any(
        known.agent(owned.report()) for owned in world.owned if owned.pop_id == pop_id
    )


def _expired(router: Router) -> Router:
    known = router.wake()
    for call_id, call in known.calls.items():
        for agent_id, agent in known.agents.items():
            known.expire(Propose(router.term, Attempt(call_id, call.count), agent_id, agent.pop_id, agent.count))
    for one in (*known.calls.values(), *known.agents.values()):
        one.awaited = False  # of what the other one of the pair has been heard
    return router.sleep(known)


def _agents(world: World) -> Iterator[Step]:
    for at, owned in enumerate(world.owned):
        if owned.state is State.RINGING:
            yield "picked up", True, _put_owned(world, at, owned.picked_up(), owned.home)
            if after := _spent(world, "miss"):
                yield "rang in vain", False, _put_owned(after, at, owned.ended(), owned.home)
        elif owned.state is State.ON_CALL:
            yield "agent hung up", True, _put_owned(world, at, owned.ended(), owned.home)
        if owned.state in BUSY and _orphaned(world, owned):
            yield "leg timed out", True, _put_owned(world, at, owned.ended(), owned.home)
        if owned.waits:
            answer_comes = any(isinstance(packet.what, Claim | Yielded) for packet in world.net)
            if not answer_comes:
                yield "claimed again", True, _send(world, owned.pop_id, (owned.tenure.claim(),))
            # The other one is heard, and so not presumed gone, unless the network is cut.
            former = next(iter(owned.tenure.missing))
            if world.is_cut:
                yield "claim unanswered", True, _put_owned(world, at, owned.silent(former), None)
    for of, agent_id in enumerate(AGENTS):
        here = world.phones[of]
        mine = world.owned[_at(POPS[here], agent_id)]
        claims = any(isinstance(packet.what, Claim | Yielded) for packet in world.net)
        if not (mine.ours or mine.waits or claims or world.is_cut):
            # The owner says that the phone is not there.
            yield (
                "missed there",
                True,
                _put_owned(world, _at(POPS[here], agent_id), mine.registered((POPS[1 - here],)), None),
            )
        in_call = any(o.agent_id == agent_id and o.state in BUSY for o in world.owned)
        if after := _spent(world, "roam" if in_call else "move"):
            there = 1 - here
            after = after._replace(phones=(*world.phones[:of], there, *world.phones[of + 1 :]))
            at = _at(POPS[there], agent_id)
            yield "phone moved", False, _put_owned(after, at, after.owned[at].registered((POPS[here],)), None)


def _orphaned(world: World, owned: Owned) -> bool:
    """The caller's POP knows nothing of this leg, and nothing on the way will end it."""
    attempt = owned.attempt
    if attempt is None or any(getattr(packet.what, "attempt", None) == attempt for packet in world.net):
        return False
    home = world.homes[CALLS.index(attempt.call_id)]
    return home.attempt != attempt or home.phase not in (Phase.OFFERED, Phase.TALKING)


def _calls(world: World) -> Iterator[Step]:
    for at, home in enumerate(world.homes):
        if home.phase in (Phase.OFFERED, Phase.TALKING):
            rung = any(owned.attempt == home.attempt for owned in world.owned)
            on_the_way = any(getattr(packet.what, "attempt", None) == home.attempt for packet in world.net)
            if home.phase is Phase.OFFERED:
                dead = not rung and not on_the_way
                after = world if dead else _spent(world, "early")
                if after is not None:
                    yield "gave up", dead, _put_home(after, at, home.gave_up(), home.owner)
            elif not rung and not on_the_way:
                yield "leg timed out", True, _put_home(world, at, home.over(home.attempt), home.owner)
        if home.phase is not Phase.GONE and (after := _spent(world, "impatient")):
            after = after._replace(left=world.left | {home.call_id})
            yield "caller left", False, _put_home(after, at, home.left(), home.owner)
        if home.phase is Phase.OPEN and world.budgets.alone:
            for owned in world.owned:
                if owned.pop_id == home.pop_id and owned.ours and owned.state is State.IDLE:
                    alone = _spent(world, "alone")
                    if alone is not None:
                        offered = home.offer(owned.agent_id, owned.pop_id, owned.epoch)
                        yield "served alone", False, _put_home(alone, at, offered, home.pop_id)


def wrong(world: World) -> str | None:
    """What must never be, and is."""
    for fault in world.faults:
        return fault
    for agent_id in AGENTS:
        if sum(owned.agent_id == agent_id and owned.state in BUSY for owned in world.owned) > 1:
            return "an agent has two calls"
    for home in world.homes:
        if home.phase is Phase.TALKING:
            talking = [
                o for o in world.owned if o.state is State.ON_CALL and o.attempt and o.attempt[0] == home.call_id
            ]
            if len(talking) > 1 and all(o.attempt == home.attempt for o in talking):
                return "a call has two agents"
        if home.phase is Phase.GONE and home.call_id not in world.left | world.talked:
            return "a call is lost"
    return None


def settled(world: World) -> bool:
    """Nobody waits who could be served, nobody rings or talks for nothing, and every phone is at its owner."""
    for of, agent_id in enumerate(AGENTS):
        mine = world.owned[_at(POPS[world.phones[of]], agent_id)]
        if not mine.ours or any(o.ours for o in world.owned if o.agent_id == agent_id and o is not mine):
            return False
    if any(owned.state in BUSY for owned in world.owned):
        return False
    return all(home.phase is Phase.GONE for home in world.homes)
