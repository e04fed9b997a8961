"""/api/v1/calls: the records of calls, and what can be done to a live one."""

from __future__ import annotations

from pydantic import Field
from sqlalchemy import select

from orchestrator.adapters.db.models import CallRow
from orchestrator.api.access import EVERYBODY, SUPERVISORS, TALKERS
from orchestrator.api.call_schemas import Call, Choices, ParkedIn, PlacedCall, Wait, call_of, choices_of, wait_of
from orchestrator.api.filters import Id, Period, narrowed, within
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import PageOf, page_of
from orchestrator.domain.resources import (
    Consulted,
    ParkSpec,
    PlacedCallSpec,
    RetrievalSpec,
    Strict,
    SupervisionSpec,
    TransferTarget,
)
from orchestrator.services import calls
from orchestrator.services.context import Services
from orchestrator.services.paging import page_of_columns
from pbx.wire.messages import (
    EndSupervision,
    ExplainChoice,
    HangUpCall,
    HoldCall,
    MuteAgent,
    PauseRecording,
    ResumeCall,
    StepConsultation,
    StopCallRecording,
    TakeOverCall,
)


class CallQuery(Period):
    """``since`` and ``until``: of the call's beginning."""

    pop_id: Id | None = None
    queue_id: Id | None = None
    agent_id: Id | None = None
    did: Id | None = None
    live: bool | None = None
    """true: only calls that have not ended; false: only those that have."""


async def find(services: Services, query: CallQuery) -> PageOf[Call]:
    """List calls, newest first."""
    statement = narrowed(
        select(*calls.COLUMNS),
        query,
        pop_id=CallRow.pop_id,
        queue_id=CallRow.queue_id,
        agent_id=CallRow.agent_id,
        did=CallRow.did,
    )
    statement = within(statement, query, CallRow.offered_at)
    if query.live is not None:
        statement = statement.where(CallRow.ended_at.is_(None) if query.live else CallRow.ended_at.is_not(None))
    found = await page_of_columns(services.database, statement, CallRow.call_id, query.page(), newest_first=True)
    return page_of(found, call_of)


async def get(services: Services, call_id: str) -> Call:
    """One call's record, with offers, consent evidence and recordings."""
    return call_of(await calls.read(services.database, call_id))


async def place(services: Services, body: PlacedCallSpec) -> PlacedCall:
    """Have an agent call a number: the agent's phone rings first, then the number is dialled over the POP's trunk and
    shown the number that is for its country. Who answers is told, and asked, what the law of both sides demands before
    anything is recorded. Agents place their own calls only.

    422 names ``number`` where it is none, an emergency number (those are dialled at the phone, which needs nobody's
    leave), or one that is barred and not on the POP's list ``allowed_numbers``; 409 ``agent_busy``,
    ``agent_unreachable``: the phone cannot be rung now; ``no_trunk``, ``no_cli``: the POP is not set up to call;
    ``draining``.
    """
    return PlacedCall(call_id=await calls.place(services, body))


class WaitQuery(Strict):
    agent_id: str | None = Field(default=None, max_length=26)
    """Also say why this agent has not been offered the call."""


async def explain_wait(services: Services, call_id: str, query: WaitQuery) -> Wait:
    """Why a waiting call still waits: whom it waits for, and what keeps each of them, counted."""
    return wait_of(await calls.explain_wait(services, call_id, query.agent_id))


async def explain_choice(services: Services, call_id: str) -> Choices:
    """Why the agents who are rung for a call, or talk to the caller, were chosen: what was known when it was offered.

    409 ``not_offered``: nobody has it by an offer of a queue.
    """
    return choices_of(await calls.tell(services, call_id, ExplainChoice(call_id=call_id)))


async def hang_up(services: Services, call_id: str) -> None:
    """End a live call. Its POP does it."""
    await calls.tell(services, call_id, HangUpCall(call_id=call_id))


async def stop_recording(services: Services, call_id: str) -> None:
    """Stop the recording of a live call, for the rest of it. Its POP does it."""
    await calls.tell(services, call_id, StopCallRecording(call_id=call_id, by="api"))


