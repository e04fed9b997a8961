"""The published JSON Schema (draft 2020-12) of a flow's graph: for editors and for whoever makes graphs by program.

``pbx.domain.flow.parse`` decides; the schema says as much of that as a schema can. Targets, for one, it cannot check.
"""

from __future__ import annotations

from typing import Any

from pbx.domain.hangup_cause import HangupCause
from pbx.domain.opening_hours import WEEKDAYS

_TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
_NODE = {**_TEXT, "description": "name of a node"}
_PROMPT = {**_TEXT, "description": "id of a prompt, which must exist in every language of the flow"}
_DIGIT = {"type": "string", "enum": list("0123456789*#")}


def _prompts(**more: Any) -> dict[str, Any]:
    return {"type": "array", "items": _PROMPT, **more}


def _spoken(how: str) -> dict[str, Any]:
    says = {"digits": "its digits one by one", "number": "up to 999999; greater ones digit by digit"}[how]
    return {
        "type": "object",
        "properties": {how: {**_TEXT, "description": f"text with variables, of which is said: {says}"}},
        "required": [how],
        "additionalProperties": False,
    }


def _prompt(default: str) -> dict[str, Any]:
    return {**_PROMPT, "default": default}


def _flag(default: bool) -> dict[str, Any]:
    return {"type": "boolean", "default": default}


