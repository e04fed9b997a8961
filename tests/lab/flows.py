"""Call flows that the demo, the tests and the benchmarks run."""

from __future__ import annotations

from typing import Any

FLOW: dict[str, Any] = {
    "start": "greeting",
    "languages": ["de", "en"],
    "nodes": {
        "greeting": {"type": "say", "prompts": ["greeting"], "next": "language"},
        "language": {"type": "language", "choices": {"1": "de", "2": "en"}, "next": "menu"},
        "menu": {
            "type": "menu",
            "prompt": "menu",
            "choices": {"1": "consent", "2": "consent"},
            "on_failure": "goodbye",
        },
        "consent": {"type": "consent", "next": "wait"},
        "wait": {"type": "queue", "queue": "support", "on_refused": "full"},
        "full": {"type": "hang_up", "prompts": ["queue-full"]},
        "goodbye": {"type": "hang_up", "prompts": ["goodbye"]},
    },
}
"""Greeting, language, menu, consent, queue: the flow of the README."""

QUEUE_FLOW: dict[str, Any] = {
    "start": "wait",
    "languages": ["de"],
    "nodes": {
        "wait": {
            "type": "queue",
            "queue": "support",
            "on_refused": "full",
            "welcome": False,
            "announce_position": False,
        },
        "full": {"type": "hang_up", "prompts": ["queue-full"]},
    },
}
"""Straight into the queue, music only: what Asterisk's own Queue() is compared with."""
