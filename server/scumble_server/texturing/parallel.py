"""Parts of one piece of work at the same time, on a CPU.

torch shares out each operation among its threads, and wakes and awaits them for each of hundreds of short ones.
Threads of our own wake once for each part.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["in_parallel"]

MOST_THREADS = 8
"""More would wait for Python, and each takes memory for a part."""

T = TypeVar("T")


def in_parallel(
    work: Callable[[T], None],
    parts: Iterable[T],
    device: torch.device,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Call ``work`` with every part, on as many threads as torch has; the parts mustn't write to the same memory.

    device: where the work's tensors are; on others than a CPU one part follows the other. ``check`` is called on this
    thread between parts, and may raise to stop; so may ``work``.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        for part in parts:
            check()
            work(part)
        return
    inference = torch.is_inference_mode_enabled()  # which is a thread's own matter

    def task(part: T) -> None:
        with torch.inference_mode(inference):
            work(part)

    running: deque[Future[None]] = deque()
    pool = ThreadPoolExecutor(min(threads, MOST_THREADS), initializer=torch.set_num_threads, initargs=(1,))
    try:
        for part in parts:
            check()
            running.append(pool.submit(task, part))
            if len(running) > threads:
                running.popleft().result()
        for future in running:
            future.result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # it is the process's, too
