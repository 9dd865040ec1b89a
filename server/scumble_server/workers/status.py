"""How the service is, for health checks and metrics."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from scumble_shared.errors import ErrorInfo

__all__ = ["ServiceStatus", "WorkerState"]


class WorkerState(StrEnum):
    STARTING = "starting"  # the process builds its engine
    WARMING_UP = "warming_up"  # and loads the default model
    READY = "ready"
    WORKING = "working"
    LOST = "lost"  # crashed, about to be started anew
    FAILED = "failed"  # couldn't be started again and again; the next job makes it try again
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """fraction: of the warm-up, None if unknown. Counts are since the start."""

    state: WorkerState
    stage: str
    fraction: float | None
    worker_pid: int | None
    queued: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    restarts: int
    store_bytes: int
    problem: ErrorInfo | None
