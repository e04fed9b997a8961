"""What can be done to live calls and to agents."""

from __future__ import annotations

from orchestrator.command_line.columns import at, number, of
from orchestrator.command_line.noun import Action, Argument
from orchestrator.command_line.output import Column

_CALL = "/calls/{call_id}"
_AGENT = "/agents/{agent_id}"
_MODES = ("listen", "whisper", "barge")
_STATUSES = ("LOGGED_OUT", "AVAILABLE", "NOT_READY")
_TARGETS = (
    Argument("queue_id", "a queue"),
    Argument("agent_id", "an agent"),
    Argument("number", "an outside number"),
)


def _tell(verb: str, about: str, path: str, *arguments: Argument, method: str = "POST") -> Action:
    return Action(verb, about, method, _CALL + path, arguments)


CALLS = (
    Action(
        "wait",
        "why it still waits",
        "GET",
        _CALL + "/wait",
        (Argument("agent_id", "and why this agent has not it"),),
    ),
    Action(
        "choice",
        "why the agents who have it were chosen",
        "GET",
        _CALL + "/choice",
        columns=(
            *of("agent_id", "queue_id", "asked_by", "strategy", "requirement"),
            number("waited_s"),
            number("idle_s"),
            at("at"),
        ),
    ),
    _tell("hang-up", "end the call", "/hangup"),
    _tell("stop-recording", "stop its recording", "/recording/stop"),
    _tell("pause-recording", "silence is recorded until it is resumed", "/recording/pause"),
    _tell("resume-recording", "it is recorded again", "/recording/resume"),
    _tell("withdraw-consent", "the caller takes the consent back: every part is destroyed", "/recording/withdraw"),
    _tell(
        "supervise",
        "ring a supervisor's phone, or change the mode",
        "/supervision",
        Argument("agent_id", "the supervisor", needed=True),
        Argument("mode", needed=True, choices=_MODES),
    ),
    _tell("end-supervision", "let the supervisor go", "/supervision", method="DELETE"),
    _tell("take-over", "the supervisor becomes the agent", "/supervision/take-over"),
    _tell("hold", "the caller hears music", "/hold"),
    _tell("resume", "back from hold", "/resume"),
    _tell("mute", "what the agent says reaches nobody", "/mute"),
    _tell("unmute", "the agent is heard again", "/unmute"),
    _tell(
        "transfer", "hand the caller on", "/transfer", *_TARGETS, Argument("after", "to the flow's survey", flag=True)
    ),
    _tell("park", "into a parking slot", "/park", Argument("slot", "without it any that is free", kind=int)),
    _tell("retrieve", "ring an agent for a parked call", "/retrieve", Argument("agent_id", needed=True)),
    _tell("consult", "hold the caller and ask somebody", "/consult", *_TARGETS),
    _tell("consult-swap", "over to the one of the two who hears music", "/consult/swap"),
    _tell("consult-complete", "who is consulted gets the caller", "/consult/complete"),
    _tell("consult-conference", "all three together", "/consult/conference"),
    _tell("consult-cancel", "let who is consulted go", "/consult/cancel"),
)

AGENT = (
    Action("password", "a new password for the phone", "POST", _AGENT + "/password", once="sip.password"),
    Action(
        "status",
        "what the agent chose",
        "POST",
        _AGENT + "/status",
        (Argument("status", needed=True, choices=_STATUSES), Argument("reason", "of NOT_READY")),
    ),
    Action("wrap-up-end", "end the wrap-up", "POST", _AGENT + "/wrap-up/end"),
    Action(
        "wrap-up-extend",
        "more wrap-up",
        "POST",
        _AGENT + "/wrap-up/extend",
        (Argument("by_s", "seconds", needed=True, kind=float),),
    ),
    Action(
        "states",
        "what the agent did, oldest first",
        "GET",
        "/reports/agent-states?agent_id={agent_id}",
        (
            Argument("since", "a day or a time; without it today"),
            Argument("until", "likewise; without it now"),
            Argument("time_zone", "of days"),
        ),
        columns=(
            at("began_at"),
            at("ended_at"),
            *of("status", "reason", "state"),
            Column("call", "call_id"),
            Column("queue", "queue_id"),
        ),
    ),
)