def _whole(low: int, high: int, default: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": high, "default": default}


def _seconds(low: float, high: float, default: float) -> dict[str, Any]:
    return {"type": "number", "minimum": low, "maximum": high, "default": default, "description": "seconds"}


def _choices(of: str) -> dict[str, Any]:
    return {"type": "object", "minProperties": 1, "propertyNames": _DIGIT, "additionalProperties": _TEXT,
            "description": f"digit -> {of}"}  # fmt: skip


def _object(of: str, example: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "description": of, "examples": [example], **more}


_VARIABLE = {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,31}$", "description": "name of a variable"}
_LITERAL = {"type": ["string", "number", "boolean"], "description": "texts may hold {variable}"}
_TEMPLATES = {"type": "object", "additionalProperties": {"type": "string"}, "default": {}}
_SKILL: dict[str, Any] = {
    "skill": {**_TEXT, "description": "may hold {variable}"},
    "least": {"type": "integer", "minimum": 1, "maximum": 5, "default": 1},
}
_FALLBACK = {
    "type": "object",
    "properties": {"after_s": {"type": "number", "minimum": 0, "maximum": 86_400}, **_SKILL},
    "required": ["after_s", "skill"],
    "additionalProperties": False,
}
_NEED = {
    "type": "object",
    "properties": {**_SKILL, "fallbacks": {"type": "array", "items": _FALLBACK}},
    "required": ["skill"],
    "additionalProperties": False,
}
_INTERVALS = {"type": "array", "items": {"type": "string", "pattern": "^[0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2}$"}}
_DAY = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_TESTS: dict[str, Any] = {
    "equals": _LITERAL,
    "in": {"type": "array", "items": _LITERAL, "minItems": 1},
    "prefix": _TEXT,
    "less": {"type": "number"},
    "greater": {"type": "number"},
    "present": {"type": "boolean"},
}
_CONDITION = {
    "type": "object",
    "properties": {"variable": _VARIABLE, "next": _NODE, **_TESTS},
    "required": ["variable", "next"],
    "oneOf": [{"required": [test]} for test in _TESTS],
    "additionalProperties": False,
}
_QUESTION = {
    "type": "object",
    "properties": {
        "id": {**_TEXT, "maxLength": 63},
        "prompts": _prompts(minItems=1),
        "digits": {"type": "string", "pattern": "^[0-9*#]+$", "description": "those that are answers: 12345"},
    },
    "required": ["id", "prompts", "digits"],
    "additionalProperties": False,
}

_FIELDS: dict[str, tuple[str, dict[str, Any]]] = {
    "say": (
        "Play prompts and say values, go on. A digit cuts them short (barge_in) and is handed to the next node.",
        {
            "prompts": {
                "type": "array",
                "items": {"anyOf": [_PROMPT, *(_spoken(how) for how in ("digits", "number"))]},
                "examples": [["greeting", {"number": "{open_orders}"}]],
            },
            "next": _NODE,
            "barge_in": _flag(True),
        },
    ),
    "menu": (
        "A prompt, then one digit. Wrong digits and silence count against tries.",
        {
            "prompt": _PROMPT,
            "choices": _choices("node"),
            "on_failure": _NODE,
            "timeout_s": _seconds(1, 60, 5.0),
            "tries": _whole(1, 9, 3),
            "invalid_prompt": _prompt("invalid-choice"),
            "no_input_prompt": _prompt("no-input"),
        },
    ),
    "language": (
        "Plays the prompt once in each language offered; without a choice the call keeps the DID's language.",
        {
            "choices": _choices("language"),
            "next": _NODE,
            "prompt": _prompt("choose-language"),
            "timeout_s": _seconds(1, 60, 5.0),
            "tries": _whole(1, 9, 2),
        },
    ),
    "consent": (
        "Tells and asks what the call's regime demands. The call goes on to next whatever the answer is.",
        {
            "next": _NODE,
            "ask_prompt": _prompt("consent-ask"),
            "notice_prompt": _prompt("consent-notice"),
            "opt_in_prompt": _prompt("consent-keys-opt-in"),
            "opt_out_prompt": _prompt("consent-keys-opt-out"),
            "granted_prompt": _prompt("consent-granted"),
            "refused_prompt": _prompt("consent-refused"),
            "yes": {**_DIGIT, "default": "1"},
            "no": {**_DIGIT, "default": "2"},
            "timeout_s": _seconds(1, 60, 6.0),
            "tries": _whole(1, 9, 2),
            "at_least": {"enum": ["none", "notice", "opt_out", "opt_in"], "default": "none"},
            "queue": {**_TEXT, "description": "id of a queue: asked as its consent policy demands, too"},
        },
    ),
    "queue": (
        "Wait until an agent answers; after the conversation the call ends, or goes on at after.",
        {
            "queue": {**_TEXT, "description": "id of a queue"},
            "on_refused": _NODE,
            "on_timeout": _NODE,
            "max_wait_s": {"type": "number", "minimum": 1, "maximum": 86_400, "description": "seconds"},
            "welcome": _flag(True),
            "welcome_prompt": _prompt("queue-welcome"),
            "announce_position": _flag(True),
            "announce_wait": {**_flag(False), "description": "tell the estimated wait, once there is one"},
            "priority": _whole(-1000, 1000, 0),
            "needs": {
                "oneOf": [{"const": "language"}, {"type": "array", "items": _NEED}],
                "description": "skills this call asks for besides the queue's; language: lang: and the call's language",
                "default": [],
            },
            "preferred": {**_VARIABLE, "description": "variable that holds the id of the agent to wait for at first"},
            "preferred_s": {"type": "number", "minimum": 1, "maximum": 3600, "description": "seconds"},
            "value": {
                "type": ["number", "string"],
                "minimum": 0,
                "maximum": 10,
                "description": "of the customer, 0 to 10, may be a {variable}; times the queue's weight it is priority",
                "examples": ["{tier}"],
            },
            "after": {**_NODE, "description": "name of a node: where the caller goes on when the agent has hung up"},
        },
    ),
    "callback": (
        "Promise to call back: the caller keeps the place in the queue and need not hold the line.",
        {
            "queue": {**_TEXT, "description": "id of a queue"},
            "next": _NODE,
            "on_failure": {**_NODE, "description": "where to go without a number that may be called"},
            "number": {**_VARIABLE, "default": "caller", "description": "variable that holds the number to call"},
            "prompt": _prompt("callback-promised"),
            "priority": _whole(-1000, 1000, 0),
            "needs": {
                "oneOf": [{"const": "language"}, {"type": "array", "items": _NEED}],
                "description": "skills this call asks for besides the queue's; language: lang: and the call's language",
                "default": [],
            },
        },
    ),
    "hang_up": (
        "Play prompts, then end the call.",
        {
            "prompts": _prompts(default=[]),
            "cause": {"type": "string", "enum": sorted(HangupCause.__members__), "default": "NORMAL_CLEARING"},
        },
    ),
    "collect": (
        "Prompts, then digits into a variable. They stay out of the journal unless keep says otherwise.",
        {
            "prompts": _prompts(),
            "variable": _VARIABLE,
            "next": _NODE,
            "on_failure": _NODE,
            "min_digits": _whole(1, 32, 1),
            "max_digits": _whole(1, 32, 20),
            "terminator": {"type": "string", "enum": ["#", "*", "none"], "default": "#"},
            "timeout_s": _seconds(1, 60, 5.0),
            "digit_timeout_s": _seconds(0.5, 60, 3.0),
            "tries": _whole(1, 9, 3),
            "barge_in": _flag(True),
            "keep": _flag(False),
            "invalid_prompt": _prompt("invalid-choice"),
            "no_input_prompt": _prompt("no-input"),
        },
    ),
    "set": (
        "Set variables. All values are worked out before any is set.",
        {
            "values": _object("variable -> value", {"tier": "gold"}, minProperties=1, additionalProperties=_LITERAL),
            "next": _NODE,
        },
    ),
    "branch": (
        "On to the next of the first condition that holds.",
        {
            "conditions": {
                "type": "array",
                "items": _CONDITION,
                "minItems": 1,
                "examples": [[{"variable": "language", "equals": "de", "next": "end"}]],
            },
            "otherwise": _NODE,
        },
    ),
    "hours": (
        "Whether it is open now, by weekday, date and public holiday, in a time zone.",
        {
            "time_zone": {**_TEXT, "description": "of the IANA database", "examples": ["Europe/Berlin"]},
            "weekly": _object(
                "mon ... sun -> intervals; a day that is not there is closed; 22:00-06:00 goes over midnight",
                {"mon": ["09:00-17:30"]},
                propertyNames={"enum": list(WEEKDAYS)},
                additionalProperties=_INTERVALS,
            ),
            "special": _object(
                "date -> intervals instead of the week's; none: closed",
                {"2026-12-24": ["09:00-12:00"]},
                propertyNames={"pattern": _DAY},
                additionalProperties=_INTERVALS,
                default={},
            ),
            "holidays": {"type": "array", "items": {"type": "string", "pattern": _DAY}, "default": []},
            "country": {
                "type": "string",
                "pattern": "^[A-Z]{2}(-[A-Z0-9]{1,3})?$",
                "description": "whose public holidays count as well: DE, DE-BY",
                "examples": ["DE-BY"],
            },
            "open": _NODE,
            "closed": _NODE,
            "holiday": {**_NODE, "description": "name of a node; without it a holiday is closed"},
        },
    ),
    "lookup": (
        "Ask a service over HTTPS; what it answers goes into variables.",
        {
            "url": {**_TEXT, "description": "host and port hold no {variable}", "examples": ["https://crm.example/c"]},
            "next": _NODE,
            "on_failure": _NODE,
            "method": {"type": "string", "enum": ["GET", "POST", "PUT"], "default": "GET"},
            "headers": _TEMPLATES,
            "send": {**_TEMPLATES, "description": "fields of the JSON body of POST and PUT"},
            "take": _object("variable -> path in the answer", {"tier": "customer.tier"}, additionalProperties=_TEXT),
            "deadline_s": _seconds(0.1, 10, 3.0),
            "keep": _flag(False),
        },
    ),
    "flow": (
        "Run another flow, and go on at next when it returns.",
        {"flow": {**_TEXT, "description": "id of a flow"}, "next": _NODE},
    ),
    "transfer": (
        "On to exactly one of an outside number, a queue and an agent; the call ends with the conversation.",
        {
            "number": {**_TEXT, "description": "E.164, or a text with {variable}", "examples": ["+493055501234"]},
            "queue": {**_TEXT, "description": "id of a queue"},
            "agent": {**_TEXT, "description": "id of an agent, may hold {variable}", "examples": ["{manager}"]},
            "on_failure": _NODE,
            "ring_s": {**_seconds(5, 120, 30.0), "description": "seconds; of a number and of an agent"},
            "show_caller": {**_flag(False), "description": "show the number the caller's own instead of the DID"},
        },
    ),
    "return": ("Back to the flow that ran this one; the call ends where none did.", {}),
    "voicemail": (
        "Tell the caller to leave a message, play the tone, record until the terminator, silence, max_s or hang-up.",
        {
            "mailbox": {**_TEXT, "maxLength": 63, "description": "name of the mailbox: id of a queue, or any other"},
            "prompts": _prompts(minItems=1, default=["voicemail-greeting"]),
            "max_s": _seconds(1, 3600, 180.0),
            "min_s": {**_seconds(0, 60, 1.0), "description": "seconds; what is shorter is discarded"},
            "terminator": {"type": "string", "enum": ["#", "*", "none"], "default": "#"},
            "silence_s": {
                "type": "number",
                "minimum": 1,
                "maximum": 60,
                "description": "seconds of silence that end the message; without it none does",
            },
            "next": _NODE,
            "on_failure": {**_NODE, "description": "name of a node: when nothing may or can be recorded"},
        },
    ),
    "survey": (
        "One digit for each question; who does not answer one is asked no further ones.",
        {
            "questions": {
                "type": "array",
                "items": _QUESTION,
                "minItems": 1,
                "maxItems": 20,
                "examples": [[{"id": "solved", "prompts": ["survey-solved"], "digits": "12"}]],
            },
            "next": _NODE,
            "thanks": _prompts(default=["survey-thanks"]),
            "timeout_s": _seconds(1, 60, 5.0),
            "tries": _whole(1, 9, 2),
            "invalid_prompt": _prompt("invalid-choice"),
            "no_input_prompt": _prompt("no-input"),
        },
    ),
}
_REQUIRED = {
    "say": ["prompts", "next"],
    "menu": ["prompt", "choices", "on_failure"],
    "language": ["choices", "next"],
    "consent": ["next"],
    "queue": ["queue", "on_refused"],
    "callback": ["queue", "next", "on_failure"],
    "hang_up": [],
    "collect": ["prompts", "variable", "next", "on_failure"],
    "set": ["values", "next"],
    "branch": ["conditions", "otherwise"],
    "hours": ["time_zone", "weekly", "open", "closed"],
    "lookup": ["url", "next", "on_failure", "take"],
    "flow": ["flow", "next"],
    "transfer": ["on_failure"],
    "return": [],
    "voicemail": ["mailbox", "next", "on_failure"],
    "survey": ["questions", "next"],
}
_TOP = ("start", "languages", "nodes")


def fields_of(kind: Any) -> tuple[str, ...]:
    """The fields of a node of this type, without ``type``, or of the graph (None); none for a type not known here."""
    if kind is None:
        return _TOP
    return tuple(_FIELDS[kind][1]) if isinstance(kind, str) and kind in _FIELDS else ()


def schema() -> dict[str, Any]:
    """The schema, as JSON."""
    kinds = []
    for kind, (says, properties) in _FIELDS.items():
        node: dict[str, Any] = {
            "title": kind,
            "description": says,
            "type": "object",
            "properties": {"type": {"const": kind}, **properties},
            "required": ["type", *_REQUIRED[kind]],
            "additionalProperties": False,
        }
        if kind == "queue":
            pairs = (("on_timeout", "max_wait_s"), ("preferred", "preferred_s"))
            node["dependentRequired"] = {one: [other] for pair in pairs for one, other in (pair, pair[::-1])}
        if kind == "transfer":
            node["oneOf"] = [{"required": [target]} for target in ("number", "queue", "agent")]
            no_queue = {"properties": {"queue": False}}
            node["dependentSchemas"] = {"show_caller": {"required": ["number"]}, "ring_s": no_queue}
        kinds.append(node)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Callplane flow",
        "type": "object",
        "properties": {
            "start": _NODE,
            "languages": {"type": "array", "items": _TEXT, "minItems": 1},
            "nodes": {"type": "object", "minProperties": 1, "additionalProperties": {"oneOf": kinds}},
        },
        "required": list(_TOP),
        "additionalProperties": False,
    }
