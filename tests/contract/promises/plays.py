"""Prompts and music: early media, play, say, barge-in, stop, music."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pbx.domain.commands import Tone
from pbx.domain.errors import EngineRefused, LegGone
from pbx.domain.events import DigitPressed, LegAnswered, LegEnded, NumberDialled, PlayEnded
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import BridgeId
from tests.contract.backend import Backend, Controller, fresh
from tests.contract.far_end import CALLEE, PROMPT_HZ, PROMPT_S, RATE, all_hear
from tests.lab.audio import Samples

BLOCK = RATE // 50
"""Samples of 20 ms, one packet."""
LONGEST_GAP_S = 0.06
"""Between two prompts of one play: up to three packets are not heard as a pause."""


def gaps_between(samples: Samples) -> list[float]:
    """Seconds of each silence that has sound before and after it."""
    blocks = samples[: len(samples) // BLOCK * BLOCK].reshape(-1, BLOCK)
    loud = np.sqrt(np.mean(blocks**2, axis=1)) > 0.01
    runs = [(bool(key), len(list(group))) for key, group in itertools.groupby(loud)]
    inner = runs[1:-1] if len(runs) > 2 else []
    return [length * BLOCK / RATE for key, length in inner if not key]


class Plays:
    async def test_ringing_until_it_is_stopped(self, backend: Backend, controller: Controller) -> None:
        """For a leg that is left alone in a bridge; a bridge ends it too, and music takes its place."""
        async with backend.caller() as caller, backend.phone(controller, "anna") as anna:
            first, second, _ = await controller.talk(caller, anna)
            await controller.engine.hold(first, "default")
            await controller.engine.start_ringing(second)
            await anna.hears_ringing()
            await caller.hears(PROMPT_HZ["music"])
            await controller.engine.stop_music(second)
            await anna.rings_no_more()
            await controller.engine.start_ringing(second)
            await anna.hears_ringing()
            await controller.engine.start_music(second, "default")
            await anna.hears(PROMPT_HZ["music"])
            await controller.engine.start_ringing(second)
            await anna.hears_ringing()
            await controller.engine.bridge(BridgeId(fresh()), (first, second))
            await all_hear([(caller, [anna.hz]), (anna, [caller.hz])])

    async def test_the_tones_of_a_number_that_is_not_reached(self, backend: Backend, controller: Controller) -> None:
        """Until they are stopped, like ringing, and of the same pitch in most countries."""
        async with backend.phone(controller, "anna") as anna:
            await anna.dial(CALLEE)
            leg = (await controller.listener.wait_for(NumberDialled)).leg_id
            await controller.engine.answer(leg)
            await controller.answered(leg)
            for tone in Tone:
                await controller.engine.start_tone(leg, tone)
                await anna.hears_ringing()
            await controller.engine.stop_music(leg)
            await anna.rings_no_more()
            await controller.engine.hang_up(leg, HangupCause.USER_BUSY)

    async def test_play_to_its_end_is_complete(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller:
            leg = await controller.called_by(caller)
            play = await controller.play(leg, "short", "short")
            ended = await controller.listener.wait_for(PlayEnded)
            assert (ended.leg_id, ended.play_id, ended.completed) == (leg, play, True)
            assert abs(ended.played_ms - 2000 * PROMPT_S["short"]) < 200
            await caller.hears()

    async def test_prompts_of_a_play_follow_without_a_gap(self, backend: Backend, controller: Controller) -> None:
        """That is how a number is said."""
        async with backend.caller() as caller:
            leg = await controller.called_by(caller)
            await controller.play(leg, *["short"] * 6)
            ended = await controller.listener.wait_for(PlayEnded)
            assert ended.completed
            await caller.hears()
            heard = caller.heard()
        seconds = np.count_nonzero(np.abs(heard) > 0.01) / RATE
        assert abs(seconds - 6 * PROMPT_S["short"]) < 0.3
        assert [gap for gap in gaps_between(heard) if gap > LONGEST_GAP_S] == []

    async def test_prompts_of_a_play_keep_their_order(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller:
            leg = await controller.called_by(caller)
            await controller.play(leg, "short", "short", "long")
            await caller.hears(PROMPT_HZ["short"])
            await caller.hears(PROMPT_HZ["long"])
            await caller.hang_up()
            await controller.outcome(leg)

    @pytest.mark.needs("early_media")
    async def test_play_before_the_answer(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller:
            await caller.dial()
            leg = await controller.offered()
            await controller.play(leg, "long")
            await caller.hears(PROMPT_HZ["long"])
            assert not caller.answered
            assert not controller.listener.of(LegAnswered)
            assert (await controller.listener.wait_for(PlayEnded)).completed
            await controller.engine.answer(leg)
            await controller.listener.wait_for(LegAnswered)
            await caller.talks()

    @pytest.mark.needs("early_media")
    async def test_music_before_the_answer(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller:
            await caller.dial()
            leg = await controller.offered()
            await controller.engine.start_music(leg, "default")
            await caller.hears(PROMPT_HZ["music"])
            assert not caller.answered
            await controller.engine.hang_up(leg, HangupCause.USER_BUSY)
            assert await caller.is_over() == 486

    async def test_stopped_play_is_not_complete(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller:
            leg = await controller.called_by(caller)
            play = await controller.play(leg, "long")
            await caller.hears(PROMPT_HZ["long"])
            await controller.engine.stop_play(play)
            ended = await controller.listener.wait_for(PlayEnded)
            assert not ended.completed
            assert 0 < ended.played_ms < 5000
            await caller.hears()
            with pytest.raises(LegGone):
                await controller.engine.stop_play(play)
            await controller.play(leg, "short")
            assert (await controller.listener.wait_for(PlayEnded, count=2)).completed

    async def test_digit_during_a_play_lets_it_be_cut(self, backend: Backend, controller: Controller) -> None:
        """Barge-in: the digit comes while the prompt plays, and the prompt goes on until it is stopped."""
        async with backend.caller() as caller:
            leg = await controller.called_by(caller)
            play = await controller.play(leg, "long")
            await caller.hears(PROMPT_HZ["long"])
            await caller.press("1*#9")
            await controller.listener.wait_for(DigitPressed, count=4)
            assert not controller.listener.of(PlayEnded)
            await controller.engine.stop_play(play)
            assert not (await controller.listener.wait_for(PlayEnded)).completed
            await caller.hears()
        assert [event.digit for event in controller.listener.of(DigitPressed)] == ["1", "*", "#", "9"]

    async def test_hang_up_during_a_play(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller:
            leg = await controller.called_by(caller)
            play = await controller.play(leg, "long")
            await caller.hears(PROMPT_HZ["long"])
            await caller.hang_up()
            await controller.outcome(leg)
        (ended,) = controller.listener.of(PlayEnded)
        assert (ended.play_id, ended.completed) == (play, False)
        assert ended.played_ms < 5000
        assert controller.listener.events.index(ended) < controller.listener.events.index(
            controller.listener.of(LegEnded)[0]
        )

    @pytest.mark.parametrize("names", [("there-is-none",), ("there-is-none", "short"), ("short", "there-is-none")])
    async def test_missing_prompt_is_not_complete(
        self, backend: Backend, controller: Controller, names: tuple[str, ...]
    ) -> None:
        async with backend.caller() as caller:
            leg = await controller.called_by(caller)
            await controller.play(leg, *names)
            assert not (await controller.listener.wait_for(PlayEnded)).completed
            await controller.play(leg, "short")
            assert (await controller.listener.wait_for(PlayEnded, count=2)).completed

    async def test_one_play_at_a_time(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller:
            leg = await controller.called_by(caller)
            play = await controller.play(leg, "long")
            with pytest.raises(EngineRefused):
                await controller.play(leg, "short")
            await caller.hears(PROMPT_HZ["long"])
            await controller.engine.stop_play(play)
            await controller.listener.wait_for(PlayEnded)
        assert len(controller.listener.of(PlayEnded)) == 1

    async def test_play_right_after_a_stop(self, backend: Backend, controller: Controller) -> None:
        """The end of the stopped one need not have come."""
        async with backend.caller() as caller:
            leg = await controller.called_by(caller)
            first = await controller.play(leg, "long")
            await caller.hears(PROMPT_HZ["long"])
            await controller.engine.stop_play(first)
            second = await controller.play(leg, "short")
            await controller.listener.wait_for(PlayEnded, count=2)
            await caller.hears()
        ended = controller.listener.of(PlayEnded)
        assert [(event.play_id, event.completed) for event in ended] == [(first, False), (second, True)]

    async def test_music_until_it_is_stopped(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller:
            leg = await controller.called_by(caller)
            await controller.engine.start_music(leg, "default")
            await caller.hears(PROMPT_HZ["music"])
            await controller.engine.stop_music(leg)
            await caller.hears()
            await controller.play(leg, "short")
            assert (await controller.listener.wait_for(PlayEnded)).completed

    async def test_play_ends_music(self, backend: Backend, controller: Controller) -> None:
        async with backend.caller() as caller:
            leg = await controller.called_by(caller)
            await controller.engine.start_music(leg, "default")
            await caller.hears(PROMPT_HZ["music"])
            await controller.play(leg, "long")
            await caller.hears(PROMPT_HZ["long"])
            assert (await controller.listener.wait_for(PlayEnded)).completed
            await caller.hears()
            await controller.engine.stop_music(leg)
            await controller.engine.start_music(leg, "default")
            await caller.hears(PROMPT_HZ["music"])
