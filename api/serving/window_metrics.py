"""What Prometheus reads of the drift windows of this process; no more models than those have."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.serving.windows import Windows

_LABELS = ("model", "version")


class WindowMetrics(Collector):
    """Reads the windows at every scrape."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows

    def collect(self) -> Iterable[Metric]:
        """One sample of each per version; no alarm while nothing is judged."""
        alarm = GaugeMetricFamily(
            "evalmode_drift_alarm",
            "Largest drift score over its threshold; inputs differ above 1.",
            labels=_LABELS,
        )
        rows = GaugeMetricFamily(
            "evalmode_drift_window_rows", "Rows that were judged for drift.", labels=_LABELS
        )
        predictions = CounterMetricFamily(
            "evalmode_model_predictions", "Predictions that a model answered.", labels=_LABELS
        )
        for (model, version), window in self._windows.all().items():
            state, labels = window.state(), (model, str(version))
            if state["alarm"] is not None:
                alarm.add_metric(labels, state["alarm"])
            rows.add_metric(labels, state["window_rows"])
            predictions.add_metric(labels, window.predictions)
        return alarm, rows, predictions
