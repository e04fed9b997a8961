"""A prompt that was uploaded at the centre, in a caller's ear: fetched by the POP, played by the media server."""

from __future__ import annotations

import io
from typing import Any

import soundfile

from dialplans.schema import Engine
from tests.lab.audio import tone
from tests.lab.lab import Lab
from tests.lab.stack import POP_ID, Stack

FIRST_HZ, SECOND_HZ = 700, 1300
END = {"type": "hang_up"}


def said(*prompts: str) -> dict[str, Any]:
    return {
        "start": "say",
        "languages": ["de"],
        "nodes": {"say": {"type": "say", "prompts": list(prompts), "next": "end"}, "end": END},
    }


def wav(hz: float) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, tone(hz, 4.0, 16000), 16000, format="WAV")
    return out.getvalue()


async def applied(stack: Stack) -> None:
    """The POP runs what the centre has, and has nothing to complain of."""

    def ready(found: dict[str, Any]) -> bool:
        return found["revision_lag"] == 0 and found["applied_revision"] is not None and not found["config_errors"]

    revision = (await stack.api.get(f"pops/{POP_ID}"))["config_revision"]
    await stack.api.until(
        f"pops/{POP_ID}", lambda found: ready(found) and found["applied_revision"] >= revision, deadline_s=20
    )


async def test_callers_hear_what_was_uploaded(lab: Lab, engine: Engine) -> None:
    async with Stack.start(lab, engine=engine) as stack:
        first = await stack.api.upload("prompts/de/jingle?text=jingle", wav(FIRST_HZ), "audio/wav")
        await stack.api.ask("PUT", "flows/main", {"graph": said("jingle")})
        await applied(stack)
        async with stack.caller("early", cli="+491700000001") as early:
            await early.hears(FIRST_HZ, deadline_s=10)
            # A newer version does not change what is being played.
            second = await stack.api.upload("prompts/de/jingle", wav(SECOND_HZ), "audio/wav")
            assert second["version"] == first["version"] + 1
            await early.hears(FIRST_HZ, for_s=0.5)
            await early.wait_for("CALL_CLOSED", deadline_s=10)
        await applied(stack)
        async with stack.caller("later", cli="+491700000002") as later:
            await later.hears(SECOND_HZ, deadline_s=10)
            await later.wait_for("CALL_CLOSED", deadline_s=10)
        stack.server.wait_idle()
