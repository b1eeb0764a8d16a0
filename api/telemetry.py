"""What this process counts for Prometheus. It asks nobody; gauges are set by who scrapes."""

from collections.abc import Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.registry import Collector

from core.states import State

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Twice the lines, and no reader here asks when a counter began.
disable_created_metrics()  # type: ignore[no-untyped-call]
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Telemetry:
    """Counters, histograms and gauges of one process, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Histogram(
            "evalmode_request_seconds",
            "Time from the head of a request to the end of its answer.",
            ("method", "route", "status"),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._predictions = Histogram(
            "evalmode_prediction_seconds",
            "Time from a whole prediction request to its answer.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._rows = Counter(
            "evalmode_predicted_rows", "Rows that were answered.", registry=self._registry
        )
        self._accepted = Counter(
            "evalmode_runs_accepted", "Runs that were accepted.", registry=self._registry
        )
        self._runs = Gauge("evalmode_runs", "Runs by state.", ("state",), registry=self._registry)
        self._waiting = Gauge("evalmode_queue_depth", "Queued runs.", registry=self._registry)
        self._workers = Gauge(
            "evalmode_workers_alive", "Workers that beat.", ("queue",), registry=self._registry
        )
        self._networks = Gauge(
            "evalmode_loaded_networks",
            "Networks in memory, by what became of their batch norm: a fold may be refused.",
            ("form",),
            registry=self._registry,
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request under its route's template, never its path."""
        self._requests.labels(method, route, str(status)).observe(seconds)

    def prediction(self, rows: int, seconds: float) -> None:
        """Count one answered prediction."""
        self._predictions.observe(seconds)
        self._rows.inc(rows)

    def accepted(self) -> None:
        """Count one accepted run."""
        self._accepted.inc()

    def records(self, runs: dict[State, int], workers: dict[str, int]) -> None:
        """Set what is read from the records at every scrape."""
        for state in State:
            self._runs.labels(state.value).set(runs.get(state, 0))
        self._waiting.set(runs.get(State.QUEUED, 0))
        for queue in ("cpu", "gpu"):
            self._workers.labels(queue).set(workers.get(queue, 0))

    def networks(self, forms: Mapping[str, int]) -> None:
        """Set how many networks are in memory, by their form."""
        for form in ("folded", "unfolded", "refused"):
            self._networks.labels(form).set(forms.get(form, 0))

    def add(self, collector: Collector) -> None:
        """Tell at every scrape what a collector finds then."""
        self._registry.register(collector)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)
