"""A page of metrics, filled anew at each scrape from what the program counts anyway."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import TypeVar

from prometheus_client import GC_COLLECTOR, PROCESS_COLLECTOR, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

from pbx.wire.telemetry.counts import Histogram
from pbx.wire.telemetry.lag import LoopLag
from pbx.wire.telemetry.logs import LogCounts

_Family = TypeVar("_Family", GaugeMetricFamily, CounterMetricFamily, HistogramMetricFamily)


class Page:
    """``fixed``: labels of every sample of it. Label values must be few and say nothing of persons: ids of
    configuration, words of the code; no number, name or call."""

    def __init__(self, **fixed: str) -> None:
        self._fixed = fixed
        self._families: dict[str, Metric] = {}

    def gauge(self, name: str, about: str, value: float, **labels: str) -> None:
        self._family(GaugeMetricFamily, name, about, labels).add_metric(self._values(labels), value)

    def counter(self, name: str, about: str, value: float, **labels: str) -> None:
        """``name`` without its ``_total``."""
        self._family(CounterMetricFamily, name, about, labels).add_metric(self._values(labels), value)

    def counters(self, name: str, about: str, label: str, values: Mapping[str, float]) -> None:
        for word, value in sorted(values.items()):
            self.counter(name, about, value, **{label: word})

    def histogram(self, name: str, about: str, seen: Histogram, **labels: str) -> None:
        family = self._family(HistogramMetricFamily, name, about, labels)
        family.add_metric(self._values(labels), buckets=seen.buckets(), sum_value=seen.sum)

    def process(self, name: str, lag: LoopLag, log_counts: LogCounts) -> None:
        """What every program of ours tells of itself."""
        self.gauge(f"{name}_info", "Which version runs.", 1, version=metadata.version("callplane"))
        about = "How late the event loop was, looked at four times a second."
        self.histogram("callplane_event_loop_lag_seconds", about, lag.seen)
        about = "The longest of these since the last scrape."
        self.gauge("callplane_event_loop_lag_longest_seconds", about, lag.take_longest())
        self.counters("callplane_log_records", "Lines of the log.", "level", log_counts.counts)

    def collect(self) -> Iterator[Metric]:
        yield from self._families.values()
        yield from PROCESS_COLLECTOR.collect()
        yield from GC_COLLECTOR.collect()

    def encoded(self, accept: str) -> tuple[bytes, str]:
        """The page, and its Content-Type: OpenMetrics for who asks for it, else Prometheus' text."""
        encode, content_type = choose_encoder(accept)
        registry = CollectorRegistry()
        registry.register(self)
        return encode(registry), content_type

    def _values(self, labels: dict[str, str]) -> list[str]:
        return [*self._fixed.values(), *labels.values()]

    def _family(self, kind: type[_Family], name: str, about: str, labels: dict[str, str]) -> _Family:
        family = self._families.get(name)
        if not isinstance(family, kind):
            family = self._families[name] = kind(name, about, labels=[*self._fixed, *labels])
        return family
