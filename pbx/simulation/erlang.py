"""What queueing theory says of one queue with n agents, Poisson arrivals and exponential handling times.

Erlang C (M/M/n): nobody gives up. A. K. Erlang, "Solution of some problems in the theory of probabilities of
significance in automatic telephone exchanges", Elektrotkeknikeren 13, 1917.

Erlang A (M/M/n+M): callers have exponential patience. C. Palm, "Research on telephone traffic carried by full
availability groups", Tele 1, 1957; O. Garnett, A. Mandelbaum, M. Reiman, "Designing a call center with impatient
customers", Manufacturing & Service Operations Management 4(3), 2002.

Rates are per second, times in seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figures:
    wait_probability: float
    """Share of calls that are not answered at once."""
    mean_wait_s: float
    """Over all calls, those that gave up included; without these it is the ASA."""
    service_level: float
    """Share of all calls that are answered within the threshold."""
    abandoned: float
    """Share of calls that give up."""


def erlang_c(agents: int, arrival_rate: float, service_rate: float, threshold_s: float) -> Figures:
    """Raises ValueError where the load is not below the agents: the queue would grow for ever."""
    load = arrival_rate / service_rate
    if not load < agents:
        raise ValueError("the offered load must be below the number of agents")
    blocking = 1.0  # Erlang B by its recursion, stable for any number of agents
    for n in range(1, agents + 1):
        blocking = load * blocking / (n + load * blocking)
    wait = blocking / (1 - load / agents * (1 - blocking))
    spare = agents * service_rate - arrival_rate
    return Figures(wait, wait / spare, 1 - wait * math.exp(-spare * threshold_s), 0.0)


def erlang_a(
    agents: int, arrival_rate: float, service_rate: float, patience_rate: float, threshold_s: float
) -> Figures:
    """From the stationary distribution of calls in the system, a birth-death chain.

    The service level: who finds k before them is answered when the chain "k others and me ahead of the next free
    agent" is through; it goes down at ``n mu + j theta`` while j others are ahead, and I give up at ``theta``. The
    chain is followed over the threshold by uniformisation (Jensen 1953).
    """
    probabilities = _stationary(agents, arrival_rate, service_rate, patience_rate)
    queued = probabilities[agents:]
    queue_length = sum(k * p for k, p in enumerate(queued))
    full_rate = agents * service_rate
    ahead = list(queued)  # ahead[j]: I am waiting and j others are before me
    fastest = full_rate + (len(ahead)) * patience_rate
    answered, spread = 0.0, fastest * threshold_s
    steps = int(spread + 8 * math.sqrt(spread) + 20)
    weight = math.exp(-spread)
    seen = weight
    for number in range(1, steps + 1):
        weight *= spread / number
        after = [0.0] * len(ahead)
        came = ahead[0] * full_rate / fastest
        for j, p in enumerate(ahead):
            down = full_rate + j * patience_rate
            after[j] += p * (1 - (down + patience_rate) / fastest)
            if j:
                after[j - 1] += p * down / fastest
        answered += came * (1 - seen)  # it is through if at least this many jumps happen in time
        seen += weight
        ahead = after
    return Figures(
        wait_probability=sum(queued),
        mean_wait_s=queue_length / arrival_rate,
        service_level=sum(probabilities[:agents]) + answered,
        abandoned=patience_rate * queue_length / arrival_rate,
    )


def _stationary(agents: int, arrival_rate: float, service_rate: float, patience_rate: float) -> list[float]:
    """Probability of k calls in the system, to where the rest is below 1e-12 of the greatest."""
    logs, k = [0.0], 0
    while True:
        k += 1
        leaving = min(k, agents) * service_rate + max(0, k - agents) * patience_rate
        logs.append(logs[-1] + math.log(arrival_rate / leaving))
        if k > agents and leaving > arrival_rate and logs[-1] < max(logs) - 28:
            break
    top = max(logs)
    weights = [math.exp(value - top) for value in logs]
    total = sum(weights)
    return [weight / total for weight in weights]
