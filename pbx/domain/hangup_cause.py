"""Hangup causes: the values of ITU-T Q.850 (05/98) that SIP networks use, and their SIP answers (RFC 3398, 8.2.6.1)."""

from __future__ import annotations

from enum import IntEnum


class HangupCause(IntEnum):
    UNALLOCATED_NUMBER = 1
    NO_ROUTE = 3
    NORMAL_CLEARING = 16
    USER_BUSY = 17
    NO_USER_RESPONSE = 18
    NO_ANSWER = 19
    SUBSCRIBER_ABSENT = 20
    CALL_REJECTED = 21
    NUMBER_CHANGED = 22
    DESTINATION_OUT_OF_ORDER = 27
    INVALID_NUMBER_FORMAT = 28
    NORMAL_UNSPECIFIED = 31
    CONGESTION = 34
    NETWORK_OUT_OF_ORDER = 38
    TEMPORARY_FAILURE = 41
    SWITCH_CONGESTION = 42
    BEARER_NOT_AVAILABLE = 58
    INCOMPATIBLE_DESTINATION = 88
    RECOVERY_ON_TIMER_EXPIRY = 102
    INTERWORKING = 127


_SIP: dict[HangupCause, int] = {
    HangupCause.UNALLOCATED_NUMBER: 404,
    HangupCause.NO_ROUTE: 404,
    HangupCause.NORMAL_CLEARING: 603,
    HangupCause.USER_BUSY: 486,
    HangupCause.NO_USER_RESPONSE: 408,
    HangupCause.NO_ANSWER: 480,
    HangupCause.SUBSCRIBER_ABSENT: 480,
    HangupCause.CALL_REJECTED: 403,
    HangupCause.NUMBER_CHANGED: 410,
    HangupCause.DESTINATION_OUT_OF_ORDER: 502,
    HangupCause.INVALID_NUMBER_FORMAT: 484,
    HangupCause.NORMAL_UNSPECIFIED: 480,
    HangupCause.CONGESTION: 503,
    HangupCause.NETWORK_OUT_OF_ORDER: 503,
    HangupCause.TEMPORARY_FAILURE: 503,
    HangupCause.SWITCH_CONGESTION: 503,
    HangupCause.BEARER_NOT_AVAILABLE: 488,
    HangupCause.INCOMPATIBLE_DESTINATION: 488,
    HangupCause.RECOVERY_ON_TIMER_EXPIRY: 504,
    HangupCause.INTERWORKING: 500,
}

_FROM_SIP: dict[int, HangupCause] = {
    400: HangupCause.TEMPORARY_FAILURE,
    401: HangupCause.CALL_REJECTED,
    402: HangupCause.CALL_REJECTED,
    403: HangupCause.CALL_REJECTED,
    404: HangupCause.UNALLOCATED_NUMBER,
    407: HangupCause.CALL_REJECTED,
    408: HangupCause.NO_USER_RESPONSE,
    410: HangupCause.NUMBER_CHANGED,
    480: HangupCause.NO_USER_RESPONSE,
    481: HangupCause.TEMPORARY_FAILURE,
    484: HangupCause.INVALID_NUMBER_FORMAT,
    485: HangupCause.UNALLOCATED_NUMBER,
    486: HangupCause.USER_BUSY,
    488: HangupCause.INCOMPATIBLE_DESTINATION,
    500: HangupCause.TEMPORARY_FAILURE,
    502: HangupCause.NETWORK_OUT_OF_ORDER,
    503: HangupCause.TEMPORARY_FAILURE,
    504: HangupCause.RECOVERY_ON_TIMER_EXPIRY,
    600: HangupCause.USER_BUSY,
    603: HangupCause.CALL_REJECTED,
    604: HangupCause.UNALLOCATED_NUMBER,
    606: HangupCause.INCOMPATIBLE_DESTINATION,
}
"""RFC 3398, 7.2.4.1, as far as ``HangupCause`` has the cause; 488 and 606 depend on a Warning there. 408, which is
also what a server says of a phone that does not react at all, stays what it is the other way round (8.2.6.1)."""


def cause_of_sip(status: int) -> HangupCause:
    """The cause of a leg that the far end refused with a SIP final response (300 to 699). What RFC 3398 does not list,
    and what it gives a cause outside ``HangupCause``, is INTERWORKING."""
    return _FROM_SIP.get(status, HangupCause.INTERWORKING)


def cause_of(value: int) -> HangupCause:
    """The cause of a Q.850 value; a value outside the table is NORMAL_UNSPECIFIED, as Q.850 2.2.5 has it."""
    try:
        return HangupCause(value)
    except ValueError:
        return HangupCause.NORMAL_UNSPECIFIED


def sip_status(cause: HangupCause) -> int:
    """The SIP final response for a leg refused with ``cause``."""
    return _SIP[cause]
