"""The clock that calls go by, while somebody sets the system's."""

from __future__ import annotations

import pytest

from pbx.controller.steady_clock import RATE, SteadyClock


class Host:
    """Time passes in steps of a tenth of a second, each of which is read."""

    def __init__(self, at: float = 1_800_000_000.0) -> None:
        self.system, self.running = at, 50.0
        self.told: list[float] = []

    def clock(self, not_before: float | None = None) -> SteadyClock:
        return SteadyClock(not_before, lambda: self.system, lambda: self.running)

    def passes(self, seconds: float, clock: SteadyClock) -> float:
        """By how much the clock went on."""
        before = clock()
        for _ in range(round(seconds * 10)):
            self.system += 0.1
            self.running += 0.1
            self.told.append(clock())
        return clock() - before


def test_it_is_the_systems_clock() -> None:
    host = Host()
    clock = host.clock()
    assert host.passes(60, clock) == pytest.approx(60)
    assert clock() == pytest.approx(host.system)
    assert clock.of_system(host.system - 0.25) == host.system - 0.25


@pytest.mark.parametrize("step", [3600.0, -3600.0, 5.0, -5.0])
def test_a_step_is_no_time_and_nobody_overtakes_by_it(step: float, caplog: pytest.LogCaptureFixture) -> None:
    host = Host()
    clock = host.clock()
    entered = clock()
    host.passes(10, clock)
    host.system += step
    assert clock() - entered == pytest.approx(10)
    assert caplog.text.count("clock was set") == 1
    waited = host.passes(8, clock)
    assert waited == pytest.approx(8 + RATE * 8 * (1 if step > 0 else -1), abs=0.01)
    assert host.told == sorted(host.told)
    assert clock() > entered
    # A moment that the media server tells by the system's clock.
    assert clock.of_system(host.system - 0.25) == pytest.approx(clock() - 0.25)


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_what_was_told_before_a_step_and_is_heard_after_it_is_now(step: float) -> None:
    host = Host()
    clock = host.clock()
    told = host.system
    host.passes(0.5, clock)
    host.system += step
    assert clock.of_system(told) == pytest.approx(clock(), abs=0.01)
    host.passes(10, clock)
    assert clock.of_system(host.system + 1) == pytest.approx(clock(), abs=0.01), "nothing happens later than now"
    # Who was away for an hour hears of it now.
    assert clock.of_system(host.system - 1800) == pytest.approx(clock() - 1800, abs=0.01)


def test_it_catches_up(caplog: pytest.LogCaptureFixture) -> None:
    host = Host()
    clock = host.clock()
    for step in (2.0, -2.0, 2.0):
        host.system += step
        host.passes(2.0 / RATE + 1, clock)
        assert clock() == pytest.approx(host.system)
    assert caplog.text.count("clock was set") == 3
    assert host.told == sorted(host.told)


def test_without_calls_it_follows_a_step_forward_and_only_forward() -> None:
    host = Host()
    clock = host.clock()
    clock.idle = lambda: True
    host.system += 3600
    assert clock() == pytest.approx(host.system)
    host.system -= 3600
    before = clock()
    assert host.passes(8, clock) == pytest.approx(7, abs=0.01)
    assert clock() > before


def test_a_restart_does_not_go_behind_what_was_told() -> None:
    host = Host()
    told = host.system + 3600
    assert host.clock(told)() == pytest.approx(told)
    assert host.clock(host.system - 5)() == pytest.approx(host.system)
    assert host.clock(host.system + 90_000)() == pytest.approx(host.system), "a wrong clock is not waited for"
