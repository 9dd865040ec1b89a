"""What a monitor may ask: is it well (open to anybody on this machine), and how much is it doing (with the token)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from scumble_shared import __version__

from ..service import JobService
from .journal import Journal

__all__ = ["Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

GAUGES = {
    "queued": "Jobs that wait for the worker.",
    "running": "Jobs the worker is at.",
    "store_bytes": "Bytes of uploaded tensors and results kept for re-use.",
}
COUNTERS = {
    "succeeded": "Jobs that ended with a result.",
    "failed": "Jobs that ended with an error.",
    "cancelled": "Jobs that were cancelled.",
    "restarts": "Times the worker process was started anew.",
}
"""Attributes of the service's ``status()``, if it has one, and what they mean."""


class Metrics(Collector):
    """connections: how many clients are connected now."""

    def __init__(self, service: JobService, journal: Journal, connections: Callable[[], int]) -> None:
        self._service = service
        self._journal = journal
        self._connections = connections
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def health(self) -> bytes:
        """JSON: the process answers; how the worker is, where the service says so. Nothing private."""
        status = self._status()
        worker = str(getattr(status, "state", "unknown"))
        return json.dumps({"status": "ok", "version": __version__, "worker": worker}).encode()

    def render(self) -> tuple[str, bytes]:
        """Content type and body, in Prometheus' text format."""
        return CONTENT_TYPE, generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("scumble_connections", "Clients connected.", self._connections())
        yield GaugeMetricFamily("scumble_jobs_kept", "Jobs not yet acknowledged by their client.", len(self._journal))
        yield GaugeMetricFamily(
            "scumble_results_kept_bytes", "Bytes of results not yet acknowledged.", self._journal.kept_bytes
        )
        status = self._status()
        for name, help_text in GAUGES.items():
            if hasattr(status, name):
                yield GaugeMetricFamily(f"scumble_{name}", help_text, getattr(status, name))
        for name, help_text in COUNTERS.items():
            if hasattr(status, name):
                yield CounterMetricFamily(f"scumble_{name}", help_text, getattr(status, name))

    def _status(self) -> object:
        """Services that know more than :class:`JobService` asks say it here."""
        status = getattr(self._service, "status", None)
        return status() if status is not None else None
