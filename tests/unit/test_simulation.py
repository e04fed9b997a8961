"""The theory against its own limits and textbooks, and the real ACD, simulated, against the theory."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pbx.domain.agent import Status
from pbx.domain.ids import QueueId
from pbx.domain.queue import Queue
from pbx.domain.queue_rules import Strategy
from pbx.simulation import cli
from pbx.simulation.centre import SLOT_S, arrivals, centre, rates
from pbx.simulation.check import A_TOLERANCE, C_TOLERANCE, ERLANG_A_POINTS, ERLANG_C_POINTS, Comparison, compare
from pbx.simulation.cli import main
from pbx.simulation.day import Day
from pbx.simulation.day_report import total
from pbx.simulation.erlang import Figures, erlang_a, erlang_c
from pbx.simulation.simulator import Scenario, Simulator
from pbx.simulation.svg import Panel, Series, picture


def test_erlang_c_for_one_agent_is_the_m_m_1_queue() -> None:
    """P(wait) = rho, mean wait = rho/(mu - lambda), P(W > t) = rho exp(-(mu - lambda) t)."""
    figures = erlang_c(1, 0.5, 1.0, 2.0)
    assert figures.wait_probability == pytest.approx(0.5)
    assert figures.mean_wait_s == pytest.approx(1.0)
    assert figures.service_level == pytest.approx(1 - 0.5 * 2.718281828459045**-1)
    with pytest.raises(ValueError):
        erlang_c(2, 2.0, 1.0, 20)


def test_erlang_c_for_two_agents() -> None:
    """C(2, a) = a^2/(2 + a) for two agents; a = 1: a third."""
    assert erlang_c(2, 1.0, 1.0, 0.0).wait_probability == pytest.approx(1 / 3)


def test_erlang_a_becomes_erlang_c_as_patience_grows() -> None:
    patient, endless = erlang_a(10, 0.04, 1 / 180, 1e-9, 20.0), erlang_c(10, 0.04, 1 / 180, 20.0)
    assert patient.wait_probability == pytest.approx(endless.wait_probability, rel=1e-3)
    assert patient.mean_wait_s == pytest.approx(endless.mean_wait_s, rel=1e-3)
    assert patient.service_level == pytest.approx(endless.service_level, rel=1e-3)


def test_erlang_a_with_patience_like_handling_is_a_poisson_number_in_the_system() -> None:
    """theta = mu: M/M/n+M has as many calls as M/M/infinity, Poisson with mean a (Garnett et al. 2002)."""
    figures = erlang_a(4, 4.0, 1.0, 1.0, 60.0)
    poisson = [2.718281828459045**-4 * p for p in (1, 4, 8, 32 / 3)]
    assert figures.wait_probability == pytest.approx(1 - sum(poisson))
    assert figures.service_level == pytest.approx(1 - figures.abandoned, abs=1e-6), "who stays is answered in the end"


@pytest.mark.long
@pytest.mark.parametrize(("agents", "load", "patience_s"), [(2, 0.5, None), (5, 0.9, 120.0)])
def test_the_simulated_acd_does_what_theory_says(agents: int, load: float, patience_s: float | None) -> None:
    """With this seed and these few calls 6 % is what chance may do; the full run is ``make simulate``."""
    comparison = compare(agents, load, patience_s, 24_000, seed=1)
    assert comparison.worst < 0.06, comparison.errors()


def test_a_line_served_in_the_wrong_order_would_be_seen() -> None:
    """The comparison can fail: one agent too few is far outside."""
    comparison = compare(5, 0.6, None, 5_000, seed=1)
    other = erlang_c(4, 0.6 * 5 / 180, 1 / 180, 20.0)
    assert abs(comparison.simulated.wait_probability / other.wait_probability - 1) > 0.2


def test_the_same_seed_gives_the_same_run() -> None:
    queue = Queue(
        queue_id=QueueId("q"),
        requirement=frozenset({("x", 1)}),
        wrap_up_s=7.0,
        strategy=Strategy.RANDOM,
        max_wait_s=60.0,
        max_waiting=50,
    )
    scenario = Scenario(5, 0.03, 180.0, 120.0, calls=2000, queue=queue)
    first, again, other = (Simulator(scenario, seed).run() for seed in (1, 1, 2))
    assert first == again != other
    assert first.refused > 0
    assert first.handled + first.abandoned + first.refused == first.calls


def test_a_day_is_the_same_by_seed_and_every_call_is_accounted_for() -> None:
    first, again, other = (Day(centre(3000, 4, seed), seed).run() for seed in (1, 1, 2))
    assert first == again != other
    for tally in first.queues.values():
        assert tally.answered + tally.abandoned == tally.calls > 0
        assert tally.abandoned > 0
        assert 0.3 < tally.occupancy <= 1
        assert tally.within <= tally.answered
    whole = total(first)
    assert whole.calls == 3000 == sum(slot.calls for slot in first.slots)
    assert whole.answered == sum(slot.answered for slot in first.slots) == first.choices
    assert whole.abandoned == sum(slot.abandoned for slot in first.slots)
    assert whole.busy_s == pytest.approx(whole.handling_s), "agents' work is what calls took"
    assert whole.busy_s <= whole.staffed_s


def test_a_day_uses_the_products_acd_throughout() -> None:
    day = Day(centre(400, 3, 3), 3)
    day.run()
    day.acd.check()
    assert not day.waiting
    assert all(agent.status is Status.LOGGED_OUT for agent in day.acd.agents.values()), "shifts end"


def test_arrivals_follow_the_profile() -> None:
    """Within 5 standard deviations of the multinomial, in every slot."""
    number = 100_000
    slots = Counter(int(at // SLOT_S) for at in arrivals(number, 1))
    assert sum(slots.values()) == number
    for slot, share in enumerate(rates()):
        assert abs(slots[slot] - number * share) <= 5 * (number * share) ** 0.5 + 1


def test_a_day_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    svg = tmp_path / "day.svg"
    assert main(["day", "--calls", "500", "--queues", "2", "--seed", "5", "--svg", str(svg)]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("simulate-day calls=500 agents=")
    assert ElementTree.fromstring(svg.read_text()).tag.endswith("svg")  # noqa: S314


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--calls", "0"),
        ("--calls", "-5"),
        ("--calls", "many"),
        ("--calls", "10000001"),
        ("--queues", "0"),
        ("--queues", "1.5"),
        ("--occupancy", "nan"),
        ("--occupancy", "0"),
        ("--seed", "x"),
        ("--svg", "/nowhere/at/all.svg"),
    ],
)
def test_bad_options_are_refused_by_name(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["day", option, value])
    assert refused.value.code == 2
    assert f"argument {option}: " in capsys.readouterr().err


def test_an_unknown_simulation_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["night"])
    assert "night" in capsys.readouterr().err


def test_a_chart_without_points_is_a_chart() -> None:
    text = picture("<none>", [Panel("empty", [Series("a & b", [])], [(0.0, "0"), (1.0, "1")])])
    assert ElementTree.fromstring(text).tag.endswith("svg")  # noqa: S314


@pytest.mark.parametrize(("theory", "limit_pct"), [("C", 2.0), ("A", 3.0)])
def test_the_check_fails_beyond_its_limits(monkeypatch: pytest.MonkeyPatch, theory: str, limit_pct: float) -> None:
    def off_by(error_pct: float) -> int:
        def made_up(agents: int, load: float, patience_s: float | None, calls: int, seed: int) -> Comparison:
            figures = Figures(0.5, 10.0, 0.8, 0.1)
            name = "Erlang C" if patience_s is None else "Erlang A"
            one = name.endswith(theory) and agents == 5
            ours = replace(figures, mean_wait_s=10.0 * (1 + error_pct / 100)) if one else figures
            tolerance = C_TOLERANCE if patience_s is None else A_TOLERANCE
            return Comparison(name, agents, load, patience_s, ours, figures, tolerance)

        monkeypatch.setattr(cli, "compare", made_up)
        return main(["check"])

    assert off_by(limit_pct - 0.05) == 0
    assert off_by(limit_pct + 0.05) == 1


def test_each_theory_has_six_load_points() -> None:
    assert len(ERLANG_C_POINTS) >= 6
    assert len(ERLANG_A_POINTS) >= 6
