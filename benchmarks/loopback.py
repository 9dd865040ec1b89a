"""The protocol's own cost on one machine: a frame of 1024 x 1024 to a server process and back again.

The frame is new each time: depth as float16 and a picture as uint8 x 3, 5 MB. Measured is all that an add-on would
pay: content addresses, upload, their check, the job's acceptance, the event stream, and the answer as arrays; but no
worker process and no engine: the server answers a job with the frame itself, or with nothing but an error.
"""

from __future__ import annotations

import asyncio
import secrets
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
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as connect_websocket

SIDE = 1024
TOKEN = "benchmark"
WARM_UP = 3
CAMERA = Camera(look_at((3.0, -4.0, 2.0), (0.0, 0.0, 0.0)), perspective(0.8, 1.0, 0.1, 100.0), SIDE, SIDE, 0.1, 100.0)


class Echo:
    """A job service that answers at once: with the job's own tensors, or, to a prompt "refuse", with an error."""

    def __init__(self) -> None:
        self._store: dict[Digest, AnyArray] = {}

    def capabilities(self) -> Capabilities:
        return Capabilities()

    def on_capabilities_changed(self, callback: Callable[[], None]) -> None:
        """They never change."""

    async def look_for_models(self) -> None:
        """There are none."""

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


async def answer_plainly(websocket: ServerConnection) -> None:
    async for _ in websocket:
        await websocket.send("")


async def serve() -> None:
    plain = serve_websockets(answer_plainly, "127.0.0.1", 0, compression=None, max_size=None)
    async with NetServer.open(Echo(), EdgeOptions(TOKEN, "benchmark")) as edge, plain as other:
        print(edge.url, f"ws://127.0.0.1:{other.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def frame(number: int) -> tuple[AnyArray, AnyArray]:
    rng = np.random.default_rng(number)
    depth = (1.0 + rng.random((SIDE, SIDE))).astype(np.float16)
    return depth, rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def round_trip(client: BlockingClient, depth: AnyArray, picture: AnyArray, prompt: str, *, once: bool = False) -> float:
    """Seconds from arrays to the last array (or error) back. once: under names for once, as live mode sends them."""
    begin = time.perf_counter()
    if once:
        tensors = {f"once:{secrets.token_hex(16)}:{number}": array for number, array in enumerate((depth, picture))}
    else:
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


def plain_trip(websocket: ClientConnection, depth: AnyArray, picture: AnyArray) -> float:
    """Seconds for the same bytes in one plain message, and an empty answer."""
    data = depth.tobytes() + picture.tobytes()
    begin = time.perf_counter()
    websocket.send(data)
    websocket.recv()
    return time.perf_counter() - begin


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
    ours, plain = server.stdout.readline().split()
    there, unnamed, both, baseline, hashing = [], [], [], [], []
    with (
        connect(ours, TOKEN, codecs=RAW) as client,
        connect_websocket(plain, compression=None, proxy=None) as websocket,
    ):
        for number in range(options.repeat + WARM_UP):  # in turn, so that all meet the same load
            depth, picture = frame(number)
            there.append(round_trip(client, depth, picture, "refuse"))
            unnamed.append(round_trip(client, depth, picture, "refuse", once=True))
            both.append(round_trip(client, depth, picture, "echo"))
            baseline.append(plain_trip(websocket, depth, picture))
            begin = time.perf_counter()
            digest_of(depth), digest_of(picture)
            hashing.append(time.perf_counter() - begin)
    server.stdin.close()
    server.wait(10)
    name = "1024² frame there, an answer back"
    report.add_times(name, there[WARM_UP:], goal_ms=10.0, note="5 MB, content addresses made and checked")
    report.add_times(f"{name}, no addresses", unnamed[WARM_UP:], goal_ms=10.0, note="as live mode sends it")
    report.add_times("1024² frame there and all of it back", both[WARM_UP:], note="5 MB each way")
    report.add_times("plain websockets, the same 5 MB there, an answer back", baseline[WARM_UP:])
    report.add_times("SHA-256 of the frame", hashing[WARM_UP:], note="done once on each side")
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
