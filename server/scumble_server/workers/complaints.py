"""What artists are told when the worker process, and not their job, is what failed."""

from __future__ import annotations

from scumble_shared.errors import ErrorCode, ErrorInfo, Remedy, RemedyAction

__all__ = ["ended_at_once", "lost", "start_overdue", "stopped"]

DOCTOR = Remedy("Run `scumble doctor` where the server runs")


def stopped() -> ErrorInfo:
    return _lost("the server was stopped", Remedy("Start the server", RemedyAction.START_SERVER))


def lost(how: str) -> ErrorInfo:
    """how: the process ended."""
    message = f"the process that worked on this job ended ({how}); it is being restarted"
    return _lost(message, Remedy("Try again", RemedyAction.RETRY))


def ended_at_once() -> ErrorInfo:
    return _lost("the process that does the work ends as soon as it starts", DOCTOR)


def start_overdue(seconds: float) -> ErrorInfo:
    return _lost(f"the process that does the work wasn't ready within {seconds:g} s and was ended", DOCTOR)


def _lost(message: str, remedy: Remedy) -> ErrorInfo:
    return ErrorInfo(ErrorCode.WORKER_LOST, message, retryable=True, remedy=remedy)