async def withdraw_consent(services: Services, call_id: str) -> None:
    """The caller agrees no longer: the recording is stopped, and all that was recorded in this call is destroyed. Its
    POP does it."""
    await calls.tell(services, call_id, StopCallRecording(call_id=call_id, by="caller"))


async def pause_recording(services: Services, call_id: str) -> None:
    """Record silence while somebody says what must not be kept, such as the number of a card.

    409 ``not_recorded``: this conversation is not being recorded; ``already_paused``.
    """
    await calls.tell(services, call_id, PauseRecording(call_id=call_id, paused=True))


async def resume_recording(services: Services, call_id: str) -> None:
    """Record again. 409 ``not_paused``."""
    await calls.tell(services, call_id, PauseRecording(call_id=call_id, paused=False))


async def supervise(services: Services, call_id: str, body: SupervisionSpec) -> None:
    """Ring a supervisor's phone and let the supervisor listen, whisper to the agent, or barge in; again, to change
    the mode.

    409 ``already_supervised``: another supervisor is with the call; ``not_in_conversation``: nobody talks to the
    caller; ``agent_busy``, ``agent_unreachable``, ``agent_elsewhere``: the supervisor's phone cannot be rung.
    """
    await calls.supervise(services, call_id, body)


async def end_supervision(services: Services, call_id: str) -> None:
    """Let the supervisor go; the conversation goes on."""
    await calls.tell(services, call_id, EndSupervision(call_id=call_id))


async def take_over(services: Services, call_id: str) -> None:
    """The supervisor becomes the agent; the first agent's leg is hung up."""
    await calls.tell(services, call_id, TakeOverCall(call_id=call_id))


async def hold(services: Services, call_id: str) -> None:
    """The caller hears music, the agent silence."""
    await calls.tell(services, call_id, HoldCall(call_id=call_id))


async def resume(services: Services, call_id: str) -> None:
    """Back from hold."""
    await calls.tell(services, call_id, ResumeCall(call_id=call_id))


async def mute(services: Services, call_id: str) -> None:
    """What the agent says reaches nobody."""
    await calls.tell(services, call_id, MuteAgent(call_id=call_id, muted=True))


async def unmute(services: Services, call_id: str) -> None:
    """The agent is heard again."""
    await calls.tell(services, call_id, MuteAgent(call_id=call_id, muted=False))


async def transfer(services: Services, call_id: str, body: TransferTarget) -> None:
    """Hand the caller on, blind: to another queue, to another agent of the present one, to an outside number, or to
    where the flow goes on after the conversation (409 ``no_after`` where it names no node).

    422 names ``number`` where it is none, or an emergency, short, premium or unknown one; 409 ``number_refused``: the
    POP may not call it (its setting ``outside_prefixes``).
    """
    await calls.transfer(services, call_id, body)


async def park(services: Services, call_id: str, body: ParkSpec) -> ParkedIn:
    """Put the caller into a parking slot, with music; the agent goes to wrap-up.

    Agents retrieve the call by dialling ``*7`` and the slot, or by ``retrieve``; after the POP's ``park_timeout_s`` it
    goes back to the queue with the age it had, first to the agent who parked it. 409 ``no_slot``: it is taken, there is
    no such one, or all are taken.
    """
    return ParkedIn(slot=await calls.park(services, call_id, body))


async def retrieve(services: Services, call_id: str, body: RetrievalSpec) -> None:
    """Ring an agent's phone for a parked call.

    409 ``not_parked``; ``retrieval_under_way``: another agent is being rung; ``agent_busy``, ``agent_unreachable``,
    ``agent_elsewhere``: the agent cannot be rung.
    """
    await calls.retrieve(services, call_id, body)


