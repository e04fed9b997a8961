"""Hang-up causes: the server's names and SIP statuses on one side, Q.850 on the other.

``NAMES`` is the table both ways; the server's own names beyond Q.850 only come in. The SIP status of a far end that
refuses is read as on every engine (``cause_of_sip``), and not as the server would.
"""

from __future__ import annotations

import re

from pbx.domain.hangup_cause import HangupCause, cause_of, cause_of_sip, sip_status

CANCELLED = "487"
"""The far end's answer to our own CANCEL: no cause."""
NAMES: dict[HangupCause, str] = {
    HangupCause.UNALLOCATED_NUMBER: "UNALLOCATED_NUMBER",
    HangupCause.NO_ROUTE: "NO_ROUTE_DESTINATION",
    HangupCause.NORMAL_CLEARING: "NORMAL_CLEARING",
    HangupCause.USER_BUSY: "USER_BUSY",
    HangupCause.NO_USER_RESPONSE: "NO_USER_RESPONSE",
    HangupCause.NO_ANSWER: "NO_ANSWER",
    HangupCause.SUBSCRIBER_ABSENT: "SUBSCRIBER_ABSENT",
    HangupCause.CALL_REJECTED: "CALL_REJECTED",
    HangupCause.NUMBER_CHANGED: "NUMBER_CHANGED",
    HangupCause.DESTINATION_OUT_OF_ORDER: "DESTINATION_OUT_OF_ORDER",
    HangupCause.INVALID_NUMBER_FORMAT: "INVALID_NUMBER_FORMAT",
    HangupCause.NORMAL_UNSPECIFIED: "NORMAL_UNSPECIFIED",
    HangupCause.CONGESTION: "NORMAL_CIRCUIT_CONGESTION",
    HangupCause.NETWORK_OUT_OF_ORDER: "NETWORK_OUT_OF_ORDER",
    HangupCause.TEMPORARY_FAILURE: "NORMAL_TEMPORARY_FAILURE",
    HangupCause.SWITCH_CONGESTION: "SWITCH_CONGESTION",
    HangupCause.BEARER_NOT_AVAILABLE: "BEARERCAPABILITY_NOTAVAIL",
    HangupCause.INCOMPATIBLE_DESTINATION: "INCOMPATIBLE_DESTINATION",
    HangupCause.RECOVERY_ON_TIMER_EXPIRY: "RECOVERY_ON_TIMER_EXPIRE",
    HangupCause.INTERWORKING: "INTERWORKING",
}
_BY_NAME: dict[str, HangupCause] = {name: cause for cause, name in NAMES.items()} | {
    "SUCCESS": HangupCause.NORMAL_CLEARING,
    "ORIGINATOR_CANCEL": HangupCause.NORMAL_CLEARING,
    "LOSE_RACE": HangupCause.NORMAL_CLEARING,
    "MANAGER_REQUEST": HangupCause.NORMAL_CLEARING,
    "BLIND_TRANSFER": HangupCause.NORMAL_CLEARING,
    "ATTENDED_TRANSFER": HangupCause.NORMAL_CLEARING,
    "PICKED_OFF": HangupCause.NORMAL_CLEARING,
    "BOWOUT": HangupCause.NORMAL_CLEARING,
    "ALLOTTED_TIMEOUT": HangupCause.NO_ANSWER,
    "PROGRESS_TIMEOUT": HangupCause.NO_ANSWER,
    "NO_PICKUP": HangupCause.NO_ANSWER,
    "USER_NOT_REGISTERED": HangupCause.SUBSCRIBER_ABSENT,
    "BUSY_EVERYWHERE": HangupCause.USER_BUSY,
    "DECLINE": HangupCause.CALL_REJECTED,
    "REJECT_ALL": HangupCause.CALL_REJECTED,
    "UNWANTED": HangupCause.CALL_REJECTED,
    "USER_CHALLENGE": HangupCause.CALL_REJECTED,
    "DOES_NOT_EXIST_ANYWHERE": HangupCause.UNALLOCATED_NUMBER,
    "NOT_ACCEPTABLE": HangupCause.INCOMPATIBLE_DESTINATION,
    "INVALID_URL": HangupCause.INVALID_NUMBER_FORMAT,
    "INVALID_GATEWAY": HangupCause.DESTINATION_OUT_OF_ORDER,
    "INVALID_PROFILE": HangupCause.DESTINATION_OUT_OF_ORDER,
    "CHAN_NOT_IMPLEMENTED": HangupCause.DESTINATION_OUT_OF_ORDER,
    "GATEWAY_DOWN": HangupCause.DESTINATION_OUT_OF_ORDER,
    "CRASH": HangupCause.TEMPORARY_FAILURE,
    "SYSTEM_SHUTDOWN": HangupCause.TEMPORARY_FAILURE,
    "MEDIA_TIMEOUT": HangupCause.RECOVERY_ON_TIMER_EXPIRY,
    "SRTP_READ_ERROR": HangupCause.INCOMPATIBLE_DESTINATION,
}
_ANSWERED_OTHERWISE = frozenset(
    {
        HangupCause.NORMAL_CLEARING,
        HangupCause.CALL_REJECTED,
        HangupCause.BEARER_NOT_AVAILABLE,
        HangupCause.INTERWORKING,
    }
)
"""Causes that the server answers with another SIP status than RFC 3398 has."""


def cause_named(name: str, q850: str = "") -> HangupCause:
    """The cause of the server's name for it; of a name not in the table, by the number that comes with it."""
    cause = _BY_NAME.get(name)
    if cause is None:
        cause = cause_of(int(q850)) if q850.isascii() and q850.isdigit() else HangupCause.NORMAL_UNSPECIFIED
    return cause


def cause_of_refusal(name: str, q850: str, status: str) -> HangupCause:
    """The cause of a leg we rang that was not answered; ``status`` is the far end's final one, if it gave one."""
    if re.fullmatch(r"[3-6]\d\d", status, re.ASCII) and status != CANCELLED:
        return cause_of_sip(int(status))
    return cause_named(name, q850)


def status_to_force(cause: HangupCause) -> int | None:
    """The SIP status that must be asked for, when an unanswered leg is hung up with ``cause``."""
    return sip_status(cause) if cause in _ANSWERED_OTHERWISE else None
