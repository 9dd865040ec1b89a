"""The protocol's own cost on one machine: a frame of 1024 x 1024 to a server process and back again.

The frame is new each time: depth as float16 and a picture as uint8 x 3, 5 MB. Measured is all that an add-on would
pay: content addresses, upload, their check, the job's acceptance, the event stream, and the answer as arrays; but no
worker process and no engine: the server answers a job with the frame itself, or with nothing but an error.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterable

import numpy as np
from report import Report, parser
from scumble_server.net.blocking_client import BlockingClient, connect
from scumble_server.net.server import EdgeOptions, NetServer
from scumble_server.service import JobFailedUpdate, JobResultUpdate, JobStartedUpdate, JobUpdate
from scumble_shared.camera import Camera, look_at, perspective
from scumble_shared.codec import RAW
from scumble_shared.errors import ErrorCode, ErrorInfo, ScumbleError
from scumble_shared.job import GenerateJob, Job, View
from scumble_shared.messages import Capabilities
from scumble_shared.tensor import AnyArray, Digest, digest_of

SIDE = 1024
TOKEN = "benchmark"
CAMERA = Camera(look_at((3.0, -4.0, 2.0), (0.0, 0.0, 0.0)), perspective(0.8, 1.0, 0.1, 100.0), SIDE, SIDE, 0.1, 100.0)


class Echo:
    """A job service that answers at once: with the job's own tensors, or, to a prompt "refuse", with an error."""

    def __init__(self) -> None:
        self._store: dict[Digest, AnyArray] = {}

    def capabilities(self) -> Capabilities:
        return Capabilities()

    def on_capabilities_changed(self, callback: Callable[[], None]) -> None:
        """They never change."""

    def missing(self, digests: Iterable[Digest]) -> tuple[Digest, ...]:
        return tuple(digest for digest in digests if digest not in self._store)

    def put(self, digest: Digest, array: AnyArray) -> None:
        self._store[digest] = array

    def submit(
        self, job_id: str, job: Job, owner: str, emit: Callable[[JobUpdate], None], *, previews: bool = True
    ) -> int:
        assert isinstance(job, GenerateJob)
        kept, self._store = self._store, {}
        update: JobUpdate = JobResultUpdate({digest: kept[digest] for digest in kept}, "{}")
        if job.prompt == "refuse":
            update = JobFailedUpdate(ErrorInfo(ErrorCode.UNSUPPORTED, "as was asked"))
        loop = asyncio.get_running_loop()
        loop.call_soon(emit, JobStartedUpdate())
        loop.call_soon(emit, update)
        return 0

    def cancel(self, job_id: str) -> bool:
        return False


async def serve() -> None:
    async with NetServer.open(Echo(), EdgeOptions(TOKEN, "benchmark")) as edge:
        print(edge.url, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def frame(number: int) -> tuple[AnyArray, AnyArray]:
    rng = np.random.default_rng(number)
    depth = (1.0 + rng.random((SIDE, SIDE))).astype(np.float16)
    return depth, rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def round_trip(client: BlockingClient, depth: AnyArray, picture: AnyArray, prompt: str) -> float:
    """Seconds from arrays to the last array (or error) back."""
    begin = time.perf_counter()
    tensors = {digest_of(depth): depth, digest_of(picture): picture}
    names = list(tensors)
    job = GenerateJob(prompt, view=View(CAMERA, depth=names[0]), init_image=names[1], width=SIDE, height=SIDE)
    try:
        result = client.run_job(job, tensors)
    except ScumbleError:
        if prompt != "refuse":
            raise
        return time.perf_counter() - begin
    seconds = time.perf_counter() - begin
    for name, array in tensors.items():
        np.testing.assert_array_equal(result.tensors[name], array)
    return seconds


def main() -> int:
    arguments = parser(__doc__ or "", repeat=40)
    arguments.add_argument("--serve", action="store_true", help="be the server process")
    options = arguments.parse_args()
    if options.serve:
        asyncio.run(serve())
        return 0
    report = Report("loopback", options.output)
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin is not None
    assert server.stdout is not None
    with connect(server.stdout.readline().strip(), TOKEN, codecs=RAW) as client:
        frames = [frame(number) for number in range(options.repeat + 3)]
        there = [round_trip(client, *one, "refuse") for one in frames][3:]
        both = [round_trip(client, *one, "echo") for one in frames][3:]
    server.stdin.close()
    server.wait(10)
    begin = time.perf_counter()
    for one in frames:
        digest_of(one[0]), digest_of(one[1])
    hashing = (time.perf_counter() - begin) / len(frames)
    report.add_times("1024² frame there and back", both, goal_ms=10.0, note="5 MB each way, addresses made and checked")
    report.add_times("1024² frame there, an answer without pictures back", there)
    report.add("of it: making the content addresses", hashing * 1e3, "ms", note="SHA-256 of 5 MB, once on each side")
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
