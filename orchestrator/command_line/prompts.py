"""Own prompts: sound that somebody recorded, instead of the package's."""

from __future__ import annotations

import argparse
from pathlib import Path

from orchestrator.command_line import downloads, verbs
from orchestrator.command_line.client import path_of
from orchestrator.command_line.columns import at, number, of
from orchestrator.command_line.failures import OK, Misused
from orchestrator.command_line.noun import Action, Argument, Context, Noun, Special
from orchestrator.command_line.output import Column

ONE = "/prompts/{language}/{prompt_id}"
KINDS = {
    ".wav": "audio/wav",
    ".alaw": "audio/PCMA",
    ".al": "audio/PCMA",
    ".ulaw": "audio/PCMU",
    ".ul": "audio/PCMU",
}


def _sound(file: Path) -> tuple[bytes, str]:
    """What the file holds, and of which kind it is."""
    kind = KINDS.get(file.suffix.lower())
    if kind is None:
        raise Misused(f"{file} does not say what it holds", f"its name ends in one of {', '.join(KINDS)}")
    try:
        return file.read_bytes(), kind
    except OSError as error:
        raise Misused(f"{file}: {error.strerror}") from None


async def upload(context: Context, options: argparse.Namespace) -> int:
    sound, kind = _sound(options.file)
    query = {} if options.text is None else {"text": options.text}
    headers = {"Content-Type": kind}
    verbs.say(
        context,
        await context.client.ask(
            "PUT", path_of(options.path, options.values), query=query, content=sound, headers=headers
        ),
    )
    return OK


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="WAV, or G.711 as .alaw or .ulaw")
    parser.add_argument("--text", help="what is said")


PROMPTS = Noun(
    "prompts",
    "own prompts, in force instead of the package's",
    "/prompts",
    ONE,
    (*of("language"), Column("prompt", "prompt_id"), number("version"), number("duration_ms"), *of("text")),
    ("language", "prompt_id"),
    can="show delete",
    actions=(
        Action(
            "versions",
            "who uploaded what, newest first",
            "GET",
            ONE + "/versions",
            columns=(number("version"), at("uploaded_at"), *of("uploaded_by", "text")),
        ),
        Action(
            "rollback",
            "that version, as a new one",
            "POST",
            ONE + "/rollback",
            (Argument("version", needed=True, kind=int),),
        ),
    ),
    specials=(
        Special("upload", "put a sound into force at all POPs", ONE, upload, _options),
        downloads.of("prompt_id", ONE, purpose=False),
    ),
    listed="uploaded",
)