async def consult(services: Services, call_id: str, body: Consulted) -> None:
    """Put the caller on hold and ring another agent, whomever a queue offers, or an outside number; on answer the two
    talk, and the caller hears music.

    409 ``consultation_under_way``: somebody is being consulted; ``not_in_conversation``: nobody talks to the
    caller; ``agent_busy``, ``agent_unreachable``, ``agent_elsewhere``: the agent's phone cannot be rung;
    ``queue_refused``: it is closed or full, or nobody could ever answer; ``number_refused``: the POP may not call it.
    422 names ``number`` where it is none, or an emergency, short, premium or unknown one. A supervisor who is with the
    call is let go.
    """
    await calls.consult(services, call_id, body)


async def swap(services: Services, call_id: str) -> None:
    """The first agent goes over to the one of the two who hears music, the caller or who is consulted.

    409, for this and the following: ``no_consultation``; ``consulted_not_there``: the phone still rings;
    ``consultation_moving``: what was asked before is being done; ``in_conference``.
    """
    await calls.tell(services, call_id, StepConsultation(call_id=call_id, step="swap"))


async def complete(services: Services, call_id: str) -> None:
    """Attended transfer: who is consulted gets the caller, the first agent's leg is hung up."""
    await calls.tell(services, call_id, StepConsultation(call_id=call_id, step="complete"))


async def conference(services: Services, call_id: str) -> None:
    """The caller and both others hear one another. Either of them may hang up, and the other has the caller. Nothing is
    recorded while an outside number is one of them."""
    await calls.tell(services, call_id, StepConsultation(call_id=call_id, step="conference"))


async def cancel(services: Services, call_id: str) -> None:
    """Let who is consulted go, at any time; the first agent is with the caller again."""
    await calls.tell(services, call_id, StepConsultation(call_id=call_id, step="cancel"))


def routes(registry: Registry) -> None:
    one = "/api/v1/calls/{call_id}"
    registry.route("GET", "/api/v1/calls", tag="calls", roles=EVERYBODY)(find)
    registry.route("POST", "/api/v1/calls", tag="calls", status=201, problems=(404, 409, 504), roles=TALKERS)(place)
    registry.route("GET", one, tag="calls", roles=EVERYBODY)(get)
    registry.route("GET", one + "/wait", tag="calls", problems=(409, 504), roles=EVERYBODY, tagged=False)(explain_wait)
    registry.route("GET", one + "/choice", tag="calls", problems=(409, 504), roles=EVERYBODY, tagged=False)(
        explain_choice
    )
    registry.route("POST", one + "/hangup", tag="calls", status=204, problems=(409, 504), roles=TALKERS)(hang_up)
    registry.route("POST", one + "/recording/stop", tag="calls", status=204, problems=(409, 504), roles=EVERYBODY)(
        stop_recording
    )
    registry.route("POST", one + "/recording/withdraw", tag="calls", status=204, problems=(409, 504), roles=EVERYBODY)(
        withdraw_consent
    )
    for name, change in (("pause", pause_recording), ("resume", resume_recording)):
        registry.route("POST", f"{one}/recording/{name}", tag="calls", status=204, problems=(409, 504), roles=TALKERS)(
            change
        )
    supervision = one + "/supervision"
    registry.route("POST", supervision, tag="calls", status=204, problems=(409, 504), roles=SUPERVISORS)(supervise)
    registry.route("DELETE", supervision, tag="calls", status=204, problems=(409, 504), roles=SUPERVISORS)(
        end_supervision
    )
    registry.route("POST", supervision + "/take-over", tag="calls", status=204, problems=(409, 504), roles=SUPERVISORS)(
        take_over
    )
    registry.route("POST", one + "/park", tag="calls", problems=(409, 504), roles=TALKERS)(park)
    for verb in (hold, resume, mute, unmute, transfer, retrieve):
        registry.route("POST", f"{one}/{verb.__name__}", tag="calls", status=204, problems=(409, 504), roles=TALKERS)(
            verb
        )
    registry.route("POST", one + "/consult", tag="calls", status=204, problems=(409, 504), roles=TALKERS)(consult)
    for step in (swap, complete, conference, cancel):
        registry.route(
            "POST", f"{one}/consult/{step.__name__}", tag="calls", status=204, problems=(409, 504), roles=TALKERS
        )(step)
