"""Who goes next: a fair queue without clocks, threads or I/O.

Owners stand in a ring and take turns, one job each. Whoever comes back goes to the end of the ring, so neither
sending many jobs nor sending them one by one gets ahead of somebody who waits: while an owner waits, every other
one is served once at most.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from scumble_shared.errors import ErrorCode, Remedy, RemedyAction, ScumbleError

__all__ = ["FairQueue"]


class FairQueue:
    """Waiting jobs by id. ``limit`` of them per owner."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._ring: OrderedDict[str, deque[str]] = OrderedDict()  # owners with jobs waiting, next one first
        self._owner_of: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._owner_of)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._owner_of

    def add(self, job_id: str, owner: str) -> None:
        """Raises ScumbleError BUSY if ``owner`` has ``limit`` jobs waiting, ValueError for an id that waits."""
        if job_id in self._owner_of:
            raise ValueError(f"job {job_id} is queued already")
        jobs = self._ring.get(owner, deque())
        if len(jobs) >= self._limit:
            raise ScumbleError(
                ErrorCode.BUSY,
                f"{self._limit} jobs are waiting already",
                retryable=True,
                remedy=Remedy("Try again when a job has finished", RemedyAction.RETRY),
            )
        jobs.append(job_id)
        self._ring[owner] = jobs
        self._owner_of[job_id] = owner

    def take(self) -> str | None:
        """Remove and return the job whose turn it is; None if nothing waits."""
        if not self._ring:
            return None
        owner, jobs = self._ring.popitem(last=False)
        job_id = jobs.popleft()
        if jobs:
            self._ring[owner] = jobs
        del self._owner_of[job_id]
        return job_id

    def remove(self, job_id: str) -> bool:
        """Take a waiting job out; False if it doesn't wait."""
        owner = self._owner_of.pop(job_id, None)
        if owner is None:
            return False
        self._ring[owner].remove(job_id)
        if not self._ring[owner]:
            del self._ring[owner]
        return True

    def order(self) -> list[str]:
        """All waiting jobs in the order they would be taken if none were added."""
        ring = deque(deque(jobs) for jobs in self._ring.values())
        order = []
        while ring:
            jobs = ring.popleft()
            order.append(jobs.popleft())
            if jobs:
                ring.append(jobs)
        return order

    def position(self, job_id: str) -> int:
        """Waiting jobs that would be taken before it. Raises ValueError if it doesn't wait."""
        return self.order().index(job_id)
