"""Who goes next: a fair queue without clocks, threads or I/O.

Owners take turns, one job each. Every owner has a *turn number*; the lowest goes next, and among equals the one
served longest ago. An owner who comes back with an empty queue can't have a lower number than the present turn,
so neither sending many jobs nor sending them one by one gets ahead of somebody who waits.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field

from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError

__all__ = ["FairQueue"]


@dataclass(slots=True)
class _Owner:
    """turn: number of the next turn. served: tick of the last job taken, or of the arrival."""

    turn: int
    served: int
    jobs: deque[str] = field(default_factory=deque)


class FairQueue:
    """Waiting jobs by id. ``limit`` of them per owner."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._owners: dict[str, _Owner] = {}
        self._owner_of: dict[str, str] = {}
        self._turn = 0
        self._clock = 0

    def __len__(self) -> int:
        return len(self._owner_of)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._owner_of

    def add(self, job_id: str, owner: str) -> None:
        """Raises ScumbleError BUSY if ``owner`` has ``limit`` jobs waiting, ValueError for an id that waits."""
        if job_id in self._owner_of:
            raise ValueError(f"job {job_id} is queued already")
        entry = self._owners.get(owner)
        if entry is not None and len(entry.jobs) >= self._limit:
            raise ScumbleError(
                ErrorCode.BUSY,
                f"{self._limit} jobs are waiting already",
                retryable=True,
                remedy=Remedy("Try again when a job has finished", RemedyAction.RETRY),
            )
        if entry is None:
            entry = self._owners[owner] = _Owner(self._turn, self._tick())
        elif not entry.jobs:
            entry.turn = max(entry.turn, self._turn)
        entry.jobs.append(job_id)
        self._owner_of[job_id] = owner

    def take(self) -> str | None:
        """Remove and return the job whose turn it is; None if nothing waits."""
        waiting = [(entry.turn, entry.served, name) for name, entry in self._owners.items() if entry.jobs]
        if not waiting:
            return None
        self._turn, _, name = min(waiting)
        entry = self._owners[name]
        job_id = entry.jobs.popleft()
        entry.turn += 1
        entry.served = self._tick()
        del self._owner_of[job_id]
        self._forget_idle()
        return job_id

    def remove(self, job_id: str) -> bool:
        """Take a waiting job out; False if it doesn't wait."""
        owner = self._owner_of.pop(job_id, None)
        if owner is None:
            return False
        self._owners[owner].jobs.remove(job_id)
        self._forget_idle()
        return True

    def order(self) -> list[str]:
        """All waiting jobs in the order they would be taken if none were added."""
        heap = [(entry.turn, entry.served, name) for name, entry in self._owners.items() if entry.jobs]
        heapq.heapify(heap)
        left = {name: deque(entry.jobs) for name, entry in self._owners.items()}
        clock = self._clock
        order = []
        while heap:
            turn, _, name = heap[0]
            order.append(left[name].popleft())
            clock += 1
            if left[name]:
                heapq.heapreplace(heap, (turn + 1, clock, name))
            else:
                heapq.heappop(heap)
        return order

    def position(self, job_id: str) -> int:
        """Waiting jobs that would be taken before it. Raises ValueError if it doesn't wait."""
        return self.order().index(job_id)

    def _tick(self) -> int:
        self._clock += 1
        return self._clock

    def _forget_idle(self) -> None:
        """An idle owner matters only while its next turn is still to come."""
        for name in [name for name, entry in self._owners.items() if not entry.jobs and entry.turn <= self._turn]:
            del self._owners[name]
