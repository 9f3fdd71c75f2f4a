"""What GET /metrics reports, in Prometheus's text format.

gunicorn.conf.py sets PROMETHEUS_MULTIPROC_DIR, in which every worker keeps its counts; without it,
the counts are those of one process.

count_request("/predict", 200, seconds)   count_predictions(probabilities)   render(metadata, time)
"""

import os
from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    multiprocess,
)
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric

REQUESTS = Counter(
    "mnist_http_requests", "Requests answered, by route and status.", ["route", "status"]
)
DURATION = Histogram(
    "mnist_http_request_duration_seconds",
    "Time from the end of a request's header to its response, by route.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
PREDICTIONS = Counter("mnist_predictions", "Digits read, by prediction.", ["digit"])
CONFIDENCE = Histogram(
    "mnist_prediction_confidence",
    "Confidence of the predictions; a shift to lower values shows that inputs have changed.",
    buckets=(0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1),
)
REJECTED = Counter("mnist_rejected_inputs", "Pictures that could not be used.", ["reason"])
MODEL_LOADS = Counter("mnist_model_loads", "Models loaded, by all workers.")
MODEL_REJECTIONS = Counter("mnist_model_rejections", "Model files refused, by all workers.")
# labels() takes as long as the counting itself. The values are few: routes, and statuses.
request_counter = cache(REQUESTS.labels)
request_timer = cache(DURATION.labels)
# All digits are reported from the start, those that were never read with 0.
digit_counters = [PREDICTIONS.labels(digit) for digit in range(10)]
MODEL_FACTS = ("model_version", "dataset", "test_accuracy")


class ModelCollector:
    """Reports on the model of the worker that answers the scrape."""

    def __init__(self, metadata: dict[str, str] | None, loaded_at: float) -> None:
        self.metadata, self.loaded_at = metadata, loaded_at

    def collect(self) -> Iterator[Metric]:
        """Yield whether there is a model, which one, and since when."""
        yield GaugeMetricFamily(
            "mnist_model_ready", "1 if a model is loaded, else 0.", int(self.metadata is not None)
        )
        if self.metadata is not None:
            facts = {name: self.metadata.get(name, "") for name in MODEL_FACTS}
            yield InfoMetricFamily("mnist_model", "The model that is loaded.", facts)
            yield GaugeMetricFamily(
                "mnist_model_loaded_timestamp_seconds",
                "When the model was loaded, in seconds since 1970.",
                self.loaded_at,
            )


def count_request(route: str, status: int, seconds: float) -> None:
    """Count a request and the time it took."""
    request_counter(route, status).inc()
    request_timer(route).observe(seconds)


def count_rejected(reasons: Iterable[str]) -> None:
    """Count pictures that could not be used, by reason."""
    for reason in reasons:
        REJECTED.labels(reason).inc()


def count_predictions(probabilities: np.ndarray) -> None:
    """Count predictions, float32 [N, 10], and their confidence."""
    for row in probabilities.tolist():
        confidence = max(row)
        digit_counters[row.index(confidence)].inc()
        CONFIDENCE.observe(confidence)


def render(metadata: dict[str, str] | None, loaded_at: float) -> bytes:
    """Return the counts of all workers, and what is known of the model, if there is one."""
    registry = CollectorRegistry()
    registry.register(ModelCollector(metadata, loaded_at))
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.MultiProcessCollector(registry)
        return generate_latest(registry)
    return generate_latest(registry) + generate_latest(REGISTRY)
