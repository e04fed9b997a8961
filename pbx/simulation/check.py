"""The simulator beside the theory. Theory is taken at the arrival rate, handling time and patience that chance really
drew in the run: most of the noise of a run is in these, and what is left is the queue's behaviour, which is the point.
"""

from __future__ import annotations

from dataclasses import dataclass

from pbx.simulation.erlang import Figures, erlang_a, erlang_c
from pbx.simulation.simulator import Scenario, Simulator

HANDLING_S = 180.0
ERLANG_C_POINTS = ((2, 0.5, 600_000), (2, 0.6, 600_000), (3, 0.6, 800_000), (4, 0.6, 1_000_000), (5, 0.6, 1_200_000),
                   (10, 0.7, 3_000_000))  # fmt: skip
"""Agents, occupancy, calls. So many that the mean wait's standard error is about 1 % or less: it is about
sqrt(2 T (2/P - 1)/D), for P the probability of waiting, D the run's duration and T = (sqrt(n mu) - sqrt(lambda))^-2 the
queue's relaxation time; mirrored halves take a quarter off. Busier or larger queues take tens of millions of calls."""
ERLANG_A_POINTS = ((5, 0.9, 120.0), (10, 0.8, 180.0), (10, 1.0, 120.0), (20, 0.95, 60.0), (20, 1.1, 120.0),
                   (50, 1.0, 180.0), (50, 1.2, 90.0))  # fmt: skip
"""Agents, offered load over agents, mean patience in seconds; A_CALLS each."""
C_TOLERANCE, A_TOLERANCE = 0.02, 0.03
A_CALLS = 300_000


@dataclass(frozen=True, slots=True)
class Comparison:
    name: str
    agents: int
    load: float
    patience_s: float | None
    simulated: Figures
    theory: Figures
    tolerance: float

    def errors(self) -> dict[str, float]:
        """Relative error of each figure that the theory has."""
        names = ["wait_probability", "mean_wait_s", "service_level"]
        names += ["abandoned"] if self.patience_s is not None else []
        pairs = {name: (getattr(self.simulated, name), getattr(self.theory, name)) for name in names}
        return {name: abs(ours - theirs) / theirs for name, (ours, theirs) in pairs.items()}

    @property
    def worst(self) -> float:
        return max(self.errors().values())


def compare(agents: int, load: float, patience_s: float | None, calls: int, seed: int) -> Comparison:
    scenario = Scenario(agents, load * agents / HANDLING_S, HANDLING_S, patience_s, calls=calls // 2)
    result = Simulator(scenario, seed).run() + Simulator(scenario, seed, mirrored=True).run()
    rate, service_rate = result.arrival_rate, 1 / result.mean_handling_s
    if patience_s is None:
        theory = erlang_c(agents, rate, service_rate, scenario.threshold_s)
    else:
        theory = erlang_a(agents, rate, service_rate, 1 / result.mean_patience_s, scenario.threshold_s)
    n = result.calls
    simulated = Figures(result.waited / n, result.wait_s / n, result.within / n, result.abandoned / n)
    name, tolerance = ("Erlang C", C_TOLERANCE) if patience_s is None else ("Erlang A", A_TOLERANCE)
    return Comparison(name, agents, load, patience_s, simulated, theory, tolerance)
