"""The published JSON Schema (draft 2020-12) of a flow's graph: for editors and for whoever makes graphs by program.

``pbx.domain.flow.parse`` decides; the schema says as much of that as a schema can. Targets, for one, it cannot check.
"""

from __future__ import annotations

from typing import Any

from pbx.domain.hangup_cause import HangupCause

_TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
_NODE = {**_TEXT, "description": "name of a node"}
_PROMPT = {**_TEXT, "description": "id of a prompt, which must exist in every language of the flow"}
_DIGIT = {"type": "string", "enum": list("0123456789*#")}


def _prompts(**more: Any) -> dict[str, Any]:
    return {"type": "array", "items": _PROMPT, **more}


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


_FIELDS: dict[str, tuple[str, dict[str, Any]]] = {
    "say": (
        "Play prompts, go on. A digit cuts them short (barge_in) and is handed to the next node.",
        {"prompts": _prompts(), "next": _NODE, "barge_in": _flag(True)},
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
        },
    ),
    "queue": (
        "Wait until an agent answers; after the conversation the call ends.",
        {
            "queue": {**_TEXT, "description": "id of a queue"},
            "on_refused": _NODE,
            "on_timeout": _NODE,
            "max_wait_s": {"type": "number", "minimum": 1, "maximum": 86_400, "description": "seconds"},
            "welcome": _flag(True),
            "welcome_prompt": _prompt("queue-welcome"),
            "announce_position": _flag(True),
        },
    ),
    "hang_up": (
        "Play prompts, then end the call.",
        {
            "prompts": _prompts(default=[]),
            "cause": {"type": "string", "enum": sorted(HangupCause.__members__), "default": "NORMAL_CLEARING"},
        },
    ),
}
_REQUIRED = {
    "say": ["prompts", "next"],
    "menu": ["prompt", "choices", "on_failure"],
    "language": ["choices", "next"],
    "consent": ["next"],
    "queue": ["queue", "on_refused"],
    "hang_up": [],
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
            node["dependentRequired"] = {"on_timeout": ["max_wait_s"], "max_wait_s": ["on_timeout"]}
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
