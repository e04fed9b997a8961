"""What somebody asks of a conversation, each answered once (``commands.Answer``)."""

from __future__ import annotations

from pbx.domain import events as ev

Asked = (
    ev.SupervisionAsked
    | ev.SupervisionEndAsked
    | ev.TakeOverAsked
    | ev.HoldAsked
    | ev.ResumeAsked
    | ev.MuteAsked
    | ev.RecordingPauseAsked
    | ev.TransferAsked
    | ev.ConsultAsked
    | ev.ConsultStepAsked
    | ev.ParkAsked
    | ev.RetrieveAsked
)
