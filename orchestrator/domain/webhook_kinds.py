"""Which events are sent to webhooks, and what each is about. Their names are those of ``GET /events``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class About(StrEnum):
    """What a message's ``data`` is."""

    CALL = "call"
    MOMENT = "moment"
    """Of a live call."""
    RECORDING = "recording"
    VOICEMAIL = "voicemail"
    CALLBACK = "callback"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    about: About
    summary: str

    @property
    def listened_to(self) -> bool:
        """Of what only roles see that may listen to recordings."""
        return self.about in (About.RECORDING, About.VOICEMAIL)


KINDS = {
    kind.name: kind
    for kind in (
        Kind("LegOffered", About.MOMENT, "A call came in."),
        Kind("CallPlaced", About.MOMENT, "An agent calls a number."),
        Kind("QueueJoined", About.MOMENT, "A call waits in a queue."),
        Kind("OfferMade", About.MOMENT, "An agent's phone is rung for a call."),
        Kind("TalkStarted", About.MOMENT, "An agent talks to the caller."),
        Kind("CallTransferred", About.MOMENT, "An agent handed the caller on, to a queue or to another agent."),
        Kind("CallEnded", About.CALL, "A call is over: its record, as `GET /calls/{id}` gives it."),
        Kind("RecordingEnded", About.RECORDING, "A recording is finished and placed, or was discarded."),
        Kind("RecordingErased", About.RECORDING, "A recording was destroyed."),
        Kind("VoicemailLeft", About.VOICEMAIL, "A caller left a message."),
        Kind("CallbackRequested", About.CALLBACK, "A customer was promised to be called back."),
        Kind("CallbackReached", About.CALLBACK, "A customer who is called back answered."),
        Kind("CallbackMissed", About.CALLBACK, "A customer did not answer and will be called again."),
        Kind("CallbackDone", About.CALLBACK, "A customer who was called back talks to an agent."),
        Kind("CallbackFailed", About.CALLBACK, "A callback came to nothing."),
        Kind("CallbackCancelled", About.CALLBACK, "A callback was cancelled."),
        Kind("AgentChanged", About.AGENT, "An agent's status or state changed."),
    )
}
ALL = "*"
TEST = "WebhookTest"
"""Sent when somebody asks for it, whatever a webhook subscribes to."""
