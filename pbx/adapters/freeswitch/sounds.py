"""Prompts and music on a leg.

Both are executed under the leg's lock: without it the server would begin what comes later inside what is still playing.
Each prompt carries the play's id in the parameters of its file, and the server gives it back with the event that says
how much was played.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from dialplans.tones import Cadence, CallTones
from pbx.adapters.freeswitch.errors import error_of
from pbx.adapters.freeswitch.esl import EslLink
from pbx.adapters.freeswitch.tracker import Tracker
from pbx.domain.commands import Prompt, Tone
from pbx.domain.errors import BadValue, EngineRefused, LegGone
from pbx.domain.ids import LegId, PlayId
from pbx.ports.media_engine import Clock

STOP_S = 1.0
"""A prompt that was stopped before it began ends without a word from the server; it is waited for no longer."""
MUSIC = "callplane-music"
"""What the server calls the playing of music, which no event is wanted of."""
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_DIRECTORY = re.compile(r"/[A-Za-z0-9._/+-]*")


def word(text: str, field: str) -> str:
    if not _WORD.fullmatch(text):
        raise BadValue(field, "is not a name of letters, digits, dots, dashes and underscores")
    return text


class Sounds:
    def __init__(
        self,
        link: EslLink,
        tracker: Tracker,
        prompt_dir: Path,
        suffix: str,
        clock: Clock,
        tones: CallTones,
        uploaded: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """``uploaded``: hash of a prompt -> its file without suffix, where it is none of ``prompt_dir``."""
        if not _DIRECTORY.fullmatch(str(prompt_dir)):
            raise BadValue("prompt_dir", "is not an absolute path of letters, digits, dots, dashes and underscores")
        self._link, self._tracker, self._uploaded = link, tracker, uploaded
        self._prompt_dir, self._suffix, self._clock = prompt_dir, suffix, clock
        self._timers: set[asyncio.TimerHandle] = set()
        self._tones: dict[Tone | None, str] = {None: _stream(tones.ringing)}
        self._tones |= {Tone.BUSY: _stream(tones.busy), Tone.CONGESTION: _stream(tones.congestion)}

    def stop(self) -> None:
        for timer in self._timers:
            timer.cancel()

    def _execute(self, leg_id: str, file: str, **headers: str) -> asyncio.Future[str]:
        return self._link.send(
            f"sendmsg {leg_id}",
            {
                "call-command": "execute",
                "execute-app-name": "playback",
                "execute-app-arg": file,
                "event-lock": "true",
                **{name.replace("_", "-"): value for name, value in headers.items()},
            },
        )

    def _file(self, p: Prompt) -> str:
        if (uploaded := self._uploaded.get(p.sha256)) is not None:
            return uploaded + self._suffix
        return f"{self._prompt_dir}/{word(p.language, 'language')}/{word(p.prompt_id, 'prompt_id')}{self._suffix}"

    # --- prompts ------------------------------------------------------------------------------------------------------

    async def play(self, leg_id: LegId, play_id: PlayId, prompts: Sequence[Prompt]) -> None:
        leg = self._tracker.legs[leg_id]
        if not prompts:
            raise BadValue("prompts", "are none")
        files = [self._file(prompt) for prompt in prompts]
        word(play_id, "play_id")
        if leg.play is not None:
            raise EngineRefused("a play is under way on this leg")
        if leg.music_on:
            self._break(leg_id)
        self._tracker.playing(play_id, leg_id, len(files))
        try:
            replies = [
                self._execute(leg_id, f"{{callplane_play={play_id}}}{file}", event_uuid=f"{play_id}.{n}")
                for n, file in enumerate(files)
            ]
            for reply in replies:
                error = error_of(await reply)
                if error is not None:
                    raise error
        except (LegGone, EngineRefused):
            self._tracker.not_playing(play_id)
            raise

    async def stop_play(self, play_id: PlayId) -> None:
        play = self._tracker.plays.get(play_id)
        if play is None or play.stopped:
            raise LegGone("the play is over")
        await self._silence(play.leg_id)

    def end_play(self, play_id: str) -> None:
        """Called some time after a stop, when no event has said that the play is over."""
        self._tracker.end_play(play_id, self._clock())

    # --- music --------------------------------------------------------------------------------------------------------

    async def start_music(self, leg_id: LegId, music_class: str) -> None:
        """During a play it is music for afterwards."""
        word(music_class, "music_class")
        await self._go_on(leg_id, f"local_stream://{music_class}")

    async def start_tone(self, leg_id: LegId, which: Tone | None = None) -> None:
        """``which``: None is ringing."""
        await self._go_on(leg_id, self._tones[which])

    async def _go_on(self, leg_id: LegId, file: str) -> None:
        leg = self._tracker.legs[leg_id]
        if leg.music_on and leg.play is None:
            self._break(leg_id)
        leg.music_on, leg.music_unwanted = True, False
        error = error_of(await self._execute(leg_id, file, loops="-1", event_uuid=MUSIC))
        if error is not None:
            raise error

    async def stop_music(self, leg_id: LegId) -> None:
        leg = self._tracker.legs[leg_id]
        if leg.play is None:
            await self._silence(leg_id)
        else:
            leg.music_unwanted = leg.music_on

    def quiet(self, leg_id: str) -> None:
        """A play on the leg is over; music that was stopped before it began must not begin now."""
        leg = self._tracker.legs.get(leg_id)
        if leg is not None and leg.music_unwanted and leg.play is None and self._link.connected:
            self._break(leg_id)

    # --- silence ------------------------------------------------------------------------------------------------------

    def clear(self, leg_id: LegId) -> None:
        """Ends prompts and music, if there are any, before something else is done to the leg."""
        leg = self._tracker.legs[leg_id]
        if leg.music_on or leg.play is not None:
            self._break(leg_id)

    async def _silence(self, leg_id: str) -> None:
        error = error_of(await self._break(leg_id))
        if error is not None:
            raise error

    def _break(self, leg_id: str) -> asyncio.Future[str]:
        """Ends everything the server plays to the leg and what waits to be played."""
        leg = self._tracker.legs[leg_id]
        leg.music_on = leg.music_unwanted = False
        if leg.play is not None:
            self._later(STOP_S, self.end_play, leg.play)
            self._tracker.stopping(leg.play)
        future = self._link.send(f"api uuid_break {leg_id} all")
        future.add_done_callback(_heed)
        return future

    def _later(self, delay_s: float, do: Callable[[str], None], what: str) -> None:
        def run() -> None:
            self._timers.discard(timer)
            do(what)

        timer = asyncio.get_running_loop().call_later(delay_s, run)
        self._timers.add(timer)


def _stream(tone: Cadence) -> str:
    hertz = ",".join(map(str, tone.hertz))
    pairs = zip(tone.cadence_ms[::2], tone.cadence_ms[1::2], strict=True)
    return "tone_stream://" + ";".join(f"%({on},{off},{hertz})" for on, off in pairs) + ";loops=-1"


def _heed(future: asyncio.Future[str]) -> None:
    """What becomes of it is known by events; that it failed is no news."""
    if not future.cancelled():
        future.exception()
