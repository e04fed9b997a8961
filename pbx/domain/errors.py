"""Errors of the core and of its ports. Each says what is wrong with which thing; texts hold no number or name."""

from __future__ import annotations


class CallplaneError(Exception):
    """Base of all errors that Callplane raises on purpose."""


class BadValue(CallplaneError, ValueError):
    """A value from outside was refused. ``field`` is its path (``nodes.menu.choices.1``), ``reason`` says why."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class IllegalTransition(CallplaneError):
    """A state machine was asked for a step its table does not have. Nothing was changed."""

    def __init__(self, machine: str, state: str, event: str) -> None:
        super().__init__(f"{machine} in state {state} has no transition for {event}")
        self.machine = machine
        self.state = state
        self.event = event


class EngineError(CallplaneError):
    """A media server refused or failed a command. ``retryable``: the same command may work later."""

    retryable = False


class EngineGone(EngineError):
    """No connection to the media server. The command was not sent."""

    retryable = True


class EngineUnknown(EngineError):
    """The connection dropped, or the deadline passed, before the reply: nobody knows whether the command was
    carried out. Never send it again; settle it by snapshot."""


class LegGone(EngineError):
    """The leg, bridge or playback of the command is no longer there. Usual when both sides hang up at once."""


class EngineRefused(EngineError):
    """The media server understood the command and refused it."""


class JournalError(CallplaneError):
    """The journal could not write (disk full, file system read-only). Nothing that depends on it may begin."""


class LookupFailed(CallplaneError):
    """An HTTP service gave no answer that can be used. ``reason`` is one of the words of ``LookupEnded.error``; what
    was asked is not in it. ``status`` is that of HTTP, 0 without an answer."""

    def __init__(self, reason: str, status: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class RecordingDamaged(CallplaneError):
    """A sealed recording is not what was sealed, or not what and where it should be. Nothing of it is given out."""
